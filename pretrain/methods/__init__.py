"""The training methods, a package or module each; one of your own is found by its import path, "my_package.my_module:MyMethod"."""

from functools import lru_cache

from mals.errors import UserError
from mals.plugins import load_object
from pretrain.method import Method

METHODS = {  # the setting `method` -> the class
    "aptm": "pretrain.methods.aptm.method:Aptm",
    "dpti": "pretrain.methods.dpti:Dpti",
    "irra": "pretrain.methods.irra:Irra",
    "lgur": "pretrain.methods.lgur:Lgur",
    "rde": "pretrain.methods.rde:Rde",
    "ssan": "pretrain.methods.ssan:Ssan",
    "uit": "pretrain.methods.uit.method:Uit",
}


@lru_cache
def find(name: str) -> type[Method]:
    """The class that the setting `method` names; UserError where there is none."""
    if name not in METHODS and ":" not in name:
        raise UserError(f"there is no method {name}; there are {', '.join(METHODS)}, and my_package.my_module:MyMethod for one of your own")
    method = load_object(METHODS.get(name, name), "method")
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise UserError(f"method = {name!r} is no subclass of pretrain.method.Method")
    return method

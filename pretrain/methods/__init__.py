"""One paper, one file; a method of one's own is found as "my_package.my_module:MyMethod"."""

from mals.errors import UserError
from mals.plugins import load_object
from pretrain.method import Method
from pretrain.methods.aptm.method import Aptm

METHODS: dict[str, type[Method]] = {"aptm": Aptm}


def find(name: str) -> type[Method]:
    """The method that the setting `method` names; UserError where there is none."""
    if name in METHODS:
        return METHODS[name]
    if ":" not in name:
        raise UserError(f"there is no method {name}; there are {', '.join(METHODS)}, and my_package.my_module:MyMethod for one of your own")
    found = load_object(name, "method")
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise UserError(f"method = {name!r} is no subclass of pretrain.method.Method")
    return found

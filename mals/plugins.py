"""Objects that settings name by import path, such as a stage or a training method of your own: "my_package.my_module:my_function"."""

import importlib
from typing import Any

from mals.errors import UserError


def load_object(target: str, setting: str) -> Any:
    """The object that `target` ("module:name") names; UserError, which names the `setting`, where it cannot be imported."""
    module, colon, name = target.partition(":")
    if not colon:
        raise UserError(f"{setting} = {target!r} is not of the form my_package.my_module:my_name")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{setting} = {target!r} cannot be imported: {error}") from None

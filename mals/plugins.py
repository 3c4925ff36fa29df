"""What people put in the place of ours, named in the settings: "my_package.my_module:my_function"."""

import importlib
from typing import Any

from mals.errors import UserError


def imported(target: str, setting: str) -> Any:
    """What a setting names; UserError where it cannot be imported."""
    module, colon, name = target.partition(":")
    if not colon:
        raise UserError(f"{setting} = {target!r} is not of the form my_package.my_module:my_name")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{setting} = {target!r} cannot be imported: {error}") from None

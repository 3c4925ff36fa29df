"""Objects that settings name by import path, such as a stage or a training method of your own: "my_package.my_module:my_function"."""

import importlib
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from mals.errors import UserError


def load_object(target: str, setting: str) -> Any:
    """The object that `target` ("module:name") names; UserError, which names the `setting`, where it cannot be imported."""
    module, colon, name = target.partition(":")
    if not colon:
        raise UserError(f"{setting} = {target!r} is not of the form my_package.my_module:my_name")
    try:
        return getattr(_import(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{setting} = {target!r} cannot be imported: {error}") from None


def _import(module: str) -> ModuleType:
    """A module that is installed, or one in the current folder, which then stays on the path for what the module imports later."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
    with suppress(FileNotFoundError):  # the current folder may be gone
        sys.path.append(str(Path.cwd()))
    importlib.invalidate_caches()
    return importlib.import_module(module)

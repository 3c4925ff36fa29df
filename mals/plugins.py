"""Objects that settings name by import path, such as a stage or a training method of your own: "my_package.my_module:my_function"."""

import importlib
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from mals.errors import UserError, quoted


def load_object(target: str, setting: str) -> Any:
    """The object that `target` ("module:name") names; UserError, which names the `setting`, where it cannot be imported."""
    module, colon, name = target.partition(":")
    if not colon or not module or not name or module.startswith("."):
        raise UserError(f"{setting} = {quoted(target)} is not of the form my_package.my_module:my_name")
    try:
        return getattr(_import(module), name)
    except UserError:
        raise
    except (ImportError, AttributeError) as error:
        raise UserError(f"{setting} = {quoted(target)} cannot be imported: {_one_line(error)}") from None
    except (Exception, SystemExit) as error:  # of the module's own code
        reason = f"{type(error).__name__}: {_one_line(error)}".removesuffix(": ")
        raise UserError(f"{setting} = {quoted(target)} cannot be imported, since its module raised {reason}") from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


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

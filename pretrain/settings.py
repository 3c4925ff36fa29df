"""The settings of a training as people give them: presets, YAML files and `--set a.b=c`, checked with the section of their method."""

from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, create_model

from mals import settings
from mals.errors import UserError
from mals.settings import Kind
from pretrain import methods
from pretrain.config import Training
from pretrain.method import Method


def training_type(tree: dict[str, Any]) -> type[BaseModel]:
    """The type of settings that name this method: `Training` with the method's section."""
    name = str(tree["method"])
    method = methods.find(name)
    for other in methods.METHODS:
        section = methods.find(other).section if other in tree else ""
        if section in tree and section != method.section:
            raise UserError(f"the method is {name}, and the settings {section} are those of the method {other}; --preset own has none")
    _refuse_settings_of_others(method, tree.get(method.section))
    return _with_section(method)  # type: ignore[arg-type]  # classes are hashable, whatever a method's modules are


def _refuse_settings_of_others(method: type[Method], own: Any) -> None:
    """UserError, which names them, where the section of a method has a setting that other methods alone have, such as noise_masking."""
    for key in own if isinstance(own, dict) else ():
        if key not in method.Settings.model_fields:
            others = [other for other in methods.METHODS if key in methods.find(other).Settings.model_fields]
            if others:
                verb = "has" if len(others) == 1 else "have"
                raise UserError(f"there is no setting {method.section}.{key}; of the methods, {', '.join(others)} {verb} one of this name")


@cache
def _with_section(method: type[Method]) -> type[BaseModel]:
    if not method.section:
        return Training
    if method.section in Training.model_fields:
        raise UserError(f"the settings of {method.__name__} cannot be called {method.section}: every training has settings of that name")
    needed = any(field.is_required() for field in method.Settings.model_fields.values())
    field: Any = (method.Settings, ... if needed else method.Settings())
    return create_model("Training", __base__=Training, __module__=__name__, **{method.section: field})


TRAINING = Kind(training_type, Path(__file__).parent / "presets")


def check(tree: dict[str, Any], source: str = "the settings") -> Training:
    """The settings of a preset and of `tree` over it; UserError, which names `source`, for an unknown key or a wrong value."""
    checked = settings.check_kind(tree, source, TRAINING)
    assert isinstance(checked, Training)
    return checked


def assign(tree: dict[str, Any], sets: list[str]) -> dict[str, Any]:
    """`tree` with each of `sets` ("a.b=c") put in."""
    return settings.assign(tree, sets, TRAINING)


def read(file: Path | None) -> dict[str, Any]:
    """The settings in a YAML file, none where there is no file; UserError where it names some loss weights and not all."""
    tree = settings.read_file(file) if file is not None else {}
    settings.refuse_partial(tree, str(file), TRAINING)
    return tree

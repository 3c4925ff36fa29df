"""Stages of one's own, which the settings name: whatever else stands under that name is refused before any work, with what it lacks."""

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from mals.config import Config
from mals.errors import UserError, quoted
from mals.grid.stage import ERROR, REJECT, AnyStage, Resources, RowStage, error_message
from mals.plugins import load_object

RESERVED = ("id", REJECT.name, ERROR.name)  # columns that every cell has
WAY_ON = "docs/stage.md shows how to write one"


def own_stage(name: str, target: str, config: Config) -> AnyStage:
    """The stage that `target` ("module:function") makes in place of stage `name`; UserError where it makes none."""
    setting = f"stages.{name} = {quoted(target)}"
    build = load_object(target, f"stages.{name}")
    if not callable(build):
        raise UserError(f"{setting} is {_a(build)}, not a function that makes a stage; {WAY_ON}")
    try:
        stage = build(config)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"{setting} does not make a stage of the settings ({error_message(error)}); {WAY_ON}") from error
    if problem := _problem(stage, name):
        raise UserError(f"{setting} makes no stage: {problem}; {WAY_ON}")
    return stage


def stage_params(name: str, stage: RowStage) -> dict[str, Any]:
    """What the results of a stage depend on, as JSON values; raises ModelMissing, and UserError where it gives something else."""
    try:
        params = stage.params()
        if not isinstance(params, dict):
            raise TypeError(f"{_a(params)}, not a dict")
        return json.loads(json.dumps(params, allow_nan=False))
    except UserError:
        raise
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise UserError(f"the params of the stage {name} are no JSON values ({error_message(error)}); {WAY_ON}") from error


def _problem(stage: Any, name: str) -> str:
    """What keeps an object from being the stage `name`; empty where nothing does."""
    if stage is None:
        return "it returned nothing"
    if isinstance(stage, type):
        return f"it returned the class {stage.__name__}, not an object of it"
    checks: dict[str, tuple[Callable[[Any], bool], str]] = {
        "name": (lambda value: value == name, f"{name!r}, the stage that it replaces"),
        "version": (lambda value: isinstance(value, int) and not isinstance(value, bool), "a whole number"),
        "needs": (_are_names, "a tuple of column names"),
        "adds": (lambda value: isinstance(value, pa.Schema), "a pyarrow.Schema of the columns that it adds"),
        "batch": (lambda value: isinstance(value, int) and not isinstance(value, bool) and value > 0, "a number of rows above 0"),
        "resources": (lambda value: isinstance(value, Resources), "mals.grid.stage.Resources"),
        "params": (callable, "a method"),
        "setup": (callable, "a method"),
    }
    if hasattr(stage, "summarise") or hasattr(stage, "summary_needs"):  # a global stage
        checks["summarise"], checks["summary_needs"] = checks["setup"], checks["needs"]
    missing = [attribute for attribute in checks if not hasattr(stage, attribute)]
    if missing:
        return f"{_a(stage)} has no {', '.join(missing)}"
    for attribute, (is_right, what) in checks.items():
        value = getattr(stage, attribute)
        if not is_right(value):
            return f"its {attribute} is {quoted(value)}, not {what}"
    if not callable(stage):
        return f"{_a(stage)} cannot be called with rows"
    names = stage.adds.names
    wrong = [column for column in names if column in RESERVED or names.count(column) > 1]
    return f"it adds the column {wrong[0]}, which {'every cell has' if wrong[0] in RESERVED else 'stands twice'}" if wrong else ""


def _are_names(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(column, str) for column in value)


def _a(value: object) -> str:
    return f"an object of {type(value).__module__}.{type(value).__qualname__}".replace("builtins.", "")

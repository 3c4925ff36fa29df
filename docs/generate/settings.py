"""The settings reference: every field of the pydantic trees with its type, default and meaning.

The meaning of a field is the comment beside it in its class, where who edits the code reads it too; a field without one is an error.
"""

import ast
import inspect
import io
import tokenize
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen, MultipleOf
from pydantic import BaseModel
from pydantic.fields import FieldInfo

SIGNS = {Ge: ("ge", "≥"), Gt: ("gt", ">"), Le: ("le", "≤"), Lt: ("lt", "<"), MultipleOf: ("multiple_of", "a multiple of")}


class NoMeaning(Exception):
    """A setting that no comment explains."""


@cache
def meanings(model: type[BaseModel]) -> dict[str, str]:
    """The comment beside each field that this class itself declares."""
    text = Path(inspect.getfile(model)).read_text(encoding="utf-8")
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT and not token.string.startswith(("# noqa", "# type:", "# fmt:"))
    }
    classes = {node.name: node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef)}
    fields: dict[str, str] = {}
    for node in classes[model.__name__].body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            fields[node.target.id] = " ".join(comments[line] for line in lines if line in comments)
    return fields


def meaning(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    """What a field means: its description, or the comment beside it in the class that declares it."""
    owner = next(cls for cls in model.__mro__ if name in inspect.get_annotations(cls))
    text = field.description or meanings(owner).get(name, "")
    if not text and (section := inner(field.annotation)):
        text = description(section).split("\n")[0]
    if not text:
        raise NoMeaning(f"{owner.__module__}.{owner.__name__}.{name} has no meaning; write a comment beside it")
    return text


def description(section: type[BaseModel]) -> str:
    """The docstring of a class of settings, its own and not that of a class it inherits."""
    return inspect.cleandoc(section.__dict__.get("__doc__") or "")


def inner(annotation: Any) -> type[BaseModel] | None:
    """The settings class in a type such as `list[Captioner]` or `Lora | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := inner(part))), None)


def written(annotation: Any, metadata: list[Any] | tuple[Any, ...] = ()) -> str:
    """A type in words, with its bounds: `int ≥ 1 or none`."""
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    if origin is Annotated:
        return written(arguments[0], [*metadata, *arguments[1:]])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(written(part) for part in arguments)
    if origin in (list, dict, tuple):
        inside = " or ".join(dict.fromkeys(written(part) for part in arguments if part is not ...))
        if origin is tuple and ... not in arguments:
            return f"{len(arguments)} of {inside}"
        if origin is dict:
            return f"mapping of {written(arguments[0])} to {written(arguments[1])}"
        return f"list of {inside}"
    bounds = [bound for item in metadata for bound in _bounds(item)]
    name = "none" if annotation is type(None) else "anything" if annotation is Any else getattr(annotation, "__name__", str(annotation))
    return " ".join([{"str": "text", "bool": "true or false", "float": "number", "int": "integer"}.get(name, name), *bounds])


def _bounds(item: Any) -> Iterator[str]:
    parts = item.metadata if isinstance(item, FieldInfo) else [item]
    for part in parts:
        for kind, (attribute, sign) in SIGNS.items():
            if isinstance(part, kind):
                value = getattr(part, attribute)
                yield f"{sign} {'2^' + str(value.bit_length() - 1) if isinstance(value, int) and value > 2**20 else format(value, 'g')}"
        if isinstance(part, MinLen):
            yield f"(at least {part.min_length})"
        if isinstance(part, MaxLen):
            yield f"(at most {part.max_length})"


def default(field: FieldInfo) -> str:
    """A default as YAML would have it; a field without one is needed."""
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "below"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    return f"`{value}`" if value != "" else "empty"


def tables(model: type[BaseModel], path: str = "", title: str = "") -> Iterator[str]:
    """Markdown for a tree: a table of this class's fields, then a section for each class inside it."""
    sections = []
    yield "| setting | type | default | meaning |\n|---|---|---|---|\n"
    for name, field in model.model_fields.items():
        full = f"{path}.{name}" if path else name
        text = meaning(model, name, field).replace("|", "\\|")
        if (section := inner(field.annotation)) is not None:
            sections.append((full, section))
            kind = f"[section](#{full.replace('.', '')})"
        else:
            kind = written(field.annotation, field.metadata).replace("|", "\\|")
        yield f"| `{full}` | {kind} | {default(field)} | {text} |\n"
    for full, section in sections:
        yield f"\n### {full}\n\n"
        yield f"{description(section)}\n\n"
        yield from tables(section, full)


def page() -> Iterator[str]:
    """The reference: the settings of a run, of a training, and of each method."""
    from mals.config import Config
    from pretrain.config import Training
    from pretrain.methods import METHODS, find

    yield HEAD
    yield "## Settings of a run\n\nIn `RUN/mals.yaml`, and with `--set` of the commands of a run. Presets: `tiny`, `mals`, `modern`.\n\n"
    yield from tables(Config)
    yield "\n## Settings of a training\n\nOf `mals pretrain`, `mals finetune` and `mals evaluate`.\n\n"
    yield from tables(Training)
    for name in METHODS:
        method = find(name)
        if method.section:
            yield f"\n## Settings of the method {name}\n\n{description(method.Settings)}\n\n"
            yield from tables(method.Settings, method.section)


HEAD = """# Settings

Generated from the classes of settings in `mals/config.py`, `pretrain/config.py` and the methods. A file of settings is YAML:
a `preset`, and what differs from it; `--set a.b=c` changes one value. Unknown keys are refused, with the nearest known key.
"needed": a preset gives the value, or you do. A setting whose meaning says "no results" changes no row, or only by rounding,
and is no part of the fingerprints.

"""

"""From presets, YAML files and `--set a.b=c` to a checked Config, with errors that name the nearest key."""

import copy
import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from mals.config import Config
from mals.errors import UserError, quoted
from mals.section import may_be_missing, section_of

Tree = dict[str, Any]
MOST_VALUES = 10_000  # in a settings file
NONE = {"crop": {"backend": "none"}}  # section of a run -> the setting that `none` in its place is short for


@dataclass(frozen=True)
class Kind:
    """One kind of settings: their type, or a function from a tree of settings to its type, and the folder of presets.

    A section whose type has an attribute `complete`, a reason, must be given completely or not at all: see `refuse_partial`.
    """

    tree: type[BaseModel] | Callable[[Tree], type[BaseModel]]
    folder: Path

    def type_of(self, tree: Tree) -> type[BaseModel]:
        """The type of a tree of settings on top of its preset."""
        if isinstance(self.tree, type):
            return self.tree
        return self.tree(merge(preset(str(tree.get("preset", "tiny")), self), tree))


RUN = Kind(Config, Path(__file__).parent / "presets")


def presets(kind: Kind = RUN) -> list[str]:
    """The names that `preset` may have."""
    return sorted(path.stem for path in kind.folder.glob("*.yaml"))


def preset(name: str, kind: Kind = RUN) -> dict[str, Any]:
    """The settings of one preset, on top of those of the preset that its file names as `base`."""
    tree = _preset_file(name, kind)
    base = tree.pop("base", None)
    return tree if base is None else merge(preset(base, kind), tree)


@dataclass(frozen=True)
class Recipe:
    """A preset as its file describes it."""

    name: str
    summary: str  # the first sentence of the file's comment
    base: str | None  # the preset that it changes; None: it stands alone
    changes: dict[str, Any]  # setting, such as "crop.min_side" -> value, where the file gives one

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def recipe(name: str) -> Recipe:
    """What a preset of a run differs in from its base."""
    tree = _preset_file(name, RUN)
    comment = " ".join(line.lstrip("# ") for line in takewhile(lambda line: line.startswith("#"), recipe_text(name).splitlines()))
    return Recipe(name, comment.split(". ")[0].rstrip("."), tree.pop("base", None), dict(_leaves(tree)))


def recipe_text(name: str) -> str:
    """The file of a preset of a run, with its comments."""
    _preset_file(name, RUN)
    return (RUN.folder / f"{name}.yaml").read_text(encoding="utf-8")


def _leaves(tree: Tree, path: str = "") -> Iterator[tuple[str, Any]]:
    """The settings of a tree with their values; lists are values."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _preset_file(name: str, kind: Kind) -> Tree:
    """A copy of the settings in a preset's file."""
    if name not in presets(kind):
        raise UserError(f"there is no preset {name!r}; there are {', '.join(presets(kind))}")
    return unshared(_read_preset(kind.folder / f"{name}.yaml"))


@cache
def _read_preset(file: Path) -> dict[str, Any]:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def parse(text: str, source: str) -> dict[str, Any]:
    """The tree of a settings file's text; `source` names the file in errors."""
    try:
        tree = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{source}{where} is not YAML: {getattr(error, 'problem', None) or error}") from None
    except RecursionError:
        raise UserError(f"{source} is nested too deeply") from None
    except Exception as error:  # of the conversion of a value, such as a number of 5,000 digits or the 32nd of a month
        raise UserError(f"{source} holds a value that YAML cannot read: {error}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(f"{source} holds a {type(tree).__name__}, not settings")
    _refuse_endless(tree, source)
    return tree


class _Loader(yaml.SafeLoader):
    """YAML without a key that stands twice in a mapping, of which all but the last would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in keys:
                    raise yaml.MarkedYAMLError(problem=f"{quoted(key.value)} stands twice", problem_mark=key.start_mark)
                keys.add(key.value)
        return super().construct_mapping(node, deep)


def _refuse_endless(tree: Any, source: str) -> None:
    """UserError for a tree that holds itself, or more values than settings have, as YAML's references allow it."""
    parts, count = [tree], 0
    while parts:
        part = parts.pop()
        count += 1
        if count > MOST_VALUES:
            raise UserError(f"{source} holds more than {MOST_VALUES:,} values, or holds itself by a reference")
        parts += part.values() if isinstance(part, dict) else part if isinstance(part, list) else []


def read_file(file: Path) -> dict[str, Any]:
    """The tree of a settings file; UserError where it cannot be read."""
    try:
        return parse(file.read_text(encoding="utf-8"), str(file))
    except FileNotFoundError:
        raise UserError(f"there is no settings file {file}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read as settings: {error}") from None


def merge(base: Any, over: Any) -> Any:
    """`over` on top of `base`: mappings merge key by key, everything else is replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{key: merge(base.get(key), value) for key, value in over.items()}}
    return unshared(over)


def unshared(value: Any) -> Any:
    """A copy in which nothing stands in two places, as YAML's references have it: a change of one would change the other."""
    if isinstance(value, dict):
        return {key: unshared(part) for key, part in value.items()}
    return [unshared(part) for part in value] if isinstance(value, list) else copy.deepcopy(value)


def assign(tree: dict[str, Any], settings: list[str], kind: Kind = RUN) -> dict[str, Any]:
    """A copy of `tree` with each of `settings` ("a.b=c", "a.list.0.b=c") in it; values are YAML."""
    tree = spelled_out(copy.deepcopy(tree), kind)
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path.strip():
            raise UserError(f"--set takes a.b=value, not {setting!r}")
        keys = path.strip().split(".")
        parsed = parse(f"value: {text}", f"--set {setting}")
        if list(parsed) != ["value"]:
            raise UserError(f"--set {setting}: that is more than one value")
        value = parsed["value"]
        if keys == ["preset"]:
            preset(str(value), kind)
        if isinstance(value, dict):
            refuse_partial(value, f"--set {setting}", kind, keys, tree)
        number = next((i for i, key in enumerate(keys) if _is_index(key)), None)
        if number is not None:  # a list is kept whole, so the change goes into a copy of it
            whole = _get(merge(preset(tree.get("preset", "tiny"), kind), tree), keys[:number])
            if not isinstance(whole, list):
                raise UserError(f"--set {setting}: {'.'.join(keys[:number])} is not a list")
            _put(tree, keys[:number], copy.deepcopy(whole), setting)
        _put(tree, keys, value, setting)
        tree = spelled_out(tree, kind)
    return tree


def spelled_out(tree: Tree, kind: Kind) -> Tree:
    """`crop: none` of a run as the setting that it is short for, so that the other settings of the section stay those of the preset."""
    return tree | {name: dict(short) for name, short in NONE.items() if tree.get(name) == "none"} if kind is RUN else tree


def refuse_partial(value: Tree, source: str, kind: Kind, at: Sequence[str] = (), tree: Tree | None = None) -> None:
    """Raise UserError where `value` gives only a part of a section that must be complete; a preset would fill in the rest silently.

    `value` is a tree of settings, or with `at` what the tree of settings `tree` gets at that path.
    """
    try:
        types = kind.type_of(value if tree is None else tree)
    except UserError:  # `check_kind` reports it
        return
    for path, section in _complete_sections(types):
        part = _get(value, path[len(at) :]) if path[: len(at)] == list(at) else None
        if not isinstance(part, dict):
            continue
        fields = section.model_fields
        missing = [name for name, field in fields.items() if field.is_required() and name not in part]
        if missing and part.keys() <= fields.keys():  # `check_kind` names a key that is misspelt
            raise UserError(f"{source}: the setting {'.'.join(path)}.{missing[0]} is needed; {vars(section)['complete']}")


def _complete_sections(types: type[BaseModel], path: Sequence[str] = ()) -> Iterator[tuple[list[str], type[BaseModel]]]:
    """The sections that must be complete, with their paths."""
    for name, field in types.model_fields.items():
        section = section_of(field.annotation)
        if section is not None:
            if hasattr(section, "complete"):
                yield [*path, name], section
            yield from _complete_sections(section, [*path, name])


def _get(tree: Any, keys: list[str]) -> Any:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _is_index(key: str) -> bool:
    """Whether a part of a setting's path is a position in a list."""
    return key.isascii() and key.isdigit() and len(key) < 10


def _put(tree: Any, keys: list[str], value: Any, setting: str) -> None:
    for at, key in enumerate(keys):
        last = at == len(keys) - 1
        if not isinstance(tree, dict | list):
            raise UserError(f"--set {setting}: {'.'.join(keys[:at])} is one value, which has no {quoted(key)}")
        if isinstance(tree, list):
            if not _is_index(key):
                raise UserError(f"--set {setting}: {'.'.join(keys[:at])} is a list; give the number of one of its values, from 0")
            if int(key) >= len(tree):
                raise UserError(f"--set {setting}: there are only {len(tree)} in {'.'.join(keys[:at])}")
            if last:
                tree[int(key)] = value
            else:
                tree = tree[int(key)]
        elif last:
            tree[key] = value
        else:
            if not isinstance(tree.get(key), dict | list):
                tree[key] = {}
            tree = tree[key]


def check(tree: dict[str, Any], source: str = "the settings") -> Config:
    """The Config of a tree of settings on top of its preset; UserError names the key, the value and the nearest known key."""
    config = check_kind(spelled_out(tree, RUN), source, RUN)
    assert isinstance(config, Config)
    return config


def check_kind(tree: dict[str, Any], source: str, kind: Kind) -> BaseModel:
    """As `check`, for settings of any kind."""
    types = kind.type_of(tree)
    try:
        return types.model_validate(_with_home(merge(preset(str(tree.get("preset", "tiny")), kind), tree)))
    except ValidationError as error:
        raise UserError(f"{source}: {_sentence(error, types)}") from None


def _with_home(value: Any) -> Any:
    """Settings with the home folder in place of `~/` at the start of a text, which is then a path."""
    if isinstance(value, dict):
        return {key: _with_home(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_with_home(part) for part in value]
    return str(Path(value).expanduser()) if isinstance(value, str) and value.startswith("~/") else value


def _sentence(error: ValidationError, types: type[BaseModel]) -> str:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    where = ".".join(path)
    if first["type"] == "extra_forbidden":
        names = list(_fields(path[:-1], types))
        near = difflib.get_close_matches(path[-1], names, 1, 0.5)
        hint = f"did you mean {'.'.join([*path[:-1], near[0]])}?" if near else f"there are {', '.join(names)}"
        return f"there is no setting {where}; {hint}"
    if first["type"] == "missing":
        return f"the setting {where} is needed"
    if first["type"] == "model_type" and path:
        return f"{where} = {first['input']!r}: {_section_hint(path, first['input'], types)}"
    reason = first["msg"].removeprefix("Value error, ")
    reason = reason[0].lower() + reason[1:]
    return f"{where} = {first['input']!r}: {reason}" if where and first["type"] != "value_error" else reason


def _section_hint(path: list[str], value: Any, types: type[BaseModel]) -> str:
    """The way on where `value` stands in place of the section at `path`; some sections may have the word `none` there."""
    field = _fields(path[:-1], types).get(path[-1])
    may_be_none = (types is Config and ".".join(path) in NONE) or (field is not None and may_be_missing(field.annotation))
    if may_be_none and (value is None or value is False or difflib.get_close_matches(str(value).lower(), ["none", "off"], 1, 0.5)):
        return "did you mean none?"
    example = ".".join([*path, next(iter(_fields(path, types)))])
    return f"this is a section; give {'none, or ' if may_be_none else ''}its settings, such as {example}"


def _fields(path: list[str], part: type[BaseModel]) -> dict[str, Any]:
    """The fields of the section at `path`."""
    for key in path:
        if key.isdigit() or key not in part.model_fields:
            continue
        inner = section_of(part.model_fields[key].annotation)
        part = inner or part
    return part.model_fields

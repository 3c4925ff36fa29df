"""Settings of runs and of trainings: YAML files and assignments of --set; they are taken as they are, or UserError."""

import json
from dataclasses import dataclass
from typing import Any

import yaml
from hypothesis import strategies as st
from pydantic import BaseModel

from mals import settings
from mals.errors import UserError
from mals.settings import Kind
from pretrain.settings import TRAINING
from tests.fuzz.captions import check_sentence

KINDS = (settings.RUN, TRAINING)


def paths(value: Any, path: tuple[str, ...] = ()) -> list[str]:
    """Every path of a tree of settings, such as caption.captioners.0.model."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [".".join(path)] * bool(path) + [inner for key, part in items for inner in paths(part, (*path, str(key)))]


def known_paths(kind: Kind) -> list[str]:
    names = [name for name in settings.presets(kind) if name != "own"]  # of a method that is not there
    trees = [json.loads(settings.check_kind({"preset": name}, "", kind).model_dump_json()) for name in names]
    return sorted({path for tree in trees for path in paths(tree)})


PATHS = {kind: known_paths(kind) for kind in KINDS}
KEYS = {kind: sorted({key for path in PATHS[kind] for key in path.split(".")}) for kind in KINDS}
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**400),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["tiny", "mals", "none", "embedded", "fp32", "irra", "~/x", "os:system", "2026-01-01", "0x10", "1e400"]),
)
YAML = ["", "~", "[", "{", "[]", "{}", "!!python/object:os.system x", "&a [*a]", "*a", "- 1", "'", "%", "\t", "a: b: c", "9" * 5000, "1_0"]
raw_values = st.one_of(
    st.sampled_from(YAML),
    st.text(max_size=12),
    scalars.map(lambda value: yaml.safe_dump(value, default_flow_style=True).strip()),
)


@dataclass(frozen=True)
class Settings:
    """A YAML text, and assignments on top of it."""

    kind: Kind
    text: str
    assignments: list[str]


def trees(kind: Kind) -> st.SearchStrategy[Any]:
    """Trees with the names of settings in any place."""
    keys = st.one_of(st.sampled_from(KEYS[kind]), st.sampled_from(KEYS[kind]), scalars)
    top = st.one_of(st.sampled_from([path for path in PATHS[kind] if "." not in path]), keys)
    inner = st.recursive(
        scalars, lambda parts: st.one_of(st.lists(parts, max_size=3), st.dictionaries(keys, parts, max_size=3)), max_leaves=6
    )
    return st.dictionaries(top, inner, max_size=3)


@st.composite
def examples(draw: st.DrawFn) -> Settings:
    kind = draw(st.sampled_from(KINDS))
    tree = trees(kind).map(lambda value: yaml.dump(value, allow_unicode=True))
    text = draw(st.one_of(tree, tree, st.text(max_size=40), st.just("")))
    odd_path = st.one_of(st.text(max_size=10), st.from_regex(r"[a-z]{1,8}(\.[0-9a-z]{1,4}){0,3}", fullmatch=True))
    path = st.one_of(st.sampled_from(PATHS[kind]), st.sampled_from(PATHS[kind]), odd_path)
    assignment = st.one_of(st.builds("{}={}".format, path, raw_values), st.text(max_size=12))
    return Settings(kind, text, draw(st.lists(assignment, max_size=3)))


EXAMPLES = examples()


def check(example: Settings) -> None:
    """The settings are taken and keep what was assigned, or a sentence says what is wrong."""
    try:
        tree = settings.assign(settings.parse(example.text, "own.yaml"), example.assignments, example.kind)
        checked = settings.check_kind(tree, "own.yaml", example.kind)
    except UserError as error:
        check_sentence(error)
        return
    saved = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
    again: BaseModel = settings.check_kind(settings.parse(saved, "mals.yaml"), "mals.yaml", example.kind)
    assert repr(again) == repr(checked)  # NaN is not equal to itself

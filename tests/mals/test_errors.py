"""Exceptions cross processes: what a worker raises, its coordinator must be able to read."""

import ast
import importlib
import inspect
import pickle
from collections import Counter
from pathlib import Path

import pytest

from mals.errors import LONGEST, UserError

ROOT = Path(__file__).parent.parent.parent
SAMPLES = {"str": "what is wrong", "int": 3, "bool": False, "Counter[str]": Counter({"ValueError: dry": 2}), "list[str]": ["a", "b"]}


def exception_classes():
    """(module, name) of every exception class of the project, by the names of its bases."""
    classes = {}
    for file in sorted(file for package in ("mals", "pretrain", "cli") for file in (ROOT / package).rglob("*.py")):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                classes[module, node.name] = {base.id for base in node.bases if isinstance(base, ast.Name)}
    errors = {name for name, value in vars(__import__("builtins")).items() if inspect.isclass(value) and issubclass(value, BaseException)}
    exceptions, before = set(), -1
    while len(exceptions) > before:
        before = len(exceptions)
        exceptions |= {key for key, bases in classes.items() if bases & (errors | {name for _, name in exceptions})}
    return sorted(exceptions)


@pytest.mark.parametrize(("module", "name"), exception_classes())
def test_every_exception_is_the_same_after_a_journey_between_processes(module, name):
    kind = getattr(importlib.import_module(module), name)
    parameters = [] if kind.__init__ in (Exception.__init__, BaseException.__init__) else list(inspect.signature(kind).parameters.values())
    values = [SAMPLES.get(_text(p.annotation), "what is wrong") for p in parameters if p.kind == p.POSITIONAL_OR_KEYWORD]
    error = kind(*values or ["what is wrong"])
    copy = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(error))))
    assert (type(copy), str(copy), copy.args) == (type(error), str(error), error.args)
    assert {key: str(value) for key, value in vars(copy).items()} == {key: str(value) for key, value in vars(error).items()}


def _text(annotation):
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation).replace("collections.", "")


def test_a_message_is_one_printable_line_whatever_it_quotes() -> None:
    assert str(UserError("a\n  b\tc \x1b[31m \ud83d \u200b")) == r"a b c \x1b[31m \ud83d \u200b"
    assert str(UserError("plain  text — é")) == "plain  text — é"
    long = str(UserError("x" * 10_000 + "end"))
    assert len(long) < LONGEST and long.endswith("end")

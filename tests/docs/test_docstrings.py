"""The examples in docstrings run and show what they return."""

import doctest
import importlib

import pytest

from tests.docs.blocks import ROOT

MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("mals", "pretrain")
    for path in sorted((ROOT / package).rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_in_docstrings_run(module: str) -> None:
    results = doctest.testmod(importlib.import_module(module.removesuffix(".__init__")))
    assert results.attempted > 0 and results.failed == 0

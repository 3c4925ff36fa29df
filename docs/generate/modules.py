"""Every module with the first sentence of its docstring."""

import ast
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("mals", "pretrain", "cli", "benchmarks")


class NoDocstring(Exception):
    """A module that says nothing of itself."""


def page() -> Iterator[str]:
    """A table for each package."""
    yield "# Modules\n\nGenerated from the docstrings; [the tree](../tree.md) has the overview and the import rules.\n"
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    for folder, files in groupby(sorted(paths, key=lambda path: (path.parent, path.name)), key=lambda path: path.parent):
        rows = [f"| `{path.name}` | {summary(path)} |\n" for path in files if path.stat().st_size]
        if rows:
            yield f"\n## {folder.relative_to(ROOT)}\n\n| module | what it is |\n|---|---|\n{''.join(rows)}"


def summary(path: Path) -> str:
    """The first paragraph of a module's docstring, on one line."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if not text:
        raise NoDocstring(f"{path.relative_to(ROOT)} has no docstring")
    return " ".join(text.split("\n\n")[0].split()).replace("|", "\\|")

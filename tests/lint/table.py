"""Which test is of which module: the mirrored one, or a line of docs/tests.md. `python -m tests.lint.table` names what is missing."""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "tests.md"
PACKAGES = ("mals", "pretrain", "cli")


def modules() -> list[str]:
    """Every module with code of its own, as a path from the root."""
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return [
        str(path.relative_to(ROOT)) for path in paths if ast.parse(path.read_text(encoding="utf-8")).body[1:] or path.stem != "__init__"
    ]


def mirrored(module: str) -> str:
    """The test file of the same name at the same place."""
    path = Path(module)
    folder = path.parent.name if path.stem == "__init__" else path.stem.strip("_")
    parent = path.parent.parent if path.stem == "__init__" else path.parent
    return str("tests" / parent / f"test_{folder}.py")


def table() -> dict[str, list[str]]:
    """The lines of docs/tests.md: module -> its tests."""
    lines = re.findall(r"^\| `(\S+\.py)` \| (.+?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {module: re.findall(r"`(\S+?)`", tests) for module, tests in lines}


def complaints() -> list[str]:
    """What is missing or out of date."""
    lines, known, problems = table(), modules(), []
    for module in known:
        has_mirror = (ROOT / mirrored(module)).is_file()
        if not has_mirror and module not in lines:
            problems.append(
                f"{module} has no test {mirrored(module)} and no line in docs/tests.md; imported by {', '.join(importers(module))}"
            )
        if has_mirror and module in lines:
            problems.append(f"{module} has the test {mirrored(module)}; its line in docs/tests.md is not needed")
    for module, tests in lines.items():
        if module not in known:
            problems.append(f"docs/tests.md names {module}, which is not there")
        problems += [f"docs/tests.md names {test}, which is not there" for test in tests if not (ROOT / test).is_file()]
    return problems


def importers(module: str) -> list[str]:
    """The tests that name a module in an import or as a command."""
    dotted = module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    parent, _, name = dotted.rpartition(".")
    patterns = rf"\b{re.escape(dotted)}\b|from {re.escape(parent)} import [^\n]*\b{name}\b|\"{re.escape(dotted)}"
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(path.relative_to(ROOT)) for path in paths if re.search(patterns, path.read_text(encoding="utf-8"))]


if __name__ == "__main__":
    print(*complaints(), sep="\n")
    sys.exit(bool(complaints()))

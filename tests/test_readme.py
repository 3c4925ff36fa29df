"""The README says what is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_guarantee_has_a_test_of_its_name():
    named = re.findall(r"^- `(test_\w+)`", README, re.MULTILINE)
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) >= 14
    assert [name for name in named if f"def {name}(" not in tests] == []


def test_every_command_of_the_table_is_a_command_and_none_is_left_out():
    import typer

    from cli import main

    main.register()
    commands = typer.main.get_command(main.app).commands
    told = set(re.findall(r"^\| `mals (\w+)", README, re.MULTILINE))
    assert told == set(commands)


def test_every_file_of_the_packages_is_in_the_tree():
    tree = README.split("## The tree")[1]
    files = [path.name for folder in ("mals", "cli") for path in (ROOT / folder).glob("*.py") if path.name != "__init__.py"]
    assert [name for name in files if name not in tree] == []


def test_every_benchmark_that_is_named_is_there():
    for name in re.findall(r"python -m benchmarks\.(\w+)", README):
        assert (ROOT / "benchmarks" / f"{name}.py").is_file()

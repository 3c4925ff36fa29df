"""Commands that need no model load no model library; the command's own answers are quick."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Mals, environment
from tests.small.cells import small_run

HEAVY = ("torch", "transformers", "diffusers", "torchvision", "timm")
PROGRAM = f"""
import sys
sys.argv[0] = "mals"
from cli.main import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print("LOADED", [name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""


def loaded(*arguments: object, folder: Path) -> str:
    """The model libraries that a command loads, as a Python list."""
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    result = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=120)
    assert "LOADED" in result.stderr, result.stderr
    return result.stderr.rsplit("LOADED ", 1)[1].strip()


def test_importing_mals_loads_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys, mals; mals.plan, mals.Run, mals.run_stages, mals.pack, mals.Labeller, mals.load_space, mals.load_scorer\n"
    code += f"print([name for name in {HEAVY!r} if name in sys.modules], mals.__version__)"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True)
    assert result.stdout.startswith("[] 0.")


def test_planning_with_a_model_loads_no_model_library(tmp_path: Path) -> None:
    assert loaded("init", tmp_path / "run", "--count", 8, folder=tmp_path) == "[]"
    assert loaded("status", tmp_path / "run", folder=tmp_path) == "[]"
    (tmp_path / "captions.txt").write_text("a man in a red coat\na woman in a blue dress\n")
    assert loaded("plan", tmp_path / "two", "--captions", tmp_path / "captions.txt", folder=tmp_path) == "[]"
    assert loaded("models", tmp_path / "two", folder=tmp_path) == "[]"


@pytest.mark.parametrize("command", ["label", "pack", "status", "verify"])
def test_commands_on_a_run_load_no_model_library(command: str, tmp_path: Path) -> None:
    small_run(tmp_path / "run", rows=20)
    assert loaded(command, tmp_path / "run", folder=tmp_path) == "[]"


def test_explain_loads_no_model_library(tmp_path: Path) -> None:
    assert loaded("explain", "a man in a red coat", folder=tmp_path) == "[]"


def test_the_label_stage_loads_no_model_library(planned: Callable[..., Path], tmp_path: Path) -> None:
    folder = planned()
    assert loaded("run", folder, "-q", folder=tmp_path) == "[]", "the stages of tests.fakes have no models"


def test_the_version_is_printed(mals: Mals) -> None:
    result = mals("--version")
    assert result.returncode == 0 and result.stdout.startswith("mals ")


def test_help_is_printed_within_half_a_second_of_processor_time(mals: Mals) -> None:
    import resource

    def seconds() -> float:
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        assert mals("--help").returncode == 0
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        return min(wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)  # other processes do not count

    assert min(seconds() for _ in range(3)) < 0.5

"""What --json prints: JSON, whatever happens."""

import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.output import json_text
from tests.conftest import Mals, environment


def strict(text: str) -> Any:
    """The one JSON value in a text; NaN and Infinity are no JSON."""

    def refuse(name: str) -> None:
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


def test_numbers_that_json_does_not_have_become_null() -> None:
    value = {"a": math.nan, "b": [1.5, math.inf, (-math.inf,)], "c": {"d": "x"}, "e": 3}
    assert strict(json_text(value)) == {"a": None, "b": [1.5, None, [None]], "c": {"d": "x"}, "e": 3}
    other = {"path": Path("a/b"), "number": np.float32(0.5), "nan": np.float64("nan"), "whole": np.int64(3), "array": np.arange(2)}
    assert strict(json_text(other)) == {"path": "a/b", "number": 0.5, "nan": None, "whole": 3, "array": [0, 1]}
    assert json_text("\ud83d é").isascii()


@pytest.mark.parametrize(
    "words",
    [
        ["status", "nowhere"],
        ["plan", "run", "--captions", "none.txt"],
        ["evaluate", "nothing", "--data", "nowhere"],
        ["search", "nothing", "a man", "--data", "nowhere"],
        ["release", "nothing", "--to", "somewhere"],
        ["import", "pa100k", "nowhere", "--to", "somewhere"],
        ["status"],
        ["status", "run", "--no-such-option"],
        ["no-such-command"],
        ["search", "nothing", "--count", "many"],
    ],
)
def test_an_error_is_a_json_object_with_the_sentence(mals: Mals, words: list[str]) -> None:
    result = mals(*words, "--json")
    assert result.returncode == 2
    error = strict(result.stdout)
    assert list(error) == ["error"] and error["error"] and "Traceback" not in result.stderr


def test_failed_shards_are_a_json_object(mals: Mals, planned: Callable[..., Path]) -> None:
    result = mals("run", planned("run", "stages.generate=tests.fakes:mostly_failing"), "-q", "--json")
    assert result.returncode == 1 and "the brush is dry" in strict(result.stdout)["error"]


def test_an_error_of_the_program_is_a_json_object_beside_its_traceback(mals: Mals, planned: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import mals.grid.status\nmals.grid.status.status = lambda run: 1 / 0\n")
    root = environment()["PYTHONPATH"]
    result = mals("status", planned(), "--json", env={"PYTHONPATH": f"{tmp_path}:{root}"})
    assert result.returncode == 1 and "Traceback" in result.stderr
    assert strict(result.stdout) == {"error": "ZeroDivisionError: division by zero"}


def test_a_command_that_is_stopped_prints_a_json_object(planned: Callable[..., Path], tmp_path: Path) -> None:
    folder = planned("run", "stages.caption=tests.fakes:slow_captioner")
    words = [sys.executable, "-m", "cli.main", "run", str(folder), "-q", "--json"]
    with subprocess.Popen(words, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not list(folder.glob("crop/*.parquet")):
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 143 and "give the same command again" in strict(stdout)["error"]

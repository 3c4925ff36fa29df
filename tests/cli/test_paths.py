"""Paths that are not what a command needs, wherever it finds out: one sentence, exit code 2."""

import errno
import os
from pathlib import Path

import pytest

from cli.main import sentence
from tests.cli.test_bad_input import refused
from tests.conftest import Mals


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["plan", "file.txt", "--captions", "captions.txt"], "file.txt/mals.yaml: a part of this path is a file, not a folder"),
        (["status", "file.txt/run"], "file.txt/run/mals.yaml: a part of this path is a file, not a folder"),
        (["explain", "captions.txt", "-o", "folder.jsonl"], "folder.jsonl is a folder, not a file"),
    ],
)
def test_a_path_that_is_something_else_is_told_in_one_sentence(
    words: list[str], expected: str, mals: Mals, captions: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "file.txt").write_text("mine")
    assert refused(mals(*words)).endswith(expected)


@pytest.mark.parametrize(
    ("number", "path", "expected"),
    [
        (errno.ENOENT, "none/file", "there is no folder none"),
        (errno.ENOENT, "none", "there is no file or folder none"),
        (errno.EEXIST, "there", "there is there already"),
        (errno.EACCES, "mine", "you may not read or write mine"),
        (errno.ENOSPC, "full", "no space is left for full; free some and give the same command again, finished work is kept"),
        (errno.ENOSPC, None, "no space is left for a file; free some and give the same command again, finished work is kept"),
    ],
)
def test_an_error_of_the_system_about_a_path_becomes_a_sentence(number: int, path: str | None, expected: str) -> None:
    error = OSError(number, os.strerror(number), path) if path else OSError(number, os.strerror(number))
    assert sentence(error) == expected


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error", "x"), FileNotFoundError("a model"), PermissionError(1, "kill")])
def test_other_errors_of_the_system_stay_what_they_are(error: OSError) -> None:
    assert sentence(error) is None

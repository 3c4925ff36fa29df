"""Paths that are not what a command needs, wherever it finds out: one sentence, exit code 2."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.main import expand_home
from mals import settings
from mals.errors import system_error_sentence
from tests.cli.test_bad_input import refused
from tests.conftest import Mals, environment


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
        (errno.EROFS, "disc/file", "disc/file cannot be written: its file system can only be read"),
        (errno.ENAMETOOLONG, "x" * 300, f"a name is too long for the file system: {'x' * 60}..."),
        (errno.EIO, "file", "file cannot be read or written: input/output error"),
        (errno.EIO, None, "a file cannot be read or written: input/output error"),
        (errno.ENOSPC, "full", "no space is left for full; free some and give the same command again, finished work is kept"),
        (errno.ENOSPC, None, "no space is left for a file; free some and give the same command again, finished work is kept"),
    ],
)
def test_an_error_of_the_system_about_a_path_becomes_a_sentence(number: int, path: str | None, expected: str) -> None:
    error = OSError(number, os.strerror(number), path) if path else OSError(number, os.strerror(number))
    assert system_error_sentence(error) == expected


def test_an_error_without_a_number_stays_what_it_is() -> None:
    assert system_error_sentence(FileNotFoundError("a model")) is None
    assert system_error_sentence(OSError(errno.ENOENT, "Failed to open local file '/x'. Detail: [errno 2]")) == (
        "Failed to open local file '/x': no such file or directory"
    )


READ_ONLY = """
mount --bind {disc} {disc} && mount -o remount,bind,ro {disc} || exit 99
cd {folder}
while read -r words; do
    {mals} $words > /dev/null 2> message; code=$?
    [ $code = 2 ] && [ $(wc -l < message) = 1 ] || {{ echo "$words: exit $code: $(cat message)"; }}
    grep -q "disc.* cannot be written: its file system can only be read" message || {{ echo "$words: $(cat message)"; }}
done <<END
plan disc/new --captions captions.txt
run disc/run --quiet
pack disc/run
report disc/run
export disc/run --to disc/exported --format webdataset
explain captions.txt -o disc/labels.jsonl
explain captions.txt -o disc/labels.parquet
pretrain --preset tiny-irra --data disc/run --out disc/trained --set batch=8
END
"""


@pytest.mark.slow
def test_a_read_only_file_system_is_told_in_one_sentence_by_every_command(planned: Callable[..., Path], mals: Mals, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let users mount file systems")
    (tmp_path / "disc").mkdir()
    assert mals("run", planned("disc/run"), "--quiet").returncode == 0
    script = READ_ONLY.format(disc=tmp_path / "disc", folder=tmp_path, mals=f"{sys.executable} -m cli.main")
    done = subprocess.run(["unshare", "-rm", "bash", "-c", script], env=environment(), capture_output=True, text=True, timeout=300)
    assert (done.stdout, done.returncode) == ("", 0), done.stderr


HOMES = {  # an argument -> the same with the home folder /home/me
    "~/x": "/home/me/x",
    "-o~/x": "-o/home/me/x",
    "--out=~/x": "--out=/home/me/x",
    "--out=~": "--out=/home/me",
    "crop.model=~/x": "crop.model=/home/me/x",
    "--set=crop.model=~/x": "--set=crop.model=/home/me/x",
    "--set=crop.revision=~": "--set=crop.revision=~",  # null in YAML
    "crop.revision=~": "crop.revision=~",
    "a man near ~/": "a man near ~/",
    "--to=a~b": "--to=a~b",
    "x~/y": "x~/y",
}


def test_the_home_folder_stands_for_a_tilde_at_the_start_of_every_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert expand_home(list(HOMES)) == list(HOMES.values())


def test_a_tilde_in_options_and_in_settings_makes_no_folder_of_that_name(mals: Mals, captions: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "captions.txt").write_text("a man\n")
    space = 'attributes:\n  hat: {values: ["no", "yes"]}\n'
    (home / "space.yaml").write_text(space)
    env = {"HOME": str(home)}
    planned = mals("plan", "~/run", "--captions=~/captions.txt", "--set", "label.space=~/space.yaml", env=env)
    assert planned.returncode == 0 and (home / "run/plan/plan.json").is_file(), planned.stderr
    labelled = mals("explain", "~/captions.txt", "-o~/labels.jsonl", env=env)
    assert labelled.returncode == 0 and (home / "labels.jsonl").is_file(), labelled.stderr
    assert settings.check({"label": {"space": "~/space.yaml"}}).label.space == str(Path("~/space.yaml").expanduser())
    assert not list(tmp_path.glob("~*"))

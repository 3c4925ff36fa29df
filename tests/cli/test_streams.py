"""What commands print reaches terminals of any encoding, pipes that close, and streams that are closed: no traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Mals, environment

COMMAND = f"{sys.executable} -m cli.main"
CAPTION = "a man — in a naïve 👗 red coat"


def shell(script: str, folder: Path, **env: str) -> "subprocess.CompletedProcess[bytes]":
    words = ["bash", "-c", f"set -o pipefail; {script}"]
    return subprocess.run(words, cwd=folder, env=environment(MALS=COMMAND, **env), capture_output=True, timeout=120)


@pytest.mark.parametrize("env", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
def test_a_terminal_that_lacks_characters_gets_escapes(env: dict[str, str], mals: Mals, tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text(f"{CAPTION}\n", encoding="utf-8")
    for words in (["explain", CAPTION], ["explain", CAPTION, "--json"], ["explain", "c.txt"], ["plan", "run", "--captions", "c.txt"]):
        result = mals(*words, env=env)
        assert result.returncode == 0 and "Traceback" not in result.stderr, result.stderr
    assert '"caption": "a man \\u2014 in a na\\u00efve \\ud83d\\udc57 red coat"' in mals("explain", "c.txt", env=env).stdout


def test_bytes_of_the_shell_that_are_no_text_are_labelled_and_refused_as_a_path(tmp_path: Path, captions: Path) -> None:
    result = shell(r"$MALS explain $'a man \xff\xed in red'", tmp_path)
    assert result.returncode == 0 and b"upper_red" in result.stdout, result.stderr
    assert b"\x1b" not in shell(r"$MALS explain $'a man \x1b[31m in red'", tmp_path).stdout
    result = shell(rf"$MALS plan $'run\xff' --captions {captions.name}", tmp_path)
    assert result.returncode == 2 and b"holds bytes that are no UTF-8 text; rename it" in result.stderr
    assert result.stderr.count(b"\n") == 1


@pytest.mark.parametrize("words", ["explain c.txt", "explain 'a man'", "status run"])
def test_a_reader_that_has_seen_enough_and_closed_streams_cause_no_message(words: str, tmp_path: Path, captions: Path) -> None:
    from mals.planning.create import create

    create(tmp_path / "run", captions=captions)
    (tmp_path / "c.txt").write_text("a man in a red coat\n" * 3000)
    for redirection in ("| head -1", "| true", ">&- 2>&-"):
        result = shell(f"$MALS {words} {redirection}", tmp_path)
        assert result.stderr == b"" and result.returncode in (0, 1), (redirection, result.stderr)


def test_a_full_device_behind_stdout_is_told_in_one_sentence(tmp_path: Path) -> None:
    result = shell("$MALS explain 'a man in red' > /dev/full", tmp_path)
    assert result.returncode == 2 and result.stderr.startswith(b"no space is left for a file") and result.stderr.count(b"\n") == 1

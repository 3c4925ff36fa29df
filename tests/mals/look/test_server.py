"""The command: its address, and how it ends."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from mals.errors import UserError
from mals.look import server
from mals.look.server import listen
from tests.conftest import ROOT, Mals, environment
from tests.mals.look.serving import ask
from tests.pretrain.packs import packed
from tests.pretrain.releases import released
from tests.small import cells


def test_the_command_prints_its_address_and_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    cells.small_run(tmp_path / "run", 20)
    command = [sys.executable, "-m", "cli.main", "look", str(tmp_path / "run")]
    process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        assert ask(address).code == 200  # as soon as it is printed
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        process.wait(30)
        assert time.monotonic() - started < 10
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()


def test_ctrl_c_ends_it_at_once_while_a_page_is_being_made(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(cells.small_jpeg("a", 16, 32))
    command = [sys.executable, "-m", "cli.main", "look", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    try:
        address = process.stdout.readline().strip()
        assert ask(address).code == 200
        (tmp_path / "a.jpg").unlink()
        os.mkfifo(tmp_path / "a.jpg")  # whose reading does not end, as of a disk of the network that is gone
        answers: list[int] = []
        request = threading.Thread(target=lambda: answers.append(ask(f"{address}thumbnail/0.jpg").code), daemon=True)
        request.start()
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 128 + signal.SIGINT
        request.join(10)
        message = process.stderr.read()
        assert answers == [503] and "Traceback" not in message and "stopped" in message
    finally:
        process.kill()


def test_a_method_searches_and_ctrl_c_ends_it_while_images_are_embedded(tmp_path: Path) -> None:
    data = packed(tmp_path / "run", 40)
    out = released(tmp_path / "out", data)
    command = [sys.executable, "-m", "cli.main", "look", str(data), "--method", str(out)]
    for waits in (True, False):
        shutil.rmtree(data / ".mals", ignore_errors=True)
        process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stderr is not None
        try:
            address = process.stdout.readline().strip()
            until = time.monotonic() + 120
            while waits and time.monotonic() < until:
                with suppress(OSError):
                    if ask(f"{address}search?text=a+man+in+red").text.count("<figure") == 12:
                        break
                time.sleep(0.2)
            assert time.monotonic() < until
            process.send_signal(signal.SIGINT)
            process.wait(20)
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()


def test_what_cannot_be_shown_is_one_sentence_and_exit_code_2(mals: Mals, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run/mals.yaml").write_text("preset: tiny\n")
    method = mals("look", "empty", "--method", "nowhere")
    assert method.returncode == 2 and "Traceback" not in method.stderr
    for place, sentence in (("nothing", "there is no folder"), ("empty", "there is no image in it"), ("run", "has no finished plan")):
        result = mals("look", place)
        assert result.returncode == 2 and sentence in result.stderr and "Traceback" not in result.stderr


def test_reading_ahead_begins_after_the_first_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    answered, begun = threading.Event(), threading.Event()
    monkeypatch.setattr(server, "FIRST_PAGE", 60.0)
    monkeypatch.setattr(server, "warm", lambda source: begun.set())
    threading.Thread(target=server._warm, args=(None, answered), daemon=True).start()
    assert not begun.wait(0.2)
    answered.set()
    assert begun.wait(30)


def test_a_port_that_is_in_use_is_named() -> None:
    first = listen("127.0.0.1", 0)
    try:
        with pytest.raises(UserError, match="cannot be listened on at port"):
            listen("127.0.0.1", first.getsockname()[1])
    finally:
        first.close()

"""A training from a packed data set: it goes on after any end as if there had been none, on any number of processes."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from mals.errors import UserError
from tests.conftest import environment
from tests.pretrain.packs import rewritten
from tests.pretrain.trainings import TORCHRUN, command, here, lines, run, same_weights, started

STEPS = [*range(1, 25)]
ALIKE = ["dtype=fp32", "aptm.text.dropout=0"]  # what does not depend on the number of processes


@pytest.fixture(scope="module")
def calm(trainable: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training without interruption."""
    out = tmp_path_factory.mktemp("calm")
    here(trainable, out)
    return out


def test_a_training_tells_every_step_and_keeps_two_checkpoints(calm: Path) -> None:
    steps = lines(calm)
    assert [line["step"] for line in steps] == STEPS
    assert {"itc", "itm", "mlm", "iac", "iam", "mam"} <= set(steps[0]) and all(line["unreadable"] == 0 for line in steps)
    assert sorted(one.name for one in (calm / "checkpoints").iterdir()) == ["00000022", "00000024"]


@pytest.mark.slow
def test_a_training_that_was_killed_ends_with_the_same_weights(trainable: Path, calm: Path, tmp_path: Path) -> None:
    process = started(trainable, tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    again = run(trainable, tmp_path, "data.workers=1")
    assert again.returncode == 0, again.stderr
    assert same_weights(calm / "model.safetensors", tmp_path / "model.safetensors")
    assert [line["step"] for line in lines(tmp_path)] == STEPS


@pytest.mark.slow
def test_a_training_with_two_threads_has_the_same_bits_again(trainable: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):  # in the preset's own sizes: tensors so large that threads share them
        words = command(trainable, tmp_path / name, "steps=4", "log_every=4", "save_every=4", base=())
        done = subprocess.run(words, env=environment(OMP_NUM_THREADS="2"), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    assert same_weights(tmp_path / "one" / "model.safetensors", tmp_path / "two" / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, 1), (signal.SIGINT, 0)])
def test_a_training_that_is_asked_to_stop_keeps_the_step_and_goes_on(
    number: signal.Signals, workers: int, trainable: Path, calm: Path, tmp_path: Path
) -> None:
    process = started(trainable, tmp_path, f"data.workers={workers}")
    os.killpg(process.pid, number)
    messages = process.communicate(timeout=60)[1].splitlines()
    last = lines(tmp_path)[-1]["step"]
    assert process.returncode == 128 + number and 2 <= last < 24 and (tmp_path / f"checkpoints/{last:08d}").is_dir()
    shown = r"step \d+/24  loss \d+\.\d{3}  \d+\.\d images/s, \d+% waiting for data, [\d,]+ MB, 0:\d\d:\d\d left"
    assert all(re.fullmatch(shown, line) for line in messages if line.startswith("step "))
    assert [line for line in messages if not line.startswith("step ")] == [f"stopped after step {last} of 24; the same command goes on"]
    here(trainable, tmp_path)
    assert same_weights(calm / "model.safetensors", tmp_path / "model.safetensors")
    assert [line["step"] for line in lines(tmp_path)] == STEPS


@pytest.mark.slow
def test_two_processes_killed_and_then_stopped_and_then_one_have_the_losses_of_one(trainable: Path, tmp_path: Path) -> None:
    process = started(trainable, tmp_path / "two", *ALIKE, processes=2, step=4)
    for one in psutil.Process(process.pid).children(recursive=True):
        one.kill()
    process.communicate()
    assert process.returncode == 128 + signal.SIGKILL and not (tmp_path / "two/model.safetensors").exists()
    process = started(trainable, tmp_path / "two", *ALIKE, processes=2, step=10)
    process.terminate()
    messages = [line for line in process.communicate(timeout=60)[1].splitlines() if not line.startswith("step ")]
    assert process.returncode == 128 + signal.SIGTERM and re.fullmatch(
        r"stopped after step \d\d of 24; the same command goes on", *messages
    )
    here(trainable, tmp_path / "two", *ALIKE)
    here(trainable, tmp_path / "one", *ALIKE)
    one, two = lines(tmp_path / "one"), lines(tmp_path / "two")
    assert [line["step"] for line in two] == STEPS
    for name in ("itc", "itm", "mlm", "iac", "iam", "mam"):
        assert [line[name] for line in two] == pytest.approx([line[name] for line in one], abs=2e-4)


@pytest.mark.slow
def test_four_processes_that_were_killed_end_with_the_same_weights(trainable: Path, tmp_path: Path) -> None:
    more = ["steps=6", "dtype=fp32"]
    words, around = command(trainable, tmp_path / "calm", *more, processes=4), environment(GLOO_SOCKET_IFNAME="lo")
    assert subprocess.run(words, env=around, capture_output=True, timeout=300).returncode == 0
    process = started(trainable, tmp_path / "killed", *more, processes=4)
    os.kill(process.pid, signal.SIGKILL)  # the launcher alone: its processes end with it, and let go of the folder
    process.communicate()
    assert not (tmp_path / "killed/model.safetensors").exists()
    again = subprocess.run(command(trainable, tmp_path / "killed", *more, processes=4), env=around, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert same_weights(tmp_path / "calm/model.safetensors", tmp_path / "killed/model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("data.tokenizer=nowhere.txt", "there is no tokenizer nowhere.txt: no file or folder of that name"),
        ("batch=5", "a batch of 5 rows cannot be divided among 2 processes\n"),
        ("aptm.loss_weights.itc=1e38", "the loss itc is not finite at step 0"),
    ],
)
def test_several_processes_say_once_what_is_wrong(change: str, message: str, trainable: Path, tmp_path: Path) -> None:
    words = command(trainable, tmp_path / "out", change, processes=2)
    process = subprocess.run(words, env=environment(GLOO_SOCKET_IFNAME="lo"), capture_output=True, text=True, timeout=120)
    assert process.returncode == 2 and len(process.stderr.splitlines()) == 1, process.stderr
    assert process.stderr.startswith(message)


@pytest.mark.slow
def test_several_processes_that_evaluate_say_once_what_is_wrong(calm: Path, tmp_path: Path) -> None:
    words = [sys.executable, *TORCHRUN, "2", "-m", "cli.main", "evaluate", str(calm), "--data", str(tmp_path / "none")]
    process = subprocess.run(words, env=environment(GLOO_SOCKET_IFNAME="lo"), capture_output=True, text=True, timeout=120)
    assert process.returncode == 2 and process.stderr == f"there is no data set {tmp_path / 'none'}\n"


def test_a_training_in_tf32_is_one_in_fp32_on_a_cpu(trainable: Path, tmp_path: Path) -> None:
    for dtype in ("fp32", "tf32"):
        here(trainable, tmp_path / dtype, "steps=3", f"dtype={dtype}")
    assert same_weights(tmp_path / "fp32/model.safetensors", tmp_path / "tf32/model.safetensors")


@pytest.mark.slow
def test_processes_that_find_the_folder_taken_say_so_once(trainable: Path, tmp_path: Path) -> None:
    first = started(trainable, tmp_path)
    os.kill(first.pid, signal.SIGSTOP)
    words = command(trainable, tmp_path, processes=2)
    second = subprocess.run(words, env=environment(GLOO_SOCKET_IFNAME="lo"), capture_output=True, text=True, timeout=120)
    first.kill()
    first.communicate()
    assert second.returncode == 2
    assert second.stderr == f"{tmp_path} is being trained in by another process; wait for it, stop it, or give another --out\n"


def test_a_finished_training_is_left_as_it_is(trainable: Path, calm: Path) -> None:
    before = {file: file.read_bytes() for file in calm.iterdir() if file.is_file()}
    assert here(trainable, calm)["step"] == 24
    assert {file: file.read_bytes() for file in calm.iterdir() if file.is_file()} == before


def test_a_training_goes_on_with_the_same_rows_from_elsewhere_and_with_no_others(trainable: Path, calm: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(calm, out)
    shutil.copytree(trainable, tmp_path / "moved")
    before = (out / "origins.json").read_bytes()
    assert here(tmp_path / "moved", out)["step"] == 24 and (out / "origins.json").read_bytes() == before
    other = rewritten(tmp_path / "moved", lambda table: table.slice(1))
    with pytest.raises(UserError, match=r"out was started with other data \(\d+ rows then, \d+ now\); give those, or another --out$"):
        here(other, out)
    assert same_weights(calm / "model.safetensors", out / "model.safetensors")


@pytest.mark.slow
def test_two_trainings_do_not_share_a_folder(trainable: Path, tmp_path: Path) -> None:
    first = started(trainable, tmp_path)
    os.kill(first.pid, signal.SIGSTOP)  # it would be done before the second has begun
    second = run(trainable, tmp_path)
    assert (
        second.returncode == 2
        and second.stderr == f"{tmp_path} is being trained in by another process; wait for it, stop it, or give another --out\n"
    )
    first.kill()
    first.communicate()
    assert run(trainable, tmp_path).returncode == 0


def test_a_finished_method_without_its_checkpoints_is_not_overwritten(trainable: Path, calm: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(calm, tmp_path / "out"))
    shutil.rmtree(out / "checkpoints")
    before = {file.name: file.read_bytes() for file in out.iterdir() if file.name != ".lock"}
    with pytest.raises(UserError, match="holds a finished method, and none of its checkpoints"):
        here(trainable, out)
    assert {file.name: file.read_bytes() for file in out.iterdir() if file.name != ".lock"} == before


def test_a_training_that_kept_no_step_may_begin_with_other_captions(trainable: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="steps, and the training has"):
        here(trainable, tmp_path, "optimizer.warmup=30")
    before = (tmp_path / "tokenizer.json").read_bytes()
    here(trainable, tmp_path, "steps=2", "data.vocabulary=60")
    assert (tmp_path / "tokenizer.json").read_bytes() != before

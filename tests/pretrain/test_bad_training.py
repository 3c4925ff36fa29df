"""What a training is given and cannot use, or what goes wrong under it: one sentence each, and nothing lost."""

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest
import torch

from cli.pretrain import training_settings
from mals.errors import UserError
from pretrain import checkpoint
from pretrain.data.loader import ImageTextPairs, Loader
from pretrain.data.tokenizers import WordPiece
from pretrain.data.tokenizers.vocabulary import train_vocabulary
from pretrain.memory import explain_out_of_memory
from pretrain.method import Batch, DataNeeds
from pretrain.methods.aptm.method import Aptm
from pretrain.schedule import groups
from pretrain.train import Loop, train
from tests.conftest import environment
from tests.pretrain.methods.aptm.test_method import settings, small
from tests.pretrain.packs import rewritten
from tests.pretrain.trainings import SETS, command, here, lines, run, same_weights

FULL_DISK = """
set -u
mount -t tmpfs -o size=$1 none {out}
{command} 2> {stderr}; echo $? >> {codes}
ls {out}/checkpoints > {kept}
mount -o remount,size=200m {out}
{command} 2>> {stderr}; echo $? >> {codes}
cp {out}/model.safetensors {weights}
"""

Change = Callable[[pa.Table], pa.Table]


@pytest.fixture
def changed(trainable: Path, tmp_path: Path) -> Callable[[Change], Path]:
    """The shared data set, with its tables changed."""

    def make(change: Change) -> Path:
        return rewritten(Path(shutil.copytree(trainable, tmp_path / "data")), change)

    return make


def put(table: pa.Table, name: str, row: int, value: Any) -> pa.Table:
    """A table with one value changed; a dictionary changes a part of a struct."""
    at = table.schema.get_field_index(name)
    values = table[name].to_pylist()
    values[row] = {**values[row], **value} if isinstance(value, dict) else value
    return table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop_columns(["attributes"]), r"has no attribute labels, which the losses iac, iam, mam and sentences need"),
        (lambda table: put(table, "attributes", 1, {"gender": 3}), r"the label of gender in row 1 is 3, not -1, 0 or 1"),
        (lambda table: table.drop_columns(["caption"]), r"has no captions, which "),
        (lambda table: put(table, "caption", 1, " "), r"1 of \d+ rows have no caption"),
        (lambda table: table.slice(0, 0), r"is empty: its split train has no row"),
        (lambda table: table.slice(0, 5), r"a batch of 16 rows is more than the \d+ rows of the data"),
    ],
)
def test_data_that_do_not_serve_are_refused(change: Change, message: str, changed: Callable[[Change], Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        here(changed(change), tmp_path / "out")


def test_data_without_labels_serve_the_other_losses(changed: Callable[[Change], Path], tmp_path: Path) -> None:
    data = changed(lambda table: table.drop_columns(["attributes"]))
    without = [f"aptm.loss_weights.{name}=0" for name in ("mlm", "iac", "iam", "mam")]
    here(data, tmp_path / "out", "steps=2", *without)
    assert {"itc", "itm"} <= set(lines(tmp_path / "out")[0]) and not {"mlm", "iac", "iam", "mam"} & set(lines(tmp_path / "out")[0])


@pytest.mark.parametrize("workers", [0, 1])
def test_pictures_that_cannot_be_read_are_named_and_counted(
    workers: int, changed: Callable[[Change], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = changed(lambda table: put(table, "image", 2, {"bytes": table["image"][2].as_py()["bytes"][:300]}))
    files = len(list((data / "data").iterdir()))
    here(data, tmp_path / "out", "steps=4", f"data.workers={workers}")
    assert lines(tmp_path / "out")[-1]["unreadable"] == files
    assert caplog.text.count("row 2: the image cannot be read") == files


def test_the_command_ends_with_one_sentence_and_code_2(trainable: Path, tmp_path: Path) -> None:
    here(trainable, tmp_path, "steps=2")
    for sets, message in {
        ("aptm.proj=32",): "the checkpoint is of other settings: aptm.proj (96 then, 32 now)",
        ("aptm.loss_weights.mml=1",): "did you mean aptm.loss_weights.mlm?",
    }.items():
        ended = run(trainable, tmp_path, "steps=2", *sets)
        assert ended.returncode == 2 and ended.stderr.count("\n") == 1 and message in ended.stderr


def test_more_gpus_than_there_are_is_refused(trainable: Path, tmp_path: Path) -> None:
    words = [*command(trainable, tmp_path), "--gpus", str(torch.cuda.device_count() + 2)]
    ended = subprocess.run(words, env=environment(), capture_output=True, text=True)
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1 and "this machine has" in ended.stderr


def test_a_warm_up_longer_than_the_training_is_refused(trainable: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^optimizer\.warmup is 50 steps, and the training has 24; a share below 1 fits any number$"):
        here(trainable, tmp_path, "optimizer.warmup=50")


def loop_of(method: Aptm, optimizer: torch.optim.Optimizer, clip: float | None = None) -> Loop:
    """Ten steps of a small method."""
    config = settings(data={"height": 64, "width": 32}, aptm={"vision": {"window": 4}}, optimizer={"clip": clip})
    return Loop(config, method, optimizer, Path(), 10, 10, torch.device("cpu"))


@pytest.mark.parametrize("fused", [True, False])
def test_a_loss_that_is_no_number_stops_before_the_update(fused: bool) -> None:
    method, batch = small()
    optimizer = torch.optim.AdamW(groups(method, (), rate=1.0, decay=0.1), fused=fused)
    loop = loop_of(method, optimizer)
    loop.settle(loop.step(6, batch), at_once=True)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    moments = {key: {name: value.clone() for name, value in state.items()} for key, state in optimizer.state.items()}
    loop.settle(loop.step(7, replace(batch, images=batch.images * torch.nan)), at_once=False)
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert all(torch.equal(value, moments[key][name]) for key, state in optimizer.state.items() for name, value in state.items())
    message = r"^the loss itc, itm, mlm, iac, iam, mam is not finite at step 7; nothing was updated"
    with pytest.raises(UserError, match=message):
        loop.save(8)  # nothing is kept before it is known
    with pytest.raises(UserError, match=message):  # else the next step says so
        loop.settle(loop.step(8, batch), at_once=False)


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_gradient_that_is_no_number_is_not_applied(clip: float | None) -> None:
    method, batch = small()
    loop = loop_of(method, torch.optim.AdamW(groups(method, (), rate=1.0, decay=0.1), fused=True), clip)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    method.temp.register_hook(lambda gradient: gradient * torch.inf)
    report = loop.step(3, batch)
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    with pytest.raises(
        UserError, match=r"^the gradient is not finite at step 3; nothing was updated: in another --out, lower optimizer\.lr"
    ):
        loop.settle(report, at_once=True)


class Epochs:
    """A watcher that notes the steps after which it is called."""

    def begin(self, method: Any, tokenizer: Any, here: torch.device, per_epoch: int, start: int, steps: int) -> None:
        self.per_epoch, self.seen = per_epoch, list[int]()

    def after(self, step: int) -> None:
        self.seen.append(step)

    def end(self) -> dict[str, Any]:
        return {}


def test_a_loss_that_is_no_number_at_the_end_of_an_epoch_is_told_before_the_epochs_weights_are_kept(
    trainable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher, forward = Epochs(), Aptm.forward

    def broken(method: Aptm, batch: Batch, step: int) -> dict[str, torch.Tensor]:
        return {name: loss * (torch.nan if step + 1 == watcher.per_epoch else 1) for name, loss in forward(method, batch, step).items()}

    monkeypatch.setattr(Aptm, "forward", broken)
    config = training_settings("tiny", None, [*SETS, "save_every=100", "log_every=100"])
    with pytest.raises(UserError, match=r"is not finite at step \d+; nothing was updated"):
        train(config, [str(trainable)], tmp_path, "cpu", watcher)
    assert watcher.seen == [*range(watcher.per_epoch)]


@pytest.mark.slow
def test_a_rate_that_is_too_high_ends_with_the_step_and_the_loss(trainable: Path, tmp_path: Path) -> None:
    ended = run(trainable, tmp_path, "optimizer.lr=1e30", "dtype=fp32", "data.workers=1")
    message = [line for line in ended.stderr.splitlines() if not line.startswith("step ")]
    assert ended.returncode == 2 and len(message) == 1, ended.stderr
    assert re.match(
        r"the (loss .*itc.*|gradient) is not finite at step \d+; nothing was updated: in another --out, lower optimizer\.lr", message[0]
    )
    assert all(-1e30 < line["loss"] < 1e30 for line in lines(tmp_path))


def test_weights_that_are_no_numbers_any_more_are_not_kept(trainable: Path, tmp_path: Path) -> None:
    message = r"^the weights are not finite after step 1; they are not kept: in another --out, lower optimizer\.lr"
    with pytest.raises(UserError, match=message):
        here(trainable, tmp_path, "optimizer.lr=1e45", "optimizer.warmup=0", "dtype=fp32", "save_every=1")
    assert not (tmp_path / "checkpoints").exists() and not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:125] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
    ],
)
def test_memory_that_runs_out_is_told_with_what_to_lower(
    error: Exception, trainable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Aptm, "forward", fail)
    with pytest.raises(UserError, match=r"^memory ran out; set data\.micro_batch, or checkpointing=true, or lower batch$"):
        here(trainable, tmp_path)


def test_memory_that_really_runs_out_is_told_so() -> None:
    with pytest.raises(UserError, match="memory ran out; take less"), explain_out_of_memory("take less"):
        torch.empty(1 << 60)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes"), explain_out_of_memory("take less"):
        raise RuntimeError("shapes differ")


@pytest.mark.parametrize("at_once", [True, False])
def test_a_worker_that_was_killed_is_told_so(at_once: bool, trainable: Path) -> None:
    """With batches on their way, whose memory was the worker's to hand over, and without."""
    pairs = ImageTextPairs.open([trainable])
    loader = Loader(pairs, WordPiece.of(train_vocabulary(pairs.captions(), 200)), DataNeeds(), batch=8, seed=1, workers=1)
    message = r"^a process that reads images was killed, most likely because memory ran out; lower data\.workers"
    with pytest.raises(UserError, match=message), explain_out_of_memory("take less"):
        for _ in loader:
            time.sleep(0 if at_once else 0.3)
            for worker in loader._loader._iterator._workers:  # type: ignore[union-attr]
                psutil.Process(worker.pid).send_signal(signal.SIGKILL)


def torn(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_a_torn_checkpoint_is_passed_over_for_the_one_before(
    name: str, trainable: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here(trainable, tmp_path / "calm", "steps=6")
    shutil.copytree(tmp_path / "calm", tmp_path / "torn")
    torn(tmp_path / "torn/checkpoints/00000006" / name)
    (tmp_path / "torn/model.safetensors").unlink()
    here(trainable, tmp_path / "torn", "steps=6", "save_every=1")
    message = caplog.text
    assert "00000006 is damaged (" in message and "resumes from step 4" in message
    assert same_weights(tmp_path / "calm/model.safetensors", tmp_path / "torn/model.safetensors")
    assert [one.name for one in sorted((tmp_path / "torn/checkpoints").iterdir())] == ["00000005", "00000006"]


def test_a_training_whose_checkpoints_are_all_torn_is_not_begun_anew(trainable: Path, tmp_path: Path) -> None:
    here(trainable, tmp_path, "steps=4")
    for folder in (tmp_path / "checkpoints").iterdir():
        torn(folder / "model.safetensors")
    with pytest.raises(UserError, match=r"00000004 is damaged .* remove .*checkpoints to start again$"):
        here(trainable, tmp_path, "steps=4")


def test_a_later_damaged_checkpoint_does_not_outlive_what_is_saved_before_it(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    for step in (2, 4, 6, 8):
        checkpoint.save(tmp_path, step, checkpoint.state(layer, optimizer), {})
    for step in (8, 6):
        shutil.copytree(tmp_path / "checkpoints/00000008", tmp_path / "checkpoints/00000009", dirs_exist_ok=True)
        torn(tmp_path / f"checkpoints/{step:08d}/model.safetensors")
    checkpoint.save(tmp_path, 3, checkpoint.state(layer, optimizer), {})
    last = checkpoint.latest(tmp_path)
    assert last is not None and last.step == 3 and not last.damaged


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_full_disk_ends_with_a_sentence_and_the_training_goes_on_with_room(processes: int, trainable: Path, tmp_path: Path) -> None:
    """Of several processes the first one alone writes: all end together, and one says why."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a tmpfs of their own")
    here(trainable, tmp_path / "calm", "steps=6")
    weights = tmp_path / "calm/checkpoints/00000006"
    each = sum(file.stat().st_size for file in weights.iterdir())
    places = {name: tmp_path / name for name in ("out", "stderr", "codes", "kept", "weights")}
    places["out"].mkdir()
    words = " ".join(f"'{word}'" for word in command(trainable, places["out"], "steps=6", processes=processes))
    script = FULL_DISK.format(command=words, **places).replace("$1", str(each * 3 // 2))
    subprocess.run(["unshare", "-rm", "bash", "-c", script], env=environment(GLOO_SOCKET_IFNAME="lo"), check=True, timeout=300)
    message = [line for line in places["stderr"].read_text().splitlines() if not line.startswith("step ")]
    assert places["codes"].read_text().split() == ["2", "0"], message
    assert len(message) == 1 and "no space is left for" in message[0]
    assert places["kept"].read_text().split() == ["00000002"]
    if processes == 1:  # other ranks have other dropout
        assert same_weights(tmp_path / "calm/model.safetensors", places["weights"])

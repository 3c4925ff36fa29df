"""RDE beside its authors' vectors: the division of rows, wrong pairs, captions without words, and trainings that divide."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mals.errors import UserError
from pretrain import settings
from pretrain.build import open_pairs, prepare
from pretrain.config import Training
from pretrain.data.rows import ImageTextPairs
from pretrain.method import Batch, Text
from pretrain.methods.rde import Mixture, Rde, clean, divide
from pretrain.train import Stopped, train
from tests.conftest import ROOT, Mals, environment
from tests.pretrain.trainings import TORCHRUN, same_weights

SETS = [
    "data.height=64",
    "data.width=32",
    "rde.vision.channels=64",
    "rde.vision.layers=2",
    "rde.text.channels=64",
    "rde.text.layers=2",
    "rde.embed=32",
    "rde.tse.embed=48",
    "rde.tse.hidden=24",
    "batch=8",
    "epochs=3",
    "save_every=1",
    "log_every=1",
]


def config(*sets: str) -> Training:
    return settings.check(settings.assign({"preset": "tiny-rde"}, [*SETS, *sets]))


def words(data: Path, out: Path, *sets: str) -> list[str]:
    flags = [word for one in (*SETS, *sets) for word in ("--set", one)]
    return ["pretrain", "--preset", "tiny-rde", "--data", str(data), "--out", str(out), *flags]


@pytest.fixture(scope="module")
def calm(trainable: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training."""
    out = tmp_path_factory.mktemp("rde") / "out"
    train(config(), [str(trainable)], out, "cpu")
    return out


def confident(out: Path, step: int) -> Tensor:
    return load_file(out / f"checkpoints/{step:08d}/model.safetensors")["confident"]


def test_rows_of_high_losses_are_not_clean() -> None:
    low, high = np.linspace(0.0, 0.2, 80), np.linspace(0.6, 0.9, 20)
    values = np.concatenate([low, high]) * 7 + 3
    assert clean(values, Mixture()).tolist() == [True] * 80 + [False] * 20


def test_where_all_rows_are_clean_the_worst_hundredth_is_not() -> None:
    values = np.concatenate([np.linspace(0.3, 0.4, 300), [0.3, 0.9]])
    values[-2:] = 0.9, 0.91
    some = clean(values, Mixture(floor=10.0))  # so wide that the lower component has all
    assert (~some).sum() == 302 // 100 + 1 and not some[-2:].any()


@pytest.mark.parametrize("values", [np.zeros(0), np.array([0.3]), np.full(9, 0.3)])
def test_rows_without_differences_are_clean(values: np.ndarray) -> None:
    assert clean(values, Mixture()).all()


def test_a_coin_decides_where_the_embeddings_disagree() -> None:
    one = np.array([0.0, 0.1, 0.05, 1.0, 0.9, 0.95] * 10)
    other = np.array([0.0, 1.0, 0.05, 1.0, 0.1, 0.95] * 10)
    coins = np.arange(60) % 4 < 2
    chosen = divide(np.stack([one, other]), coins, Mixture())
    agreed = (one > 0.5) == (other > 0.5)
    assert (chosen[agreed] == (one < 0.5)[agreed]).all() and (chosen[~agreed] == coins[~agreed]).all()


def batch_of(method: Rde, captions: list[list[int]], tokenizer: Any) -> Batch:
    width = max(map(len, captions))
    ids = torch.tensor([[*caption, *[tokenizer.pad] * (width - len(caption))] for caption in captions])
    mask = torch.arange(width) < torch.tensor([len(caption) for caption in captions])[:, None]
    rows = torch.arange(len(captions))
    torch.manual_seed(1)
    return Batch(rows=rows, persons=rows, images=torch.randn(len(captions), 3, 64, 32), text=Text(ids, mask))


@pytest.fixture
def prepared(trainable: Path, tmp_path: Path) -> Any:
    return prepare(config(), [str(trainable)], tmp_path)


def test_captions_without_words_are_embedded(prepared: Any) -> None:
    method, tokenizer = prepared.method, prepared.tokenizer
    start, end = tokenizer.start, tokenizer.end
    batch = batch_of(method, [[start, end], [start, 7, end], [start, *range(5, 30), end]], tokenizer)
    losses = method.train()(batch, 0)
    sum(losses.values()).backward()
    assert all(value.isfinite() for value in losses.values())
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in method.parameters())
    texts = method.eval().embed_text(batch.text)
    assert texts.isfinite().all() and texts.norm(dim=1).allclose(torch.ones(3))
    alone = method.embed_text(Text(batch.text.ids[:1, :2], batch.text.mask[:1, :2]))
    torch.testing.assert_close(alone, texts[:1])


def test_rows_that_are_not_confident_have_no_loss(prepared: Any) -> None:
    method, tokenizer = prepared.method, prepared.tokenizer
    batch = batch_of(method, [[tokenizer.start, *range(5, 9 + at), tokenizer.end] for at in range(4)], tokenizer)
    rows = method.eval().row_losses(batch)
    for loss in ("tal", "sdm"):
        method.own = method.own.model_copy(update={"loss": loss})
        rows = method.row_losses(batch)
        for kept in ([True, False, True, True], [False] * 4):
            method.confident[:4] = torch.tensor(kept)
            weights = torch.tensor(kept).float()
            for name, value in method(batch, 0).items():
                total = (rows[name] * weights).sum() / (1 if loss == "tal" else weights.sum().clamp(min=1))
                torch.testing.assert_close(value, total)


def test_a_training_divides_its_rows_before_every_epoch(calm: Path) -> None:
    per_epoch = int(max(path.name for path in (calm / "checkpoints").iterdir())) // 3
    last = confident(calm, 3 * per_epoch)
    assert last.dtype == torch.bool and len(last) > 8 * per_epoch and 0 < (~last).sum() < len(last)
    assert "confident" not in load_file(calm / "model.safetensors")


def test_without_ccd_no_row_is_looked_at(trainable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(self: Rde, epoch: int, batches: Callable[[], Iterable[Batch]]) -> None:
        before(self, epoch, lambda: pytest.fail("it looks"))

    before = Rde.before_epoch
    monkeypatch.setattr(Rde, "before_epoch", look)
    train(config("rde.ccd=false", "epochs=1"), [str(trainable)], tmp_path, "cpu")
    last = max((tmp_path / "checkpoints").iterdir())
    assert confident(tmp_path, int(last.name)).all()


def test_a_training_that_stops_within_an_epoch_has_the_same_bits(
    trainable: Path, calm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Rde.forward

    def stopping(self: Rde, batch: Batch, step: int) -> Any:
        if step == 7:
            os.kill(os.getpid(), signal.SIGTERM)
        return forward(self, batch, step)

    monkeypatch.setattr(Rde, "forward", stopping)
    with pytest.raises(Stopped):
        train(config(), [str(trainable)], tmp_path, "cpu")
    monkeypatch.setattr(Rde, "forward", forward)
    train(config(), [str(trainable)], tmp_path, "cpu")
    last = max((calm / "checkpoints").iterdir()).name
    for name in ("model", "optimizer"):
        assert same_weights(calm / f"checkpoints/{last}/{name}.safetensors", tmp_path / f"checkpoints/{last}/{name}.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_divide_the_rows_as_one_does(trainable: Path, tmp_path: Path, processes: int) -> None:
    still = ("epochs=1", "optimizer.lr=0", "rde.tse.lr=0")
    train(config(*still), [str(trainable)], tmp_path / "one", "cpu")
    command = [sys.executable, *TORCHRUN, str(processes), "-m", "cli.main", *words(trainable, tmp_path / "many", *still)]
    done = subprocess.run(command, cwd=ROOT, env=environment(GLOO_SOCKET_IFNAME="lo"), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    last = int(max(path.name for path in (tmp_path / "one/checkpoints").iterdir()))
    one, many = (confident(tmp_path / name, last) for name in ("one", "many"))
    assert one.equal(many) and 0 < (~one).sum() < len(one)
    assert done.stderr.count(f"epoch 1: {one.sum()} of {len(one)} rows count") == 1


def test_wrong_pairs_are_drawn_kept_and_read_again(trainable: Path, tmp_path: Path) -> None:
    plain = open_pairs(config(), [str(trainable)])
    drawn = open_pairs(config("rde.noise_share=0.5", "rde.noise_seed=3"), [str(trainable)])
    assert 0.3 * len(plain) < different(plain, drawn) <= 0.5 * len(plain) + 1  # some rows have equal captions
    assert drawn.persons.equal(plain.persons)
    file = tmp_path / "noise.json"
    sets = (f"rde.noise={file}", "rde.noise_share=0.5", "rde.noise_seed=3")
    written = open_pairs(config(*sets), [str(trainable)])
    assert json.loads(file.read_text())["share"] == 0.5
    for pairs in (written, open_pairs(config(*sets), [str(trainable)]), open_pairs(config(sets[0]), [str(trainable)])):
        assert list(pairs.captions()) == list(drawn.captions())
    with pytest.raises(UserError, match=r"noise\.json was drawn with share 0\.5 and seed 3, not 0\.2 and 3; give those, or another file$"):
        open_pairs(config(sets[0], "rde.noise_share=0.2", sets[2]), [str(trainable)])


def different(one: ImageTextPairs, other: ImageTextPairs) -> int:
    return sum(first != second for first, second in zip(one.captions(), other.captions(), strict=True))


def test_an_order_that_does_not_fit_is_one_sentence(trainable: Path, tmp_path: Path, mals: Mals) -> None:
    (tmp_path / "noise.json").write_text('{"captions": [0, 1]}')
    done = mals(*words(trainable, tmp_path / "out", f"rde.noise={tmp_path / 'noise.json'}"))
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "noise.json is for 2 rows, and the training has " in done.stderr
    with pytest.raises(
        UserError, match=r"there is no file \S+none\.npy with an order of captions; with a share of wrong pairs above 0 it is drawn$"
    ):
        open_pairs(config(f"rde.noise={tmp_path / 'none.npy'}"), [str(trainable)])


def test_a_training_with_other_wrong_pairs_is_not_resumed(trainable: Path, tmp_path: Path) -> None:
    train(config("epochs=1", f"rde.noise={tmp_path / 'noise.json'}", "rde.noise_share=0.5"), [str(trainable)], tmp_path / "out", "cpu")
    order = json.loads((tmp_path / "noise.json").read_text())
    (tmp_path / "noise.json").write_text(json.dumps(order | {"captions": order["captions"][::-1]}))
    with pytest.raises(UserError, match=r"out was started with other data"):
        train(config("epochs=1", f"rde.noise={tmp_path / 'noise.json'}", "rde.noise_share=0.5"), [str(trainable)], tmp_path / "out", "cpu")

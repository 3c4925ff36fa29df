"""ITM on hard partners (PAB): the loss, trainings with it, and what is refused."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cli.pretrain import training_settings
from mals.errors import UserError
from pretrain.build import prepare
from pretrain.config import Training
from pretrain.data.loader import Loader
from pretrain.method import Batch
from pretrain.methods.aptm.method import Aptm
from pretrain.train import train
from tests.pretrain import packs
from tests.pretrain.trainings import PLAIN, SIZES, lines, same_weights

SETS = [
    *SIZES,
    *PLAIN,
    "batch=4",
    "log_every=1",
    "save_every=2",
    "data.workers=0",
    "dtype=fp32",
    "aptm.text.dropout=0",
    "aptm.vision.drop_path=0",
]
SETS += [f"aptm.loss_weights.{loss}=0" for loss in ("iac", "iam", "mam", "mlm")]
ON = "aptm.loss_weights.itm_partner=1"


@pytest.fixture(scope="module")
def pab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packs.pab(tmp_path_factory.mktemp("pab"))


def settings(*sets: str) -> Training:
    return training_settings("tiny", None, [*SETS, *sets])


def batch_of(pab: Path, out: Path, *sets: str) -> tuple[Aptm, Batch]:
    """The method and all rows as a batch."""
    out.mkdir()
    ready = prepare(settings(*sets), [str(pab)], out)
    assert isinstance(ready.method, Aptm)
    loader = Loader(ready.pairs, ready.tokenizer, ready.method.needs, batch=15, seed=1, transform=ready.transform)
    return ready.method.eval(), next(iter(loader))


@torch.no_grad()
def test_the_loss_is_the_mean_over_both_wrong_pairs_of_the_rows_that_have_a_partner(pab: Path, tmp_path: Path) -> None:
    method, batch = batch_of(pab, tmp_path / "out", ON)
    assert batch.partner_images is not None and batch.partner_text is not None and batch.partnered is not None
    logits = [
        method.match(method.states(text), text.mask, method.keys(images))[batch.partnered]
        for images, text in ((batch.images, batch.partner_text), (batch.partner_images, batch.text))
    ]
    assert int(batch.partnered.sum()) == 14
    expected = -torch.cat(logits).log_softmax(1)[:, 0].mean()  # class 0: no match
    assert method(batch, 0)["itm_partner"].item() == pytest.approx(expected.item(), abs=1e-5)
    weighed = replace(batch, weights=batch.partnered * torch.arange(15.0))
    each = -torch.stack(logits).log_softmax(2)[..., 0] * torch.arange(15.0)[batch.partnered]
    assert method(weighed, 0)["itm_partner"].item() == pytest.approx(each.mean().item(), abs=1e-4)


@torch.no_grad()
def test_without_its_weight_nothing_is_read_and_the_other_losses_are_the_same_to_the_bit(pab: Path, tmp_path: Path) -> None:
    method, batch = batch_of(pab, tmp_path / "on", ON)
    assert batch.partnered is not None
    terms, none = method(batch, 0), method(replace(batch, partnered=torch.zeros_like(batch.partnered)), 0)
    assert none["itm_partner"] == 0 and none["itm"] == terms["itm"]
    without, plain = batch_of(pab, tmp_path / "off")
    assert plain.partner_images is None and plain.partner_text is None and torch.equal(plain.images, batch.images)
    assert dict(without(plain, 0)) == {name: terms[name] for name in ("itc", "itm")}


def test_a_training_with_hard_partners_goes_on_to_the_same_weights(pab: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        train(settings(ON, "steps=4"), [str(pab)], tmp_path / "whole", "cpu")
    assert "14 of 15 rows have a hard partner" in caplog.text
    assert all(line["itm_partner"] > 0 for line in lines(tmp_path / "whole"))
    killed = Path(shutil.copytree(tmp_path / "whole", tmp_path / "killed"))
    shutil.rmtree(killed / "checkpoints" / "00000004")
    (killed / "model.safetensors").unlink()
    train(settings(ON, "steps=4"), [str(pab)], killed, "cpu")
    assert same_weights(killed / "model.safetensors", tmp_path / "whole" / "model.safetensors")


def test_data_without_partners_and_settings_that_make_them_wrong_are_refused(pab: Path, trainable: Path, tmp_path: Path) -> None:
    words = r"no image has its hard partner \(column hard_image\) .*, which the loss itm_partner needs \(give it the weight 0"
    with pytest.raises(UserError, match=f"{trainable}: {words}"):
        train(settings(ON, "steps=2"), [str(trainable)], tmp_path / "out", "cpu")
    with pytest.raises(UserError, match="recast can leave out of a caption what is wrong about a hard partner"):
        train(settings(ON, "steps=2", "data.wordings.recast=0.5"), [str(pab)], tmp_path / "out", "cpu")
    with pytest.raises(UserError, match="itm_partner shows wrong pairs alone and needs itm beside it"):
        settings(ON, "aptm.loss_weights.itm=0")

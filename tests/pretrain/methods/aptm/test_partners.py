"""Hard partners (PAB): the loader's batches of them, the loss, and trainings with it."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cli.pretrain import training_settings
from mals.errors import UserError
from pretrain.build import prepare
from pretrain.data.loader import Loader
from pretrain.data.rows import ImageTextPairs
from pretrain.datasets.importing import import_benchmark
from pretrain.method import Batch, Method
from pretrain.train import train
from tests.pretrain.datasets import layouts
from tests.pretrain.trainings import SIZES, lines, same_weights

SETS = [*SIZES, "batch=4", "log_every=1", "save_every=2", "data.workers=0", "dtype=fp32", "aptm.text.dropout=0", "aptm.vision.drop_path=0"]
SETS += [f"aptm.loss_weights.{loss}=0" for loss in ("iac", "iam", "mam", "mlm")]
ON = "aptm.loss_weights.itm_partner=1"


@pytest.fixture(scope="module")
def pab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A miniature of which one image is missing, so that its partner has none."""
    folder = tmp_path_factory.mktemp("pab")
    (layouts.pab(folder / "raw") / "train" / "imgs_10" / "full" / "3.jpg").unlink()
    import_benchmark("pab", folder / "raw", str(folder / "out"))
    return folder / "out"


def batch_of(pab: Path, out: Path, *sets: str) -> tuple[Method, Batch, ImageTextPairs]:
    out.mkdir()
    config = training_settings("tiny", None, [*SETS, *sets])
    ready = prepare(config, [str(pab)], out)
    loader = Loader(ready.pairs, ready.tokenizer, ready.method.needs, batch=15, seed=1, transform=ready.transform)
    return ready.method, next(iter(loader)), ready.pairs


def test_a_row_has_the_image_and_caption_of_its_partner_changed_as_its_own(pab: Path, tmp_path: Path) -> None:
    _, batch, pairs = batch_of(pab, tmp_path / "out", ON)
    assert batch.partnered is not None and batch.partner_images is not None and batch.partner_text is not None
    assert batch.partnered.sum() == 14  # of 15, one has no partner
    ids = [pairs.image_id(row) for row in batch.rows.tolist()]
    for at, name in enumerate(ids):
        alone = not bool(batch.partnered[at])
        assert alone == (name == "train/imgs_10/goal/3.jpg")
        assert torch.equal(batch.partner_images[at], batch.images[at]) == alone
        words = int(batch.text.mask[at].sum()), int(batch.partner_text.mask[at].sum())
        same = words[0] == words[1] and torch.equal(batch.text.ids[at, : words[0]], batch.partner_text.ids[at, : words[1]])
        assert same == alone


def test_the_loss_is_there_with_its_weight_alone_and_leaves_rows_without_partner_out(pab: Path, tmp_path: Path) -> None:
    method, batch, _ = batch_of(pab, tmp_path / "on", ON)
    terms = method.eval()(batch, 0)
    assert terms["itm_partner"] > 0
    assert batch.partnered is not None
    none = method(replace(batch, partnered=torch.zeros_like(batch.partnered)), 0)
    assert none["itm_partner"] == 0 and none["itm"] == terms["itm"]
    without, plain, _ = batch_of(pab, tmp_path / "off")
    assert plain.partner_images is None and plain.partner_text is None and "itm_partner" not in without.eval()(plain, 0)
    assert without(plain, 0)["itm"] == terms["itm"] and torch.equal(plain.images, batch.images)


def test_a_training_with_partners_goes_on_to_the_same_weights(pab: Path, tmp_path: Path) -> None:
    settings = training_settings("tiny", None, [*SETS, ON, "steps=4"])
    train(settings, [str(pab)], tmp_path / "whole", "cpu")
    assert all(line["itm_partner"] > 0 for line in lines(tmp_path / "whole"))
    killed = Path(shutil.copytree(tmp_path / "whole", tmp_path / "killed"))
    shutil.rmtree(killed / "checkpoints" / "00000004")
    (killed / "model.safetensors").unlink()
    train(settings, [str(pab)], killed, "cpu")
    assert same_weights(killed / "model.safetensors", tmp_path / "whole" / "model.safetensors")


def test_data_without_partners_and_partners_without_itm_are_refused(trainable: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="names no hard partner of an image: there is no column hard_image as PAB has it"):
        train(training_settings("tiny", None, [*SETS, ON, "steps=2"]), [str(trainable)], tmp_path / "out", "cpu")
    with pytest.raises(UserError, match="itm_partner shows wrong pairs alone and needs itm beside it"):
        training_settings("tiny", None, [*SETS, ON, "aptm.loss_weights.itm=0"])

"""Other wordings and wrong captions in trainings: negatives of ITC, ITM and SDM, the same on any number of ranks and after a kill."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mals.errors import UserError
from pretrain import methods
from pretrain import train as training
from pretrain.build import open_pairs, prepare
from pretrain.method import Batch, Method
from pretrain.settings import assign, check
from tests.pretrain.methods.small import CPU, NAMES, Small, drawn, measure, part, without_dropout
from tests.pretrain.methods.test_every_method import compare, end_early, finished, on_ranks, resume

TAKING = {"aptm": {"itc", "itm"}, "irra": {"sdm"}, "uit": {"sdm"}}  # methods that take wrong captions -> the losses that they change
VARIANTS = ["aptm+exchanged", "irra+exchanged", "uit+exchanged", "irra+wordings"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("wordings") / "world")


def first_batch(name: str, world: Path, out: Path, *sets: str) -> tuple[Method, Batch]:
    config = Small(name).config(*sets)
    out.mkdir(parents=True, exist_ok=True)
    prepared = prepare(config, [str(world)], out)
    return without_dropout(prepared.method).train(), next(iter(training._loader(config, prepared, out, CPU, 0)))


def losses(method: Method, batch: Batch) -> Mapping[str, torch.Tensor]:
    torch.manual_seed(0)
    return {name: loss.detach() for name, loss in method(batch, 0).items()}


@pytest.mark.parametrize("name", TAKING)
def test_wrong_captions_change_the_losses_that_they_are_negatives_of_and_without_them_nothing_changes(
    name: str, world: Path, tmp_path: Path
) -> None:
    method, batch = first_batch(f"{name}+exchanged", world, tmp_path)
    assert batch.negative is not None and batch.negated is not None and batch.negated.any()
    own, plain = losses(method, batch), losses(method, replace(batch, negative=None, negated=None))
    absent = losses(method, replace(batch, negated=torch.zeros_like(batch.negated)))
    for loss, value in plain.items():
        torch.testing.assert_close(absent[loss], value, rtol=1e-4, atol=1e-5)
        assert torch.isclose(own[loss], value, rtol=1e-5) == (loss not in TAKING[name]), loss


@pytest.mark.parametrize("sets", [("aptm.loss_weights.itm=0",), ("aptm.loss_weights.itc=0",)])
def test_one_loss_of_aptm_takes_them_alone(sets: tuple[str, ...], world: Path, tmp_path: Path) -> None:
    method, batch = first_batch("aptm+exchanged", world, tmp_path, *sets)
    own, plain = losses(method, batch), losses(method, replace(batch, negative=None, negated=None))
    assert [loss for loss, value in plain.items() if not torch.isclose(own[loss], value)] == (["itc"] if "itm" in sets[0] else ["itm"])


def test_clean_captions_of_irra_have_clean_wrong_ones(world: Path, tmp_path: Path) -> None:
    method, batch = first_batch("irra+exchanged", world, tmp_path, "irra.clean_captions=true")
    assert method.needs.negatives == "clean" and batch.negative is not None
    masked, _ = first_batch("irra+exchanged", world, tmp_path / "masked")
    assert masked.needs.negatives == "masked"
    without, batch = first_batch("irra+exchanged", world, tmp_path / "unmasked", "irra.loss_weights.mlm=0")
    assert without.needs.negatives == "clean" and batch.masked is None and losses(without, batch)["sdm"].isfinite()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in TAKING])
def test_a_method_without_these_losses_refuses_wrong_captions(name: str, world: Path) -> None:
    with pytest.raises(UserError, match=r"data.wordings.exchanged = 0.5 .* takes none; set it to 0"):
        open_pairs(Small(name).config("data.wordings.exchanged=0.5"), [str(world)])


def test_masked_captions_of_uit_have_masked_wrong_ones(world: Path, tmp_path: Path) -> None:
    masked, batch = first_batch("uit+exchanged", world, tmp_path)
    assert masked.needs.negatives == "masked" and batch.negative is not None and batch.masked is not None and batch.negated is not None
    assert batch.negative.ids[~batch.negated].equal(batch.masked.ids[~batch.negated]) and not batch.masked.ids.equal(batch.text.ids)
    clean, batch = first_batch("uit+exchanged", world, tmp_path / "clean", "uit.mask_naming=0", "uit.mask_others=0")
    assert clean.needs.negatives == "clean" and batch.masked is None and losses(clean, batch)["sdm"].isfinite()


@pytest.mark.parametrize("name", ["irra+nam", "uit+nam"])
def test_masks_by_scores_take_no_wrong_captions(name: str, world: Path) -> None:
    with pytest.raises(UserError, match=r"sdm of irra and uit without noise_masking, and this training of .* takes none; set it to 0"):
        open_pairs(Small(name).config("data.wordings.exchanged=0.5"), [str(world)])


def test_wordings_that_change_nothing_are_refused(world: Path) -> None:
    with pytest.raises(UserError, match=r"data\.drawn draws captions, and this training of dpti reads none; set it to false"):
        open_pairs(Small("dpti").config("data.every=false", "data.drawn=true"), [str(world)])
    with pytest.raises(UserError, match="of dpti reads none; set its shares to 0"):
        open_pairs(Small("dpti").config("data.wordings.recast=0.5"), [str(world)])
    assert "dpti" in methods.METHODS
    tree = assign({"preset": "tiny-irra"}, ["data.wordings.composed=0.5"])
    assert open_pairs(check(tree), [str(world)]).labels is not None


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_method_that_reads_captions_trains_on_other_wordings(name: str, world: Path, tmp_path: Path) -> None:
    if name != "dpti":
        values = measure(f"{name}+wordings", world, tmp_path)
        assert all(value.isfinite().all() for step in (0, 50) for value in part(values, step, "gradients").values())


@pytest.mark.slow
def test_wordings_and_wrong_captions_give_any_number_of_ranks_the_same_losses(world: Path, tmp_path: Path) -> None:
    folders = [on_ranks(processes, world, tmp_path / str(processes), VARIANTS) for processes in (2, 4)]
    for name in VARIANTS:
        alone = measure(name, world, tmp_path / name)
        for folder in folders:
            compare(name, folder, alone)


@pytest.mark.slow
def test_a_killed_training_with_wordings_ends_with_the_same_bits(world: Path, tmp_path: Path) -> None:
    killed = end_early(world, tmp_path / "killed", VARIANTS)
    for name in VARIANTS:
        resume(name, world, finished(name, world, tmp_path / "calm"), killed / name)

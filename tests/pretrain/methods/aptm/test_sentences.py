"""The loss of sentences: one more question to the images, the same on any number of ranks and after a kill, and never released."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pretrain import checkpoint, trained_method
from pretrain.build import prepare
from pretrain.release import release
from tests.pretrain.methods.processes import end_early, on_ranks
from tests.pretrain.methods.small import Small, drawn, measure
from tests.pretrain.methods.test_every_method import compare, resume
from tests.pretrain.methods.test_wordings_of_methods import first_batch, losses
from tests.pretrain.trainings import same_weights

NAME = "aptm+sentences"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("sentences") / "world")


@pytest.fixture(scope="module")
def finished(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "training"
    Small(NAME).train(world, out)
    return out


def test_sentences_are_a_loss_beside_the_others_and_change_none_of_them(world: Path, tmp_path: Path) -> None:
    method, batch = first_batch(NAME, world, tmp_path / "training")
    own = losses(method, batch)
    assert own["sentences"] > 0
    method.sentences = None
    plain = losses(method, batch)
    assert own.keys() - plain.keys() == {"sentences"}
    for name, value in plain.items():
        torch.testing.assert_close(own[name], value, rtol=1e-4, atol=1e-5)


def test_micro_batches_give_the_loss_of_the_whole_batch(world: Path, tmp_path: Path) -> None:
    whole, micro = measure(NAME, world, tmp_path / "whole"), measure(f"{NAME}-micro", world, tmp_path / "micro")
    for name in whole:
        torch.testing.assert_close(micro[name], whole[name], rtol=1e-3, atol=1e-5)


def test_a_classifier_has_no_sentences_which_it_would_leave_untrained(world: Path, tmp_path: Path) -> None:
    method, batch = first_batch(NAME, world, tmp_path, "aptm.classifier=true")
    torch.stack(list(method(batch, 0).values())).sum().backward()
    assert not [name for name, one in method.named_parameters() if one.requires_grad and one.grad is None]


def test_a_release_has_nothing_of_the_loss_and_can_be_trained_on_without_it(finished: Path, world: Path, tmp_path: Path) -> None:
    kept = load_file(finished / "checkpoints/00000006" / checkpoint.MODEL)
    assert any(name.startswith("sentence_head.") for name in kept)
    release(str(finished), str(tmp_path / "released"), latest=True)
    assert not any("sentence" in name for name in load_file(tmp_path / "released" / checkpoint.MODEL))
    assert trained_method.read(str(tmp_path / "released")).method is not None
    start = str(tmp_path / "released" / checkpoint.MODEL)
    for name in ("aptm", NAME):
        (tmp_path / name).mkdir()
        prepare(Small(name).config(f"start={start}"), [str(world)], tmp_path / name)


@pytest.mark.slow
def test_the_loss_of_sentences_is_that_of_one_process(world: Path, tmp_path: Path) -> None:
    compare(NAME, on_ranks(2, world, tmp_path / "two", [NAME]), measure(NAME, world, tmp_path / "alone"))


@pytest.mark.slow
def test_a_killed_training_with_sentences_ends_with_the_same_bits(finished: Path, world: Path, tmp_path: Path) -> None:
    killed = end_early(world, tmp_path / "killed", [NAME])
    resume(NAME, world, finished, killed / NAME)
    assert same_weights(finished / checkpoint.MODEL, killed / NAME / checkpoint.MODEL)

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

NAMES = ["aptm+sentences", "irra+sentences"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("sentences") / "world")


@pytest.fixture(scope="module", params=NAMES)
def finished(request: pytest.FixtureRequest, world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    out = tmp_path_factory.mktemp("finished") / "training"
    Small(request.param).train(world, out)
    return request.param, out


@pytest.mark.parametrize("name", NAMES)
def test_sentences_are_a_loss_beside_the_others_and_change_none_of_them(name: str, world: Path, tmp_path: Path) -> None:
    method, batch = first_batch(name, world, tmp_path / "training")
    assert batch.sentences is not None and len(batch.sentences.ids) == 12 * len(batch.rows)
    own = losses(method, batch)
    assert own["sentences"] > 0
    method.sentence_head = None
    plain = losses(method, batch)
    assert own.keys() - plain.keys() == {"sentences"}
    for name, value in plain.items():
        torch.testing.assert_close(own[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_micro_batches_give_the_loss_of_the_whole_batch(name: str, world: Path, tmp_path: Path) -> None:
    whole, micro = measure(name, world, tmp_path / "whole"), measure(f"{name}-micro", world, tmp_path / "micro")
    for name in whole:
        torch.testing.assert_close(micro[name], whole[name], rtol=1e-3, atol=1e-5)


def test_a_classifier_has_no_sentences_which_it_would_leave_untrained(world: Path, tmp_path: Path) -> None:
    method, batch = first_batch("aptm+sentences", world, tmp_path, "aptm.classifier=true")
    torch.stack(list(method(batch, 0).values())).sum().backward()
    assert not [name for name, one in method.named_parameters() if one.requires_grad and one.grad is None]


def test_a_release_has_nothing_of_the_loss_and_is_trained_on_without_it(finished: tuple[str, Path], world: Path, tmp_path: Path) -> None:
    name, training = finished
    kept = load_file(training / "checkpoints/00000006" / checkpoint.MODEL)
    assert any(parameter.startswith("sentence_head.") for parameter in kept)
    release(str(training), str(tmp_path / "released"), latest=True)
    assert not any("sentence" in parameter for parameter in load_file(tmp_path / "released" / checkpoint.MODEL))
    assert trained_method.read(str(tmp_path / "released")).method is not None
    start = str(tmp_path / "released" / checkpoint.MODEL)
    for other in (name.partition("+")[0], name):
        (tmp_path / other).mkdir()
        prepare(Small(other).config(f"start={start}"), [str(world)], tmp_path / other)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_loss_of_sentences_is_that_of_one_process(name: str, world: Path, tmp_path: Path) -> None:
    compare(name, on_ranks(2, world, tmp_path / "two", [name]), measure(name, world, tmp_path / "alone"))


@pytest.mark.slow
def test_a_killed_training_with_sentences_ends_with_the_same_bits(finished: tuple[str, Path], world: Path, tmp_path: Path) -> None:
    name, training = finished
    killed = end_early(world, tmp_path / "killed", [name])
    resume(name, world, training, killed / name)
    assert same_weights(training / checkpoint.MODEL, killed / name / checkpoint.MODEL)

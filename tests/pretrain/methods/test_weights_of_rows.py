"""The confidence in a row multiplies its losses, of every method that has losses of pairs."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from pretrain import checkpoint, methods
from pretrain import train as training
from pretrain.build import prepare
from pretrain.method import Batch, Method
from tests.pretrain.methods.processes import compare_gradients, compare_losses, measured, on_ranks
from tests.pretrain.methods.small import CPU, STEPS, Small, drawn, measure, without_dropout
from tests.pretrain.packs import rewritten
from tests.pretrain.trainings import lines, same_weights

WEIGHING = [name for name in methods.METHODS if methods.find(name).weighs_rows]
OF_LABELS = ("iac", "iam", "mam")  # losses of attribute labels, not of captions


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def with_scores(table: pa.Table) -> pa.Table:
        return table.append_column("agree_score", pa.array([(7 * at % 11) / 11 for at in range(len(table))], pa.float32()))

    return rewritten(drawn(tmp_path_factory.mktemp("weights") / "world"), with_scores)


def first_batch(name: str, world: Path, out: Path) -> tuple[Method, Batch]:
    config = Small(name).config()
    out.mkdir(parents=True, exist_ok=True)
    prepared = prepare(config, [str(world)], out)
    batch = next(iter(training._loader(config, prepared, out, CPU, 0)))
    with torch.no_grad():
        prepared.method.eval().before_epoch(0, partial(training._loader, config, prepared, out, CPU, 0, whole_epoch=0))
    return without_dropout(prepared.method).train(), batch


def losses(method: Method, batch: Batch, weights: torch.Tensor | None) -> Mapping[str, torch.Tensor]:
    torch.manual_seed(0)
    return {name: loss.detach() for name, loss in method(replace(batch, weights=weights), 0).items()}


@pytest.mark.parametrize("name", WEIGHING)
def test_the_weight_of_a_row_multiplies_its_losses(name: str, world: Path, tmp_path: Path) -> None:
    method, batch = first_batch(f"{name}+confidence", world, tmp_path)
    assert batch.weights is not None and len(batch.weights.unique()) > 2
    ones, plain = torch.ones(len(batch.rows)), losses(method, batch, None)
    for loss, value in losses(method, batch, ones).items():
        torch.testing.assert_close(value, plain[loss], rtol=1e-5, atol=1e-6)
    doubled, weighed = losses(method, batch, 2 * ones), losses(method, batch, batch.weights)
    first = torch.arange(len(ones)) < 3
    halves = [losses(method, batch, batch.weights * part) for part in (first, ~first)]
    for loss, value in plain.items():
        factor = 1 if loss in OF_LABELS else 2
        torch.testing.assert_close(doubled[loss], factor * value, rtol=1e-5, atol=1e-6)
        if loss not in OF_LABELS:  # a sum over rows, each times its own weight
            torch.testing.assert_close(halves[0][loss] + halves[1][loss], weighed[loss], rtol=1e-4, atol=1e-5)
            assert not torch.isclose(weighed[loss], value, rtol=1e-4) or not value


@pytest.mark.slow
def test_weighed_losses_and_gradients_of_two_processes_are_those_of_one(world: Path, tmp_path: Path) -> None:
    names = [f"{name}+confidence" for name in WEIGHING]
    on_ranks(2, world, tmp_path / "two", names)
    for name in names:
        two, one = measured(tmp_path / "two", name), measure(name, world, tmp_path / "one" / name)
        for step in STEPS:
            compare_losses(two, one, step)
            compare_gradients(two, one, step)


def test_equal_weights_end_with_the_same_bits_as_none(world: Path, tmp_path: Path) -> None:
    Small("irra").train(world, tmp_path / "plain", "steps=2")
    Small("irra+confidence").train(world, tmp_path / "equal", "steps=2", "data.confidence_low=1")
    Small("irra+confidence").train(world, tmp_path / "weighed", "steps=2")
    assert same_weights(tmp_path / "plain" / checkpoint.MODEL, tmp_path / "equal" / checkpoint.MODEL)
    assert not same_weights(tmp_path / "plain" / checkpoint.MODEL, tmp_path / "weighed" / checkpoint.MODEL)
    assert lines(tmp_path / "weighed")[0]["loss"] != lines(tmp_path / "plain")[0]["loss"]

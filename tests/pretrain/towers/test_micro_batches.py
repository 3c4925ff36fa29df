"""Micro-batches change how much is in memory, and neither losses nor gradients."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mals.errors import UserError
from pretrain import ranks
from pretrain.method import Batch
from pretrain.methods.aptm.method import Aptm
from pretrain.towers import bert, micro_batches
from tests.pretrain.methods.aptm.test_method import CALM, DROPS, small
from tests.pretrain.methods.small import OWN, STEPS, Small, drawn, measure, part
from tests.pretrain.methods.test_every_method import end_early, finished, measured, on_ranks, resume

PAIRS = {"aptm": "aptm+micro", "irra": "irra+micro", "rde+frozen": "rde+frozen-micro", "rde": "rde+micro", "uit": "uit+micro"}
EXACT = 1e-5  # of the norm of all gradients together


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("micro") / "world")


def equal(parts: dict[str, Tensor], whole: dict[str, Tensor]) -> None:
    assert parts.keys() == whole.keys()
    for step in STEPS:
        for name, loss in part(whole, step, "losses").items():
            torch.testing.assert_close(parts[f"{step}/losses/{name}"], loss, rtol=EXACT, atol=0)
        gradients = part(whole, step, "gradients")
        norm = torch.cat([gradient.flatten() for gradient in gradients.values()]).norm()
        for name, gradient in gradients.items():
            assert (parts[f"{step}/gradients/{name}"] - gradient).norm() < EXACT * norm, name


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
def test_gradients_of_micro_batches_are_those_of_the_whole_batch(name: str, world: Path, tmp_path: Path) -> None:
    equal(measure(PAIRS[name], world, tmp_path / "parts"), measure(name, world, tmp_path / "whole"))


@pytest.mark.slow
def test_gradients_of_micro_batches_of_two_processes_are_those_of_the_whole_batch(world: Path, tmp_path: Path) -> None:
    on_ranks(2, world, tmp_path / "two", list(PAIRS.values()))
    for name, variant in PAIRS.items():
        equal(measured(tmp_path / "two", variant), measure(name, world, tmp_path / "one" / name))


@pytest.mark.slow
def test_a_killed_training_in_micro_batches_ends_with_the_same_bits(world: Path, tmp_path: Path) -> None:
    names = [PAIRS["aptm"], PAIRS["irra"]]
    end_early(world, tmp_path / "killed", names)
    for name in names:
        resume(name, world, finished(name, world, tmp_path / "calm"), tmp_path / "killed" / name)


def trained(method: Aptm, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The losses and gradients of a step with seeded random numbers."""
    torch.manual_seed(7)
    losses = method.train()(batch, 0)
    torch.stack(list(losses.values())).sum().backward()
    gradients = {name: parameter.grad for name, parameter in method.named_parameters() if parameter.grad is not None}
    return {name: loss.detach() for name, loss in losses.items()}, gradients


def in_parts(rows: int | None, **settings: Any) -> tuple[Aptm, Batch]:
    method, batch = small(**settings)
    micro_batches.use(method, "aptm", rows)
    return method, batch


def test_aptms_gradients_of_micro_batches_of_any_size_are_those_of_the_whole_batch() -> None:
    losses, gradients = trained(*in_parts(None, aptm=CALM))
    norm = torch.cat([gradient.flatten() for gradient in gradients.values()]).norm()
    for rows in (1, 3, 8):
        part_losses, part_gradients = trained(*in_parts(rows, aptm=CALM))
        assert part_gradients.keys() == gradients.keys()
        for name, loss in losses.items():
            torch.testing.assert_close(part_losses[name], loss, rtol=EXACT, atol=0)
        for name, gradient in gradients.items():
            assert (part_gradients[name] - gradient).norm() < EXACT * norm, (rows, name)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_dropout_is_drawn_again_as_it_was(checkpointing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    losses, gradients = trained(*in_parts(3, aptm=DROPS, checkpointing=checkpointing))
    for module in (micro_batches, bert):
        monkeypatch.setattr(module, "run_again", lambda encode, *inputs: encode(*inputs))  # everything is kept for backward
    kept_losses, kept_gradients = trained(*in_parts(3, aptm=DROPS))
    plain_losses, _ = trained(*in_parts(None, aptm=DROPS))
    assert {name: float(loss) for name, loss in losses.items()} == {name: float(loss) for name, loss in kept_losses.items()}
    assert losses["itc"] != plain_losses["itc"]  # each micro-batch draws its own
    for name, gradient in kept_gradients.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-6, atol=1e-8)


def saved_bytes(rows: int | None, dtype: torch.dtype) -> int:
    """What the forward pass keeps for backward."""
    method, batch = in_parts(rows, aptm=CALM)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    weights = {parameter.untyped_storage().data_ptr() for parameter in method.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", dtype, dtype != torch.float32):
        losses = method.train()(batch, 0)
    assert all(loss.isfinite() for loss in losses.values())
    return sum(size for place, size in kept.items() if place not in weights)


def test_micro_batches_keep_a_fraction_in_memory() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        assert saved_bytes(2, dtype) < saved_bytes(None, dtype) / 4


def test_under_autocast_each_micro_batch_casts_the_weights_for_itself() -> None:
    class Tower(micro_batches.MicroBatched, torch.nn.Linear):
        """Rows of 1 that differ in size: the gradient of the weight is their sum."""

        def forward(self, x: Tensor) -> Tensor:
            return self.in_parts(super().forward, x)

    tower = Tower(1, 1, bias=False)
    tower.micro_batch = 1
    with torch.autocast("cpu", torch.bfloat16):
        tower(torch.tensor([[256.0], [1.0]])).float().sum().backward()
    assert tower.weight.grad is not None and tower.weight.grad.item() == 257  # in bf16 it would be 256 or 258


@pytest.mark.parametrize("name", ["ssan", "dpti", "lgur"])
def test_a_method_that_normalises_over_the_batch_refuses_micro_batches(name: str, world: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"^data.micro_batch = 3: the method {name} normalises over the whole batch \(.+\), .* at null$"):
        Small(name).train(world, tmp_path, "data.micro_batch=3")


def test_a_method_without_such_towers_refuses_micro_batches(world: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no tower that encodes a batch in parts; leave it at null$"):
        Small(OWN).train(world, tmp_path, "data.micro_batch=3")


def test_a_pass_without_gradients_is_of_the_whole_batch() -> None:
    method, batch = in_parts(3, aptm=CALM)
    assert ranks.world_size() == 1 and method.swin.count_parts(8) == 3
    with torch.no_grad():
        assert method.swin.count_parts(8) == 1
    assert method.eval().swin.count_parts(8) == 1 and batch.rows.shape == (8,)

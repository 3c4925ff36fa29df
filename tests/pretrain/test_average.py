"""The mean of the last weights is that of the last weights, is kept by checkpoints, and is what a training releases."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pretrain import average
from tests.pretrain.trainings import here


@pytest.mark.parametrize(("share", "steps", "first"), [(0.0, 10, 10), (0.3, 10, 7), (1.0, 10, 0), (0.5, 3, 1), (0.25, 2, 1), (0.25, 1, 0)])
def test_the_share_says_how_many_of_the_last_steps_count(share: float, steps: int, first: int) -> None:
    assert average.first(share, steps) == first


def test_the_mean_is_that_of_the_weights_after_each_step_that_counts() -> None:
    torch.manual_seed(0)
    used, unused = torch.nn.Linear(3, 2), torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW([*used.parameters(), *unused.parameters()], lr=0.1)
    before, seen = unused.weight.detach().clone(), []
    for step in range(8):
        optimizer.zero_grad()
        used(torch.randn(4, 3)).square().sum().backward()
        optimizer.step()
        if step >= 3:
            average.add(optimizer, step - 3)
            seen.append(used.weight.detach().clone())
    average.put(optimizer)
    torch.testing.assert_close(used.weight, torch.stack(seen).mean(0))
    assert unused.weight.equal(before)  # no loss needed it: there is nothing to average


def test_a_training_releases_the_mean_and_its_checkpoints_hold_the_last_weights_too(trainable: Path, tmp_path: Path) -> None:
    here(trainable, tmp_path, "steps=6", "optimizer.average=0.5", "save_every=1")
    released, kept = load_file(tmp_path / "model.safetensors"), load_file(tmp_path / "checkpoints/00000006/optimizer.safetensors")
    name, last = "swin.patch.weight", load_file(tmp_path / "checkpoints/00000006/model.safetensors")
    assert released[name].equal(kept[f"{name}.mean"]) and not released[name].equal(last[name])
    before = load_file(tmp_path / "checkpoints/00000005/optimizer.safetensors")[f"{name}.mean"]
    torch.testing.assert_close(released[name], (2 * before + last[name]) / 3)


def test_a_training_too_short_for_the_share_releases_its_last_weights(trainable: Path, tmp_path: Path) -> None:
    here(trainable, tmp_path, "steps=2", "optimizer.average=0.2")
    released, last = (load_file(one / "model.safetensors") for one in (tmp_path, tmp_path / "checkpoints/00000002"))
    assert all(released[name].equal(value) for name, value in last.items())

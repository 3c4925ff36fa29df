"""RDE's losses of rows: closed values, those of the authors' code, rows without others, and their slopes."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pretrain import losses

GOLDEN = Path(os.environ.get("MALS_GOLDEN") or Path(__file__).parents[3] / "golden") / "methods/rde"


@pytest.fixture(scope="module")
def golden():
    return load_file(GOLDEN / "tensors.safetensors")


@pytest.fixture(scope="module")
def closed():
    """Cosines of texts with images by a formula, and which pairs are of one person."""
    i = torch.arange(48, dtype=torch.float64)
    image, text = torch.sin(0.37 * i + 0.1).view(6, 8), torch.sin(0.37 * i + 0.5 * torch.cos(0.9 * i)).view(6, 8)
    image, text = (torch.nn.functional.normalize(x, dim=1) for x in (image, text))
    persons = torch.tensor([0, 0, 1, 1, 2, 3])
    return text @ image.T, persons[:, None] == persons


def test_the_closed_values(closed):
    cosines, same = closed
    rows = losses.tal(cosines, cosines.T, same, 0.015, 0.1)
    assert rows.dtype == torch.float32
    assert rows.tolist() == pytest.approx([0, 0.07334202, 0.25166193, 0.16927187, 0.15335219, 0.20355019], abs=1e-6)
    assert losses.tal(cosines, cosines.T, same, 0.02, 0.2).sum().item() == pytest.approx(1.9377937041, rel=1e-5)
    assert losses.trl(cosines, cosines.T, same, 0.015, 0.1).sum().item() == pytest.approx(0.8456138108, rel=1e-5)
    assert losses.sdm_rows(cosines, cosines.T, same, 0.02).mean().item() == pytest.approx(12.29309855536, rel=1e-5)
    assert losses.info_nce(cosines, cosines.T, torch.arange(6), 0.02).mean().item() == pytest.approx(0.66648737875, rel=1e-5)
    equal = torch.full((64, 64), 0.3)
    assert losses.tal(equal, equal, torch.eye(64).bool(), 0.015, 0.1).sum().item() == pytest.approx(20.7548187, rel=1e-5)


@pytest.mark.golden
@pytest.mark.parametrize("branch", ["bge", "tse"])
def test_rows_are_those_of_the_authors_code(golden, branch):
    cosines, persons = golden[f"out.similarity_{branch}"], golden["in.pids"]
    rows = losses.tal(cosines, cosines.T, persons[:, None] == persons, 0.015, 0.1)
    torch.testing.assert_close(rows, golden[f"out.per_sample_{branch}"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("loss", [losses.tal, losses.trl])
def test_a_row_without_another_person_has_no_loss_and_no_slope(loss):
    cosines = torch.rand(3, 3, requires_grad=True)
    value = loss(cosines, cosines.T, torch.ones(3, 3, dtype=torch.bool), 0.015, 0.1).sum()
    value.backward()
    assert value.item() == 0 and (cosines.grad == 0).all()


def test_the_weights_of_positives_have_no_slope(closed):
    cosines, same = closed
    leaf = cosines.float().requires_grad_()
    weights = (leaf.detach() / 0.1).masked_fill(~same, -torch.inf).softmax(1)
    by_hand = (0.9 - (weights * leaf).sum(1) + 0.1 * (leaf / 0.1).exp().masked_fill(same, 0).sum(1).log()).clamp(min=0)
    weights = (leaf.T.detach() / 0.1).masked_fill(~same, -torch.inf).softmax(1)
    by_hand = by_hand + (0.9 - (weights * leaf.T).sum(1) + 0.1 * (leaf.T / 0.1).exp().masked_fill(same, 0).sum(1).log()).clamp(min=0)
    ours = losses.tal(leaf, leaf.T, same, 0.1, 0.9)
    torch.testing.assert_close(ours, by_hand)
    slopes = [torch.autograd.grad(rows.sum(), leaf)[0] for rows in (ours, by_hand)]
    torch.testing.assert_close(*slopes)


def test_a_low_temperature_does_not_overflow():
    cosines = torch.tensor([[0.9, 0.95], [0.2, 0.9]])
    assert losses.tal(cosines, cosines.T, torch.eye(2).bool(), 0.001, 0.1).isfinite().all()

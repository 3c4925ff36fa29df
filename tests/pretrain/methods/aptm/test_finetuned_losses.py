"""The losses of fine-tuning: those of the authors' code where the caption of EDA is the caption itself, and what each of them moves."""

from dataclasses import replace

import pytest
import torch

from mals.errors import UserError
from pretrain import losses
from pretrain.method import Batch, Text
from pretrain.methods.aptm.method import Aptm
from pretrain.towers.batch_norm import BatchNorm
from tests.pretrain.methods.aptm.test_method import ONES, batch_of, reference, small
from tests.pretrain.towers.towers import near

RETRIEVAL = {"itc": 1.0, "itm": 1.0, "mlm": 1.0, "iac": 0.0, "iam": 0.0, "mam": 0.0, "itc_eda": 0.8, "itm_eda": 0.8, "sentences": 0.0}
RECOGNITION = {"itc": 0.0, "itm": 0.0, "mlm": 0.0, "iac": 1.0, "iam": 1.0, "mam": 1.0}


@pytest.mark.golden
def test_the_losses_of_an_unchanged_eda_caption_are_those_of_the_caption_times_0_8(monkeypatch: pytest.MonkeyPatch) -> None:
    method, vectors = reference(loss_weights=RETRIEVAL)
    monkeypatch.setattr(
        "pretrain.methods.aptm.captions.draw", lambda scores, same, draws: scores.softmax(1).add(1e-5).masked_fill(same, 0).argmax(1)
    )
    batch = batch_of(vectors)
    wider = Text(*(torch.nn.functional.pad(one, (0, 3)) for one in (batch.text.ids, batch.text.mask)))  # padding changes nothing
    with torch.no_grad():
        losses = method(replace(batch, second_text=wider, labels=None), 0)
    assert list(losses) == ["itc", "itc_eda", "itm", "itm_eda", "mlm"]
    for name, theirs in {"itc": "itc_idx", "itm": "itm_hardest"}.items():
        near(losses[name], vectors[f"out.loss_{theirs}"])
        near(losses[f"{name}_eda"], 0.8 * vectors[f"out.loss_{theirs}"])
    near(losses["mlm"], vectors["out.loss_mlm"])


def test_another_eda_caption_moves_its_own_losses_alone() -> None:
    method, batch = small(aptm={"loss_weights": RETRIEVAL})
    one, two = (
        method.eval()(replace(batch, second_text=Text(ids, batch.text.mask)), 0) for ids in (batch.text.ids, batch.text.ids.flip(1))
    )
    assert [name for name in one if not torch.equal(one[name], two[name])] == ["itc_eda", "itm_eda"]


def trained(method: Aptm, batch: Batch) -> tuple[dict[str, torch.Tensor], list[str], list[str]]:
    """The losses, the parameters that are trained, and those of them that no gradient reaches."""
    losses = method(batch, 0)
    torch.stack(list(losses.values())).sum().backward()
    moved = [name for name, one in method.named_parameters() if one.requires_grad]
    return losses, moved, [name for name, one in method.named_parameters() if one.requires_grad and one.grad is None]


def test_recognition_needs_no_captions_and_trains_nothing_that_no_loss_reaches() -> None:
    method, batch = small(aptm={"loss_weights": RECOGNITION})
    empty = Text(batch.text.ids[:, :0], batch.text.mask[:, :0])
    losses, _, left = trained(method, replace(batch, text=empty, masked=None, targets=None))
    assert set(losses) == {"iac", "iam", "mam"} and not left and not method.needs.captions


def test_the_classifier_is_all_that_is_trained_beside_the_picture_tower() -> None:
    method, batch = small(aptm={"loss_weights": ONES, "classifier": True})
    losses, moved, left = trained(method, replace(batch, text=Text(batch.text.ids[:, :0], batch.text.mask[:, :0]), masked=None))
    assert set(losses) == {"classifier"} and not left and {name.partition(".")[0] for name in moved} == {"swin", "classifier"}
    assert not method.needs.captions and method.needs.attributes and not method.needs.masking
    assert method.eval().classify(batch.images).shape == (8, 27)


def test_a_temperature_that_no_loss_divides_by_is_not_trained() -> None:
    method, _ = small(aptm={"loss_weights": dict.fromkeys(ONES, 0) | {"itm": 1, "sentences": 1}})
    assert not method.temp.requires_grad and method.text_proj.weight.requires_grad


def test_the_classifiers_loss_is_a_mean_over_what_is_known() -> None:
    logits, labels = torch.tensor([[0.3, -2.0], [1.5, 0.1]]), torch.tensor([[1, -1], [0, 0]])
    known = [-torch.tensor(0.3).sigmoid().log(), -torch.tensor(-1.5).sigmoid().log(), -torch.tensor(-0.1).sigmoid().log()]
    assert losses.classified(logits, labels).item() == pytest.approx(float(sum(known)) / 3)
    assert losses.classified(logits, labels, torch.tensor(6.0)).item() == pytest.approx(float(sum(known)) / 6)
    assert losses.classified(logits, torch.full((2, 2), -1)).item() == 0


def test_the_classifiers_norm_is_torchs_own_and_needs_two_pictures() -> None:
    ours, theirs = BatchNorm(4), torch.nn.BatchNorm1d(4)
    for step in range(5):
        rows = torch.randn(6, 4) * 3 + step
        torch.testing.assert_close(ours(rows), theirs(rows))
    torch.testing.assert_close(ours.eval()(rows), theirs.eval()(rows))
    with pytest.raises(UserError, match="needs 2 rows"):
        ours.train()(rows[:1])


@pytest.mark.parametrize("weights", [RETRIEVAL, RECOGNITION])
def test_the_losses_of_fine_tuning_fall_on_a_batch_repeated(weights: dict[str, float]) -> None:
    method, batch = small(aptm={"loss_weights": weights})
    batch = replace(batch, second_text=Text(batch.text.ids.roll(1, 1), batch.text.mask))
    optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3)
    seen = []
    for _ in range(30):
        losses = method(batch, 0)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        seen.append({name: float(loss.detach()) for name, loss in losses.items()})
    for name in seen[0]:
        assert sum(one[name] for one in seen[-5:]) / 5 < seen[0][name], name

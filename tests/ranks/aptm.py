"""Under torchrun or alone: APTM's losses and gradients are those of one process over all rows, the published gradient of ITC a share."""

import json
import sys
from dataclasses import replace

import torch
from torch import Tensor

from pretrain import ranks
from pretrain.method import Batch, Text
from pretrain.methods.aptm.method import Aptm
from tests.pretrain.methods.aptm.test_method import CALM, ONES, small

ROWS, STEP = 8, 3
PARTNER = "itm_partner"
Trained = tuple[Tensor, dict[str, Tensor]]


def uneven(batch: Batch) -> Batch:
    """Identities with rows on several ranks, ranks without a masked word or a label, attributes without known labels on some ranks."""
    assert batch.labels is not None and batch.targets is not None and batch.masked is not None
    labels, targets = batch.labels.clone(), batch.targets.clone()
    labels[6:], labels[:4, :9], labels[2:, 9:13], labels[:, 13] = -1, -1, -1, -1
    targets[:2], targets[2, 3] = -100, -100
    mask = torch.arange(batch.text.ids.shape[1]) < torch.tensor([7, 4, 5, 3, 9, 6, 4, 8])[:, None]
    text, masked = Text(batch.text.ids, mask), Text(batch.masked.ids, mask)
    targets[~mask] = -100
    return replace(batch, text=text, masked=masked, persons=torch.tensor([0, 1, 2, 0, 3, 2, 2, 4]), labels=labels, targets=targets)


def with_partners(batch: Batch) -> Batch:
    """With hard partners of three rows, all of the first half, so that the last of two ranks has none."""
    short = torch.arange(batch.text.ids.shape[1]).expand(ROWS, -1) < 3
    text = Text(batch.text.ids.roll(3, 0), short)
    partnered = torch.tensor([True, False, True, True, *[False] * 4])
    return replace(batch, partner_images=batch.images.roll(1, 0), partner_text=text, partnered=partnered)


def part(batch: Batch, rows: slice) -> Batch:
    """Some rows of a batch, as width as the longest of their captions."""
    assert batch.targets is not None
    width = int(batch.text.mask[rows].sum(1).max())
    fields = {name: value[rows] if isinstance(value, Tensor) else value for name, value in vars(batch).items()}
    fields |= {name: Text(value.ids[rows, :width], value.mask[rows, :width]) for name, value in fields.items() if isinstance(value, Text)}
    return Batch(**fields | {"targets": batch.targets[rows, :width]})


def trained(name: str, rows: slice, **aptm: object) -> Trained:
    """One loss (or the sum of `all`) over all ranks and its gradients by the names of the parameters; each rank has `rows` of the batch."""
    weights = {"sentences": 0.0} | (ONES if name == "all" else {**dict.fromkeys(ONES, 0.0), name: 1.0})
    if name == PARTNER:
        weights |= {"itm": 1.0}
    method, batch = small(aptm={**CALM, "loss_weights": weights, **aptm})
    batch = with_partners(uneven(batch)) if name == PARTNER else uneven(batch)
    wrapped = ranks.wrap(method.train())
    losses = wrapped(part(batch, rows), STEP)
    loss = torch.stack(list(losses.values())).sum()
    loss.backward()
    wrapped(part(batch, rows), STEP)  # raises if a parameter had no gradient in the step before
    return ranks.mean_over_ranks(loss.detach()), gradients(method)


def gradients(method: Aptm) -> dict[str, Tensor]:
    return {name: parameter.grad.clone() for name, parameter in method.named_parameters() if parameter.grad is not None}


def same(many: Trained, alone: Trained) -> None:
    assert many[1].keys() == alone[1].keys()
    torch.testing.assert_close(many[0], alone[0], rtol=1e-5, atol=1e-6)
    for name, gradient in alone[1].items():
        torch.testing.assert_close(many[1][name], gradient, rtol=1e-3, atol=1e-6, msg=lambda message, name=name: f"{name}: {message}")


def main() -> None:
    all_rows = slice(0, ROWS)
    alone = {name: trained(name, all_rows) for name in (*ONES, PARTNER, "all")}
    shared = trained("iam", all_rows, prompts_per_image=False)
    assert ranks.world_size() == 1
    ranks.start("cpu")
    world, own = ranks.world_size(), ROWS // ranks.world_size()
    own_rows = slice(ranks.rank() * own, (ranks.rank() + 1) * own)
    for name, expected in alone.items():
        same(trained(name, own_rows), expected)
    same(trained("iam", own_rows, prompts_per_image=False), shared)
    loss, gradient = alone["itc"]
    published = {name: value if name == "temp" else value / world for name, value in gradient.items()}
    same(trained("itc", own_rows, itc_gather="reference"), (loss, published))
    kept = trained("itm", own_rows, negatives="process")[0]  # other pairs, of the rows of each process alone
    assert world == 1 or not torch.isclose(kept, alone["itm"][0], rtol=1e-5)
    if ranks.is_main():
        sys.stdout.write(json.dumps({"world": world, "losses": {name: float(result[0]) for name, result in alone.items()}}) + "\n")
    ranks.stop()


if __name__ == "__main__":
    main()

"""Under torchrun or alone: batch normalisation of rows on several ranks is that of one process over all rows."""

import json
import sys

import torch

from pretrain import ranks
from pretrain.towers.batch_norm import BatchNorm

ROWS, CHANNELS = 12, 5


def main() -> None:
    """Three steps, with the loss and gradients of the last; each rank has its part of the rows."""
    ranks.start("cpu")
    torch.manual_seed(0)
    inputs = torch.randn(3, ROWS, CHANNELS, 4) * torch.arange(1.0, 4)[:, None, None, None] + 3
    weights = torch.randn(ROWS, CHANNELS, 4)
    own = slice(ranks.rank() * ROWS // ranks.world_size(), (ranks.rank() + 1) * ROWS // ranks.world_size())
    norm = BatchNorm(CHANNELS)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2, CHANNELS))
    wrapped = ranks.wrap(norm)
    for step in inputs:
        rows = step[own].clone().requires_grad_()
        norm.zero_grad()
        loss = (wrapped(rows) * weights[own]).square().mean()
        loss.backward()
    norm.eval()
    result = {
        "loss": float(ranks.mean_over_ranks(loss.detach())),
        "input": (ranks.gather_detached(rows.grad) / ranks.world_size()).tolist(),
        "weight": norm.weight.grad.tolist(),
        "bias": norm.bias.grad.tolist(),
        "mean": ranks.gather_detached(norm.mean[None])[-1].tolist(),
        "variance": ranks.gather_detached(norm.variance[None])[-1].tolist(),
        "evaluated": norm(inputs[0]).tolist(),
    }
    if ranks.is_main():
        print(json.dumps(result))
    del wrapped
    ranks.stop()


if __name__ == "__main__":
    sys.exit(main())

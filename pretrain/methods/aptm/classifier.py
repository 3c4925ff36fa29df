"""The plain classifier of attributes that APTM's prompts are held against (aptm.md 2.3): the picture's global token and two layers."""

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from mals.errors import UserError
from pretrain import ranks

HIDDEN, DROPOUT, STD = 256, 0.1, 1e-5  # width between the layers, share of it left out, of the initial weights
SHARE = 0.1  # of a step in what the normalisation remembers


class Norm(nn.Module):
    """Batch normalisation by the rows of this process; what it remembers for evaluation is a mean over the ranks, the same on all."""

    mean: Tensor
    variance: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """[B, width] -> the same."""
        if not self.training:
            return batch_norm(x, self.mean, self.variance, self.weight, self.bias)
        if len(x) < 2:
            raise UserError("the classifier needs 2 pictures a step for each process; raise batch")
        with torch.no_grad():
            variance, mean = torch.var_mean(x.float(), 0)
            self.mean.lerp_(ranks.mean_over_ranks(mean), SHARE)
            self.variance.lerp_(ranks.mean_over_ranks(variance), SHARE)
        return batch_norm(x, None, None, self.weight, self.bias, training=True)


def classifier(width: int, attributes: int) -> nn.Sequential:
    """Tokens [B, width] -> [B, attributes]: above 0 for the second value of an attribute."""
    layers = nn.Sequential(nn.Linear(width, HIDDEN), Norm(HIDDEN), nn.Dropout(DROPOUT), nn.Linear(HIDDEN, attributes))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=STD)
            nn.init.zeros_(layer.bias)
    return layers

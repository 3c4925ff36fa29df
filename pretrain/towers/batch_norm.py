"""Batch normalisation over the rows of all ranks: the result does not depend on the number of ranks, except by rounding.

Shapes: B rows of this rank (B may differ between ranks), C channels.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from mals.errors import UserError
from pretrain import ranks

MOMENTUM = 0.1  # weight of a step in the running statistics, as in torch
EPSILON = 1e-5


class BatchNorm(nn.Module):
    """Normalises by mean and variance over all ranks in training, by running statistics, equal on all ranks, in evaluation.

    The statistics of a step are sums with a gradient, see `ranks.sum_with_gradient`; torch's SyncBatchNorm would need a GPU. With one rank
    the result has the bits of `torch.nn.functional.batch_norm`.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C] or [B, C, ...], normalised for each channel -> the same shape."""
        if not self.training:
            return batch_norm(x, self.mean, self.variance, self.weight, self.bias, eps=EPSILON)
        if ranks.world_size() == 1:
            self._check(x.numel() // x.shape[1])
            return batch_norm(x, self.mean, self.variance, self.weight, self.bias, True, MOMENTUM, EPSILON)
        return self._over_ranks(x)

    def _over_ranks(self, x: Tensor) -> Tensor:
        axes, shape = [axis for axis in range(x.dim()) if axis != 1], [1, -1, *[1] * (x.dim() - 2)]
        x32 = x.float()
        rows = x.numel() // x.shape[1]
        count = ranks.sum_over_ranks(torch.tensor(float(rows), device=x.device))
        if rows < 2:  # otherwise there are enough, and nothing is read back from the device
            self._check(int(count))
        mean = ranks.sum_with_gradient(x32.sum(axes)) / count
        centred = x32 - mean.view(shape)
        squares = ranks.sum_with_gradient((centred * centred).sum(axes))
        with torch.no_grad():
            self._update(mean, squares / (count - 1))
        scaled = centred * torch.rsqrt(squares / count + EPSILON).view(shape)
        return (scaled * self.weight.view(shape) + self.bias.view(shape)).to(x.dtype)

    def _update(self, mean: Tensor, variance: Tensor) -> None:
        self.mean.lerp_(mean, MOMENTUM)
        self.variance.lerp_(variance, MOMENTUM)

    def _check(self, rows: int) -> None:
        if rows < 2:
            raise UserError("batch normalisation needs 2 rows a step; raise batch")


def convert(module: nn.Module) -> None:
    """Replace all of torch's batch normalisations inside a module by ours, with their parameters and running statistics."""
    for name, child in module.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            own = BatchNorm(child.num_features)
            own.load_state_dict({str(own_name(key)): value for key, value in child.state_dict().items() if own_name(key)})
            setattr(module, name, own)
        else:
            convert(child)


def own_name(name: str) -> str | None:
    """The name here of a parameter or buffer of torch's batch normalisation; other names stay, counts of batches have none."""
    module, _, leaf = name.rpartition(".")
    if leaf == "num_batches_tracked":
        return None
    own = {"running_mean": "mean", "running_var": "variance"}.get(leaf, leaf)
    return f"{module}.{own}" if module else own

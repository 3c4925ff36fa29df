"""What passes between the host and the device of a training.

On a GPU the host orders work ahead of the device. It waits where it needs a number of the device, so the sizes of a step follow from what
the host has: masks, labels and random numbers of the batch (`Batch.host`). Indices are made of them on the host and sent, which does not
wait; what only the device knows is read in one copy.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on the device, which the host does not wait for."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)  # without a pinned copy the host would wait for the work before


def places(mask: Tensor, device: torch.device) -> Tensor:
    """The positions [T] of True in a mask of any shape, flattened, on the device; the mask is of the host, or the host waits."""
    return to_device(mask.flatten().nonzero().squeeze(1), device)


def read(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Tensors on the host, in one copy that it waits for; none without tensors."""
    if not tensors:
        return []
    together = torch.cat([tensor.flatten().contiguous().view(torch.int8) for tensor in tensors]).cpu()
    parts = together.split([tensor.nbytes for tensor in tensors])
    return [part.clone().view(tensor.dtype).view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

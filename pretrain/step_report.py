"""What a step says: its losses, whether its update was finite, and counts of the ranks. It is read a step later, when it has arrived.

Whether an update is made is decided on the device: one that is not finite is skipped there, and the host hears of it at the next step, or
before anything is logged or saved. So the host never waits for the step that it has just ordered.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mals.errors import CollectiveError

ADVICE = "in another --out, lower optimizer.lr or set optimizer.clip"
ADVICE_AT_FIRST = "look at data.std, at the images, and at the weights that it starts from"


@dataclass(frozen=True)
class StepReport:
    """The numbers of one step, on their way to the host."""

    step: int
    names: tuple[str, ...]  # of the losses
    numbers: Tensor  # on the host: the losses as means over the ranks, counts, the largest gradient
    arrived: torch.cuda.Event | None  # None: they are there

    @classmethod
    def send(cls, step: int, names: tuple[str, ...], numbers: Tensor) -> "StepReport":
        """Send the numbers of a step to the host, which goes on."""
        if numbers.device.type != "cuda":
            return cls(step, names, numbers, None)
        host = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True).copy_(numbers, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()
        return cls(step, names, host, arrived)

    def read(self) -> tuple[dict[str, float], list[float]]:
        """The losses by name, and the counts as means over the ranks; CollectiveError where the update was not finite, and so not made."""
        if self.arrived is not None:
            self.arrived.synchronize()
        *values, gradient = self.numbers.tolist()
        losses = dict(zip(self.names, values, strict=False))
        bad = [name for name, value in losses.items() if not math.isfinite(value)]
        if bad or not math.isfinite(gradient):
            subject = f"the loss {', '.join(bad)}" if bad else "the gradient"
            advice = ADVICE if self.step else ADVICE_AT_FIRST
            raise CollectiveError(f"{subject} is not finite at step {self.step:,}; nothing was updated: {advice}")
        return losses, values[len(losses) :]


@torch.no_grad()
def limit_gradient(method: nn.Module, clip: float | None) -> Tensor:
    """Scale the gradient to a norm of at most `clip`; returns its norm before, or its largest value without `clip`: finite if all are."""
    if clip is not None:
        return nn.utils.clip_grad_norm_(method.parameters(), clip)
    gradients = [parameter.grad for parameter in method.parameters() if parameter.grad is not None]
    return nn.utils.get_total_norm(gradients, norm_type=math.inf)


def update_if(finite: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """One step of the optimizer where `finite` is True; a fused optimizer decides on the device, of another the host reads it."""
    if optimizer.defaults.get("fused"):
        optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]  # what torch's own GradScaler hands to it
        optimizer.step()
    elif finite:
        optimizer.step()

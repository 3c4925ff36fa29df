"""Under torchrun or alone: the losses of a small two-tower model and their gradients are those of one process over all rows."""

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from pretrain import losses, ranks

ROWS, PIXELS, WIDTH, ATTRIBUTES, WORDS = 8, 10, 6, 3, 12
Gather = Callable[[Tensor], Tensor]


class Towers(nn.Module):
    """All losses between rows, and those divided by a number that differs between ranks."""

    def __init__(self, gather: Gather) -> None:
        super().__init__()
        self.gather = gather
        self.see, self.read, self.say = nn.Linear(PIXELS, WIDTH), nn.Linear(PIXELS, WIDTH), nn.Linear(WIDTH, WORDS)
        self.prompts = nn.Parameter(torch.randn(2 * ATTRIBUTES, WIDTH))
        self.temperature = nn.Parameter(torch.tensor(0.3))

    def forward(self, pixels: Tensor, caption: Tensor, person: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
        image, text, prompts = (nn.functional.normalize(x, dim=-1) for x in (self.see(pixels), self.read(caption), self.prompts))
        same = person[:, None] == ranks.gather_detached(person)
        known = ranks.mean_over_ranks((labels >= 0).sum(0).float())
        target_count = ranks.mean_over_ranks((targets >= 0).sum().float())
        contrast = losses.itc(image, text, self.gather(image), self.gather(text), same, self.temperature)
        named = losses.attribute_contrast(image, prompts, labels, self.temperature, 0.1, known)
        return contrast + named + losses.masked_words(self.say(image), targets, target_count)


def trained(gather: Gather, rows: slice) -> tuple[Tensor, Tensor]:
    """The loss over all ranks, and the gradient of all parameters as one vector; each rank has `rows` of the batch."""
    torch.manual_seed(0)
    model = Towers(gather)
    batch = [
        torch.randn(ROWS, PIXELS),
        torch.randn(ROWS, PIXELS),
        torch.tensor([0, 1, 2, 0, 3, 2, 2, 4]),  # persons with rows on several ranks
        torch.tensor([[0, -1, 1], [1, -1, 0], [-1, -1, 1], [0, -1, -1], [-1, -1, 1], [-1, -1, 0], [1, -1, 1], [-1, -1, -1]]),
        torch.tensor([3, 0, 7, -100, -100, -100, 1, -100]),
    ]
    wrapped = ranks.wrap(model)  # kept until backward: its hooks average the gradients
    loss = wrapped(*(x[rows] for x in batch))
    loss.backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    return ranks.mean_over_ranks(loss.detach()), gradient


def threads_of_the_group() -> list[str]:
    """The threads of the process group that are left after five seconds."""
    for _ in range(50):
        names = []
        for path in Path("/proc/self/task").glob("*/comm"):
            with suppress(OSError):  # a thread that ends meanwhile
                names.append(path.read_text().strip())
        if not any("gloo" in name for name in names):
            break
        time.sleep(0.1)
    return [name for name in names if "gloo" in name]


def main() -> None:
    alone = trained(ranks.gather, slice(None))
    assert ranks.world_size() == 1
    ranks.start("cpu")
    own = ROWS // ranks.world_size()
    own_rows = slice(ranks.rank() * own, (ranks.rank() + 1) * own)
    for expected, actual in zip(alone, trained(ranks.gather, own_rows), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-7)
    cut = trained(ranks.gather_detached, own_rows)[1]  # columns without gradient point elsewhere, so the comparison above can fail
    if ranks.is_main():
        words = {"world": ranks.world_size(), "loss": float(alone[0]), "cut": float(torch.cosine_similarity(cut, alone[1], dim=0))}
        sys.stdout.write(json.dumps(words) + "\n")
    ranks.stop()
    assert threads_of_the_group() == []


if __name__ == "__main__":
    main()

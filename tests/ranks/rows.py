"""Under torchrun: rows that ranks ask each other for are those of `gather`, and so are their gradients, to the bit."""

import json
import sys

import torch
from torch import Tensor

from pretrain import ranks, row_requests

ROWS = 6


def gradient(own: Tensor, numbers: Tensor, by_request: bool) -> tuple[Tensor, Tensor]:
    """The rows asked for, and the gradient of a rank's own rows by a loss that differs from row to row and from rank to rank."""
    own = own.clone().requires_grad_()
    if by_request:
        (requested,) = row_requests.request(len(own), row_requests.count_requests(len(own), numbers), numbers)
        rows = requested.fetch(own)
    else:
        rows = ranks.gather(own).index_select(0, numbers)
    weights = torch.rand(rows.shape, generator=torch.Generator().manual_seed(ranks.rank()))
    (rows * weights).sum().backward()
    assert own.grad is not None
    return rows.detach(), own.grad


def main() -> None:
    ranks.start("cpu")
    torch.use_deterministic_algorithms(True)
    draw = torch.Generator().manual_seed(10 + ranks.rank())
    own = torch.rand(ROWS, 5, 3, generator=draw)
    everyone = ROWS * ranks.world_size()
    numbers_of = {
        "any": torch.randint(everyone, (9,), generator=draw),
        "one rank alone": torch.randint(ROWS, (4,), generator=draw),
        "one row": torch.full((5,), everyone - 1),
        "none": torch.empty(0, dtype=torch.int64),
    }
    same = {}
    for name, numbers in numbers_of.items():
        (rows, grad), (expected, expected_grad) = (gradient(own, numbers, by_request) for by_request in (True, False))
        same[name] = [bool(rows.equal(expected)), bool(grad.equal(expected_grad)), bool(torch.allclose(grad, expected_grad))]
    lists = (numbers_of["any"], numbers_of["one row"])
    first, second = row_requests.request(ROWS, row_requests.count_requests(ROWS, *lists), *lists)
    assert first.fetch(own).equal(ranks.gather(own)[numbers_of["any"]]) and second.fetch(own).equal(
        ranks.gather(own)[numbers_of["one row"]]
    )
    results: list[dict[str, list[bool]]] = [{} for _ in range(ranks.world_size())]
    torch.distributed.all_gather_object(results, same)
    if ranks.is_main():
        sys.stdout.write(json.dumps(results) + "\n")
    ranks.stop()


if __name__ == "__main__":
    main()

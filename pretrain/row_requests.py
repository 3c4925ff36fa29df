"""Rows of other ranks by their numbers: each rank sends the rows that others ask for, and not all of its rows to everybody.

Shapes: B rows of a rank, W ranks, R rows that this rank asks for, G rows that all ranks ask this one for.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from pretrain import ranks


@dataclass(frozen=True)
class RowRequest:
    """Which rows this rank asks for and is asked for; every rank has to call `fetch` equally often."""

    order: Tensor  # [R]: the requests, rank by rank
    place: Tensor  # [R]: where the row of each request is among those that come, rank by rank
    rows: Tensor  # [G]: own rows that are asked for, rank by rank
    incoming: list[int]  # [W]: how many rows this rank asks each rank for
    outgoing: list[int]  # [W]: how many rows each rank asks this one for

    def fetch(self, own: Tensor) -> Tensor:
        """[B, ...] -> the rows asked for [R, ...], as `ranks.gather(own)[numbers]`; backward adds up the gradients of all ranks."""
        fetched: Tensor = _Fetch.apply(own, self)
        return fetched


def count_requests(rows: int, *numbers: Tensor) -> Tensor:
    """How many of the rows of lists of numbers [R], among the W x B rows of all ranks, `rows` (B) of each, each rank asks each rank for.

    [W, lists, W], on the device: who makes the requests reads it with what else is read of the step.
    """
    every_rank = torch.arange(ranks.world_size(), device=numbers[0].device)
    counts = torch.stack([(each[:, None] // rows == every_rank).sum(0) for each in numbers])
    return ranks.gather_detached(counts[None].int())


def request(rows: int, counts: Tensor, *numbers: Tensor) -> list[RowRequest]:
    """A request for each list of numbers; the `counts` are those of `count_requests` for the same lists, on the host."""
    table, requests = counts.tolist(), []
    for at, each in enumerate(numbers):
        incoming, outgoing = table[ranks.rank()][at], [of_rank[at][ranks.rank()] for of_rank in table]
        order = each.argsort(stable=True)  # by rank, and by row
        own_rows = _exchange((each % rows).index_select(0, order), incoming, outgoing)
        requests.append(RowRequest(order, order.argsort(), own_rows, incoming, outgoing))
    return requests


class _Fetch(torch.autograd.Function):
    """The exchange; backward exchanges the gradients the other way, and adds them rank by rank."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, request: RowRequest) -> Tensor:
        ctx.request, ctx.shape = request, own.shape
        return _exchange(own.index_select(0, request.rows), request.outgoing, request.incoming).index_select(0, request.place)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        request: RowRequest = ctx.request
        gradients = _exchange(grad.index_select(0, request.order), request.incoming, request.outgoing)
        parts = zip(request.rows.split(request.outgoing), gradients.split(request.outgoing), strict=True)
        first, *others = (grad.new_zeros(ctx.shape).index_add_(0, rows, part) for rows, part in parts)
        for other in others:
            first += other
        return first, None


def _exchange(rows: Tensor, sent: list[int], received: list[int]) -> Tensor:
    """Rows for each rank, rank by rank, for those of each rank."""
    result = rows.new_empty(sum(received), *rows.shape[1:])
    dist.all_to_all_single(result, rows.contiguous(), received, sent)
    return result

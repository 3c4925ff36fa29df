"""Under torchrun or alone: what the functions of pretrain.ranks return on every rank."""

import sys

import torch
from torch.nn.parallel import DistributedDataParallel

from mals.errors import CollectiveError, UserError
from pretrain import ranks


def main() -> None:
    assert ranks.start("cpu") == torch.device("cpu") == ranks.start("cpu")
    rank, world = ranks.rank(), ranks.world_size()
    assert ranks.is_main() == (rank == 0)
    own = torch.arange(6.0).reshape(2, 3).add(10 * rank).requires_grad_()
    rows = ranks.gather(own)
    assert rows.tolist() == [[10.0 * r + 3 * i + j for j in range(3)] for r in range(world) for i in range(2)]
    weight = torch.arange(1.0, 2 * world + 1)[:, None] * (rank + 1)  # a different gradient for every row from every rank
    (rows * weight).T.sum().backward()
    total = sum(r + 1 for r in range(world))
    assert own.grad is not None and own.grad.tolist() == [[total * (2 * rank + i + 1.0)] * 3 for i in range(2)]
    ids = ranks.gather_detached(torch.tensor([rank, 7]))
    assert ids.tolist() == [x for r in range(world) for x in (r, 7)]
    assert not ranks.gather_detached(own).requires_grad and not ranks.mean_over_ranks(own).requires_grad
    assert ranks.mean_over_ranks(torch.tensor(float(rank))) == (world - 1) / 2
    assert isinstance(ranks.wrap(torch.nn.Linear(2, 2)), DistributedDataParallel) == (world > 1)
    for failing in range(world):
        try:
            with ranks.raise_on_all_ranks():
                if rank == failing:
                    raise UserError(f"rank {rank} cannot")
        except UserError as error:
            assert str(error) == f"rank {failing} cannot" and isinstance(error, CollectiveError) == (world > 1)
        else:
            raise AssertionError
    ranks.barrier()
    ranks.stop()
    assert ranks.world_size() == 1
    sys.stdout.write(f"rank {rank} of {world}\n")


if __name__ == "__main__":
    main()

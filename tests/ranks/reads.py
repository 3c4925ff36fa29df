"""Under torchrun: how often a step of APTM would wait for its device, of the rank that waits most."""

import json
import sys
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import step_aptm
from benchmarks.gpu import blocking_reads
from pretrain import ranks
from pretrain.schedule import make_optimizer
from pretrain.train import Loop


def main() -> None:
    here = ranks.start("cpu")
    torch.set_num_threads(1)
    case = step_aptm.case("tiny", "fp32", False, 4)
    optimizer = make_optimizer(case.config.optimizer, case.method, case.method.rules, 100, 10)
    case.method.train()
    loop = Loop(case.config, case.method, optimizer, Path(), 100, 10, here)
    reads = blocking_reads(loop, case, case.another(1 + ranks.rank(), 30), 20)
    most: Tensor = ranks.gather_detached(torch.tensor([len(reads)])).max()
    if ranks.is_main():
        sys.stdout.write(json.dumps({"most": int(most), "places": reads.places}) + "\n")
    del loop
    ranks.stop()


if __name__ == "__main__":
    main()

"""What counts as a read of the device, and how many a training step has."""

import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import step_aptm, step_irra, step_rde
from benchmarks.blocking_reads import BlockingReads
from benchmarks.gpu import blocking_reads
from pretrain.schedule import make_optimizer
from pretrain.train import Loop
from tests.pretrain.test_ranks import run


def test_what_the_host_asks_of_the_device_is_counted_and_what_it_knows_is_not():
    device, host = torch.arange(6.0), torch.arange(6.0)
    reads = BlockingReads([device])
    with reads.counted():
        mask = device > 2
        mask.nonzero()
        device[mask]
        (device * 2).sum().item()
        if mask.any():
            pass
        known = mask.cpu()
        known.nonzero()
        host[host > 2].tolist()
        device.index_select(0, host.long())
    assert [place.split(" at ")[0] for place in reads.places] == ["nonzero", "index", "item", "__bool__", "cpu"]


def test_reads_of_the_backward_pass_are_counted():
    weight = torch.ones(4, requires_grad=True)
    reads = BlockingReads([weight])
    with reads.counted():
        chosen = weight[weight > 0]
        assert len(reads) == 1
        chosen.sum().backward()
    assert [place.split(" at ")[0] for place in reads.places[1:]] == ["index_put"]


@pytest.mark.parametrize(("module", "preset"), [(step_aptm, "tiny"), (step_irra, "tiny-irra"), (step_rde, "tiny-rde")])
def test_a_step_waits_for_the_device_at_most_twice(module, preset):
    case = module.case(preset, "fp32", False, 6)
    optimizer = make_optimizer(case.config.optimizer, case.method, case.method.rules, 100, 10)
    case.method.train()
    loop = Loop(case.config, case.method, optimizer, Path(), 100, 10, torch.device("cpu"))
    reads = blocking_reads(loop, case, case.another(1, 30), 20)
    assert 1 <= len(reads) <= 2, reads.places
    assert sum("step_report" in place for place in reads.places) == 1  # of the step before


@pytest.mark.parametrize(
    ("module", "preset", "flops"),
    [(step_aptm, "tiny", 6_413_044_608), (step_irra, "tiny-irra", 5_803_637_760), (step_rde, "tiny-rde", 4_291_338_240)],
)
def test_a_step_computes_no_more_than_before(module, preset, flops):
    """Before: at eebf092, with indices made on the device."""
    case = module.case(preset, "fp32", False, 6)
    case.method.train()
    with FlopCounterMode(display=False) as counter:
        torch.stack(list(case.method(case.batch, 0).values())).sum().backward()
    assert 0.9 * flops < counter.get_total_flops() <= flops


def test_a_step_of_one_of_several_ranks_waits_as_seldom():
    """What ranks ask each other for is read with what else is read in the middle of a step."""
    result = json.loads(run(2, "reads.py").stdout)
    assert 1 <= result["most"] <= 2, result["places"]

"""What counts as a read of the device."""

import torch

from benchmarks.blocking_reads import BlockingReads


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

"""What passes between the host and the device."""

import torch

from pretrain.host import places, read, to_device

CPU = torch.device("cpu")


def test_several_tensors_are_read_as_they_are():
    mask, labels, empty = torch.tensor([[True, False, True]]).T, torch.tensor([[-1], [0], [70_000]]), torch.zeros(0, 3).bool()
    for one, other in zip(read([mask, labels, empty]), (mask, labels, empty), strict=True):
        assert torch.equal(one, other) and one.dtype == other.dtype
    assert read([]) == []


def test_places_are_those_of_the_flattened_mask():
    assert places(torch.tensor([[False, True], [True, True]]), CPU).tolist() == [1, 2, 3]


def test_a_tensor_of_the_host_is_the_same_on_a_cpu():
    tensor = torch.arange(3)
    assert to_device(tensor, CPU) is tensor

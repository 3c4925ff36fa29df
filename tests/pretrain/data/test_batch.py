"""A batch on its way between devices."""

import pytest
import torch

from tests.pretrain.methods.aptm.test_method import small


def test_what_the_host_reads_of_a_batch_has_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's copy into main memory that is not waited for holds anything until it has arrived."""
    calls, to = [], torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, device, non_blocking=False: (calls.append(non_blocking), to(tensor, device))[1])
    batch = small()[1]
    assert batch.on_host().persons.equal(batch.persons) and calls and not any(calls)
    assert batch.to("cpu").on_host().images.numel() == 0

"""The order in which a batch is copied and used; streams are recorded, since a CPU has none."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from pretrain.data.batch import Batch, Text
from pretrain.data.device_copies import DeviceCopies

BATCH = Batch(
    rows=torch.arange(2),
    persons=torch.arange(2),
    images=torch.rand(2, 3, 4, 4),
    text=Text(torch.ones(2, 3, dtype=torch.int64), torch.ones(2, 3, dtype=torch.bool)),
    labels=torch.zeros(2, 5, dtype=torch.int64),
)


def test_a_cpu_has_the_batch_as_it_is_and_no_stream():
    copies = DeviceCopies("cpu")
    moved = copies(BATCH)
    assert copies.stream is None and moved.images is BATCH.images and moved.text.ids is BATCH.text.ids
    assert moved.host is not None and len(moved.host.images) == 0


def test_a_copy_is_on_its_own_stream_and_the_step_waits_for_it_and_keeps_its_memory(monkeypatch):
    events, step = [], SimpleNamespace(wait_stream=lambda stream: events.append(("step waits for", stream)))

    @contextmanager
    def on(stream):
        events.append(("begins on", stream))
        yield
        events.append(("ordered on", stream))

    kept = []
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: kept.append((tensor, stream, len(events))))
    copies = DeviceCopies("cpu")
    copies.stream, copies.streams = "side", SimpleNamespace(stream=on, current_stream=lambda device: step)
    to = Batch.to
    monkeypatch.setattr(Batch, "to", lambda batch, device: (events.append(("copied to", device.type)), to(batch, device))[1])
    moved = copies(BATCH)
    assert events == [("begins on", "side"), ("copied to", "cpu"), ("ordered on", "side"), ("step waits for", "side")]
    tensors = [moved.rows, moved.persons, moved.images, moved.text.ids, moved.text.mask, moved.labels]
    assert len(kept) == len(tensors) == len(moved.tensors())
    for tensor in tensors:
        assert any(one is tensor and stream is step and after == 4 for one, stream, after in kept)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_batch_on_a_gpu_has_the_numbers_of_the_host():
    copies = DeviceCopies("cuda")
    moved = copies(BATCH)
    assert moved.images.is_cuda and moved.images.cpu().equal(BATCH.images) and moved.text.mask.cpu().equal(BATCH.text.mask)

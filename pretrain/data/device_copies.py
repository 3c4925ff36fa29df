"""Batches on their way to the device; to a GPU on a stream of their own, so that a copy runs beside the step before and not after it."""

import torch

from pretrain.data.batch import Batch


class DeviceCopies:
    """Copies batches to a device. The host does not wait for a GPU; what it orders next of the batch does, for this copy alone."""

    def __init__(self, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self.streams = torch.get_device_module(self.device)
        self.stream = self.streams.Stream(self.device) if self.device.type == "cuda" else None

    def __call__(self, batch: Batch) -> Batch:
        """The batch on the device."""
        if self.stream is None:
            return batch.to(self.device)
        with self.streams.stream(self.stream):
            moved = batch.to(self.device)
        step = self.streams.current_stream(self.device)
        step.wait_stream(self.stream)
        for tensor in moved.tensors():
            tensor.record_stream(step)  # else the next copy may get its memory while the step still reads it
        return moved

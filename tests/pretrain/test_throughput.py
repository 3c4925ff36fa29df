"""The speed of a training in its log."""

import pytest
import torch
from torch import nn

from pretrain import throughput, train
from pretrain.methods.aptm.method import Aptm
from pretrain.throughput import Throughput, peak_of
from tests.pretrain.trainings import here


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 NVL", 835e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA H200 NVL", 835e12),
        ("NVIDIA B200", 2250e12),
        ("NVIDIA GB200", 2500e12),
        ("NVIDIA L40", 181e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
    ],
)
def test_a_cards_peak_is_that_of_its_own_name(name, peak, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert peak_of(torch.device("cuda")) == peak


@pytest.mark.parametrize(("peak", "order"), [(None, ["compiled", 0, 1]), (1e12, [0, "compiled", 1])])
def test_only_a_step_whose_flops_are_counted_is_not_compiled(peak, order, trainable, tmp_path, monkeypatch):
    """Else a training that goes on had, at that step, other bits than one that was never stopped."""
    calls, forward = [], Aptm.forward
    monkeypatch.setattr(train, "peak_of", lambda device: peak)
    monkeypatch.setattr(train, "compile_blocks", lambda method: calls.append("compiled"))
    monkeypatch.setattr(Aptm, "forward", lambda method, batch, step: (calls.append(step), forward(method, batch, step))[1])
    here(trainable, tmp_path, "steps=2", "compile=true")
    assert calls == order


def test_speeds_are_those_since_the_start_and_since_the_line_before(monkeypatch):
    clock = iter([100.0, 104.0, 106.0, 108.0])
    monkeypatch.setattr(throughput.time, "time", lambda: next(clock))
    speed, layer = Throughput(8, peak=1000.0), nn.Linear(10, 5)
    for _ in range(2):
        with speed.step():
            layer(torch.zeros(4, 10))  # 400 FLOPs
    speed.waited = 1.0
    assert speed.line() == {"images_per_s": 4.0, "images_per_s_now": 4.0, "waited": 0.25, "mfu": 0.2}
    for _ in range(4):
        with speed.step():
            pass
    assert speed.line() == {"images_per_s": 8.0, "images_per_s_now": 16.0, "waited": 0.1667, "mfu": 0.8}
    assert speed.left(3) == 4.0


def test_without_a_known_card_nothing_is_counted_and_pauses_are_no_time_of_the_training(monkeypatch):
    assert peak_of(torch.device("cpu")) is None
    clock = iter([0.0, 10.0])
    monkeypatch.setattr(throughput.time, "time", lambda: next(clock))
    speed = Throughput(10, None)
    with speed.step():
        nn.Linear(2, 2)(torch.zeros(1, 2))
    speed.pause(5.0)
    assert speed.flops is None
    assert speed.line() == {"images_per_s": 2.0, "images_per_s_now": 2.0, "waited": 0.0}

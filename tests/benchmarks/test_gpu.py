"""The benchmark of cards, at toy size on a CPU, so that nothing in it is tried for the first time on a card."""

import json
import sys
from types import SimpleNamespace

import pytest
import torch

from benchmarks import gpu

CHEAP = "ceilings,eager,blocking,kernels,losses"


def printed(monkeypatch, capsys, *words):
    """The lines that the benchmark prints at toy size."""
    before = torch.get_num_threads()
    monkeypatch.setattr(sys, "argv", ["benchmarks.gpu", "--device", "cpu", "--size", "toy", *map(str, words)])
    try:
        gpu.main()
    finally:
        torch.set_num_threads(before)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def checked(lines):
    """The lines by their parts, none of which failed."""
    assert not [line for line in lines if "error" in line]
    return {line["part"]: line for line in lines}


@pytest.mark.parametrize("method", ["irra", "rde"])
def test_the_parts_without_compiling_and_reading_run_on_a_cpu(monkeypatch, capsys, method):
    lines = checked(printed(monkeypatch, capsys, "--method", method, "--parts", CHEAP))
    assert list(lines) == CHEAP.split(",")
    assert lines["eager"]["tflop"] > 0 and lines["eager"]["images_per_s"] > 0 and 0 < lines["eager"]["of_product"] < 1
    assert len(lines["kernels"]["kernels"]) == gpu.KERNELS and 0 <= lines["kernels"]["idle"] < 1
    assert lines["losses"]["worst"] < 0.05 and lines["blocking"]["count"] == len(lines["blocking"]["reads"])


@pytest.mark.slow
def test_every_part_runs_on_a_cpu(monkeypatch, capsys):
    lines = checked(printed(monkeypatch, capsys, "--set", "aptm.prompts=3"))
    assert list(lines) == list(gpu.PARTS)
    assert lines["compiled"]["compile_seconds"] > 0 and lines["compiled_twice"]["batch"] == 2 * lines["eager"]["batch"]
    assert lines["loader"]["images_per_s"] > 0 and 0 <= lines["loader"]["waited"] <= 1


def test_no_part_begins_after_the_seconds_and_a_part_that_fails_does_not_end_the_others(monkeypatch, capsys):
    assert [line["part"] for line in printed(monkeypatch, capsys, "--seconds", 0)] == ["stopped"]
    broken = dict.fromkeys(("ceilings", "eager"), lambda bench: {"left": 1 // 0})
    monkeypatch.setattr(gpu, "PARTS", broken)
    lines = printed(monkeypatch, capsys)
    assert [line["part"] for line in lines] == ["ceilings", "eager"] and all("ZeroDivisionError" in line["error"] for line in lines)


def test_annotations_are_no_kernels_and_what_is_inside_them_is():
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as recorded:
        with torch.profiler.record_function("forward"), torch.profiler.record_function("inner"):
            layer(torch.ones(1, 2)).sum().backward()
        optimizer.step()
    names = [event.name for event in gpu.outermost(recorded.events())]
    assert {"aten::linear", "aten::addcdiv_"} <= {*names} and not {"aten::addmm", "forward", "inner"} & {*names}
    assert not [name for name in names if "Optimizer.step" in name]


def test_idle_is_the_time_in_no_kernel():
    events = [SimpleNamespace(time_range=SimpleNamespace(start=start, end=end)) for start, end in [(0, 4), (2, 3), (3, 5), (8, 10)]]
    assert gpu.idle(events) == pytest.approx(0.3)

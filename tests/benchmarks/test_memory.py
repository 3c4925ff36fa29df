"""Bytes of tensors are counted as they come and go, and the micro-batch that they leave room for."""

import json

import pytest
import torch

from benchmarks import memory


def test_the_most_bytes_and_those_that_stay_are_counted() -> None:
    def work() -> torch.Tensor:
        gone = torch.zeros(1 << 20)
        return gone[:1].clone().expand(4) + torch.zeros(1 << 18).sum() if gone.sum() == 0 else gone

    most, left = memory.live_bytes(work)
    assert 5 << 20 <= most < 6 << 20 and left < 1 << 12


@pytest.mark.parametrize(("batch", "free", "rows"), [(600, 1e9, 600), (600, 250.0, 200), (600, 299.0, 200), (600, 0.5, 0), (5, 3.0, 3)])
def test_the_largest_equal_micro_batches_that_fit_are_taken(batch: int, free: float, rows: int) -> None:
    assert memory.fitting(batch, free, 1.0) == rows


@pytest.mark.slow
def test_micro_batches_need_less_and_the_estimate_stays_below_the_limit(capsys: pytest.CaptureFixture[str]) -> None:
    memory.main(["--preset", "tiny", "--batch", "600", "--limit", "1.5", "--rows", "2"])
    sizes, estimate = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert 0 < sizes["kept_mb"] < sizes["row_mb"] / 4
    assert 0 < estimate["micro_batch"] < 600 and estimate["gb"] <= 1.5 < estimate["whole_gb"]

"""Curves of trainings are the numbers that were logged."""

import json
from pathlib import Path

import pytest

from mals.look.curves import HEIGHT, POINTS, charts
from mals.look.training import Training
from tests.mals.look.test_training import LINE, write


def test_the_points_are_the_numbers_of_each_line(tmp_path: Path) -> None:
    trainings = [Training(str(write(tmp_path / "a", 4, 1))), Training(str(write(tmp_path / "b", 8, 0)))]
    by_name = {chart.name: chart for chart in charts(trainings)}
    assert list(by_name) == ["R1", "mAP", "loss", "itc", "itm", "lr", "images_per_s", "waited", "peak_mb"]  # no row was unreadable
    loss = by_name["loss"]
    assert (loss.start, loss.end, loss.kind, [curve.training for curve in loss.curves]) == (1, 8, "loss", [0, 1])
    for curve, steps in zip(loss.curves, (4, 8), strict=True):
        values = [5 / step for step in range(1, steps + 1)]
        expected = [100 * (step - 1) / 7 for step in range(1, steps + 1)]
        assert [x for x, _ in curve.points] == pytest.approx(expected)
        drawn = [loss.least + (HEIGHT - y) / HEIGHT * (loss.greatest - loss.least) for _, y in curve.points]
        assert drawn == pytest.approx(values) and (curve.last, curve.best) == (values[-1], values[-1])
    assert [curve.training for curve in by_name["R1"].curves] == [0]
    assert by_name["lr"].least < 1e-4 < by_name["lr"].greatest  # a constant has room around it


def test_many_lines_are_averaged_into_few_points(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", 1, 0)
    lines = [LINE | {"step": step, "loss": float(step % 2)} for step in range(1, 3 * POINTS + 1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    loss = next(chart for chart in charts([Training(str(folder))]) if chart.name == "loss")
    (curve,) = loss.curves
    assert len(curve.points) == POINTS and curve.averaged == 3 and curve.dots == "" and (curve.last, curve.best) == (0.0, 0.0)


def test_numbers_that_are_none_make_no_curve(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", 1, 0)
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": NaN, "itc": "x", "lr": true}\n{"step": 2, "loss": 1.5}\n')
    (chart,) = charts([Training(str(folder))])
    assert chart.name == "loss" and len(chart.curves[0].points) == 1 and chart.curves[0].dots.startswith("M50.00")

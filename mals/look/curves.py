"""Curves of trainings over each other, as points of inline SVG: losses, learning rate, speed, and the scores that select a checkpoint."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mals.look.training import Line, Training

POINTS = 400  # of one curve; more lines are averaged
HEIGHT = 40.0  # of the drawing, whose width is 100
OTHERS = {  # numbers of a line of metrics that are no loss -> their title
    "lr": "Learning rate",
    "images_per_s": "Images a second",
    "images_per_s_now": "Images a second since the line before",
    "waited": "Share of the time without data",
    "mfu": "MFU, the share of the card's dense bf16 products",
    "peak_mb": "Greatest memory in MB",
    "unreadable": "Unreadable rows",
}
NO_SCORES = ("step", "epoch", "split")


@dataclass(frozen=True)
class Curve:
    """One number of one training."""

    training: int  # its place among those that are shown
    points: list[tuple[float, float]]  # in the drawing
    last: float
    best: float  # the least of a loss, the greatest of a score
    averaged: int  # lines of metrics in one point

    @property
    def path(self) -> str:
        """The line through the points as SVG."""
        return "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in self.points)

    @property
    def dots(self) -> str:
        """The points as SVG; none where they are too many to be told apart."""
        return "".join(f"M{x:.2f} {y:.2f}h0" for x, y in self.points) if len(self.points) <= 40 else ""


@dataclass(frozen=True)
class Chart:
    """One number of all trainings that have it."""

    name: str
    title: str
    kind: str  # "loss", "score" or "other"
    curves: list[Curve]
    start: int  # the first step
    end: int
    least: float
    greatest: float

    @property
    def ticks(self) -> list[float]:
        """The values at the top, the middle and the bottom."""
        return [self.greatest, (self.greatest + self.least) / 2, self.least]


def charts(trainings: Sequence[Training]) -> list[Chart]:
    """Scores first, then the sum of losses, each loss, and what else is logged."""
    scores = _names([training.evaluations for training in trainings], NO_SCORES)
    logged = _names([training.metrics for training in trainings], ("step",))
    losses = [name for name in logged if name not in OTHERS]
    made = [_chart(name, f"{name} on {_split(trainings)}", "score", [training.evaluations for training in trainings]) for name in scores]
    metrics = [training.metrics for training in trainings]
    made += [_chart(name, "Sum of the losses" if name == "loss" else f"Loss {name}", "loss", metrics) for name in losses]
    made += [_chart(name, title, "other", metrics) for name, title in OTHERS.items() if name in logged]
    return [chart for chart in made if chart is not None]


def _names(logs: Sequence[Sequence[Line]], without: Sequence[str]) -> list[str]:
    """The numbers in any line of the logs."""
    names = dict.fromkeys(name for log in logs for line in log for name, value in line.items() if _is_number(value))
    return [name for name in names if name not in without]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _split(trainings: Sequence[Training]) -> str:
    """The split that checkpoints are selected on."""
    splits = dict.fromkeys(str(line.get("split", "")) for training in trainings for line in training.evaluations)
    return ", ".join(filter(None, splits)) or "val"


def _chart(name: str, title: str, kind: str, logs: Sequence[Sequence[Line]]) -> Chart | None:
    series = [[(int(line["step"]), float(line[name])) for line in log if _is_number(line.get(name))] for log in logs]
    values = [value for points in series for _, value in points]
    if not values or (name == "unreadable" and not any(values)):
        return None
    steps = [step for points in series for step, _ in points]
    thinned = [_thin(points) for points in series]
    shown = [value for points, _ in thinned for _, value in points]
    start, end, (least, greatest) = min(steps), max(steps), _around(min(shown), max(shown))
    curves = []
    for number, (points, averaged) in enumerate(thinned):
        if points:
            own = [value for _, value in series[number]]
            drawn = [(_place(step, start, end, 100), HEIGHT - _place(value, least, greatest, HEIGHT)) for step, value in points]
            curves.append(Curve(number, drawn, own[-1], max(own) if kind == "score" else min(own), averaged))
    return Chart(name, title, kind, curves, start, end, least, greatest)


def _thin(points: list[tuple[int, float]]) -> tuple[list[tuple[float, float]], int]:
    """At most POINTS points, each the mean of as many neighbours; and how many."""
    size = max(1, -(-len(points) // POINTS))
    blocks = [points[at : at + size] for at in range(0, len(points), size)]
    return [(sum(step for step, _ in block) / len(block), sum(value for _, value in block) / len(block)) for block in blocks], size


def _around(least: float, greatest: float) -> tuple[float, float]:
    """The ends of the axis of values: some room, and more than one value between them."""
    room = 0.04 * (greatest - least) or 0.05 * abs(greatest) or 1.0
    return (least if 0 <= least < room else least - room), greatest + room


def _place(value: float, start: float, end: float, length: float) -> float:
    """Where a value stands on an axis."""
    return length * (value - start) / (end - start) if end > start else length / 2

"""The results of `mals compare` as records, as JSON, and as a Markdown table in percent."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from mals.dataset.card import table_cell
from pretrain.comparison import Comparison, Variant

SCORES = ("R1", "R5", "R10", "mAP", "mINP", "one_color", "two_colors")
SHOWN = {"R@1": "R1", "R@10": "R10", "mAP": "mAP"}  # heading -> score
SEARCHED = {"one colour": "one_color", "two colours": "two_colors"}  # of the attribute precision of search, where it was measured


@dataclass(frozen=True)
class Outcome:
    """The result of one training."""

    seed: int
    steps: int
    images: int  # seen in training
    rows: int  # of the data that the training used
    images_per_s: float | None  # of the training
    best: dict[str, Any] | None  # scores of the checkpoint that val chose, as shares; None where no split chose
    last: dict[str, Any]  # scores of the last weights
    best_step: int | None
    cost: dict[str, Any]  # see `pretrain.measure.Cost`

    def sentence(self) -> str:
        """The scores for a reader."""
        last = f"R@1 {100 * self.last['R1']:.2f} with the last weights"
        return last if self.best is None else f"R@1 {100 * self.best['R1']:.2f} of the chosen checkpoint (step {self.best_step:,}), {last}"


@dataclass(frozen=True)
class Failure:
    """A training that failed."""

    seed: int
    reason: str


@dataclass(frozen=True)
class Row:
    """One variant with the results so far."""

    variant: Variant
    results: tuple[Outcome | Failure, ...]

    @property
    def outcomes(self) -> list[Outcome]:
        return [result for result in self.results if isinstance(result, Outcome)]

    @property
    def failures(self) -> list[Failure]:
        return [result for result in self.results if isinstance(result, Failure)]

    def scores(self, which: str) -> dict[str, list[float]]:
        """Scores of "best" or "last" by their names, one value a seed; empty where there are none."""
        parts = [part for outcome in self.outcomes if (part := getattr(outcome, which)) is not None]
        measured = [name for name in SCORES if parts and all(part.get(name) is not None for part in parts)]
        return {name: [float(part[name]) for part in parts] for name in measured}


def spread(values: Sequence[float]) -> float | None:
    """The standard deviation over the seeds; None for fewer than two."""
    return stdev(values) if len(values) > 1 else None


def to_json(comparison: Comparison, rows: Sequence[Row]) -> dict[str, Any]:
    """Everything as JSON; scores are shares from 0 to 1."""
    return {
        "data": list(comparison.data),
        "test": list(comparison.test),
        "split": comparison.split,
        "budget": str(comparison.budget),
        "seeds": comparison.seeds,
        "sets": list(comparison.sets),
        "rows": [_row_json(row) for row in rows],
    }


def _row_json(row: Row) -> dict[str, Any]:
    outcomes, variant = row.outcomes, row.variant
    facts: dict[str, Any] = {"name": variant.name, "method": variant.method, "preset": variant.preset, "sets": list(variant.sets)}
    facts |= {"init": variant.init, "failed": [vars(failure) for failure in row.failures]}
    for which in ("best", "last"):
        if scores := row.scores(which):
            facts[which] = {name: {"mean": mean(values), "spread": spread(values), "values": values} for name, values in scores.items()}
    if outcomes:
        facts |= outcomes[0].cost
        facts |= {name: [getattr(outcome, name) for outcome in outcomes] for name in ("seed", "steps", "images", "rows", "images_per_s")}
        facts["protocol"] = outcomes[0].last["protocol"]
    return facts


COLUMNS: dict[str, Callable[[Row], str | None]] = {
    "images seen": lambda row: _count([outcome.images for outcome in row.outcomes]),
    "parameters": lambda row: _millions(row, "parameters"),
    "GFLOP, image": lambda row: _giga(row, "image_flops"),
    "GFLOP, caption": lambda row: _giga(row, "caption_flops"),
    "numbers of an embedding": lambda row: _fact(row, "width", lambda value: f"{value:,}"),
    "images/s": lambda row: _decimal([outcome.images_per_s for outcome in row.outcomes if outcome.images_per_s]),
}


def markdown(comparison: Comparison, rows: Sequence[Row]) -> str:
    """The table, and below it how it was made."""
    shown = SHOWN | (SEARCHED if any(row.scores("last").keys() & set(SEARCHED.values()) for row in rows) else {})
    chosen = [f"{name}, chosen" for name in shown] if comparison.selects else []
    head = ["method", *chosen, *[f"{name}, last" for name in shown], *COLUMNS]
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    for row in rows:
        kinds = ["best", "last"] if comparison.selects else ["last"]
        scores = [_percent(row.scores(kind).get(name)) for kind in kinds for name in shown.values()]
        cells = [row.variant.name, *scores, *[column(row) for column in COLUMNS.values()]]
        lines.append(f"| {' | '.join(map(table_cell, cells))} |")
    return "\n".join([*lines, "", *[f"- {note}" for note in notes(comparison, rows)]]) + "\n"


def notes(comparison: Comparison, rows: Sequence[Row]) -> Iterator[str]:
    """How the table was made, and what failed."""
    yield f"Trained on {', '.join(comparison.data)}: {comparison.budget}. Tested on {comparison.split} of {', '.join(comparison.test)}."
    if comparison.seeds > 1:
        yield f"Means over {comparison.seeds} seeds ± their standard deviation."
    if comparison.selects:
        optimistic = any(one.startswith("selection.on=test") for one in comparison.sets)
        by = "test, which is optimistic" if optimistic else "val"
        yield f"Chosen: the checkpoint with the highest R@1 on {by}, without captions mAP. Last: the weights after the last step."
    protocols: dict[str, list[str]] = {}
    used: dict[int, list[str]] = {}
    for row in rows:
        if row.outcomes:
            protocols.setdefault(row.outcomes[0].last["protocol"], []).append(row.variant.name)
            used.setdefault(row.outcomes[0].rows, []).append(row.variant.name)
    yield from (f"{', '.join(names)}: {protocol}." for protocol, names in protocols.items())
    searches = dict.fromkeys(row.outcomes[0].last.get("search_protocol") for row in rows if row.outcomes)
    yield from (f"Attribute precision of search: {protocol}." for protocol in searches if protocol)
    if len(used) > 1:
        counts = "; ".join(f"{', '.join(names)} {count:,}" for count, names in used.items())
        yield f"Rows of the data that a training used: {counts}."
    for row in rows:
        if row.variant.sets or row.variant.init:
            yield f"{row.variant.name}: {', '.join([*row.variant.sets, *([f'from {row.variant.init}'] if row.variant.init else [])])}."
        for failure in row.failures:
            yield f"{row.variant.name}, seed {failure.seed}, **failed**: {failure.reason}"


def _percent(values: Sequence[float] | None) -> str | None:
    """Mean and spread in percent."""
    if not values:
        return None
    deviation = spread(values)
    return f"{100 * mean(values):.2f}" + ("" if deviation is None else f" ± {100 * deviation:.2f}")


def _count(values: Sequence[int]) -> str | None:
    return f"{round(mean(values)):,}" if values else None


def _decimal(values: Sequence[float]) -> str | None:
    return f"{mean(values):.1f}" if values else None


def _fact(row: Row, name: str, shown: Callable[[Any], str]) -> str | None:
    facts: Mapping[str, Any] = row.outcomes[0].cost if row.outcomes else {}
    return None if facts.get(name) is None else shown(facts[name])


def _millions(row: Row, name: str) -> str | None:
    return _fact(row, name, lambda value: f"{value / 1e6:.2f} M")


def _giga(row: Row, name: str) -> str | None:
    return _fact(row, name, lambda value: f"{value / 1e9:.3g}")

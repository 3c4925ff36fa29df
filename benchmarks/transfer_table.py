"""The results of `benchmarks.transfer` as Markdown: a table for each domain and number of images."""

from collections.abc import Iterator, Sequence
from statistics import mean, stdev
from typing import Any

HEAD = """| arm | images | captions | seeds | R@1 | against {first} | R@5 | mAP | one colour | two colours |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"""
FIRST = {"generated": "mals", "drawn": "ceiling"}  # domain -> the arm that the others are compared with
SCORES = ("R1", "R5", "mAP", "one", "two")


def tables(lines: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Markdown; scores in percent, the mean over the seeds with their standard deviation."""
    for images, steps in sorted({(line["images"], line["steps"]) for line in lines}):
        for domain, first in FIRST.items():
            own = [line for line in lines if (line["images"], line["steps"], line["domain"]) == (images, steps, domain)]
            if own:
                yield f"{images:,} {domain} images, {steps:,} steps:\n\n{table(own, first)}\n"


def table(lines: Sequence[dict[str, Any]], first: str) -> str:
    """A row for each arm, in the order of the lines, and that of a random order."""
    arms: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        arms.setdefault(line["arm"], []).append(line)
    base = mean(line["R1"] for line in arms[first]) if first in arms else None
    rows = [HEAD.format(first=f"`{first}`")]
    for arm, own in arms.items():
        times = mean(line["R1"] for line in own) / base if base else None
        scores = {name: cell([line[name] for line in own]) for name in SCORES}
        ratio = "" if times is None else f"{times:.2f}"
        counts = f"{own[0]['rows']:,} | {own[0]['captions']:,} | {len(own)}"
        rows.append(f"| `{arm}` | {counts} | {scores.pop('R1')} | {ratio} | {' | '.join(scores.values())} |")
    chance = {name: cell([lines[0][f"chance_{name}"]]) for name in ("R1", "one", "two")}
    rows.append(f"| a random order | | | | {chance['R1']} | | | | {chance['one']} | {chance['two']} |")
    return "\n".join(rows)


def cell(values: Sequence[float | None]) -> str:
    """Shares in percent; "" where one is unknown."""
    known = [100 * value for value in values if value is not None]
    if len(known) < len(values):
        return ""
    return f"{mean(known):.1f}" + (f" ± {stdev(known):.1f}" if len(known) > 1 else "")

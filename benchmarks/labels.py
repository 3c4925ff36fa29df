"""Accuracy of the labeller: `python -m benchmarks.labels [FILE ...]`, by default on the captions in tests/gold.

A file holds one JSON object per line with `caption`, `label` (27 values in {-1, 0, 1}) and `style` or `batch`. The captions of
annotators.jsonl were written and labelled by hand before any output of the labeller on them was seen. Prints the captions with wrong labels
and the words that decided, the accuracy of each attribute with a wrong label, and one JSON line.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from mals.labeller.labeller import Labeller, Labels

GOLD = Path(__file__).parent.parent / "tests" / "gold"


def measure(file: Path) -> dict[str, Any]:
    """The share of correct values, in total, by attribute and by style; and the share of captions with only correct values."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    labels = Labeller().label([row["caption"] for row in rows])
    truth = np.array([row["label"] for row in rows], np.int8)
    correct = labels.values == truth
    styles = defaultdict(list)
    for at, row in enumerate(rows):
        styles[style(row)].append(at)
    names = labels.labeller.space.names
    show(file, rows, labels, truth, correct)
    by_attribute = {name: round(float(correct[:, at].mean()), 4) for at, name in enumerate(names)}
    return {
        "file": file.name,
        "captions": len(rows),
        "values": round(float(correct.mean()), 4),
        "worst_attribute": min(by_attribute, key=lambda name: by_attribute[name]),
        "worst": min(by_attribute.values()),
        "all_right": round(float(correct.all(1).mean()), 4),
        "styles": {
            style: {
                "captions": len(at),
                "values": round(float(correct[at].mean()), 4),
                "all_right": round(float(correct[at].all(1).mean()), 4),
            }
            for style, at in styles.items()
        },
        "attributes": by_attribute,
    }


def style(row: dict[str, Any]) -> str:
    return str(row["style"] if "style" in row else row["batch"])


def show(file: Path, rows: list[dict[str, Any]], labels: Labels, truth: np.ndarray, correct: np.ndarray) -> None:
    """Print the captions with wrong labels and the attributes that are not always correct."""
    names = labels.labeller.space.names
    for at in np.flatnonzero(~correct.all(1)):
        caption, spans = rows[at]["caption"], labels.evidence[int(at)]
        print(f"{file.name} {rows[at].get('id', at)} ({style(rows[at])}): {caption}")
        for a in np.flatnonzero(~correct[at]):
            words = ", ".join(caption[start:end] for start, end in spans[a]) or "nothing"
            print(f"    {names[a]}: {labels.values[at, a]}, truly {truth[at, a]}; decided by {words}")
    for a in np.flatnonzero(~correct.all(0)):
        print(f"{names[a]:>16} {correct[:, a].mean():.4f}")


def main() -> None:
    files = [Path(name) for name in sys.argv[1:]] or sorted(GOLD.glob("*.jsonl"))
    for file in files:
        print(json.dumps(measure(file)))


if __name__ == "__main__":
    main()

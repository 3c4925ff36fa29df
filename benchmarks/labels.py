"""How often the labeller is right: `python -m benchmarks.labels [FILE ...]`, by default on the captions in tests/gold.

A file holds one JSON object a line with caption, label (27 values in {-1, 0, 1}) and style. Prints the wrong captions with the words that
decided, the attributes that are not always right, and one JSON line.
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
    """Shares of values that are right: over all, by attribute and by style; and of captions with all of them right."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    labels = Labeller().label([row["caption"] for row in rows])
    truth = np.array([row["label"] for row in rows], np.int8)
    right = labels.values == truth
    styles = defaultdict(list)
    for at, row in enumerate(rows):
        styles[row["style"]].append(at)
    names = labels.labeller.space.names
    show(file, rows, labels, truth, right)
    by_attribute = {name: round(float(right[:, at].mean()), 4) for at, name in enumerate(names)}
    return {
        "file": file.name,
        "captions": len(rows),
        "values": round(float(right.mean()), 4),
        "worst_attribute": min(by_attribute, key=lambda name: by_attribute[name]),
        "worst": min(by_attribute.values()),
        "all_right": round(float(right.all(1).mean()), 4),
        "styles": {
            style: {"captions": len(at), "values": round(float(right[at].mean()), 4), "all_right": round(float(right[at].all(1).mean()), 4)}
            for style, at in styles.items()
        },
        "attributes": by_attribute,
    }


def show(file: Path, rows: list[dict[str, Any]], labels: Labels, truth: np.ndarray, right: np.ndarray) -> None:
    """The wrong captions and the attributes that are not always right."""
    names = labels.labeller.space.names
    for at in np.flatnonzero(~right.all(1)):
        caption, spans = rows[at]["caption"], labels.evidence[int(at)]
        print(f"{file.name} {rows[at].get('id', at)} ({rows[at]['style']}): {caption}")
        for a in np.flatnonzero(~right[at]):
            words = ", ".join(caption[start:end] for start, end in spans[a]) or "nothing"
            print(f"    {names[a]}: {labels.values[at, a]}, truly {truth[at, a]}; decided by {words}")
    for a in np.flatnonzero(~right.all(0)):
        print(f"{names[a]:>16} {right[:, a].mean():.4f}")


def main() -> None:
    files = [Path(name) for name in sys.argv[1:]] or sorted(GOLD.glob("*.jsonl"))
    for file in files:
        print(json.dumps(measure(file)))


if __name__ == "__main__":
    main()

"""Scores as a Markdown table in percent, with the protocols under it: for `mals zeroshot` and for the card of a release."""

from collections.abc import Mapping, Sequence
from typing import Any

from mals.dataset.card import table_cell

COLUMNS = {"R@1": "R1", "R@5": "R5", "R@10": "R10", "mAP": "mAP", "mINP": "mINP"}
Row = Mapping[
    str, Any
]  # name, split, and what `pretrain.evaluate` tells: retrieval, attributes, unreadable; learnt_from, where it is known


def table(rows: Sequence[Row]) -> list[str]:
    """A line a data set."""
    head = ["data set", "split", "texts", "pictures", *COLUMNS, "mA"]
    lines = [f"| {' | '.join(head)} |", f"|---|---|{'---:|' * (len(head) - 2)}"]
    for row in rows:
        found, known = row.get("retrieval"), row.get("attributes")
        counts = [found and f"{found['queries']:,}", f"{found['gallery'] if found else row['attributes']['pictures']:,}"]
        scores = [found and f"{100 * found[key]:.2f}" for key in COLUMNS.values()]
        name = row["name"] + (" (learnt from)" if row.get("learnt_from") else "")
        cells = [name, row["split"], *counts, *scores, known and f"{100 * known['mA']:.2f}"]
        lines.append(f"| {' | '.join(map(table_cell, cells))} |")
    return lines


def notes(rows: Sequence[Row]) -> list[str]:
    """Protocols, each once with the data sets that it holds for, and what a reader would want to be warned of."""
    said: dict[str, list[str]] = {}
    for row in rows:
        for part, what in (("retrieval", "Retrieval"), ("attributes", "Recognition")):
            if part in row:
                said.setdefault(f"{what} ({{}}): {row[part]['protocol']}.", []).append(row["name"])
    found = [told.format(", ".join(dict.fromkeys(names))) for told, names in said.items()]
    lost = [(row["name"], row["unreadable"]) for row in rows if row.get("unreadable")]
    return found + [f"{name}: {count:,} pictures could not be read and were left out." for name, count in lost]

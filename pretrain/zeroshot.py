"""Every benchmark without fine-tuning: retrieval where there are captions, recognition where there are labels, as one table."""

from collections.abc import Callable, Sequence
from typing import Any

from mals.card import cell
from pretrain import origins
from pretrain.evaluate import Rerank, evaluate, open_gallery
from pretrain.trained import Trained

COLUMNS = {"R@1": "R1", "R@5": "R5", "R@10": "R10", "mAP": "mAP", "mINP": "mINP"}
PLAIN = ("icfg-pedes", "rstpreid")  # whose captions the authors' code strips at test, though not in training (aptm.md 1.5)


def zeroshot(
    trained: Trained,
    data: Sequence[str],
    split: str = "test",
    mode: Rerank = "itm",
    k: int = 128,
    *,
    batch: int = 64,
    workers: int = 0,
    plain: bool = False,
    progress: Callable[[str], None] = lambda name: None,
) -> dict[str, Any]:
    """What `evaluate` tells of a split of each data set, with its name and whether the method has learnt from it.

    All are opened before any is measured. As published, captions of ICFG-PEDES and RSTPReid are read as letters and digits alone.
    """
    known = [origins.about(place) for place in data]
    stripped = [plain or (mode == "published" and one["benchmark"] in PLAIN) for one in known]
    galleries = [
        open_gallery(trained, [place], split, batch=batch, workers=workers, plain=strip)
        for place, strip in zip(data, stripped, strict=True)
    ]
    sets = []
    for place, one, gallery in zip(data, known, galleries, strict=True):
        progress(one["name"])
        learnt = origins.met(trained.origins, place)
        sets.append({"name": one["name"], "data": place, "learnt_from": learnt, **evaluate(trained, gallery, mode, k)})
    return {"split": split, "rerank": mode, "k": k, "sets": sets}


def markdown(result: dict[str, Any]) -> str:
    """The table in percent, with the protocol under it."""
    head = ["data set", "texts", "pictures", *COLUMNS, "mA"]
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    for row in result["sets"]:
        found, known = row.get("retrieval"), row.get("attributes")
        counts = [found and f"{found['queries']:,}", f"{found['gallery'] if found else known['pictures']:,}"]
        scores = [found and f"{100 * found[key]:.2f}" for key in COLUMNS.values()]
        name = row["name"] + (" (learnt from)" if row["learnt_from"] else "")
        cells = [name, *counts, *scores, known and f"{100 * known['mA']:.2f}"]
        lines.append(f"| {' | '.join(map(cell, cells))} |")
    return "\n".join([*lines, "", *_notes(result), ""])


def _notes(result: dict[str, Any]) -> list[str]:
    """Protocols, each once with the data sets that it holds for, and what a reader would want to be warned of."""
    said: dict[str, list[str]] = {}
    for row in result["sets"]:
        for part, what in (("retrieval", "Retrieval"), ("attributes", "Recognition")):
            if part in row:
                said.setdefault(f"{what} ({{}}): {row[part]['protocol']}.", []).append(row["name"])
    notes = [f"Split {result['split']}, in percent; nothing was fine-tuned."]
    notes += [told.format(", ".join(names)) for told, names in said.items()]
    if learnt := [row["name"] for row in result["sets"] if row["learnt_from"]]:
        notes.append(f"The method has learnt from {', '.join(learnt)}, if from other splits: that is not zero-shot.")
    notes += [
        f"{row['name']}: {row['unreadable']:,} pictures could not be read and were left out." for row in result["sets"] if row["unreadable"]
    ]
    return [f"- {note}" for note in notes]

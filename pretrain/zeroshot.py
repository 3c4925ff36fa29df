"""Every benchmark without fine-tuning: retrieval where there are captions, recognition where there are labels, as one table."""

from collections.abc import Callable, Sequence
from typing import Any

from pretrain import provenance
from pretrain.evaluate import Rerank, evaluate, open_gallery
from pretrain.tables import notes, table
from pretrain.trained_method import Trained

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
    known = [provenance.about(place) for place in data]
    stripped = [plain or (mode == "published" and one["benchmark"] in PLAIN) for one in known]
    galleries = [
        open_gallery(trained, [place], split, batch=batch, workers=workers, plain=strip)
        for place, strip in zip(data, stripped, strict=True)
    ]
    sets = []
    for place, one, gallery in zip(data, known, galleries, strict=True):
        progress(one["name"])
        learnt = provenance.met(trained.origins, place)
        told = {"name": one["name"], "data": place, "split": split, "learnt_from": learnt}
        sets.append(told | evaluate(trained, gallery, mode, k))
    return {"split": split, "rerank": mode, "k": k, "sets": sets}


def markdown(result: dict[str, Any]) -> str:
    """The table in percent, with the protocol under it."""
    told = ["In percent; nothing was fine-tuned.", *notes(result["sets"])]
    if learnt := [row["name"] for row in result["sets"] if row["learnt_from"]]:
        told.append(f"The method has learnt from {', '.join(learnt)} (perhaps from another split): that is not zero-shot.")
    return "\n".join([*table(result["sets"]), "", *(f"- {note}" for note in told), ""])

"""Zero-shot evaluation: every data set without fine-tuning, retrieval if it has captions, recognition if it has labels, as one table."""

from collections.abc import Callable, Sequence

from pretrain import provenance
from pretrain.data.splits import choose_split
from pretrain.evaluate import evaluate, open_gallery
from pretrain.results import DatasetScores, ZeroShotResult
from pretrain.retrieval_protocol import benchmark_of
from pretrain.tables import notes, table
from pretrain.text_scores import Rerank
from pretrain.trained_method import Trained


def zeroshot(
    trained: Trained,
    data: Sequence[str],
    split: str | None = None,
    rerank: Rerank = "itm",
    k: int = 128,
    *,
    batch: int = 64,
    workers: int = 0,
    plain: bool = False,
    progress: Callable[[str], None] = lambda name: None,
) -> ZeroShotResult:
    """Evaluate a split of each data set, by default `test` or its only one, and say whether the method was trained on that data set.

    All data sets are opened before the first is measured. With `plain`, and with `rerank` "published" where a set's authors do it,
    captions are reduced, see `retrieval_protocol`. `progress` is called with the name of each data set.
    """
    facts = [provenance.about(place) for place in data]
    infos = [benchmark_of(place) for place in data]
    reduced = [plain or (rerank == "published" and info is not None and info.published_captions != "none") for info in infos]
    splits = [choose_split([place], split) for place in data]
    galleries = [
        open_gallery(trained, [place], own, batch=batch, workers=workers, plain=is_plain)
        for place, own, is_plain in zip(data, splits, reduced, strict=True)
    ]
    rows = []
    for place, own, about, gallery in zip(data, splits, facts, galleries, strict=True):
        progress(about["name"])
        evaluation = evaluate(trained, gallery, rerank, k)
        rows.append(DatasetScores(about["name"], own, evaluation, place, provenance.trained_on(trained.origins, place)))
    return ZeroShotResult(split or "test", rerank, k, tuple(rows))


def markdown(result: ZeroShotResult) -> str:
    """The table in percent, with the protocols below it."""
    lines = ["In percent; without fine-tuning.", *notes(result.sets)]
    if names := [row.name for row in result.sets if row.trained_on]:
        lines.append(f"The method was trained on {', '.join(names)} (perhaps on another split): that is not zero-shot.")
    return "\n".join([*table(result.sets), "", *(f"- {line}" for line in lines), ""])

"""Scores as a Markdown table in percent, with the protocols below it: for `mals zeroshot` and for the card of a release."""

from collections.abc import Sequence

from mals.dataset.card import table_cell
from pretrain.results import DatasetScores, IdentificationScores, RetrievalScores

SEARCH = {"one colour": "one", "two colours": "two"}  # heading -> field of SearchScores
SIMILARITY = {"mSD": "mSD", "mSD as published": "mSD_as_published"}  # heading -> field of RetrievalScores
COLUMNS = {"R@1": "R1", "R@5": "R5", "R@10": "R10", "mAP": "mAP", "mINP": "mINP"}  # heading -> field of RetrievalScores


def table(rows: Sequence[DatasetScores]) -> list[str]:
    """The lines of a table with one row for each data set."""
    searched = SEARCH if any(row.evaluation.search for row in rows) else {}
    similarity = SIMILARITY if any(row.evaluation.retrieval and row.evaluation.retrieval.mSD is not None for row in rows) else {}
    head = ["data set", "split", "captions", "images", *COLUMNS, *similarity, "mA", *searched]
    lines = [f"| {' | '.join(head)} |", f"|---|---|{'---:|' * (len(head) - 2)}"]
    for row in rows:
        evaluation, name = row.evaluation, row.name + (" (trained on)" if row.trained_on else "")
        retrieval, attributes, identification = evaluation.retrieval, evaluation.attributes, evaluation.identification
        if identification is None or retrieval or attributes:
            counts = [retrieval and f"{retrieval.captions:,}", None if evaluation.images is None else f"{evaluation.images:,}"]
            cells = [name, row.split, *counts, *_ranking(retrieval)]
            cells += [_percent(getattr(retrieval, field, None)) for field in similarity.values()]
            cells += [_percent(None if attributes is None else attributes.mA)]
            cells += [_percent(getattr(evaluation.search, field, None)) for field in searched.values()]
            lines.append(f"| {' | '.join(map(table_cell, cells))} |")
        if identification is not None:
            counts = [None, f"{identification.images:,}"]
            cells = [f"{name}, by image", row.split, *counts, *_ranking(identification), *[None for _ in (*similarity, "mA", *searched)]]
            lines.append(f"| {' | '.join(map(table_cell, cells))} |")
    return lines


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.2f}"


def _ranking(scores: RetrievalScores | IdentificationScores | None) -> list[str | None]:
    """The scores of a ranking in percent."""
    return [None if scores is None else f"{100 * getattr(scores, name):.2f}" for name in COLUMNS.values()]


def notes(rows: Sequence[DatasetScores]) -> list[str]:
    """Each protocol once with the data sets that were measured by it, the scores of a method's own protocols, and what was left out."""
    protocols: dict[tuple[str, str], list[str]] = {}
    lines: list[str] = []
    for row in rows:
        for measured, protocol in row.evaluation.protocols.items():
            protocols.setdefault((measured, protocol), []).append(row.name)
        for name, scores in row.evaluation.more.items():
            lines.append(f"{name} ({row.name}): {', '.join(f'{key} {value}' for key, value in scores.items())}.")
        lines += [f"{row.name}: {sentence}." for sentence in row.evaluation.left_out]
    return [f"{measured} ({', '.join(dict.fromkeys(names))}): {protocol}." for (measured, protocol), names in protocols.items()] + lines

"""How well texts find pictures, and how well attributes are recognised: exact, as shares from 0 to 1.

Shapes: Q queries, G gallery pictures, N pictures, A attributes.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

CELLS = 1 << 22  # scores ranked at once: some 100 MB with their order and matches
CUTS = (1, 5, 10)  # the k of R@k that the field prints


def retrieval(
    scores: Tensor | Iterable[Tensor],
    query_persons: Tensor | Sequence[int],
    gallery_persons: Tensor | Sequence[int],
    *,
    query_cameras: Tensor | Sequence[int] | None = None,
    gallery_cameras: Tensor | Sequence[int] | None = None,
) -> dict[str, float]:
    """R1, R5, R10, mAP and mINP of scores [Q, G], whole or as chunks of rows in order; equal scores rank in the gallery's order.

    A query whose person is not in the gallery can find nothing: it is left out of the means, and `unmatched` says how many there are.
    With cameras given, pictures of the query's person by the query's camera are taken out of its ranking (the Market-1501 protocol).
    """
    if (query_cameras is None) != (gallery_cameras is None):
        raise ValueError("cameras are needed of the queries and of the gallery, or of neither")
    queries, gallery = torch.as_tensor(query_persons), torch.as_tensor(gallery_persons)
    parts, start = [torch.zeros(0, 4, dtype=torch.float64)], 0
    for chunk in _chunks(scores, len(gallery)):
        own = slice(start, start := start + len(chunk))
        wanted = _equal(queries[own], gallery, chunk)
        kept = None
        if query_cameras is not None and gallery_cameras is not None:
            kept = ~(wanted & _equal(torch.as_tensor(query_cameras)[own], torch.as_tensor(gallery_cameras), chunk))
            wanted &= kept
        parts.append(_ranked(chunk, wanted, kept).cpu())
    if start != len(queries):
        raise ValueError(f"{start} rows of scores for {len(queries)} queries")
    first, precision, inverse, found = torch.cat(parts).unbind(1)
    matched = found > 0
    return {
        **{f"R{k}": _mean(first[matched] <= k) for k in CUTS},
        "mAP": _mean(precision[matched]),
        "mINP": _mean(inverse[matched]),
        "unmatched": int((~matched).sum()),
    }


def _chunks(scores: Tensor | Iterable[Tensor], width: int) -> Iterator[Tensor]:
    """Rows of scores, few enough at a time."""
    for block in [scores] if isinstance(scores, Tensor) else scores:
        if block.ndim != 2 or block.shape[1] != width:
            raise ValueError(f"scores of shape {tuple(block.shape)} for a gallery of {width}")
        if block.isnan().any():
            raise ValueError("scores hold NaN, which has no rank")
        yield from block.split(max(1, CELLS // max(1, width)))


def _equal(queries: Tensor, gallery: Tensor, scores: Tensor) -> Tensor:
    """[q] and [G] -> [q, G] bool, on the scores' device."""
    if len(queries) != len(scores):
        raise ValueError("there are more rows of scores than queries")
    return queries.to(scores.device)[:, None] == gallery.to(scores.device)[None]


def _ranked(scores: Tensor, wanted: Tensor, kept: Tensor | None) -> Tensor:
    """[q, G] -> [q, 4] float64: place of the first match, average precision, inverse negative penalty, number of matches."""
    order = scores.argsort(dim=1, descending=True, stable=True)
    hits = wanted.gather(1, order)
    row, column = hits.nonzero(as_tuple=True)
    place = (column + 1 if kept is None else kept.gather(1, order).cumsum(1)[row, column]).double()
    found = hits.sum(1)
    before = found.cumsum(0) - found
    number = torch.arange(1, len(row) + 1, device=row.device) - before[row]  # 1 for a query's best match, found for its worst
    result = torch.zeros(len(scores), 4, dtype=torch.float64, device=scores.device)
    best, worst = number == 1, number == found[row]
    result[row[best], 0] = place[best]
    result[:, 1] = result[:, 1].index_add(0, row, number / place) / found.clamp(min=1)
    result[row[worst], 2] = number[worst] / place[worst]
    result[:, 3] = found
    return result


def attributes(pred: Tensor, label: Tensor, *, positive: int | Sequence[int] = 1) -> dict[str, float]:
    """mA, accuracy, precision, recall and f1 of pred [N, A] in {0, 1} against label [N, A] in {-1, 0, 1}, -1 unknown and left out.

    mA is the mean over attributes, the others are means over pictures (f1 of the two means), as PA-100K is scored. `positive` is the
    value that means "has it", for all attributes or one each: 1 in PA-100K, 0 for what people wear and carry in MALS.
    Where nothing was to be found, finding nothing scores 1 and finding something 0; where something was, finding nothing scores 0.
    Attributes and pictures of which nothing is known are left out; if that leaves nothing, the score is 0.
    """
    told, true, known = _sides(pred, label, positive)
    each = [row["mA"] for row in per_attribute(pred, label, positive=positive)]
    balanced = [value for value in each if value is not None]
    some = known.any(1)
    told, true = told[some], true[some]
    both, said, real = (told & true).sum(1), told.sum(1), true.sum(1)
    silent = (said + real == 0).double()
    precision, recall = _mean(_share(both, said, silent)), _mean(_share(both, real, silent))
    return {
        "mA": sum(balanced) / max(1, len(balanced)),
        "accuracy": _mean(_share(both, (told | true).sum(1), silent)),
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
    }


def per_attribute(pred: Tensor, label: Tensor, *, positive: int | Sequence[int] = 1) -> list[dict[str, float | None]]:
    """What `attributes` measures, counted over pictures for every attribute, with how many have it and have it not.

    mA is the mean of the shares recognised among those that have it and those that do not, or the one share where all are alike;
    an attribute of which nothing is known scores None.
    """
    told, true, known = _sides(pred, label, positive)
    hit, said, real = (told & true).sum(0), told.sum(0), true.sum(0)
    count = known.sum(0)
    absent, right_absent = count - real, (known & ~told & ~true).sum(0)
    silent = (said + real == 0).double()
    sides = (real > 0).long() + (absent > 0).long()
    zero = torch.zeros_like(silent)
    table = {
        "mA": (_share(hit, real, zero) + _share(right_absent, absent, zero)) / sides.clamp(min=1),
        "accuracy": _share(hit + right_absent, count, zero),
        "precision": _share(hit, said, silent),
        "recall": _share(hit, real, silent),
        "f1": _share(2 * hit, said + real, silent),
    }
    columns = {name: [v if n else None for v, n in zip(values.tolist(), count.tolist(), strict=True)] for name, values in table.items()}
    columns |= {"positives": real.tolist(), "negatives": absent.tolist()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _sides(pred: Tensor, label: Tensor, positive: int | Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """[N, A] bool each: said to have it, has it, known; the first two are False where nothing is known."""
    if pred.shape != label.shape or pred.ndim != 2:
        raise ValueError(f"predictions of shape {tuple(pred.shape)} for labels of shape {tuple(label.shape)}")
    value = torch.as_tensor(positive, device=label.device)
    if value.ndim and len(value) != label.shape[1]:
        raise ValueError(f"{len(value)} positive values for {label.shape[1]} attributes")
    known = label >= 0
    return (pred == value) & known, (label == value) & known, known


def _share(part: Tensor, whole: Tensor, otherwise: Tensor) -> Tensor:
    """part / whole in float64, and `otherwise` where the whole is 0."""
    return torch.where(whole > 0, part.double() / whole.clamp(min=1), otherwise)


def _mean(values: Tensor) -> float:
    """The mean, 0 of nothing."""
    return float(values.double().mean()) if len(values) else 0.0

"""Metrics of retrieval by text or by image and of attribute recognition, exact, from 0 to 1.

Shapes: Q queries, G gallery images, N images, A attributes.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

CELLS = 1 << 22  # scores ranked at once: about 100 MB with their order and matches
RECALL_AT = (1, 5, 10)  # the k of R@k
JUNK = -1  # the person of an image that the protocol of Market-1501 ignores: neither right nor wrong


def retrieval(
    scores: Tensor | Iterable[Tensor],
    query_persons: Tensor | Sequence[int],
    gallery_persons: Tensor | Sequence[int],
    *,
    query_cameras: Tensor | Sequence[int] | None = None,
    gallery_cameras: Tensor | Sequence[int] | None = None,
) -> dict[str, float]:
    """R1, R5, R10, mAP and mINP of scores [Q, G], one tensor or chunks of its rows in order; equal scores rank in gallery order.

    Queries whose identity is not in the gallery are left out of the means; `unmatched` is their number. With cameras, the protocol is that
    of Market-1501 (Zheng et al., ICCV 2015): images of the query's identity from the query's camera are removed from its ranking, and
    images of the person JUNK from every ranking. Raises ValueError for NaN or wrong shapes.
    """
    if (query_cameras is None) != (gallery_cameras is None):
        raise ValueError("pass both query_cameras and gallery_cameras, or neither")
    queries, gallery = torch.as_tensor(query_persons), torch.as_tensor(gallery_persons)
    parts, start = [torch.zeros(0, 4, dtype=torch.float64)], 0
    for chunk in _chunks(scores, len(gallery)):
        own = slice(start, start := start + len(chunk))
        matches = _equal(queries[own], gallery, chunk)
        kept = None
        if query_cameras is not None and gallery_cameras is not None:
            kept = ~(matches & _equal(torch.as_tensor(query_cameras)[own], torch.as_tensor(gallery_cameras), chunk))
            kept &= (gallery != JUNK).to(chunk.device)
            matches &= kept
        parts.append(_rank(chunk, matches, kept).cpu())
    if start != len(queries):
        raise ValueError(f"{start} rows of scores for {len(queries)} queries")
    first, precision, inverse, count = torch.cat(parts).unbind(1)
    matched = count > 0
    return {
        **{f"R{k}": _mean(first[matched] <= k) for k in RECALL_AT},
        "mAP": _mean(precision[matched]),
        "mINP": _mean(inverse[matched]),
        "unmatched": int((~matched).sum()),
    }


def _chunks(scores: Tensor | Iterable[Tensor], width: int) -> Iterator[Tensor]:
    """Rows of scores, at most CELLS scores at a time."""
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


def _rank(scores: Tensor, matches: Tensor, kept: Tensor | None) -> Tensor:
    """[q, G] -> [q, 4] float64: rank of the first match, average precision, inverse negative penalty, number of matches."""
    order = scores.argsort(dim=1, descending=True, stable=True)
    hits = matches.gather(1, order)
    row, column = hits.nonzero(as_tuple=True)
    rank = (column + 1 if kept is None else kept.gather(1, order).cumsum(1)[row, column]).double()
    count = hits.sum(1)
    before = count.cumsum(0) - count
    number = torch.arange(1, len(row) + 1, device=row.device) - before[row]  # 1 for a query's best match, its count for the worst
    result = torch.zeros(len(scores), 4, dtype=torch.float64, device=scores.device)
    best, worst = number == 1, number == count[row]
    result[row[best], 0] = rank[best]
    result[:, 1] = result[:, 1].index_add(0, row, number / rank) / count.clamp(min=1)
    result[row[worst], 2] = number[worst] / rank[worst]
    result[:, 3] = count
    return result


def attributes(pred: Tensor, label: Tensor, *, positive: int | Sequence[int] = 1) -> dict[str, float]:
    """mA, accuracy, precision, recall and f1 of pred [N, A] in {0, 1} against label [N, A] in {-1, 0, 1}; -1 is unknown and left out.

    mA is the mean over attributes, the others are means over images (f1 of mean precision and mean recall), as for PA-100K. `positive` is
    the value that means "has the attribute", one for all attributes or one for each: 1 in PA-100K, 0 for clothes and bags in MALS.
    An image with neither predicted nor true positives scores 1; with only one of the two it scores 0.
    Attributes and images without known labels are left out; the score is 0 if none is left.
    """
    predicted, true, known = _sides(pred, label, positive)
    each = [row["mA"] for row in per_attribute(pred, label, positive=positive)]
    balanced = [value for value in each if value is not None]
    labelled = known.any(1)
    predicted, true = predicted[labelled], true[labelled]
    hits, positives, real = (predicted & true).sum(1), predicted.sum(1), true.sum(1)
    empty = (positives + real == 0).double()
    precision, recall = _mean(_share(hits, positives, empty)), _mean(_share(hits, real, empty))
    return {
        "mA": sum(balanced) / max(1, len(balanced)),
        "accuracy": _mean(_share(hits, (predicted | true).sum(1), empty)),
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
    }


def per_attribute(pred: Tensor, label: Tensor, *, positive: int | Sequence[int] = 1) -> list[dict[str, float | None]]:
    """The metrics of `attributes` for every attribute, counted over images, and the numbers of positives and negatives.

    mA is the mean of the shares recognised among the positives and among the negatives, or the share of the one that has images;
    an attribute without known labels scores None.
    """
    predicted, true, known = _sides(pred, label, positive)
    hits, positives, real = (predicted & true).sum(0), predicted.sum(0), true.sum(0)
    count = known.sum(0)
    absent, right_absent = count - real, (known & ~predicted & ~true).sum(0)
    empty = (positives + real == 0).double()
    sides = (real > 0).long() + (absent > 0).long()
    zero = torch.zeros_like(empty)
    table = {
        "mA": (_share(hits, real, zero) + _share(right_absent, absent, zero)) / sides.clamp(min=1),
        "accuracy": _share(hits + right_absent, count, zero),
        "precision": _share(hits, positives, empty),
        "recall": _share(hits, real, empty),
        "f1": _share(2 * hits, positives + real, empty),
    }
    columns = {name: [v if n else None for v, n in zip(values.tolist(), count.tolist(), strict=True)] for name, values in table.items()}
    columns |= {"positives": real.tolist(), "negatives": absent.tolist()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _sides(pred: Tensor, label: Tensor, positive: int | Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """[N, A] bool each: predicted positive, labelled positive, label known; the first two are False where the label is unknown."""
    if pred.shape != label.shape or pred.ndim != 2:
        raise ValueError(f"predictions of shape {tuple(pred.shape)} for labels of shape {tuple(label.shape)}")
    value = torch.as_tensor(positive, device=label.device)
    if value.ndim and len(value) != label.shape[1]:
        raise ValueError(f"{len(value)} positive values for {label.shape[1]} attributes")
    known = label >= 0
    return (pred == value) & known, (label == value) & known, known


def _share(part: Tensor, whole: Tensor, otherwise: Tensor) -> Tensor:
    """part / whole in float64, `otherwise` where the whole is 0."""
    return torch.where(whole > 0, part.double() / whole.clamp(min=1), otherwise)


def _mean(values: Tensor) -> float:
    """The mean, 0 for no values."""
    return float(values.double().mean()) if len(values) else 0.0

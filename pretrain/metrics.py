"""Metrics of retrieval by text or by image and of attribute recognition, exact, from 0 to 1.

Shapes: Q queries, q of them in a chunk, G gallery images, M images of the person that has most, N images, A attributes.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from pretrain import ranking

CELLS = 1 << 21  # scores ranked at once: about 40 MB with their keys
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

    `Matches` explains the arguments and `retrieval_means` the result. Raises ValueError for NaN or wrong shapes.
    """
    matches = Matches(query_persons, gallery_persons, query_cameras=query_cameras, gallery_cameras=gallery_cameras)
    parts, start = [torch.zeros(0, 4, dtype=torch.float64)], 0
    for block in [scores] if isinstance(scores, Tensor) else scores:
        parts.append(matches.score(block, start))
        start += len(block)
    if start != len(matches):
        raise ValueError(f"{start} rows of scores for {len(matches)} queries")
    return retrieval_means(torch.cat(parts))


def retrieval_means(table: Tensor) -> dict[str, float]:
    """R1, R5, R10, mAP and mINP of what `Matches.score` returns for all queries, [Q, 4].

    Queries whose identity is not in the gallery are left out of the means; `unmatched` is their number.
    """
    first, precision, inverse, count = table.unbind(1)
    matched = count > 0
    return {
        **{f"R{k}": _mean(first[matched] <= k) for k in RECALL_AT},
        "mAP": _mean(precision[matched]),
        "mINP": _mean(inverse[matched]),
        "unmatched": int((~matched).sum()),
    }


class Matches:
    """The images of a gallery that match each query: those of its person.

    With cameras, the protocol is that of Market-1501 (Zheng et al., ICCV 2015): images of the query's identity from the query's camera are
    removed from its ranking, and images of the person JUNK from every ranking. Raises ValueError for cameras of one side alone.
    """

    def __init__(
        self,
        query_persons: Tensor | Sequence[int],
        gallery_persons: Tensor | Sequence[int],
        *,
        query_cameras: Tensor | Sequence[int] | None = None,
        gallery_cameras: Tensor | Sequence[int] | None = None,
    ) -> None:
        if (query_cameras is None) != (gallery_cameras is None):
            raise ValueError("pass both query_cameras and gallery_cameras, or neither")
        self.persons, gallery = torch.as_tensor(query_persons).cpu(), torch.as_tensor(gallery_persons).cpu()
        self.width, self.cameras, self.ranked = len(gallery), None, None
        if query_cameras is not None and gallery_cameras is not None:
            self.ranked = gallery != JUNK  # [G] bool
            gallery, seen_by = gallery[self.ranked], torch.as_tensor(gallery_cameras).cpu()[self.ranked]
            self.cameras = torch.as_tensor(query_cameras).cpu(), seen_by
        by_person = gallery.sort(stable=True)
        self.images = by_person.indices  # [G]: the places of a person's images, side by side
        self.first = torch.searchsorted(by_person.values, self.persons)  # [Q]: where those of the query's person begin
        self.count = torch.searchsorted(by_person.values, self.persons, right=True) - self.first  # [Q]: and how many they are

    def __len__(self) -> int:
        """The number of queries."""
        return len(self.persons)

    def score(self, scores: Tensor, start: int = 0) -> Tensor:
        """Scores [q, G] of the queries from `start` on -> float64 [q, 4] on the CPU, a row for each query whatever the others are.

        The columns: rank of the first match from 1, average precision, inverse negative penalty, number of matches, all 0 without a match.
        Raises ValueError for NaN or wrong shapes.
        """
        if scores.ndim != 2 or scores.shape[1] != self.width:
            raise ValueError(f"scores of shape {tuple(scores.shape)} for a gallery of {self.width}")
        if start + len(scores) > len(self):
            raise ValueError("there are more rows of scores than queries")
        size = max(1, CELLS // max(1, self.width))
        tables = [self._score(scores[at : at + size], start + at) for at in range(0, len(scores), size)]
        return torch.cat([torch.zeros(0, 4, dtype=torch.float64), *tables])

    def _score(self, scores: Tensor, start: int) -> Tensor:
        if len(scores) and self.width and scores.amax(1).isnan().any():
            raise ValueError("scores hold NaN, which has no rank")
        own = slice(start, start + len(scores))
        count = self.count[own]
        if not count.any():
            return torch.zeros(len(scores), 4, dtype=torch.float64)
        if self.ranked is not None:
            scores = scores[:, self.ranked.to(scores.device)]
        number = torch.arange(int(count.max()))
        places = self.images[(self.first[own, None] + number).clamp(max=len(self.images) - 1)]  # [q, M]
        rank = ranking.ranks_of(scores, places.to(scores.device)).cpu()
        rank, order = rank.masked_fill_(number >= count[:, None], scores.shape[1] + 1).sort(dim=1)
        hits = number < count[:, None]
        if self.cameras is not None:
            removed = hits & (self.cameras[1][places] == self.cameras[0][own, None]).gather(1, order)
            rank, hits = rank - removed.cumsum(1), hits & ~removed
        return _scores_of_ranks(rank.double(), hits)


def _scores_of_ranks(rank: Tensor, hits: Tensor) -> Tensor:
    """Ascending ranks [q, M] and which of them count -> the table [q, 4] of `Matches.score`."""
    number = hits.cumsum(1)  # 1 for a query's best match, its count for the worst
    count = number[:, -1:]
    # a running sum, so that the width of the chunk's table changes no bit
    precision = torch.where(hits, number / rank, 0).cumsum(1)[:, -1:] / count.clamp(min=1)
    first = torch.where(hits & (number == 1), rank, 0).amax(1, keepdim=True)
    last = torch.where(hits, rank, 0).amax(1, keepdim=True)
    return torch.cat([first, precision, count / last.clamp(min=1), count.double()], 1)


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

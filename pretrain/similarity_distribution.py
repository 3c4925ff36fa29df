"""Mean similarity distribution (mSD; Zuo et al., UFineBench, CVPR 2024): how much of the similarity at the top of a ranking is due.

R@k and mAP see ranks alone; the similarity distribution (SD) of a query sees the similarities s = cosine / 2 + 1/2 too:

    SD = mean over the places of matches of (sum of s of the matches up to there / sum of s of all images up to there)
         x (1 - exp(-(mean s of the matches / mean s of the other images)))

The function that its authors published takes the ranks of matches and the similarities in the order of the gallery, which belong to other
images; `distributions` computes that too, to compare with published numbers.

Shapes: Q queries, q of them in a chunk, G gallery images.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from pretrain import ranking

CELLS = 1 << 20  # similarities at once: about 60 MB with what is computed of them


def distributions(cosines: Tensor, matches: Tensor) -> Tensor:
    """Cosines [q, G] and bool [q, G], True for images of the query's person -> float64 [q, 2] on the CPU: SD, and SD as published.

    From 0 to 1; 0 for a query without a match. Where every image is a match, the second factor is 1. Equal cosines are in the gallery's
    order.
    """
    rows = list(_chunks(cosines, matches))
    return torch.cat([torch.zeros(0, 2, dtype=torch.float64), *rows])


def _chunks(cosines: Tensor, matches: Tensor) -> Iterator[Tensor]:
    size = max(1, CELLS // max(1, cosines.shape[1]))
    for at in range(0, len(cosines), size):
        chunk = cosines[at : at + size]
        order = ranking.order(chunk)
        ranked = matches[at : at + size].gather(1, order)
        similarities = (chunk.double() / 2 + 0.5).clamp(0, 1)  # rounding makes cosines of equal vectors exceed 1
        yield torch.stack([_distribution(similarities.gather(1, order), ranked), _distribution(similarities, ranked)], 1).cpu()


def _distribution(similarities: Tensor, ranked: Tensor) -> Tensor:
    """SD [q] of similarities [q, G] in any order and matches [q, G] by rank."""
    count = ranked.sum(1)
    running, running_matches = similarities.cumsum(1), (similarities * ranked).cumsum(1)
    shares = torch.where(running > 0, running_matches / running, 0)
    all_matches, others = running_matches[:, -1], running[:, -1] - running_matches[:, -1]
    mean_match, mean_other = all_matches / count.clamp(min=1), others / (ranked.shape[1] - count).clamp(min=1)
    ratio = torch.where(mean_other > 0, mean_match / mean_other, torch.where(mean_match > 0, torch.inf, 0))
    return (shares * ranked).sum(1) / count.clamp(min=1) * (1 - torch.exp(-ratio))

"""The captions of a split that a method answers best and worst, for the pages of `mals report TRAINING`.

Shapes: Q captions, q captions of a block, G images.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mals.errors import UserError
from mals.look.training_report import QueryCase, QueryCases, QueryHit
from pretrain import ranking
from pretrain.data.sources import DatasetAddress
from pretrain.evaluate import open_gallery
from pretrain.gallery import Gallery
from pretrain.text_scores import Embeddings, Rerank, default_rerank, embed_gallery
from pretrain.trained_method import Trained

CANDIDATES = 128  # images of a caption that are re-ranked


@torch.inference_mode()
def query_cases(
    trained: Trained, data: Sequence[DatasetAddress], split: str | None = None, count: int = 20, hits: int = 8
) -> tuple[QueryCases, Gallery]:
    """The `count` best and worst captions with their best `hits` images, and the gallery whose numbers of images they have.

    The order of images is that of `mals evaluate`. A caption is the better the earlier its first right image comes, and among those at the
    same rank the further the best right image is above the best wrong one. UserError where the split has no captions.
    """
    if "embed" not in trained.method.abilities:
        raise UserError("this method reads no sentence: it has no captions that it answers best or worst")
    rerank = default_rerank(trained)
    gallery = open_gallery(trained, data, split, "none")
    if not gallery.has_captions:
        raise UserError(f"{data[0]} has no captions to search with")
    with trained.precision():
        embeddings = embed_gallery(trained.method, gallery, rerank, CANDIDATES)
        ranks, margins = _ranks(embeddings, gallery, rerank)
    has_right = ranks > 0
    number = int(has_right.sum())
    queries = has_right.nonzero()[:, 0]
    order = sorted(queries.tolist(), key=lambda query: (int(ranks[query]), -float(margins[query])))
    best, worst = order[:count], order[::-1][: min(count, max(0, number - count))]
    scores = dict(_rows(embeddings, [*best, *worst], rerank))
    cases = [_case(gallery, query, int(ranks[query]), scores[query], hits) for query in (*best, *worst)]
    name = f"{', '.join(map(str, data))}, {', '.join(gallery.splits) or 'all rows'}"
    first = int((ranks == 1).sum())
    return QueryCases(cases[: len(best)], cases[len(best) :], name, number, len(gallery), first), gallery


def _ranks(embeddings: Embeddings, gallery: Gallery, rerank: Rerank) -> tuple[Tensor, Tensor]:
    """Of each caption the rank of its first right image, 0 where there is none, and the best right score less the best wrong one: [Q]."""
    identities, persons = gallery.identities, gallery.query_identities
    ranks, margins = [], []
    for block, scores in zip(embeddings.blocks(), embeddings.scores(rerank), strict=True):
        right = persons[block, None] == identities[None]
        scores = scores.cpu().float()
        best_right, place = scores.masked_fill(~right, -torch.inf).max(1)
        margins.append(best_right - scores.masked_fill(right, -torch.inf).max(1).values)
        rank = ranking.ranks_of(scores, place[:, None])[:, 0]
        ranks.append(rank.masked_fill(~right.any(1), 0))
    return torch.cat(ranks), torch.cat(margins)


def _rows(embeddings: Embeddings, queries: Sequence[int], rerank: Rerank) -> list[tuple[int, Tensor]]:
    """The scores [G] of some captions."""
    chosen, rows = set(queries), []
    for block, scores in zip(embeddings.blocks(), embeddings.scores(rerank), strict=True):
        rows += [
            (query, scores[query - block.start].cpu().float()) for query in range(block.start, block.start + len(scores)) if query in chosen
        ]
    return rows


def _case(gallery: Gallery, query: int, rank: int, scores: Tensor, hits: int) -> QueryCase:
    best = ranking.best(scores[None], max(hits, rank))[0].tolist()
    person, rows = int(gallery.query_identities[query]), gallery.rows.tolist()
    identities = gallery.identities.tolist()

    def hit(image: int) -> QueryHit:
        row = rows[image]
        return QueryHit(row, gallery.dataset.image_id(row), float(scores[image]), identities[image] == person)

    caption = gallery.dataset.caption(int(gallery.queries[query]))
    return QueryCase(caption, rank, hit(best[rank - 1]), tuple(map(hit, best[:hits])))

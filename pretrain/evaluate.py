"""Scores of a trained method: retrieval by embeddings, re-ranking of the best by the cross encoder, attributes by prompts.

Shapes: Q texts, G pictures, D width of the embeddings, K pictures of a text that are looked at again, A attributes.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

import torch
from torch import Tensor

from pretrain import ranks
from pretrain.method import Method, Text
from pretrain.methods.aptm import Aptm
from pretrain.models.bert import KeysValues

Rerank = Literal["none", "itm", "published"]

PUBLISHED = 8.0  # times the cosine beside the matching logit: what four processes of the authors' code come to (aptm.md 5.2)
PAIRS = 128  # texts against pictures in one call of the cross encoder


@torch.inference_mode()
def embed_images(method: Method, batches: Iterable[Tensor]) -> Tensor:
    """Embeddings [G, D] in float32 of pictures [B, 3, H, W] a batch."""
    return torch.cat([method.embed_image(images).float() for images in batches])


@torch.inference_mode()
def embed_texts(method: Method, batches: Iterable[Text]) -> Tensor:
    """Embeddings [Q, D] in float32 of texts [B, L] a batch."""
    return torch.cat([method.embed_text(text).float() for text in batches])


@torch.inference_mode()
def reranked(
    method: Aptm, cosine: Tensor, gallery: Iterable[Tensor], queries: Iterable[Text], mode: Rerank = "itm", k: int = 128
) -> Tensor:
    """Scores [Q, G] whose best k a text are ordered by the cross encoder, the others below them by the cosine [Q, G].

    "itm" orders by the matching logit, "published" by the logit and PUBLISHED times the cosine, scaled to [0, 1] over all. Keys and values
    are projected once a picture; the texts are divided among the ranks, and every rank has all scores.
    """
    if mode == "none":
        return cosine
    keys = gallery_keys(method, gallery)
    best = cosine.topk(min(k, cosine.shape[1]), dim=1).indices
    low, high = cosine.min(), cosine.max()
    scaled = (cosine - low) / (high - low).clamp_min(1e-12)
    found = torch.zeros_like(cosine)
    for row, states, mask in texts(method, queries):
        if row % ranks.world() == ranks.rank():
            logits = matched(method, states, mask, keys, best[row])
            found[row, best[row]] = logits if mode == "itm" else logits + PUBLISHED * scaled[row, best[row]]
    found = ranks.average(found) * ranks.world()
    seen = torch.zeros_like(cosine, dtype=torch.bool).scatter_(1, best, True)
    floor = found.masked_fill(~seen, torch.inf).min(1, keepdim=True).values
    return torch.where(seen, found, floor - 2 + scaled)  # the tail lies at least 1 under the last of the best


@torch.inference_mode()
def gallery_keys(method: Aptm, gallery: Iterable[Tensor]) -> KeysValues:
    """Keys and values of each cross layer for all pictures, [G, h, N, d] each."""
    parts = [method.bert.project(method.swin(images).tokens) for images in gallery]
    return [
        (torch.cat([part[layer][0] for part in parts]), torch.cat([part[layer][1] for part in parts])) for layer in range(len(parts[0]))
    ]


def texts(method: Aptm, queries: Iterable[Text]) -> Iterator[tuple[int, Tensor, Tensor]]:
    """The number, states [1, L, C] and mask [1, L] of each text."""
    row = 0
    for text in queries:
        states = method.bert.text(text.ids, text.mask)
        for at in range(len(states)):
            length = int(text.mask[at].sum())
            yield row, states[at : at + 1, :length], text.mask[at : at + 1, :length]
            row += 1


def matched(method: Aptm, states: Tensor, mask: Tensor, keys: KeysValues, pictures: Tensor) -> Tensor:
    """The logit for "they belong together" of one text and each of some pictures, by number [K]: [K]."""
    logits = []
    for some in pictures.split(PAIRS):
        wide = states.expand(len(some), -1, -1), mask.expand(len(some), -1)
        logits.append(method.match(*wide, keys, some)[:, 1].float())
    return torch.cat(logits)


@torch.inference_mode()
def recognised(method: Aptm, gallery: Iterable[Tensor], prompts: Text) -> Tensor:
    """[G, A] in {0, 1}: of an attribute's two prompts, of [2A, P], the one that the cross encoder finds truer of a picture; ties are 0."""
    states = method.bert.text(prompts.ids, prompts.mask)
    found = []
    for images in gallery:
        keys = method.bert.project(method.swin(images).tokens)
        logits = torch.stack(
            [
                method.match(states[at : at + 1].expand(len(images), -1, -1), prompts.mask[at : at + 1].expand(len(images), -1), keys)[:, 1]
                for at in range(len(states))
            ],
            1,
        )
        found.append((logits[:, 1::2] > logits[:, 0::2]).long())
    return torch.cat(found)

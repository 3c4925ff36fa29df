"""Scores of the images of a gallery for captions and sentences: the cosine of embeddings, re-ranked by the cross encoder or by attributes.

Ranks share the batches of `pretrain.gallery`, and the blocks of captions that are ranked. Each rank computes its own rows and leaves the
others zero: sums over ranks are exact, and any number of ranks gives the same scores.

Shapes: Q captions, G images, D width of the embeddings, K candidates of a caption that are re-ranked, C channels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from mals.errors import UserError
from pretrain import ranking, ranks
from pretrain.attribute_scores import named_attribute_logits
from pretrain.gallery import Gallery, batch_slices, tokenize
from pretrain.method import MATCH_CHUNK, Method
from pretrain.precision import cosines, finite
from pretrain.trained_method import Trained

Rerank = Literal[
    "none",  # by the cosine of the embeddings alone
    "itm",  # the best k images of a caption by cosine are ordered by the matching logit of the cross encoder
    "published",  # as "itm", by the logit plus a weighted cosine: the order of the method's authors
    "attributes",  # the same best k by cosine / temperature plus the log-probabilities of the attributes that the caption names
]

CELLS = 1 << 22  # scores in memory at once; the ranks share the blocks


def default_rerank(trained: Trained) -> Rerank:
    """ "itm" for a method with a cross encoder, "none" for others.

    A training with `selection.rerank` "none" has found its cross encoder to order no better than the cosine: "none" is its default too, and
    "attributes" that of one with "attributes".
    """
    chosen = trained.config.selection.rerank
    return possible_rerank(trained, chosen if chosen in ("none", "attributes") else "itm")


def possible_rerank(trained: Trained, rerank: Rerank) -> Rerank:
    """The re-ranking, or "none" where the method lacks what it takes: a cross encoder, or attributes."""
    return rerank if ("recognise" if rerank == "attributes" else "match") in trained.method.abilities else "none"


def resolve_rerank(trained: Trained, requested: Rerank | None) -> Rerank:
    """The requested re-ranking, or `default_rerank` if none is requested; UserError if the method cannot do it.

    "published" is valid for attribute recognition too, with a cross encoder or without.
    """
    abilities = trained.method.abilities
    if requested == "attributes" and "recognise" not in abilities:
        raise UserError("--rerank attributes: this method was trained without attributes; leave --rerank out, or give none")
    if "match" not in abilities and (requested == "itm" or (requested == "published" and "recognise" not in abilities)):
        raise UserError(f"--rerank {requested}: this method has no trained cross encoder; leave --rerank out, or give none")
    return requested or default_rerank(trained)


@dataclass
class Embeddings:
    """Embeddings of length 1, and for each caption its best images with what they are re-ranked by."""

    texts: Tensor  # [Q, D]
    images: Tensor  # [G, D]
    candidates: Tensor  # [Q, K] int64: indices of the best images by cosine
    logits: Tensor | None = None  # [Q, K]: matching logits, or log-probabilities of named attributes; None: not re-ranked
    cosine_weight: float = 0.0  # of the cosine, scaled to 0..1, beside the logit in the order "published"
    cosine_scale: float = 0.0  # of the cosine in the order "attributes": 1 / temperature

    def blocks(self) -> list[slice]:
        """Captions whose scores are in memory together."""
        return batch_slices(len(self.texts), max(1, CELLS // len(self.images)))

    def own_blocks(self) -> list[slice]:
        """The blocks of this rank."""
        return self.blocks()[ranks.rank() :: ranks.world_size()]

    def cosines(self, blocks: Sequence[slice] | None = None) -> Iterator[Tensor]:
        """Blocks of rows of [Q, G], by default all."""
        for block in self.blocks() if blocks is None else blocks:
            yield cosines(self.texts[block], self.images)

    def nearest(self, k: int) -> Tensor:
        """The best k images of each caption by cosine, equal cosines in the gallery's order: [Q, K] int64, on every rank."""
        nearest = torch.zeros(len(self.texts), min(k, len(self.images)), dtype=torch.int64, device=self.images.device)
        blocks = self.own_blocks()
        for block, cosine in zip(blocks, self.cosines(blocks), strict=True):
            nearest[block] = ranking.best(cosine, k)
        return ranks.sum_over_ranks(nearest)

    def scores(self, rerank: Rerank = "none", blocks: Sequence[slice] | None = None) -> Iterator[Tensor]:
        """Blocks of rows of [Q, G]: the candidates of a caption above all others, the others by cosine. All ranks call it together."""
        blocks = self.blocks() if blocks is None else blocks
        if rerank == "none" or self.logits is None:
            return self.cosines(blocks)
        low, high = self._cosine_range()
        return self._reranked(blocks, self.logits, rerank, low, high)

    def _reranked(self, blocks: Sequence[slice], logits: Tensor, rerank: Rerank, low: float, high: float) -> Iterator[Tensor]:
        for block, cosine in zip(blocks, self.cosines(blocks), strict=True):
            scaled = (cosine - low) / max(high - low, 1e-12)
            candidates, reranked = self.candidates[block], logits[block]
            if rerank == "published":
                reranked = reranked + self.cosine_weight * scaled.gather(1, candidates)
            elif rerank == "attributes":
                reranked = reranked + self.cosine_scale * cosine.gather(1, candidates)
            floor = reranked.min(1, keepdim=True).values - 2  # scaled cosines are in 0..1, so floor + scaled <= last candidate - 1
            yield (floor + scaled).scatter(1, candidates, reranked)

    def _cosine_range(self) -> tuple[float, float]:
        """The lowest and the highest cosine of all captions and images, of all ranks."""
        ends = torch.tensor([[torch.inf, -torch.inf]], device=self.images.device)
        for block in self.cosines(self.own_blocks()):
            ends[0, 0], ends[0, 1] = torch.minimum(ends[0, 0], block.min()), torch.maximum(ends[0, 1], block.max())
        ends = ranks.gather_detached(ends)
        return float(ends[:, 0].min()), float(ends[:, 1].max())


@torch.inference_mode()
def embed_gallery(method: Method, gallery: Gallery, rerank: Rerank = "none", k: int = 128) -> Embeddings:
    """Embed the images and captions of a gallery; unless `rerank` is "none", compute what re-ranks the best k images of a caption.

    Images that cannot be read, and their captions, are dropped from the gallery.
    """
    images = embed_images(method, gallery)
    texts = embed_texts(method, gallery)
    no_candidates = torch.empty(len(texts), 0, dtype=torch.int64)
    embeddings = Embeddings(texts, images, no_candidates, cosine_weight=method.published_cosine_weight)
    if rerank != "none":
        embeddings.candidates = embeddings.nearest(k)
    if rerank == "attributes":
        embeddings.cosine_scale = method.cosine_scale()
        embeddings.logits = named_attribute_logits(method, gallery, embeddings.candidates, gallery.captions())
    elif rerank != "none":
        embeddings.logits = match_logits(method, gallery, embeddings.candidates, *text_states(method, gallery))
    return embeddings


@torch.inference_mode()
def embed_images(method: Method, gallery: Gallery) -> Tensor:
    """Embeddings [G, D] in float32 of all readable images, on every rank; drops the others from the gallery."""
    rows = None
    for indices, images in gallery.image_batches():
        part = method.embed_image(images).float()
        rows = part.new_zeros(len(gallery), part.shape[1]) if rows is None else rows
        rows[indices] = part
    return sum_rows(rows, len(gallery), gallery.device)[gallery.drop_unreadable()]


@torch.inference_mode()
def embed_texts(method: Method, gallery: Gallery) -> Tensor:
    """Embeddings [Q, D] in float32 of all captions, on every rank."""
    rows = None
    for indices, text in gallery.caption_batches():
        part = method.embed_text(text).float()
        rows = part.new_zeros(len(gallery.queries), part.shape[1]) if rows is None else rows
        rows[indices] = part
    return sum_rows(rows, len(gallery.queries), gallery.device)


def sum_rows(rows: Tensor | None, count: int, device: Any) -> Tensor:
    """The sum [count, D] of each rank's rows, zero where they belong to another rank; None from a rank without rows."""
    width = torch.tensor(0 if rows is None else rows.shape[1], device=device)
    widest = int(ranks.gather_detached(width[None]).max())
    return finite(ranks.sum_over_ranks(torch.zeros(count, widest, device=device) if rows is None else rows))


@torch.inference_mode()
def match_logits(method: Method, gallery: Gallery, candidates: Tensor, states: Tensor, mask: Tensor) -> Tensor:
    """Matching logits [Q, K] of each text, by its states [Q, L, C] and mask [Q, L], and its candidates [Q, K] in the gallery.

    Images come in batches, whose keys and values are projected once; only one batch of them is in memory.
    """
    lengths = mask.sum(1)
    logits = torch.zeros(candidates.shape, device=states.device)
    order = candidates.flatten().argsort(stable=True)  # pairs of a caption and an image, by image
    images_in_order = candidates.flatten()[order].contiguous()
    for indices, images in gallery.image_batches():
        keys = method.keys(images)
        ends = torch.tensor([int(indices[0]), int(indices[-1]) + 1], device=images_in_order.device)
        first, last = torch.searchsorted(images_in_order, ends).tolist()
        pairs = order[first:last]
        pairs = pairs[lengths[pairs // candidates.shape[1]].argsort(stable=True)]  # captions of equal length together: less padding
        position = torch.full((int(ends[1]),), -1, device=images_in_order.device)  # in the batch, by index in the gallery
        position[indices.to(position.device)] = torch.arange(len(indices), device=position.device)
        for chunk in pairs.split(MATCH_CHUNK) if len(pairs) else ():
            captions, image = chunk // candidates.shape[1], position[candidates.flatten()[chunk]]
            longest = int(lengths[captions].max())
            logits.view(-1)[chunk] = method.match(states[captions, :longest], mask[captions, :longest], keys, image)[:, 1].float()
    return finite(ranks.sum_over_ranks(logits))


def text_states(method: Method, gallery: Gallery) -> tuple[Tensor, Tensor]:
    """States [Q, L, C] and mask [Q, L] of all captions; every rank computes them all, which costs little beside the cross encoder."""
    parts = [(method.states(text), text.mask) for _, text in gallery.caption_batches(all_ranks=True)]
    longest = max(mask.shape[1] for _, mask in parts)
    states = [pad(state, (0, 0, 0, longest - state.shape[1])) for state, _ in parts]
    return torch.cat(states), torch.cat([pad(mask, (0, longest - mask.shape[1])) for _, mask in parts])


def sentence_scores(
    trained: Trained, gallery: Gallery, images: Tensor, sentences: Sequence[str], k: int, rerank: Rerank
) -> Iterator[Tensor]:
    """Scores [G] of each sentence, on the CPU."""
    method = trained.method
    with trained.precision():
        text = tokenize(trained.tokenizer, sentences, gallery.device)
        vectors = method.embed_text(text).float()
        no_candidates = torch.empty(len(vectors), 0, dtype=torch.int64)
        whole = Embeddings(vectors, images, no_candidates, cosine_weight=method.published_cosine_weight)
        if rerank != "none":
            whole.candidates = whole.nearest(k)
            near = whole.candidates.unique()  # the images that are read, each once for all sentences
            places, shown = torch.searchsorted(near, whole.candidates), gallery.subset(near.cpu())
            if rerank == "attributes":
                whole.cosine_scale = method.cosine_scale()
                whole.logits = named_attribute_logits(method, shown, places, sentences)
            else:
                whole.logits = match_logits(method, shown, places, method.states(text), text.mask)
    for at in range(len(vectors)):
        row = slice(at, at + 1)
        logits = None if whole.logits is None else whole.logits[row]
        alone = replace(whole, texts=vectors[row], candidates=whole.candidates[row], logits=logits)
        (scores,) = torch.cat(list(alone.scores(rerank))).cpu()
        yield scores

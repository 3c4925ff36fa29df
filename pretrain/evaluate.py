"""Scores of a trained method: retrieval by embeddings, re-ranking of the best by the cross encoder, attributes by prompts.

Work is divided among the ranks by batches of `pretrain.gallery`, and sums over ranks add zeros: any number of them gives the same.

Shapes: Q texts, G pictures, D width of the embeddings, K pictures of a text that are looked at again, A attributes, C channels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from mals.attributes import load_space
from mals.errors import UserError
from pretrain import metrics, ranks
from pretrain.data.labels import NoLabels
from pretrain.data.sources import Place
from pretrain.gallery import SPACES, Gallery, encoded, opened
from pretrain.method import PAIRS, Method, Text
from pretrain.precision import cosines
from pretrain.trained_method import Trained

Rerank = Literal["none", "itm", "published"]

PUBLISHED = 8.0  # times the cosine beside the matching logit: what four processes of the authors' code come to (aptm.md 5.2)
CELLS = 1 << 24  # scores in memory at once

PROTOCOL = "text to picture; every caption is a query, all pictures of the split are the gallery; matches are pictures of the same person"
ORDER = {
    "none": "by the cosine of the embeddings",
    "itm": "the best {k} of a text by cosine are ordered by the matching logit, the others follow by cosine",
    "published": "the best {k} of a text by cosine are ordered by logit + 8 x cosine (scaled to 0..1), the others follow by cosine",
}
PLAIN = "; captions are read as letters a-z and digits alone"
CLASSIFIER = "a plain classifier (space {space}) says yes where its logit is above 0"
PROMPTS = "of an attribute's two prompts (space {space}) the one whose {score} is higher"


@dataclass
class Found:
    """Embeddings of length 1, and of each text the best pictures with what the cross encoder says of them."""

    texts: Tensor  # [Q, D]
    images: Tensor  # [G, D]
    best: Tensor  # [Q, K] int64, by cosine
    logits: Tensor | None = None  # [Q, K]

    def cosines(self) -> Iterator[Tensor]:
        """Blocks of rows of [Q, G]."""
        for texts in self.texts.split(max(1, CELLS // len(self.images))):
            yield cosines(texts, self.images)

    def nearest(self, k: int) -> Tensor:
        """The best k pictures of each text by cosine, the first in the gallery first where cosines are equal: [Q, K] int64."""
        found = torch.empty(len(self.texts), min(k, len(self.images)), dtype=torch.int64, device=self.images.device)
        at = 0
        for cosine in self.cosines():  # topk takes any of those that are equal at its end
            found[at : (at := at + len(cosine))] = cosine.argsort(dim=1, descending=True, stable=True)[:, :k]
        return found

    def scores(self, mode: Rerank = "none") -> Iterator[Tensor]:
        """Blocks of rows of [Q, G]: the best of a text above the others, those by cosine."""
        if mode == "none" or self.logits is None:
            yield from self.cosines()
            return
        low, high = self._range()
        at = 0
        for cosine in self.cosines():
            own = slice(at, at := at + len(cosine))
            scaled = (cosine - low) / max(high - low, 1e-12)
            best, logits = self.best[own], self.logits[own]
            told = logits if mode == "itm" else logits + PUBLISHED * scaled.gather(1, best)
            floor = told.min(1, keepdim=True).values - 2  # the others lie at least 1 under the last of the best
            yield (floor + scaled).scatter(1, best, told)

    def _range(self) -> tuple[float, float]:
        sides = [(float(block.min()), float(block.max())) for block in self.cosines()]
        return min(low for low, _ in sides), max(high for _, high in sides)


def ordering(method: Method, asked: Rerank | None) -> Rerank:
    """How the best are ordered: as asked; where nothing was, by matching if the method learnt it. UserError where it cannot.

    "published" is a way of recognising attributes too.
    """
    able = "match" in method.abilities
    if not able and (asked == "itm" or (asked == "published" and "recognise" not in method.abilities)):
        raise UserError(f"--rerank {asked}: this method was not taught to match captions and pictures; leave --rerank out, or give none")
    return asked or ("itm" if able else "none")


@torch.inference_mode()
def find(method: Method, gallery: Gallery, mode: Rerank = "none", k: int = 128) -> Found:
    """Embed a gallery and its queries; let the cross encoder look at the best k pictures of each text unless `mode` is none.

    Pictures that cannot be read are left out of the gallery from then on, and their captions with them.
    """
    images = embed_images(method, gallery)
    texts = embed_texts(method, gallery)
    found = Found(texts, images, torch.empty(len(texts), 0, dtype=torch.int64))
    if mode != "none":
        found.best = found.nearest(k)
        found.logits = matched(method, gallery, found.best)
    return found


@torch.inference_mode()
def embed_images(method: Method, gallery: Gallery) -> Tensor:
    """Embeddings [G, D] in float32 of all readable pictures, on every rank."""
    found = None
    for numbers, images in gallery.images():
        part = method.embed_image(images).float()
        found = part.new_zeros(len(gallery), part.shape[1]) if found is None else found
        found[numbers] = part
    return _whole(found, len(gallery), gallery.device)[gallery.leave_out()]


@torch.inference_mode()
def embed_texts(method: Method, gallery: Gallery) -> Tensor:
    """Embeddings [Q, D] in float32 of all captions, on every rank."""
    found = None
    for numbers, text in gallery.texts():
        part = method.embed_text(text).float()
        found = part.new_zeros(len(gallery.queries), part.shape[1]) if found is None else found
        found[numbers] = part
    return _whole(found, len(gallery.queries), gallery.device)


def _whole(own: Tensor | None, rows: int, device: Any) -> Tensor:
    """Rows of all ranks [rows, D]; a rank without any has None."""
    width = torch.tensor(0 if own is None else own.shape[1], device=device)
    most = int(ranks.gather_detached(width[None]).max())
    return ranks.sum_over_ranks(torch.zeros(rows, most, device=device) if own is None else own)


@torch.inference_mode()
def matched(method: Method, gallery: Gallery, best: Tensor) -> Tensor:
    """The logits for "they belong together" of each text and its best pictures: [Q, K].

    Pictures come in chunks, whose keys and values are projected once; only those of one chunk are in memory.
    """
    states, mask = text_states(method, gallery)
    lengths = mask.sum(1)
    logits = torch.zeros(best.shape, device=states.device)
    order = best.flatten().argsort(stable=True)  # pairs by picture
    pictures = best.flatten()[order].contiguous()
    for numbers, images in gallery.images():
        keys = method.keys(images)
        ends = torch.tensor([int(numbers[0]), int(numbers[-1]) + 1], device=pictures.device)
        first, last = torch.searchsorted(pictures, ends).tolist()
        pairs = order[first:last]
        pairs = pairs[lengths[pairs // best.shape[1]].argsort(stable=True)]  # texts of one length together: less padding
        place = torch.full((int(ends[1]),), -1, device=pictures.device)
        place[numbers.to(place.device)] = torch.arange(len(numbers), device=place.device)
        for some in pairs.split(PAIRS) if len(pairs) else ():
            rows, image = some // best.shape[1], place[best.flatten()[some]]
            wide = int(lengths[rows].max())
            logits.view(-1)[some] = method.match(states[rows, :wide], mask[rows, :wide], keys, image)[:, 1].float()
    return ranks.sum_over_ranks(logits)


def text_states(method: Method, gallery: Gallery) -> tuple[Tensor, Tensor]:
    """States [Q, L, C] and mask [Q, L] of all captions; every rank reads them all, which costs little beside the cross encoder."""
    parts = [(method.states(text), text.mask) for _, text in gallery.texts(everyone=True)]
    wide = max(mask.shape[1] for _, mask in parts)
    states = [pad(state, (0, 0, 0, wide - state.shape[1])) for state, _ in parts]
    return torch.cat(states), torch.cat([pad(mask, (0, wide - mask.shape[1])) for _, mask in parts])


@torch.inference_mode()
def recognised(method: Method, gallery: Gallery, prompts: Text, mode: Rerank = "itm") -> Tensor:
    """[G, A] in {0, 1}: of an attribute's two prompts, of [2A, P], the one that is truer of a picture; ties are 0.

    Pictures that cannot be read are left out of the gallery from then on.
    """
    states = method.states(prompts)
    found = torch.zeros(len(gallery), len(states) // 2, device=states.device)
    for numbers, images in gallery.images():
        side = method.score_prompts(prompts, states, images, mode == "published")
        found[numbers] = (side[:, 1::2] > side[:, 0::2]).float()
    whole = ranks.sum_over_ranks(found).long()
    return whole if gallery.settled else whole[gallery.leave_out().to(whole.device)]


@torch.inference_mode()
def classified(method: Method, gallery: Gallery) -> Tensor:
    """[G, A] in {0, 1} as `recognised`, by the plain classifier."""
    found = torch.zeros(len(gallery), len(gallery.pairs.labels[0]) if gallery.pairs.labels is not None else 0, device=gallery.device)
    for numbers, images in gallery.images():
        found[numbers] = (method.classify(images) > 0).float()
    whole = ranks.sum_over_ranks(found).long()
    return whole if gallery.settled else whole[gallery.leave_out().to(whole.device)]


def retrieval(found: Found, gallery: Gallery, mode: Rerank, k: int) -> dict[str, Any]:
    """R1, R5, R10, mAP and mINP with the protocol in words."""
    scores = metrics.retrieval((block.cpu() for block in found.scores(mode)), gallery.query_persons, gallery.persons)
    told = {"queries": len(gallery.queries), "gallery": len(gallery), "persons": len(gallery.persons.unique())}
    return scores | told | {"protocol": f"{PROTOCOL}; {ORDER[mode].format(k=k)}{PLAIN if gallery.plain else ''}"}


def attributes(pred: Tensor, labels: Tensor, space: str, names: list[str], positive: list[int], protocol: str) -> dict[str, Any]:
    """mA, accuracy, precision, recall and F1, and the same for each attribute; `positive` is the label that says it is there."""
    pred, labels = pred.cpu(), labels.cpu()
    each = metrics.per_attribute(pred, labels, positive=positive)
    return metrics.attributes(pred, labels, positive=positive) | {
        "pictures": len(pred),
        "space": space,
        "protocol": protocol,
        "each": dict(zip(names, each, strict=True)),
    }


def evaluate(trained: Trained, gallery: Gallery, mode: Rerank = "itm", k: int = 128) -> dict[str, Any]:
    """Everything that can be told of a trained method on a split: retrieval where there are captions, attributes where there are labels."""
    known = trained.method.abilities
    asked = {"captions": "embed" in known, "attribute labels": bool({"recognise", "classify"} & known)}
    there = {"captions": gallery.captioned, "attribute labels": gallery.space is not None}
    if not any(asked.values()):
        raise UserError("there is nothing to measure: no loss has taught this method to embed, or to tell attributes")
    if not any(asked[what] and there[what] for what in asked):
        lacks = " nor ".join(what for what in asked if asked[what])
        told = f"neither {lacks}" if all(asked.values()) else f"no {lacks}, all that it knows"
        raise UserError(f"there is nothing to measure: {gallery.pairs.location(0)} and the others have {told}")
    found: dict[str, Any] = {}
    if gallery.captioned and asked["captions"]:
        found |= searched(trained, gallery, mode, k)
    if gallery.space is not None and asked["attribute labels"]:
        found |= labelled(trained, gallery, mode)
    return found


def searched(trained: Trained, gallery: Gallery, mode: Rerank = "itm", k: int = 128) -> dict[str, Any]:
    """Retrieval in a gallery with captions, by cosine where the method was not taught to match."""
    mode = mode if "match" in trained.method.abilities else "none"
    with trained.precision():
        told = retrieval(find(trained.method, gallery, mode, k), gallery, mode, k)
    return {"retrieval": told, "unreadable": _unreadable(gallery)}


def labelled(trained: Trained, gallery: Gallery, mode: Rerank = "itm") -> dict[str, Any]:
    """Attributes in a gallery with labels, by prompts, or by the classifier of a method that was trained as one."""
    assert gallery.space is not None
    space, method = load_space(gallery.space), trained.method
    positive = [values.index("yes") if "yes" in values else 1 for values in space.values]
    classifies, own = "classify" in method.abilities, method.needs.space
    if classifies and gallery.space != own:
        raise UserError(f"the classifier knows the attributes of {own}, and the labels are those of {gallery.space}")
    with trained.precision():
        if classifies:
            pred, protocol = classified(method, gallery), CLASSIFIER.format(space=space.name)
        else:
            prompts = encoded(trained.tokenizer, [prompt for pair in space.prompts for prompt in pair], gallery.device)
            pred = recognised(method, gallery, prompts, mode)
            protocol = PROMPTS.format(space=space.name, score=method.score_name(mode == "published"))
    assert gallery.labels is not None
    found = attributes(pred, gallery.labels, space.name, list(space.names), positive, protocol)
    return {"attributes": found, "unreadable": _unreadable(gallery)}


def _unreadable(gallery: Gallery) -> int:
    """Pictures, on all ranks."""
    return int(ranks.sum_over_ranks(torch.tensor(float(len(gallery.unreadable)), device=gallery.device)))


def open_gallery(
    trained: Trained,
    data: Sequence[Place],
    split: str,
    recognise: bool | None = None,
    *,
    batch: int = 64,
    workers: int = 0,
    plain: bool = False,
) -> Gallery:
    """A split of data sets, with labels where `recognise` asks for them, or where it is None and they are there.

    They may be of the space that the method was trained with, or of any that ships with mals, since prompts are but texts.
    """
    try:
        spaces = [space for space in (trained.method.needs.space, *SPACES) if space]
        pairs, space = opened(data, split, None if recognise is False else spaces)
    except NoLabels:
        if recognise is not None:
            raise
        pairs, space = opened(data, split, None)
    return Gallery(pairs, trained.tokenizer, trained.look, trained.device, batch, workers, plain, space)

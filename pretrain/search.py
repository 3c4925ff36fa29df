"""Search: the images of a gallery that fit a sentence or an image best, with scores, a contact sheet, and, of a sentence, how many have
the attributes that it names.

Shapes: G images, K candidates that are re-ranked, H hits, A attributes.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mals.attributes import load_space
from mals.dataset.sheet import contact_sheet
from mals.errors import UserError
from mals.images import decode_image
from mals.labeller.labeller import Labeller
from pretrain import ranks
from pretrain.data.augment import test_image
from pretrain.data.errors import first_line
from pretrain.evaluate import Embeddings, Rerank, embed_images, finite
from pretrain.gallery import Gallery, tokenize
from pretrain.method import Ability, Text
from pretrain.precision import cosines
from pretrain.trained_method import Trained

CELL = (128, 256)  # width and height in pixels of an image on the contact sheet
COLUMNS = 8  # images in a line of the contact sheet


@dataclass(frozen=True)
class Hit:
    """An image that fits the sentence."""

    id: str
    score: float  # the cosine, the matching logit, or with "published" the logit + a weighted cosine that is scaled within this search
    caption: str  # the image's own
    row: int  # of the gallery's data set


@dataclass(frozen=True)
class AttributeHits:
    """How many hits have every attribute that the sentence names, by the labels of the data set.

    Only images count whose labels of these attributes are all known.
    """

    attributes: Mapping[str, str]  # attribute that the sentence names -> value
    matching_hits: int  # that have all of them
    known_hits: int
    matching_images: int  # of the whole gallery
    known_images: int

    @property
    def base_rate(self) -> float:
        """The share of the gallery that has all of the attributes, 0..1: the expected share of hits of a random order."""
        return self.matching_images / max(1, self.known_images)

    def sentence(self) -> str:
        attributes = ", ".join(f"{name}: {value}".replace("_", " ") for name, value in self.attributes.items())
        return (
            f"{self.matching_hits} of {self.known_hits} hits have all attributes that the sentence names ({attributes}); "
            f"base rate: {100 * self.base_rate:.1f} % of {self.known_images:,} images"
        )


@dataclass(frozen=True)
class SearchResult:
    """The hits, the best first."""

    hits: tuple[Hit, ...]
    by_attributes: AttributeHits | None = None  # None: the data have no labels, or the sentence names no attribute

    def to_json(self) -> dict[str, Any]:
        hits = [{"id": hit.id, "score": hit.score, "caption": hit.caption} for hit in self.hits]
        if self.by_attributes is None:
            return {"hits": hits}
        return {"hits": hits, "by_attributes": asdict(self.by_attributes) | {"base_rate": self.by_attributes.base_rate}}


def require(trained: Trained, ability: Ability) -> None:
    """UserError if the method cannot search by a sentence ("embed") or by an image ("identify", or "embed")."""
    abilities = trained.method.abilities
    if ability == "embed" and "embed" not in abilities and "identify" in abilities:
        raise UserError("this method compares images alone and reads no sentence; give --image with an image of the person")
    if not {ability, "embed"} & abilities:
        raise UserError("this method computes no embeddings: it cannot search")


@torch.inference_mode()
def search(trained: Trained, gallery: Gallery, sentence: str, count: int = 10, rerank: Rerank = "itm", k: int = 128) -> SearchResult:
    """The best `count` images of a gallery; unless `rerank` is "none", the best k by cosine are ordered by the cross encoder.

    Scores equal those of `pretrain.evaluate` for the sentence as the only query. Raises UserError for an empty sentence.
    """
    if not sentence.strip():
        raise UserError("the sentence to search for is empty")
    text = tokenize(trained.tokenizer, [sentence], gallery.device)
    with trained.precision():
        images = embed_images(trained.method, gallery)
        embeddings = Embeddings(trained.method.embed_text(text).float(), images, torch.empty(1, 0, dtype=torch.int64))
        embeddings.cosine_weight = trained.method.published_cosine_weight
        if rerank != "none":
            embeddings.candidates = embeddings.nearest(max(k, count))
            embeddings.logits = text_logits(trained, gallery, text, embeddings.candidates[0])[None]
        (scores,) = torch.cat(list(embeddings.scores(rerank))).cpu()
    best = scores.argsort(descending=True, stable=True)[:count]
    return SearchResult(_hits(gallery, scores, best), count_attribute_hits(gallery, sentence, best))


@torch.inference_mode()
def search_by_image(trained: Trained, gallery: Gallery, image: Path, count: int = 10) -> SearchResult:
    """The best `count` images of a gallery by the cosine of their embeddings with that of an image file; UserError if it cannot be read.

    An image of the gallery with the same content is one of the hits.
    """
    try:
        pixels = decode_image(image.read_bytes())
    except Exception as error:  # each image format fails in its own way
        raise UserError(f"{image} cannot be read as an image ({first_line(error)})") from None
    with trained.precision():
        images = embed_images(trained.method, gallery)
        query = trained.method.embed_image(test_image(pixels, trained.preprocessing)[None].to(gallery.device)).float()
        scores = cosines(query, images)[0].cpu()
    return SearchResult(_hits(gallery, scores, scores.argsort(descending=True, stable=True)[:count]))


def _hits(gallery: Gallery, scores: Tensor, best: Tensor) -> tuple[Hit, ...]:
    """The images at the indices `best` [H] with their scores, of [G]."""
    dataset = gallery.dataset
    return tuple(
        Hit(dataset.image_id(row), round(score, 4), dataset.caption(row), row)
        for row, score in zip(gallery.rows[best].tolist(), scores[best].tolist(), strict=True)
    )


def text_logits(trained: Trained, gallery: Gallery, text: Text, candidates: Tensor) -> Tensor:
    """Matching logits [K] of a text [1, L] and some images of a gallery, by index [K]."""
    states = trained.method.states(text)
    logits = torch.zeros(len(candidates), device=gallery.device)
    for indices, images in gallery.subset(candidates.cpu()).image_batches():
        keys = trained.method.keys(images)
        repeated = states.expand(len(images), -1, -1), text.mask.expand(len(images), -1)
        logits[indices] = trained.method.match(*repeated, keys)[:, 1].float()
    return finite(ranks.sum_over_ranks(logits)[None])[0]


def count_attribute_hits(gallery: Gallery, sentence: str, hits: Tensor) -> AttributeHits | None:
    """How many images at the indices `hits` [H] have the attributes that the sentence names; None without labels or without names.

    The labeller reads the sentence. Values that it infers from silence (a sentence without a hat) are not required.
    """
    if gallery.space is None or gallery.labels is None:
        return None
    space, labelled = load_space(gallery.space), Labeller(gallery.space).label([sentence])
    values = torch.from_numpy(labelled.values[0]).long()
    (named,) = torch.from_numpy(labelled.sources[0] == "explicit").nonzero(as_tuple=True)
    if not len(named):
        return None
    labels = gallery.labels[:, named]
    known = (labels >= 0).all(1)  # [G]
    matching = known & (labels == values[named]).all(1)
    return AttributeHits(
        attributes={space.names[at]: space.values[at][int(values[at])] for at in named.tolist()},
        matching_hits=int(matching[hits].sum()),
        known_hits=int(known[hits].sum()),
        matching_images=int(matching.sum()),
        known_images=int(known.sum()),
    )


def contact_sheet_of(gallery: Gallery, result: SearchResult) -> bytes:
    """A JPEG of the hits, the best first."""
    return contact_sheet([gallery.dataset.image_bytes(hit.row) for hit in result.hits], COLUMNS, CELL)

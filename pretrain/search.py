"""Search: the images of a gallery that fit sentences, attributes or an image best, with scores, a contact sheet, and how many have the
attributes that a sentence names.

Shapes: Q sentences, G images, K candidates that are re-ranked, H hits, A attributes.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from mals.attributes import load_space
from mals.dataset.sheet import contact_sheet, sheet_size
from mals.errors import UserError
from mals.images import decode_image
from mals.labeller.labeller import Labeller
from mals.planning.image_files import SUFFIXES
from pretrain import ranking
from pretrain.attribute_search import RequestedAttributes, attribute_probabilities, scores_attributes
from pretrain.data.augment import test_image
from pretrain.data.errors import NoLabels, first_line
from pretrain.data.sources import DatasetAddress
from pretrain.data.splits import choose_split
from pretrain.embeddings import image_embeddings
from pretrain.gallery import SPACES, TEXTS_PER_BATCH, Gallery, batch_slices, open_rows
from pretrain.method import Ability
from pretrain.precision import cosines
from pretrain.text_scores import Rerank, resolve_rerank, sentence_scores
from pretrain.trained_method import Trained

CELL = (128, 256)  # width and height in pixels of an image on the contact sheet
COLUMNS = 8  # images in a line of the contact sheet
FUSION = 60  # added to a rank, as published
WORDS = 80  # of a sentence that are left out in turn


@dataclass(frozen=True)
class Hit:
    """An image that fits the sentence."""

    id: str
    score: float  # the cosine, the matching logit, with "published" the logit + a weighted cosine that is scaled within this search; of
    # attributes alone their probability; of a sentence with attributes a sum over both rankings, see `fuse`
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

    query: str  # the sentence, the attributes, or the file of the image
    hits: tuple[Hit, ...]
    by_attributes: AttributeHits | None = None  # None: the data have no labels, or the sentence names no attribute

    def to_json(self) -> dict[str, Any]:
        hits = [{"id": hit.id, "score": hit.score, "caption": hit.caption} for hit in self.hits]
        result = {"query": self.query, "hits": hits}
        if self.by_attributes is None:
            return result
        return result | {"by_attributes": asdict(self.by_attributes) | {"base_rate": self.by_attributes.base_rate}}


def require(trained: Trained, ability: Ability) -> None:
    """UserError if the method cannot search by a sentence ("embed") or by an image ("identify", or "embed")."""
    abilities = trained.method.abilities
    if ability == "embed" and "embed" not in abilities and "identify" in abilities:
        raise UserError("this method compares images alone and reads no sentence; give --image with an image of the person")
    if not {ability, "embed"} & abilities:
        raise UserError("this method computes no embeddings: it cannot search")


def open_searched(
    trained: Trained, data: Sequence[DatasetAddress], split: str | None = None, *, batch: int = 64, workers: int = 0
) -> Gallery:
    """The images of a split of data sets, by default `test` or the only one, with labels if there are any; captions are not needed."""
    split = choose_split(data, split)
    try:
        dataset, space = open_rows(data, split, [space for space in (trained.method.needs.space, *SPACES) if space], captions=False)
    except NoLabels:
        dataset, space = open_rows(data, split, None, captions=False)
    return Gallery(
        dataset, trained.tokenizer, trained.preprocessing, trained.device, batch=batch, workers=workers, space=space, splits=(split,)
    )


def search(
    trained: Trained, gallery: Gallery, sentence: str, count: int = 10, rerank: Rerank | None = None, k: int = 128, keep: bool = False
) -> SearchResult:
    """The best `count` images of a gallery for a sentence, see `search_sentences`."""
    return next(search_sentences(trained, gallery, [sentence], count, rerank, k, keep=keep))


@torch.inference_mode()
def search_sentences(
    trained: Trained,
    gallery: Gallery,
    sentences: Sequence[str],
    count: int = 10,
    rerank: Rerank | None = None,
    k: int = 128,
    *,
    attributes: RequestedAttributes | None = None,
    keep: bool = False,
    images: Tensor | None = None,
) -> Iterator[SearchResult]:
    """The best `count` images of a gallery for each sentence.

    Unless `rerank` is "none", the best k by cosine are ordered anew, see `Rerank`; `default_rerank` has the default. Scores equal those
    of `pretrain.evaluate` for the sentence as the only query. With `attributes` the ranking is fused with the one by their probability; a
    method that scores none gets their prompts behind the sentence. With `keep`, embeddings of images are kept and reused, see
    `pretrain.embeddings`; `images` [G, D] are those of the gallery, where they are known. Raises UserError for an empty sentence, and for
    a re-ranking that the method cannot do.
    """
    if any(not sentence.strip() for sentence in sentences):
        raise UserError("the sentence to search for is empty")
    rerank = resolve_rerank(trained, rerank)
    texts, probabilities = list(sentences), None
    images = image_embeddings(trained, gallery, keep) if images is None else images
    if attributes is not None and scores_attributes(trained):
        probabilities = attribute_probabilities(trained, gallery, attributes).cpu()
    elif attributes is not None:
        texts = [f"{text}, {attributes.sentence()}" for text in texts]
    for part in batch_slices(len(texts), TEXTS_PER_BATCH):
        scores = sentence_scores(trained, gallery, images, texts[part], max(k, count), rerank)
        for sentence, row in zip(sentences[part], scores, strict=True):
            row = row if probabilities is None else fuse(row, probabilities)
            best = ranking.best(row[None], count)[0]
            yield SearchResult(sentence, _hits(gallery, row, best), count_attribute_hits(gallery, sentence, best, attributes))


@torch.inference_mode()
def search_attributes(
    trained: Trained,
    gallery: Gallery,
    attributes: RequestedAttributes,
    count: int = 10,
    rerank: Rerank | None = None,
    k: int = 128,
    keep: bool = False,
) -> SearchResult:
    """The best `count` images for attributes: by their probability, or by their prompts as a sentence if the method scores none."""
    query = ", ".join(f"{name}={value}" for name, value in attributes.named().items())
    if not scores_attributes(trained):
        return replace(search(trained, gallery, attributes.sentence(), count, rerank, k, keep), query=query)
    scores = attribute_probabilities(trained, gallery, attributes).cpu()
    best = ranking.best(scores[None], count)[0]
    return SearchResult(query, _hits(gallery, scores, best), count_attribute_hits(gallery, None, best, attributes))


@torch.inference_mode()
def word_evidence(
    trained: Trained, gallery: Gallery, images: Tensor, sentence: str, hits: Tensor, rerank: Rerank
) -> tuple[list[str], Tensor]:
    """The words of a sentence, and how much lower the scores of images are without each: [H, words].

    `images` [G, D] are the embeddings of the gallery, `hits` [H] the places of those images in it. The scores are those of the ranking: the
    cosines, or what re-ranks them. No words for a sentence of one word, and for one of more than WORDS.
    """
    words = sentence.split()
    left_out = [" ".join(words[:at] + words[at + 1 :]) for at in range(len(words))]
    if len(words) > WORDS or not all(any(map(str.isalnum, text)) for text in (sentence, *left_out)):
        return [], torch.zeros(len(hits), 0)
    scores = torch.stack(list(sentence_scores(trained, gallery.subset(hits), images[hits], [sentence, *left_out], len(hits), rerank)), 1)
    return words, scores[:, :1] - scores[:, 1:]


def fuse(one: Tensor, other: Tensor) -> Tensor:
    """Two rankings [G] of the same images as one: the sum of 1 / (60 + rank), reciprocal rank fusion (Cormack et al., SIGIR 2009)."""
    fused = torch.zeros(len(one), dtype=torch.float64)
    for scores in (one, other):
        order = ranking.best(scores[None], len(scores))[0]
        fused[order] += 1 / (FUSION + torch.arange(1, len(scores) + 1, dtype=torch.float64))
    return fused.float()


@torch.inference_mode()
def search_by_image(
    trained: Trained, gallery: Gallery, image: Path | bytes, count: int = 10, keep: bool = False, images: Tensor | None = None
) -> SearchResult:
    """The best `count` images of a gallery by the cosine of their embeddings with that of an image file, or of its content.

    An image of the gallery with the same content is one of the hits. `images` as in `search_sentences`. UserError if it cannot be read.
    """
    name = str(image) if isinstance(image, Path) else "the image"
    try:
        pixels = decode_image(image.read_bytes() if isinstance(image, Path) else image)
    except Exception as error:  # each image format fails in its own way
        raise UserError(f"{name} cannot be read as an image ({first_line(error)})") from None
    images = image_embeddings(trained, gallery, keep) if images is None else images
    with trained.precision():
        query = trained.method.embed_image(test_image(pixels, trained.preprocessing)[None].to(gallery.device)).float()
        scores = cosines(query, images)[0].cpu()
    return SearchResult(name, _hits(gallery, scores, ranking.best(scores[None], count)[0]))


def _hits(gallery: Gallery, scores: Tensor, best: Tensor) -> tuple[Hit, ...]:
    """The images at the indices `best` [H] with their scores, of [G]."""
    dataset = gallery.dataset
    return tuple(
        Hit(dataset.image_id(row), round(score, 4), dataset.caption(row), row)
        for row, score in zip(gallery.rows[best].tolist(), scores[best].tolist(), strict=True)
    )


def count_attribute_hits(
    gallery: Gallery, sentence: str | None, hits: Tensor, requested: RequestedAttributes | None = None
) -> AttributeHits | None:
    """How many images at the indices `hits` [H] have the requested attributes and those that the sentence names.

    None without labels, or without attributes. The labeller reads the sentence. Values that it infers from silence (a sentence without a
    hat) are not required.
    """
    if gallery.space is None or gallery.labels is None:
        return None
    space, chosen = load_space(gallery.space), dict[int, int]()
    if sentence is not None:
        labelled = Labeller(gallery.space).label([sentence])
        explicit = (labelled.sources[0] == "explicit").nonzero()[0].tolist()
        chosen |= {at: int(labelled.values[0][at]) for at in explicit}
    if requested is not None and requested.space.name == space.name:
        chosen |= requested.values
    if not chosen:
        return None
    named, values = torch.tensor(list(chosen)), torch.tensor(list(chosen.values()))
    labels = gallery.labels[:, named]
    known = (labels >= 0).all(1)  # [G]
    matching = known & (labels == values).all(1)
    return AttributeHits(
        attributes={space.names[at]: space.values[at][value] for at, value in chosen.items()},
        matching_hits=int(matching[hits].sum()),
        known_hits=int(known[hits].sum()),
        matching_images=int(matching.sum()),
        known_images=int(known.sum()),
    )


def contact_sheet_of(gallery: Gallery, *results: SearchResult) -> bytes:
    """A JPEG of the hits, the best first; of several results each is a line. UserError for more than a JPEG holds."""
    columns = COLUMNS if len(results) == 1 else max(len(result.hits) for result in results)
    sheet_size(sum(len(result.hits) for result in results), columns, CELL)  # before the images are read
    images = [gallery.dataset.image_bytes(hit.row) for result in results for hit in result.hits]
    return contact_sheet(images, columns, CELL)


def csv_of(results: Sequence[SearchResult]) -> str:
    """A line for each hit: query, rank from 1, id, score, caption."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("query", "rank", "id", "score", "caption"))
    for result in results:
        table.writerows((result.query, rank, hit.id, hit.score, hit.caption) for rank, hit in enumerate(result.hits, 1))
    return text.getvalue()


def names_of(results: Sequence[SearchResult]) -> str:
    """A line for each result: the names of its images without folder and suffix, a space between, as in the answer of PAB's challenge."""
    return "".join(" ".join(_name(hit.id) for hit in result.hits) + "\n" for result in results)


def _name(identifier: str) -> str:
    """An image's name without its folder, and without its suffix if that is one of images."""
    path = PurePosixPath(identifier)
    return path.stem if path.suffix.lower() in SUFFIXES else path.name

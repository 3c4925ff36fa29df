"""Attribute precision of search: of the best images for composed sentences, how many have the colours that the sentences name.

A sentence names the colour of one half of the body, as in "a person in a red jacket" (each colour of an attribute space with four
garments), or a colour of either half, as in "a person in a red jacket and black pants" (each pair of colours once). Such words are asked
one at a time, so a method that knows captions by heart and does not tell their words apart scores low here, whatever its R@1.

Shapes: G images, A attributes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from statistics import mean

import torch
from torch import Tensor

from mals.attributes import Space, load_space
from mals.errors import UserError
from mals.planning.phrases import an
from pretrain import ranking
from pretrain.gallery import TEXTS_PER_BATCH, Gallery, batch_slices
from pretrain.results import SearchScores
from pretrain.text_scores import Rerank, default_rerank, embed_images, possible_rerank, sentence_scores
from pretrain.trained_method import Trained

COUNT = 10  # best images of a sentence
UPPER, LOWER = ("jacket", "coat", "sweater", "t-shirt"), ("pants", "trousers", "shorts", "skirt")
PLURAL = frozenset(LOWER) - {"skirt"}
HAS = 0  # the label of an attribute of a colour group where the person wears that colour
PROTOCOL = (
    "of the {count} best images for each of {sentences} sentences that name one colour of clothes, and {pairs} that name two (space "
    "{space}), the share that has what is named, of as many as the gallery has of such images, at most {count}; sentences without any are "
    "left out; {order}"
)
ORDER = {
    "none": "by the cosine of the embeddings",
    "itm": "the best {k} by the matching logit",
    "published": "the best {k} as published",
    "attributes": "the best {k} by cosine / temperature + the log-probabilities of the attributes that the sentence names",
}


@dataclass(frozen=True)
class ComposedSentence:
    """A sentence, and the attributes of colours that its person has to have."""

    text: str
    attributes: tuple[int, ...]


@dataclass(frozen=True)
class SentencePrecision:
    """The best images for a sentence; images with an unknown label of what is named are not ranked."""

    sentence: ComposedSentence
    hits: int  # of the best images have what the sentence names
    possible: int  # images of the gallery have it, COUNT at most; not 0
    expected: float  # hits of a random order

    @property
    def share(self) -> float:
        """0..1."""
        return self.hits / self.possible


def composed_sentences(space: Space) -> list[ComposedSentence]:
    """The sentences of an attribute space in a fixed order; none where it has no colours of clothes."""
    halves = {half: _colors(space, half) for half in ("upper", "lower")}
    sentences = [
        ComposedSentence(f"a person in {_garment(color, garment)}", (attribute,))
        for half, garments in (("upper", UPPER), ("lower", LOWER))
        for (color, attribute), garment in product(halves[half], garments)
    ]
    for number, (upper, lower) in enumerate(product(halves["upper"], halves["lower"])):
        above, below = UPPER[number % len(UPPER)], LOWER[number // len(UPPER) % len(LOWER)]
        text = f"a person in {_garment(upper[0], above)} and {_garment(lower[0], below)}"
        sentences.append(ComposedSentence(text, (upper[1], lower[1])))
    return sentences


def _colors(space: Space, half: str) -> list[tuple[str, int]]:
    """The colours of a half of the body with their attributes."""
    groups = [group for group in space.color_groups.values() if group.half == half]
    return [(color, space.names.index(attribute)) for group in groups for color, attribute in group.colors.items()]


def _garment(color: str, garment: str) -> str:
    words = f"{color} {garment}"
    return words if garment in PLURAL else an(words)


def has_colors(gallery: Gallery) -> bool:
    """Whether a gallery has labels of colours that sentences can name."""
    return gallery.space is not None and gallery.labels is not None and bool(load_space(gallery.space).color_groups)


@torch.inference_mode()
def sentence_precisions(trained: Trained, gallery: Gallery, rerank: Rerank | None = None, k: int = 128) -> list[SentencePrecision]:
    """The precision of each composed sentence with an image to find; all ranks call it together, and any number gives the same.

    UserError where the gallery has no labels of colours.
    """
    if not has_colors(gallery) or gallery.space is None:
        raise UserError("the gallery has no labels of colours of clothes, which the attribute precision of search is measured by")
    sentences = composed_sentences(load_space(gallery.space))
    rerank = possible_rerank(trained, rerank or default_rerank(trained))
    with trained.precision():
        images = embed_images(trained.method, gallery)
    labels = gallery.labels
    assert labels is not None
    precisions: list[SentencePrecision | None] = []
    for part in batch_slices(len(sentences), TEXTS_PER_BATCH):
        scores = sentence_scores(trained, gallery, images, [sentence.text for sentence in sentences[part]], max(k, COUNT), rerank)
        precisions += [precision_of(sentence, row, labels) for sentence, row in zip(sentences[part], scores, strict=True)]
    return [precision for precision in precisions if precision is not None]


def precision_of(sentence: ComposedSentence, scores: Tensor, labels: Tensor) -> SentencePrecision | None:
    """By scores [G] and labels [G, A] in {-1, 0, 1}; None where no image has what the sentence names."""
    named = labels[:, list(sentence.attributes)]
    known = (named >= 0).all(1)
    matching = (named == HAS).all(1)
    possible, ranked = min(COUNT, int(matching.sum())), int(known.sum())
    if not possible:
        return None
    best = ranking.best(scores.masked_fill(~known, -torch.inf)[None], COUNT)[0]
    return SentencePrecision(sentence, int(matching[best].sum()), possible, min(COUNT, ranked) * int(matching.sum()) / ranked)


def evaluate_search(trained: Trained, gallery: Gallery, rerank: Rerank | None = None, k: int = 128) -> SearchScores:
    """The mean precision of sentences with one colour, and with two; None where the gallery has no image for any."""
    rerank = possible_rerank(trained, rerank or default_rerank(trained))
    precisions = sentence_precisions(trained, gallery, rerank, k)
    one, two = ([each for each in precisions if len(each.sentence.attributes) == count] for count in (1, 2))
    facts = {"count": COUNT, "sentences": len(one), "pairs": len(two), "space": gallery.space, "order": ORDER[rerank].format(k=k)}
    return SearchScores(
        one=_mean([each.share for each in one]),
        two=_mean([each.share for each in two]),
        chance_one=_mean([each.expected / each.possible for each in one]),
        chance_two=_mean([each.expected / each.possible for each in two]),
        images=len(gallery),
        space=str(gallery.space),
        protocol=PROTOCOL.format(**facts),
    )


def _mean(shares: Sequence[float]) -> float | None:
    return mean(shares) if shares else None

"""The pictures that fit a sentence best, for a person: ids, scores, and a contact sheet.

Shapes: G pictures, K of them that the cross encoder looks at.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mals.dataset.sheet import contact_sheet
from mals.errors import UserError
from pretrain import ranks
from pretrain.evaluate import Found, Rerank, embed_images
from pretrain.gallery import Gallery, encoded
from pretrain.trained_method import Trained

CELL = (128, 256)  # pixels of a picture on the sheet, width and height
ACROSS = 8  # pictures a line


@dataclass(frozen=True)
class Hit:
    """A picture that fits."""

    id: str
    score: float  # the cosine, the logit of the cross encoder, or as published both together
    caption: str  # the picture's own
    row: int  # of the gallery's pairs


@torch.inference_mode()
def search(trained: Trained, gallery: Gallery, sentence: str, count: int = 10, mode: Rerank = "itm", k: int = 128) -> list[Hit]:
    """The best `count` pictures of a gallery; unless `mode` is none, the best k by cosine are ordered by the cross encoder.

    Scores are those that `pretrain.evaluate` gives the sentence as its only query.
    """
    if not sentence.strip():
        raise UserError("the sentence to search for is empty")
    text = encoded(trained.tokenizer, [sentence], gallery.device)
    with trained.precision():
        images = embed_images(trained.method, gallery)
        found = Found(trained.method.embed_text(text).float(), images, torch.empty(1, 0, dtype=torch.int64))
        if mode != "none":
            found.best = found.nearest(max(k, count))
            found.logits = looked_at(trained, gallery, sentence, found.best[0])[None]
        (scores,) = torch.cat(list(found.scores(mode))).cpu()
    best = scores.argsort(descending=True, stable=True)[:count]
    rows, told = gallery.rows[best].tolist(), scores[best].tolist()
    pairs = gallery.pairs
    return [Hit(pairs.image_id(row), round(score, 4), pairs.caption(row), row) for row, score in zip(rows, told, strict=True)]


def looked_at(trained: Trained, gallery: Gallery, sentence: str, best: Tensor) -> Tensor:
    """The logits for "the sentence is true of it" of some pictures of a gallery, by number [K]: [K]."""
    text = encoded(trained.tokenizer, [sentence], gallery.device)
    states = trained.method.states(text)
    found = torch.zeros(len(best), device=gallery.device)
    for numbers, images in gallery.some(best.cpu()).images():
        keys = trained.method.keys(images)
        wide = states.expand(len(images), -1, -1), text.mask.expand(len(images), -1)
        found[numbers] = trained.method.match(*wide, keys)[:, 1].float()
    return ranks.sum_over_ranks(found)


def sheet(gallery: Gallery, hits: list[Hit]) -> bytes:
    """A JPEG of the pictures, the best first."""
    return contact_sheet([gallery.pairs.image_bytes(hit.row) for hit in hits], ACROSS, CELL)

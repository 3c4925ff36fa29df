"""A trained method for other people's programs: pictures and sentences in, tensors on the CPU out.

Shapes: B pictures or sentences, Q sentences, G pictures, D width of the embeddings, A attributes.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mals.attributes import Space, load_space
from mals.errors import UserError
from pretrain.data import augment
from pretrain.data.augment import Pixels
from pretrain.gallery import TEXTS, encoded, slices
from pretrain.method import Ability, Method, Text
from pretrain.trained_method import Trained, read

Picture = str | Path | Image.Image | np.ndarray[Any, Any]  # a file, or an array [h, w, 3] of bytes, red first
LACKS: dict[Ability, str] = {
    "embed": "embeds nothing",
    "match": "has no cross encoder to look at a text and a picture together",
    "recognise": "knows no attributes",
}
Value = tuple[str, float]  # an attribute's value, and its share of the belief in the two: 0.5 ... 1


class Loaded:
    """A method that has learnt; `batch` is how many pictures it looks at together."""

    def __init__(self, trained: Trained, batch: int = 64) -> None:
        self.trained, self.batch = trained, batch

    @torch.inference_mode()
    def embed_image(self, pictures: Picture | Sequence[Picture]) -> Tensor:
        """[B, D] of length 1; the dot product with a sentence's embedding says how well they fit."""
        with self.trained.precision():
            return torch.cat([self._able("embed").embed_image(images).float().cpu() for images in self._images(pictures)])

    @torch.inference_mode()
    def embed_text(self, sentences: str | Sequence[str]) -> Tensor:
        """[B, D] of length 1."""
        with self.trained.precision():
            return torch.cat([self._able("embed").embed_text(text).float().cpu() for text in self._texts(sentences)])

    @torch.inference_mode()
    def rerank(self, sentences: str | Sequence[str], pictures: Picture | Sequence[Picture]) -> Tensor:
        """Logits [Q, G] of the cross encoder, which looks at each sentence and each picture together: the higher the likelier."""
        method = self._able("match")
        with self.trained.precision():
            texts = [(method.states(text), text.mask) for text in self._texts(sentences)]
            columns = []
            for images in self._images(pictures):
                keys = method.keys(images)
                columns.append(torch.cat([method.match_all(states, mask, keys, len(images)).cpu() for states, mask in texts]))
        return torch.cat(columns, 1)

    @torch.inference_mode()
    def attributes(self, pictures: Picture | Sequence[Picture], space: str | None = None) -> list[dict[str, Value]]:
        """For each picture attribute -> value and score, by the prompts of an attribute space, that of the training where none is named."""
        space = space or self.trained.method.needs.space
        if space is None:
            raise UserError("this method was trained without attributes: name their space")
        known = load_space(space)
        if "classify" in self.trained.method.abilities:
            return _told(known, self._classified(pictures, space))
        method = self._able("recognise")
        prompts = encoded(self.trained.tokenizer, [prompt for pair in known.prompts for prompt in pair], self.trained.device)
        with self.trained.precision():
            states = method.states(prompts)
            logits = torch.cat([method.score_prompts(prompts, states, images).cpu() for images in self._images(pictures)])
        return _told(known, logits.unflatten(1, (-1, 2)).float())

    def _classified(self, pictures: Picture | Sequence[Picture], space: str) -> Tensor:
        """Logits [B, A, 2] of a plain classifier, the first of each two 0; UserError where it knows another space."""
        method = self.trained.method
        own = method.needs.space
        if space != own:
            raise UserError(f"this method is a plain classifier: it knows the attributes of {own} alone, not those of {space}")
        with self.trained.precision():
            parts = [method.classify(images).float().cpu() for images in self._images(pictures)]
        logits = torch.cat(parts)
        return torch.stack([torch.zeros_like(logits), logits], 2)

    def _able(self, ability: Ability) -> Method:
        """The method; UserError where it cannot do that."""
        known = self.trained.method.abilities
        if ability not in known:
            only = (
                "is a plain classifier: it knows attributes, and neither embeds nor compares" if known == {"classify"} else LACKS[ability]
            )
            raise UserError(f"this method {only}")
        return self.trained.method

    def _images(self, pictures: Picture | Sequence[Picture]) -> Iterator[Tensor]:
        """Batches as the tower sees them; UserError where there is none, or one cannot be read."""
        if isinstance(pictures, str | Path | Image.Image) or (isinstance(pictures, np.ndarray) and pictures.ndim < 4):
            pictures = [pictures]
        found: list[Picture] = list(pictures)
        if not found:
            raise UserError("there is no picture to look at")
        for some in slices(len(found), self.batch):
            shown = [augment.test_image(_pixels(one, number), self.trained.look) for number, one in enumerate(found[some], some.start)]
            yield torch.stack(shown).to(self.trained.device)

    def _texts(self, sentences: str | Sequence[str]) -> Iterator[Text]:
        """Batches of tokens; UserError where there is no sentence, or one has no word."""
        found = [sentences] if isinstance(sentences, str) else list(sentences)
        if not found:
            raise UserError("there is no sentence to read")
        for some in slices(len(found), TEXTS):
            yield encoded(self.trained.tokenizer, found[some], self.trained.device)


def load(place: str | Path, device: str = "cpu", batch: int = 64) -> Loaded:
    """The method of a release, a training or hf://OWNER/NAME, on "cpu", "cuda" or what torch calls a device."""
    return Loaded(read(str(place), device=device), batch)


def _told(space: Space, logits: Tensor) -> list[dict[str, Value]]:
    """Of each picture the likelier value of each attribute and its share of the belief; logits [B, A, 2], of equal ones the first."""
    values, scores = (logits[:, :, 1] > logits[:, :, 0]).long(), logits.softmax(2).amax(2)  # softmax may round to a tie
    return [
        {name: (names[value], score) for name, names, value, score in zip(space.names, space.values, row, said, strict=True)}
        for row, said in zip(values.tolist(), scores.tolist(), strict=True)
    ]


def _pixels(picture: Picture, number: int) -> Pixels:
    """[h, w, 3]; UserError names the picture that is none."""
    if isinstance(picture, np.ndarray):
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise UserError(f"picture {number} is an array {picture.shape} of {picture.dtype}, where [h, w, 3] of uint8 is wanted")
        return np.ascontiguousarray(picture)
    try:
        if isinstance(picture, Image.Image):
            return np.asarray(picture.convert("RGB"))
        with Image.open(picture) as opened:
            return np.asarray(opened.convert("RGB"))
    except Exception as error:  # each kind of picture fails in its own way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        name = f"picture {number}" if isinstance(picture, Image.Image) else picture
        raise UserError(f"{name} cannot be read as a picture ({reason})") from None

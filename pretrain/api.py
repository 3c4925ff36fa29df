"""A trained method for use in other programs: images and sentences in, tensors on the CPU out.

Shapes: B images or sentences, Q sentences, G images, D width of the embeddings, A attributes.
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
from mals.images import decode_image, image_pixels
from pretrain.data import augment
from pretrain.data.augment import Pixels
from pretrain.data.errors import first_line
from pretrain.gallery import TEXTS_PER_BATCH, batch_slices, tokenize
from pretrain.method import Ability, Method, Text
from pretrain.trained_method import Trained, read

ImageLike = str | Path | Image.Image | np.ndarray[Any, Any]  # a file, a PIL image, or an array [h, w, 3] of uint8, RGB
LACKS: dict[Ability, str] = {
    "embed": "computes no embeddings of sentences",
    "identify": "computes no embeddings",
    "match": "has no cross encoder to re-rank images",
    "recognise": "recognises no attributes",
}
Prediction = tuple[str, float]  # an attribute's value, and its probability against the other value: 0.5..1


class LoadedMethod:
    """A trained method; `batch` is the number of images that it processes together.

    Images are files, PIL images (both decoded as `mals.images` says) or arrays [h, w, 3] of uint8 in RGB; they are resized to the size of
    the training regardless of their aspect ratio, and normalised. At least one image or sentence has to be given.

        method = load("my-method")
        cosines = method.embed_text("a woman in a red coat") @ method.embed_image(["a.jpg", "b.jpg"]).T
        logits = method.rerank("a woman in a red coat", ["a.jpg", "b.jpg"])
    """

    def __init__(self, trained: Trained, batch: int = 64) -> None:
        self.trained, self.batch = trained, batch

    @torch.inference_mode()
    def embed_image(self, images: ImageLike | Sequence[ImageLike]) -> Tensor:
        """Embeddings [B, D] of length 1; the dot product with the embedding of a sentence, or of another image, is their cosine, -1..1.

        Raises UserError for an image that cannot be read, and if the method computes no embeddings.
        """
        with self.trained.precision():
            method = self._able_to("embed" if "embed" in self.trained.method.abilities else "identify")
            return torch.cat([method.embed_image(batch).float().cpu() for batch in self._image_batches(images)])

    @torch.inference_mode()
    def embed_text(self, sentences: str | Sequence[str]) -> Tensor:
        """Embeddings [B, D] of length 1. Raises UserError for a sentence without words."""
        with self.trained.precision():
            return torch.cat([self._able_to("embed").embed_text(text).float().cpu() for text in self._text_batches(sentences)])

    @torch.inference_mode()
    def rerank(self, sentences: str | Sequence[str], images: ImageLike | Sequence[ImageLike]) -> Tensor:
        """Matching logits [Q, G] of the cross encoder for each sentence and each image: higher means a better match.

        More accurate than the cosine of the embeddings, and more costly: use it for the best images by cosine. Raises UserError if the
        method has no cross encoder.
        """
        method = self._able_to("match")
        with self.trained.precision():
            texts = [(method.states(text), text.mask) for text in self._text_batches(sentences)]
            columns = []
            for batch in self._image_batches(images):
                keys = method.keys(batch)
                columns.append(torch.cat([method.match_all(states, mask, keys, len(batch)).cpu() for states, mask in texts]))
        return torch.cat(columns, 1)

    @torch.inference_mode()
    def attributes(self, images: ImageLike | Sequence[ImageLike], space: str | None = None) -> list[dict[str, Prediction]]:
        """For each image: attribute -> (value, probability 0.5..1), in the attribute space of the training or another one.

        `space` is the name of a space that ships with mals, or a YAML file. Raises UserError if the method recognises no attributes.
        """
        space = space or self.trained.method.needs.space
        if space is None:
            raise UserError("this method was trained without attributes: give the name of an attribute space")
        loaded = load_space(space)
        if "classify" in self.trained.method.abilities:
            return _predictions(loaded, self._classifier_logits(images, space))
        method = self._able_to("recognise")
        prompts = tokenize(self.trained.tokenizer, [prompt for pair in loaded.prompts for prompt in pair], self.trained.device)
        with self.trained.precision():
            states = method.states(prompts)
            logits = torch.cat([method.score_prompts(prompts, states, batch).cpu() for batch in self._image_batches(images)])
        return _predictions(loaded, logits.unflatten(1, (-1, 2)).float())

    def _classifier_logits(self, images: ImageLike | Sequence[ImageLike], space: str) -> Tensor:
        """Logits [B, A, 2] of a plain classifier, the first of each pair 0; UserError if it was trained on another space."""
        method = self.trained.method
        own = method.needs.space
        if space != own:
            raise UserError(f"this method is a plain classifier: it recognises the attributes of {own} alone, not those of {space}")
        with self.trained.precision():
            logits = torch.cat([method.classify(batch).float().cpu() for batch in self._image_batches(images)])
        return torch.stack([torch.zeros_like(logits), logits], 2)  # the softmax over a pair is the sigmoid of its logit

    def _able_to(self, ability: Ability) -> Method:
        """The method; UserError if it lacks the ability."""
        abilities = self.trained.method.abilities
        if ability not in abilities:
            is_classifier = abilities == {"classify"}
            problem = "is a plain classifier: it recognises attributes, and neither embeds nor matches" if is_classifier else LACKS[ability]
            raise UserError(f"this method {problem}")
        return self.trained.method

    def _image_batches(self, images: ImageLike | Sequence[ImageLike]) -> Iterator[Tensor]:
        """Batches of the image tower's input; UserError if there is no image, or one cannot be read."""
        if isinstance(images, str | Path | Image.Image) or (isinstance(images, np.ndarray) and images.ndim < 4):
            images = [images]
        listed: list[ImageLike] = list(images)
        if not listed:
            raise UserError("there is no image: give at least one")
        for part in batch_slices(len(listed), self.batch):
            inputs = [
                augment.test_image(_pixels(image, number), self.trained.preprocessing)
                for number, image in enumerate(listed[part], part.start)
            ]
            yield torch.stack(inputs).to(self.trained.device)

    def _text_batches(self, sentences: str | Sequence[str]) -> Iterator[Text]:
        """Batches of tokens; UserError if there is no sentence, or one has no word."""
        listed = [sentences] if isinstance(sentences, str) else list(sentences)
        if not listed:
            raise UserError("there is no sentence: give at least one")
        for part in batch_slices(len(listed), TEXTS_PER_BATCH):
            yield tokenize(self.trained.tokenizer, listed[part], self.trained.device)


def load(place: str | Path, device: str = "cpu", batch: int = 64) -> LoadedMethod:
    """The method of a release, a training or hf://OWNER/NAME, on a device of torch: give "cuda" to use a GPU.

    Raises UserError if there is no method at that place.
    """
    return LoadedMethod(read(str(place), device=device), batch)


def _predictions(space: Space, logits: Tensor) -> list[dict[str, Prediction]]:
    """For each image the likelier value of each attribute with its probability; logits [B, A, 2], of equal ones the first value."""
    values, probabilities = (logits[:, :, 1] > logits[:, :, 0]).long(), logits.softmax(2).amax(2)  # not argmax: softmax may round to a tie
    return [
        {name: (names[value], probability) for name, names, value, probability in zip(space.names, space.values, *row, strict=True)}
        for row in zip(values.tolist(), probabilities.tolist(), strict=True)
    ]


def _pixels(image: ImageLike, number: int) -> Pixels:
    """[h, w, 3]; UserError names the image that cannot be read."""
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise UserError(f"image {number} is an array {image.shape} of {image.dtype}, not [h, w, 3] of uint8")
        return np.ascontiguousarray(image)
    try:
        return image_pixels(image) if isinstance(image, Image.Image) else decode_image(Path(image).read_bytes())
    except Exception as error:  # each image format fails in its own way
        name = f"image {number}" if isinstance(image, Image.Image) else image
        raise UserError(f"{name} cannot be read as an image ({first_line(error)})") from None

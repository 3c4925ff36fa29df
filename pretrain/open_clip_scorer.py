"""A CLIP that open_clip saved as a scorer of mals: a folder with open_clip_config.json and weights, as its models on the hub are.

Images are resized to the size of the model regardless of their aspect ratio, so that a person is seen from head to feet: CLIP's own
preprocessing would cut the upper and lower parts off. Texts end at the model's last token (77 in most).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from mals.errors import UserError
from mals.images import image_pixels
from mals.scorer import RgbImage
from pretrain import weights
from pretrain.data.errors import first_line
from pretrain.gallery import TEXTS_PER_BATCH, batch_slices

CONFIG = "open_clip_config.json"
FORMS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # of the weights, as open_clip saves them


class OpenClipScorer:
    """A model of open_clip as a `mals.scorer.Scorer`; `transform` makes [3, H, W] of an image, `tokenizer` [B, L] of texts."""

    def __init__(
        self, model: Any, transform: Callable[[Image.Image], Tensor], tokenizer: Callable[[list[str]], Tensor], device: str, batch: int
    ) -> None:
        self.model, self.transform, self.tokenizer, self.device, self.batch = model, transform, tokenizer, device, batch

    @torch.inference_mode()
    def embed_images(self, images: Sequence[RgbImage]) -> NDArray[np.float32]:
        """Embeddings [N, D] of length 1."""
        embeddings = []
        for part in batch_slices(len(images), self.batch):
            pixels = (image_pixels(image) if isinstance(image, Image.Image) else image for image in images[part])
            inputs = torch.stack([self.transform(Image.fromarray(rgb)) for rgb in pixels])
            embeddings.append(normalize(self.model.encode_image(inputs.to(self.device)).float(), dim=-1).cpu())
        return torch.cat(embeddings).numpy()

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings [T, D] of length 1."""
        tokens = (self.tokenizer(list(texts[part])) for part in batch_slices(len(texts), TEXTS_PER_BATCH))
        embeddings = [normalize(self.model.encode_text(part.to(self.device)).float(), dim=-1).cpu() for part in tokens]
        return torch.cat(embeddings).numpy()

    def match(self, texts: Sequence[str], images: Sequence[RgbImage]) -> NDArray[np.float32]:
        """Cosines [T, N]."""
        return self.embed_texts(texts) @ self.embed_images(images).T


def load(folder: Path, device: str, batch: int) -> OpenClipScorer:
    """The scorer of a folder with open_clip_config.json and weights; UserError where open_clip does not read them."""
    import open_clip

    if not any((folder / name).is_file() for name in FORMS):
        raise UserError(f"{folder} has {CONFIG} and no weights beside it: {' or '.join(FORMS)}")
    name = f"local-dir:{folder}"
    try:
        model, transform = open_clip.create_model_from_pretrained(name, device=device, image_resize_mode="squash")
        tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:  # the library, and those that its configuration names, raise errors of many classes
        raise UserError(f"open_clip does not read the model in {folder} ({type(error).__name__}: {first_line(error)})") from None
    weights.require_finite(model.state_dict(), folder)
    return OpenClipScorer(model.eval(), transform, tokenizer, device, batch)

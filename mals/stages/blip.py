"""Captions by BLIP (Li et al., ICML 2022); the `prompt` of its settings is what each caption begins with."""

from collections.abc import Sequence
from typing import Any

from mals.config import Captioner as Settings
from mals.device import device, dtype
from mals.errors import UserError
from mals.models import ResolvedModel
from mals.stages.decoding import LOCAL, generation


class Blip:
    """A BlipForConditionalGeneration with its processor."""

    def __init__(self, settings: Settings, model: ResolvedModel):
        from transformers import AutoProcessor, BlipForConditionalGeneration

        self.settings = settings
        self.processor = AutoProcessor.from_pretrained(model.path, **LOCAL)
        loaded: Any = BlipForConditionalGeneration.from_pretrained(model.path, dtype=dtype(settings.dtype), **LOCAL)
        self.model = loaded.to(device()).eval()
        self.prompt_tokens = (
            len(self.processor.tokenizer(settings.prompt).input_ids) - 1
        )  # the first token and the prompt, without the last
        limit = loaded.config.text_config.max_position_embeddings
        if (total := self.prompt_tokens + settings.max_tokens) > limit:
            raise UserError(f"the captioner {model.name} takes {limit} tokens; its prompt and max_tokens make {total}; lower max_tokens")

    def caption(self, images: Sequence[Any], seeds: Sequence[int]) -> list[str]:
        """See mals.stages.caption.CaptionModel."""
        import torch

        prompt = [self.settings.prompt] * len(images) if self.settings.prompt else None
        inputs = self.processor(images=list(images), text=prompt, return_tensors="pt").to(self.model.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        with torch.inference_mode():
            tokens = self.model.generate(**inputs, **generation(self.settings, seeds))
        texts = self.processor.batch_decode(tokens, skip_special_tokens=True)
        added = self.processor.batch_decode(tokens[:, self.prompt_tokens :], skip_special_tokens=True)
        return [text.strip() if new.strip() else "" for text, new in zip(texts, added, strict=True)]

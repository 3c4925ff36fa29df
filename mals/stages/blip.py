"""Captions by BLIP (Li et al., ICML 2022); the prompt of a request is what its caption begins with."""

from collections.abc import Sequence
from typing import Any

from mals.config import Captioner as Settings
from mals.device import device, dtype
from mals.errors import UserError
from mals.finite import require_finite
from mals.models import ResolvedModel
from mals.stages.captioning.instructions import instructions
from mals.stages.captioning.model import Request
from mals.stages.decoding import LOCAL, generation


class Blip:
    """A BlipForConditionalGeneration with its processor."""

    def __init__(self, settings: Settings, model: ResolvedModel):
        from transformers import AutoProcessor, BlipForConditionalGeneration

        self.settings = settings
        self.processor = AutoProcessor.from_pretrained(model.path, **LOCAL)
        loaded: Any = BlipForConditionalGeneration.from_pretrained(model.path, dtype=dtype(settings.dtype), **LOCAL)
        self.model = loaded.to(device()).eval()
        require_finite(self.model.state_dict(), model.path)
        limit = loaded.config.text_config.max_position_embeddings
        for instruction in instructions(settings):
            if (total := self._prompt_tokens(instruction.text) + settings.max_tokens) > limit:
                raise UserError(
                    f"the captioner {model.name} takes {limit} tokens; its prompt and max_tokens make {total}; lower max_tokens"
                )

    def caption(self, requests: Sequence[Request]) -> list[str]:
        """See mals.stages.captioning.model.CaptionModel; all requests have one prompt."""
        import torch

        prompt = requests[0].prompt
        texts_before = [prompt] * len(requests) if prompt else None
        inputs = self.processor(images=[request.image for request in requests], text=texts_before, return_tensors="pt")
        inputs = inputs.to(self.model.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        with torch.inference_mode():
            tokens = self.model.generate(**inputs, **generation(self.settings, [request.seed for request in requests]))
        texts = self.processor.batch_decode(tokens, skip_special_tokens=True)
        added = self.processor.batch_decode(tokens[:, self._prompt_tokens(prompt) :], skip_special_tokens=True)
        return [text.strip() if new.strip() else "" for text, new in zip(texts, added, strict=True)]

    def _prompt_tokens(self, prompt: str) -> int:
        """The first token and those of the prompt, without the last."""
        return len(self.processor.tokenizer(prompt).input_ids) - 1

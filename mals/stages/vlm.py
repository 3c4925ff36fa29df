"""Captions by a vision-language model with a chat template; the prompt of a request is the question."""

from collections.abc import Sequence
from typing import Any

from mals.config import Captioner as Settings
from mals.device import device, dtype
from mals.errors import UserError
from mals.finite import require_finite
from mals.models import ResolvedModel
from mals.stages.captioning.model import Request
from mals.stages.decoding import LOCAL, generation


class Vlm:
    """Any model that AutoModelForImageTextToText loads and that has a chat template."""

    def __init__(self, settings: Settings, model: ResolvedModel):
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self.settings = settings
        self.processor = AutoProcessor.from_pretrained(model.path, **LOCAL)
        if not getattr(self.processor, "chat_template", None):
            raise UserError(
                f"the captioner {model.name} has no chat template, which the backend vlm needs; for a BLIP set its backend to blip"
            )
        try:
            loaded: Any = AutoModelForImageTextToText.from_pretrained(model.path, dtype=dtype(settings.dtype), **LOCAL)
        except ValueError as error:
            raise UserError(f"the captioner {model.name} is no image-text-to-text model: {str(error).splitlines()[0]}") from None
        self.model = loaded.to(device()).eval()
        require_finite(self.model.state_dict(), model.path)
        self.processor.tokenizer.padding_side = "left"  # so that every reply begins at the same position
        if self.processor.tokenizer.pad_token_id is None:
            self.processor.tokenizer.pad_token = self.processor.tokenizer.eos_token
        self.limit: int | None = getattr(loaded.config.get_text_config(decoder=True), "max_position_embeddings", None)

    def caption(self, requests: Sequence[Request]) -> list[str]:
        """See mals.stages.captioning.model.CaptionModel."""
        import torch

        chats = [_chat(request) for request in requests]
        inputs = self.processor.apply_chat_template(
            chats, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt", processor_kwargs={"padding": True}
        ).to(self.model.device, dtype=self.model.dtype)
        length = inputs["input_ids"].shape[1]
        if self.limit is not None and length + self.settings.max_tokens > self.limit:
            raise ValueError(f"the image, the question and max_tokens make {length + self.settings.max_tokens} tokens of {self.limit}")
        pad = self.processor.tokenizer.pad_token_id
        with torch.inference_mode():
            tokens = self.model.generate(**inputs, pad_token_id=pad, **generation(self.settings, [request.seed for request in requests]))
        replies = tokens if self.model.config.is_encoder_decoder else tokens[:, length:]
        return [text.strip() for text in self.processor.batch_decode(replies, skip_special_tokens=True)]


def _chat(request: Request) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image", "image": request.image}, {"type": "text", "text": request.prompt}]}]

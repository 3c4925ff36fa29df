"""The models that describe a picture in words: BLIP, and vision-language models that are asked.

Both are given pictures [H, W, 3] and one seed a picture, and answer with one raw text each, "" where the model said nothing. Drawn words
are a function of the row's own seed: each is where a number from a generator of the row falls in the sums of the probabilities, which draws
from the same distribution as sampling does, whatever the other rows of the batch are.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from mals.config import Captioner as Settings
from mals.device import device, dtype
from mals.errors import UserError
from mals.models import ResolvedModel

OURS: Any = {"local_files_only": True, "trust_remote_code": False}  # left out, a model's own code would be offered to the terminal


class Speaker(Protocol):
    """A loaded captioner."""

    def say(self, pictures: Sequence[Any], seeds: Sequence[int]) -> list[str]: ...


def load(settings: Settings, found: ResolvedModel) -> Speaker:
    """The captioner that the settings name; raises UserError where the model is of another class."""
    return Blip(settings, found) if settings.backend == "blip" else Vlm(settings, found)


class Blip:
    """BLIP (Li et al., ICML 2022); `prompt` is what its caption begins with."""

    def __init__(self, settings: Settings, found: ResolvedModel):
        from transformers import AutoProcessor, BlipForConditionalGeneration

        self.settings = settings
        self.processor = AutoProcessor.from_pretrained(found.path, **OURS)
        loaded: Any = BlipForConditionalGeneration.from_pretrained(found.path, dtype=dtype(settings.dtype), **OURS)
        self.model = loaded.to(device()).eval()
        self.begins = len(self.processor.tokenizer(settings.prompt).input_ids) - 1  # tokens: the first one and the prompt, without the last
        room = loaded.config.text_config.max_position_embeddings
        if self.begins + settings.max_tokens > room:
            raise UserError(
                f"the captioner {found.name} has room for {room} tokens; its prompt and max_tokens make {self.begins + settings.max_tokens}"
            )

    def say(self, pictures: Sequence[Any], seeds: Sequence[int]) -> list[str]:
        import torch

        prompt = [self.settings.prompt] * len(pictures) if self.settings.prompt else None
        inputs = self.processor(images=list(pictures), text=prompt, return_tensors="pt").to(self.model.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        with torch.inference_mode():
            tokens = self.model.generate(**inputs, **generation(self.settings, seeds))
        texts = self.processor.batch_decode(tokens, skip_special_tokens=True)
        added = self.processor.batch_decode(tokens[:, self.begins :], skip_special_tokens=True)
        return [text.strip() if new.strip() else "" for text, new in zip(texts, added, strict=True)]


class Vlm:
    """Any model that AutoModelForImageTextToText loads and that has a chat template; `prompt` is the question."""

    def __init__(self, settings: Settings, found: ResolvedModel):
        from transformers import AutoModelForImageTextToText, AutoProcessor

        if not settings.prompt:
            raise UserError(f"the captioner {found.name} has the backend vlm and no prompt to ask it with")
        self.settings = settings
        self.processor = AutoProcessor.from_pretrained(found.path, **OURS)
        if not getattr(self.processor, "chat_template", None):
            raise UserError(f"the captioner {found.name} has no chat template, so it cannot be asked; is it one for the backend blip?")
        try:
            loaded: Any = AutoModelForImageTextToText.from_pretrained(found.path, dtype=dtype(settings.dtype), **OURS)
        except ValueError as error:
            raise UserError(f"the captioner {found.name} is no image-text-to-text model: {str(error).splitlines()[0]}") from None
        self.model = loaded.to(device()).eval()
        self.processor.tokenizer.padding_side = "left"  # so that every answer begins at the same place
        if self.processor.tokenizer.pad_token_id is None:
            self.processor.tokenizer.pad_token = self.processor.tokenizer.eos_token
        self.room: int | None = getattr(loaded.config.get_text_config(decoder=True), "max_position_embeddings", None)

    def say(self, pictures: Sequence[Any], seeds: Sequence[int]) -> list[str]:
        import torch

        chats = [self._ask(picture) for picture in pictures]
        inputs = self.processor.apply_chat_template(
            chats, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt", processor_kwargs={"padding": True}
        ).to(self.model.device, dtype=self.model.dtype)
        asked = inputs["input_ids"].shape[1]
        if self.room is not None and asked + self.settings.max_tokens > self.room:
            raise ValueError(f"the picture, the question and max_tokens make {asked + self.settings.max_tokens} tokens of {self.room}")
        pad = self.processor.tokenizer.pad_token_id
        with torch.inference_mode():
            tokens = self.model.generate(**inputs, pad_token_id=pad, **generation(self.settings, seeds))
        answers = tokens if self.model.config.is_encoder_decoder else tokens[:, asked:]
        return [text.strip() for text in self.processor.batch_decode(answers, skip_special_tokens=True)]

    def _ask(self, picture: Any) -> list[dict[str, Any]]:
        return [{"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": self.settings.prompt}]}]


def generation(settings: Settings, seeds: Sequence[int]) -> dict[str, Any]:
    """What `generate` is called with; a model's own sampling defaults are put aside."""
    from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

    options: dict[str, Any] = {
        "max_new_tokens": settings.max_tokens,
        "min_new_tokens": min(settings.min_tokens, settings.max_tokens),
        "num_beams": settings.beams,
        "do_sample": False,
        "temperature": None,
        "top_p": None,
        "top_k": None,
    }
    if settings.sample:
        warpers = [TemperatureLogitsWarper(settings.temperature), TopPLogitsWarper(settings.top_p), draws(seeds)]
        options["logits_processor"] = LogitsProcessorList(warpers)
    return options


def draws(seeds: Sequence[int]) -> Any:
    """A logits processor that leaves one token of each row, drawn with the row's own CPU generator."""
    import torch
    from transformers import LogitsProcessor

    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    class Draw(LogitsProcessor):
        def __call__(self, input_ids: Any, scores: Any) -> Any:
            chances = scores.double().softmax(-1).nan_to_num(0.0)
            ends = (chances * 2**52).round().long().cumsum(-1)  # sums of whole numbers are the same in whatever order a GPU adds
            falls = torch.stack([torch.rand(1, generator=generator, dtype=torch.float64) for generator in generators])
            places = (falls.to(ends.device) * ends[:, -1:]).long()
            drawn = torch.searchsorted(ends, places, right=True).clamp(max=scores.shape[-1] - 1)
            return torch.full_like(scores, -torch.inf).scatter(-1, drawn, 0.0)

    return Draw()

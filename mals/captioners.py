"""The models that describe a picture in words: BLIP, and vision-language models that are asked.

Both are given pictures [H, W, 3] and one seed a picture, and answer with one raw text each. Drawn words are a function of the row's own
seed: noise from a generator of the row is added to the log-probabilities and the largest taken (Gumbel-max), which draws from the same
distribution as sampling does, whatever the other rows of the batch are.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from mals.config import Captioner as Settings
from mals.errors import UserError
from mals.models import Found


class Speaker(Protocol):
    """A loaded captioner."""

    def say(self, pictures: Sequence[Any], seeds: Sequence[int]) -> list[str]: ...


def load(settings: Settings, found: Found) -> Speaker:
    """The captioner that the settings name; raises UserError where the model is of another class."""
    return Blip(settings, found) if settings.backend == "blip" else Vlm(settings, found)


def device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def torch_dtype(name: str) -> Any:
    import torch

    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[name]


class Blip:
    """BLIP (Li et al., ICML 2022); `prompt` is what its caption begins with."""

    def __init__(self, settings: Settings, found: Found):
        from transformers import AutoConfig, AutoProcessor, BlipForConditionalGeneration

        kind = AutoConfig.from_pretrained(found.path).model_type
        if kind != "blip":
            raise UserError(f"the captioner {found.name} is of the kind {kind}, not blip; for a chat model set its backend to vlm")
        self.settings = settings
        self.processor = AutoProcessor.from_pretrained(found.path)
        loaded: Any = BlipForConditionalGeneration.from_pretrained(found.path, dtype=torch_dtype(settings.dtype))
        self.model = loaded.to(device()).eval()

    def say(self, pictures: Sequence[Any], seeds: Sequence[int]) -> list[str]:
        import torch

        prompt = [self.settings.prompt] * len(pictures) if self.settings.prompt else None
        inputs = self.processor(images=list(pictures), text=prompt, return_tensors="pt").to(self.model.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        with torch.inference_mode():
            tokens = self.model.generate(**inputs, **generation(self.settings, seeds))
        return [text.strip() for text in self.processor.batch_decode(tokens, skip_special_tokens=True)]


class Vlm:
    """Any model that AutoModelForImageTextToText loads and that has a chat template; `prompt` is the question."""

    def __init__(self, settings: Settings, found: Found):
        from transformers import AutoModelForImageTextToText, AutoProcessor

        if not settings.prompt:
            raise UserError(f"the captioner {found.name} has the backend vlm and no prompt to ask it with")
        self.settings = settings
        self.processor = AutoProcessor.from_pretrained(found.path)
        if not getattr(self.processor, "chat_template", None):
            raise UserError(f"the captioner {found.name} has no chat template, so it cannot be asked; is it one for the backend blip?")
        try:
            loaded: Any = AutoModelForImageTextToText.from_pretrained(found.path, dtype=torch_dtype(settings.dtype))
        except ValueError as error:
            raise UserError(f"the captioner {found.name} is no image-text-to-text model: {str(error).splitlines()[0]}") from None
        self.model = loaded.to(device()).eval()
        self.processor.tokenizer.padding_side = "left"  # so that every answer begins at the same place

    def say(self, pictures: Sequence[Any], seeds: Sequence[int]) -> list[str]:
        import torch

        chats = [self._ask(picture) for picture in pictures]
        inputs = self.processor.apply_chat_template(
            chats, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt", processor_kwargs={"padding": True}
        ).to(self.model.device, dtype=self.model.dtype)
        with torch.inference_mode():
            tokens = self.model.generate(**inputs, **generation(self.settings, seeds))
        answers = tokens[:, inputs["input_ids"].shape[1] :]
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
        warpers = [TemperatureLogitsWarper(settings.temperature), TopPLogitsWarper(settings.top_p), noise(seeds)]
        options["logits_processor"] = LogitsProcessorList(warpers)
    return options


def noise(seeds: Sequence[int]) -> Any:
    """A logits processor that adds Gumbel noise from one CPU generator a row."""
    import torch
    from transformers import LogitsProcessor

    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    class Gumbel(LogitsProcessor):
        def __call__(self, input_ids: Any, scores: Any) -> Any:
            draws = torch.stack([torch.rand(scores.shape[1], generator=g, dtype=torch.float64) for g in generators])
            gumbel = -torch.log(-torch.log(draws.clamp_min(1e-300)))
            return scores.double() + gumbel.to(scores.device)

    return Gumbel()

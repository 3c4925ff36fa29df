"""Captions rewritten by a language model that sees no image: taken apart, reworded, put together again.

These are the three steps of ICL's augmentation (decompose, rewrite, reorganise): a caption becomes statements of one fact each, each
statement is reworded, and the statements, in an order drawn by the row's seed, are joined as the instruction says.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from mals.config import Captioner as Settings
from mals.device import device, dtype
from mals.errors import UserError
from mals.grid.stage import row_seed
from mals.models import ResolvedModel
from mals.stages.captioning.model import Request
from mals.stages.decoding import LOCAL, generation

DECOMPOSE = (
    "Take the following description of a person apart into short statements with one fact each. Write one statement a line, and nothing "
    "else.\n{caption}"
)
REWRITE = (
    "Write each of the following statements in other words of the same meaning. Keep colours and things as they are. Write one statement a "
    "line, and nothing else.\n{statements}"
)
MOST_STATEMENTS = 16  # of one caption
Answer = Callable[[list[str], list[int]], list[str]]  # prompts and seeds -> replies


class Rewriter:
    """Any model that AutoModelForCausalLM loads and whose tokenizer has a chat template."""

    def __init__(self, settings: Settings, model: ResolvedModel):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.settings = settings
        self.tokenizer: Any = AutoTokenizer.from_pretrained(model.path, padding_side="left", **LOCAL)
        if not self.tokenizer.chat_template:
            raise UserError(f"the captioner {model.name} has no chat template, which the backend rewrite needs")
        try:
            loaded: Any = AutoModelForCausalLM.from_pretrained(model.path, dtype=dtype(settings.dtype), **LOCAL)
        except ValueError as error:
            raise UserError(f"the captioner {model.name} is no language model: {str(error).splitlines()[0]}") from None
        self.model = loaded.to(device()).eval()
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.limit: int | None = getattr(loaded.config.get_text_config(decoder=True), "max_position_embeddings", None)

    def caption(self, requests: Sequence[Request]) -> list[str]:
        """See mals.stages.captioning.model.CaptionModel."""
        return rewritten(requests, self.answer)

    def answer(self, prompts: list[str], seeds: list[int]) -> list[str]:
        """The replies to prompts."""
        import torch

        chats = [[{"role": "user", "content": prompt}] for prompt in prompts]
        inputs = self.tokenizer.apply_chat_template(
            chats, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt", padding=True
        ).to(self.model.device)
        length = inputs["input_ids"].shape[1]
        if self.limit is not None and length + self.settings.max_tokens > self.limit:
            raise ValueError(f"the prompt and max_tokens make {length + self.settings.max_tokens} tokens of {self.limit}")
        pad = self.tokenizer.pad_token_id
        names = {"input_ids", "attention_mask"}  # some tokenizers add token types, which a causal model does not take
        with torch.inference_mode():
            tokens = self.model.generate(**{name: inputs[name] for name in names}, pad_token_id=pad, **generation(self.settings, seeds))
        return [text.strip() for text in self.tokenizer.batch_decode(tokens[:, length:], skip_special_tokens=True)]


def rewritten(requests: Sequence[Request], answer: Answer) -> list[str]:
    """The rewritten captions of requests; a step that yields no statement leaves those before it."""

    def step(name: str, prompts: list[str]) -> list[str]:
        return answer(prompts, [row_seed(request.seed, "", name) for request in requests])

    sources = [request.source for request in requests]
    facts = [statements(text) for text in step("decompose", [DECOMPOSE.replace("{caption}", source) for source in sources])]
    facts = [lines or [source] for lines, source in zip(facts, sources, strict=True)]
    prompts = [REWRITE.replace("{statements}", "\n".join(lines)) for lines in facts]
    reworded = [statements(text) or lines for text, lines in zip(step("rewrite", prompts), facts, strict=True)]
    joined = [f"{request.prompt}\n" + "\n".join(shuffled(lines, request.seed)) for request, lines in zip(requests, reworded, strict=True)]
    return step("reorganise", joined)


def statements(text: str) -> list[str]:
    """The lines of a reply without bullets and numbers."""
    lines = (re.sub(r"^\s*(?:[-*•]|\d+[.)])\s*", "", line).strip() for line in text.splitlines())
    return [line for line in lines if line][:MOST_STATEMENTS]


def shuffled(lines: Sequence[str], seed: int) -> list[str]:
    """The lines in an order that follows from the seed."""
    return [lines[at] for at in sorted(range(len(lines)), key=lambda at: row_seed(seed, str(at), "order"))]

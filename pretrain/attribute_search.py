"""Attributes that a search requests, such as hat: yes, and how probable each image has them.

Shapes: G images, B images of a batch, a requested attributes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mals.attributes import Space, load_space
from mals.errors import UserError
from pretrain import ranks
from pretrain.evaluate import of_readable
from pretrain.gallery import Gallery, tokenize
from pretrain.text_scores import finite
from pretrain.trained_method import Trained

DEFAULT_SPACE = "market1501"  # of methods that were trained without attributes


@dataclass(frozen=True)
class RequestedAttributes:
    """Values of attributes of a space."""

    space: Space
    values: dict[int, int]  # attribute -> its value, 0 or 1

    def named(self) -> dict[str, str]:
        """The name of each attribute -> that of its value."""
        return {self.space.names[at]: self.space.values[at][value] for at, value in self.values.items()}

    def sentence(self) -> str:
        """The prompts of the values, as one sentence."""
        return ", ".join(self.space.prompts[at][value] for at, value in self.values.items())


def scores_attributes(trained: Trained) -> bool:
    """Whether the method tells how probable an attribute is; others search for the prompts as a sentence."""
    return bool({"recognise", "classify"} & trained.method.abilities)


def requested_attributes(trained: Trained, texts: Sequence[str]) -> RequestedAttributes | None:
    """Attributes as NAME=VALUE, in the space of the method, or market1501; None for none. UserError, which names those there are."""
    if not texts:
        return None
    space = load_space(trained.method.needs.space or DEFAULT_SPACE)
    names = {_plain(name): at for at, name in enumerate(space.names)}
    values: dict[int, int] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        at = names.get(_plain(name))
        if at is None:
            raise UserError(f"--attribute {text}: the attributes of {space.name} are {', '.join(space.names)}")
        choices = [_plain(choice) for choice in space.values[at]]
        if not equals or _plain(value) not in choices:
            raise UserError(
                f"--attribute {text}: {space.names[at]} is {' or '.join(space.values[at])}, such as {name}={space.values[at][0]}"
            )
        chosen = choices.index(_plain(value))
        if values.setdefault(at, chosen) != chosen:
            raise UserError(f"--attribute {text}: {space.names[at]} was requested to be {space.values[at][values[at]]} as well")
    return RequestedAttributes(space, values)


def _plain(name: str) -> str:
    """A name without the differences that do not matter."""
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())


@torch.inference_mode()
def attribute_probabilities(trained: Trained, gallery: Gallery, requested: RequestedAttributes) -> Tensor:
    """The probability [G], 0..1, that an image has all requested attributes, as if they were independent; unreadable images are dropped."""
    method, places = trained.method, list(requested.values)
    numbers = torch.tensor(list(requested.values.values()), device=gallery.device)
    is_classifier = "classify" in method.abilities
    with trained.precision():
        if not is_classifier:
            prompts = [prompt for at in places for prompt in requested.space.prompts[at]]
            text = tokenize(trained.tokenizer, prompts, gallery.device)
            states = method.states(text)
        rows = torch.zeros(len(gallery), device=gallery.device)
        for indices, images in gallery.image_batches():
            if is_classifier:
                logits = method.classify(images)[:, places].float()
                pairs = torch.stack([torch.zeros_like(logits), logits], 2)  # [B, a, 2]
            else:
                pairs = method.score_prompts(text, states, images).float().unflatten(1, (-1, 2))
            chosen = finite(pairs.flatten(1)).view_as(pairs).softmax(2).gather(2, numbers.expand(len(images), -1)[:, :, None])
            rows[indices] = chosen[:, :, 0].prod(1)
    return of_readable(ranks.sum_over_ranks(rows), gallery)

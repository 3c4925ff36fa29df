"""Attributes that a search requests, such as hat: yes, and how probable each image has them.

Shapes: G images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mals.attributes import Space
from mals.errors import UserError
from pretrain.attribute_scores import log_probabilities, space_of
from pretrain.evaluate import of_readable
from pretrain.gallery import Gallery
from pretrain.trained_method import Trained


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
    space = space_of(trained.method)
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
    values = torch.tensor(list(requested.values.values()), device=gallery.device)
    with trained.precision():
        of_both = log_probabilities(trained.method, gallery, requested.space, list(requested.values))
    chosen = of_both.gather(2, values.expand(len(gallery), -1)[:, :, None])
    return of_readable(chosen[:, :, 0].sum(1).exp(), gallery)

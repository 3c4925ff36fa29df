"""What every captioner is asked, and how it answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mals.images import Pixels


@dataclass(frozen=True)
class Request:
    """One caption that one captioner is to write."""

    image: Pixels  # [H, W, 3] uint8
    prompt: str  # what is asked; for a BLIP what the caption begins with
    seed: int  # of everything that is drawn for it
    source: str = ""  # the caption of an earlier captioner, for those that start from one
    choice: str = ""  # the template or the style example of this request; empty for kinds of instructions without


class CaptionModel(Protocol):
    """A loaded captioner."""

    def caption(self, requests: Sequence[Request]) -> list[str]:
        """One raw text a request, "" if the model wrote nothing; its sampled words depend on the request's seed, not on the others."""
        ...

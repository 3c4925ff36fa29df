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
    file: bytes = b""  # of the image, as it is stored, for a server
    is_question: bool = False  # one of the questions before the request for the caption


class CaptionModel(Protocol):
    """A loaded captioner."""

    def caption(self, requests: Sequence[Request]) -> Sequence[str | Exception]:
        """One raw text a request, "" if the model wrote nothing, or an error that this request alone met.

        Sampled words depend on the request's seed, not on the other requests.
        """
        ...

"""What a method is to the training loop, and what the loop and the data hand it.

Shapes everywhere: B rows of the batch, L tokens of the longest caption, A attributes, C channels of a tower, D the width in which scores
are dot products, N tokens of a picture.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from torch import Tensor


@dataclass(frozen=True)
class Text:
    """Captions as token ids; what is padding has mask False."""

    ids: Tensor  # [B, L] int64
    mask: Tensor  # [B, L] bool, True for real tokens


@dataclass(frozen=True)
class Batch:
    """One step's rows; what a method does not want is None."""

    rows: Tensor  # [B] int64: the row's number in the data set
    persons: Tensor  # [B] int64: rows of one person are positives of each other
    images: Tensor  # [B, 3, H, W] float32, normalised
    text: Text  # [B, 0] where no captions are wanted
    masked: Text | None = None  # the same captions with some tokens replaced
    targets: Tensor | None = None  # [B, L] int64: the tokens that were replaced, -100 elsewhere
    other: Text | None = None  # a second caption of the row
    labels: Tensor | None = None  # [B, A] int64 in {-1, 0, 1}: attribute values, -1 unknown

    def to(self, device: Any) -> "Batch":
        """The same batch on another device."""
        moved: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                moved[name] = value.to(device, non_blocking=True)
            elif isinstance(value, Text):
                moved[name] = Text(value.ids.to(device, non_blocking=True), value.mask.to(device, non_blocking=True))
        return replace(self, **moved)


@dataclass(frozen=True)
class Encoded:
    """What a tower makes of its input."""

    tokens: Tensor  # [B, N, C] of a picture (the global token first), [B, L, C] of a text
    pooled: Tensor | None = None  # [B, C]
    mask: Tensor | None = None  # [B, L] bool, True for real tokens; None where all are
    grid: tuple[int, int] | None = None  # rows and columns of a picture's tokens, the global one aside


@dataclass(frozen=True)
class Wants:
    """What a method needs from the data."""

    captions: bool = True
    masked: bool = False  # masked captions and their targets
    other: Literal["none", "same_person", "eda"] = "none"  # where a second caption comes from
    attributes: bool = False  # labels
    group: tuple[int, int] = (1, 1)  # fewest and most rows of one person that follow each other


@dataclass(frozen=True)
class Rule:
    """Learning-rate and weight-decay factors of the parameters whose names match a regular expression; the last rule that matches holds."""

    pattern: str
    rate: float = 1.0
    decay: float = 1.0


class Method(Protocol):
    """A torch module; all mathematics of one step is in `forward`, so that DistributedDataParallel sees it."""

    wants: Wants
    rules: tuple[Rule, ...]

    def forward(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """The weighted losses of one step by name, scalars in float32; the loop minimises their sum."""
        ...

    def embed_image(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, D]; the score of a picture and a text is the dot product of their embeddings."""
        ...

    def embed_text(self, text: Text) -> Tensor:
        """[B, L] -> [B, D]."""
        ...

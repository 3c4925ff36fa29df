"""Texts of rows in tensors, which the processes of a loader share rather than copy.

Shapes: n rows.
"""

from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

STRING = pa.large_string()


class Strings:
    """A text of each row."""

    def __init__(self, texts: pa.ChunkedArray) -> None:
        whole = pa.concat_arrays([chunk.cast(STRING) for chunk in texts.chunks] or [pa.array([], STRING)])
        _, ends, data = whole.buffers()
        offsets = np.frombuffer(ends, np.int64)[whole.offset : whole.offset + len(whole) + 1] if len(whole) else np.zeros(1, np.int64)
        self.ends = torch.from_numpy(offsets - offsets[0])
        self.data = torch.from_numpy(np.frombuffer(data or b"", np.uint8)[offsets[0] : offsets[-1]].copy())

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """These texts, one a row."""
        return cls(pa.chunked_array([pa.array(texts, STRING)]))

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, at: int) -> str:
        first, end = self.ends[at : at + 2].tolist()
        return self.data[first:end].numpy().tobytes().decode()

    def take(self, rows: Tensor) -> Self:
        """Those of these rows [m]."""
        return self.of(self[at] for at in rows.tolist())

    def tensors(self) -> list[Tensor]:
        """What is in memory."""
        return [self.ends, self.data]


class SeveralTexts:
    """One or more texts of each row."""

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        self.texts = Strings.of(text for own in texts for text in own)
        self.ends = torch.tensor([0, *(len(own) for own in texts)]).cumsum(0)  # [n+1] int64

    def __getitem__(self, at: int) -> list[str]:
        first, end = self.ends[at : at + 2].tolist()
        return [self.texts[number] for number in range(first, end)]

    def take(self, rows: Tensor) -> "SeveralTexts":
        """Those of these rows [m]."""
        return SeveralTexts([self[at] for at in rows.tolist()])

    def tensors(self) -> list[Tensor]:
        """What is in memory."""
        return [self.ends, *self.texts.tensors()]

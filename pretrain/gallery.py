"""What texts are searched in: the pictures of a split once each, and its captions as queries, in batches of which each rank has its own.

A split whose pictures have no captions is a gallery without queries.

A batch holds the same rows whatever the number of ranks and workers, so that what is computed from it is the same to the bit.

Shapes: G pictures, Q captions, B of a batch, A attributes.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from mals.attributes import load_space
from mals.errors import UserError
from pretrain import ranks
from pretrain.data import augment
from pretrain.data.augment import ImageTransform
from pretrain.data.labels import NoLabels
from pretrain.data.loader import NAMED, in_workers
from pretrain.data.rows import ImageTextPairs, NoCaptions, decode_image, first_line
from pretrain.data.sources import Place
from pretrain.data.tokenizers.wordpiece import Tokenizer, clean_caption
from pretrain.memory import ran_out
from pretrain.method import Text

TEXTS = 256  # encoded at once
SPACES = ("market1501", "pa100k")  # whose attributes a data set may have
NEED, NEED_CAPTIONS = "recognition is measured against", "retrieval is measured with"


class Gallery:
    """The pictures and captions of `pairs`, which has a row a caption, or the pictures alone, one a row, where it has not one.

    Their labels, where there are any, are of the attribute space `space`; `plain` reads captions as published for ICFG-PEDES and RSTPReid.
    """

    def __init__(
        self,
        pairs: ImageTextPairs,
        tokenizer: Tokenizer,
        look: ImageTransform,
        device: Any = "cpu",
        batch: int = 64,
        workers: int = 0,
        plain: bool = False,
        space: str | None = None,
    ) -> None:
        self.pairs, self.tokenizer, self.look, self.device = pairs, tokenizer, look, device
        self.batch, self.workers, self.plain, self.space = batch, workers, plain, space
        self.captioned = any(pairs.captions())
        first = torch.full((int(pairs.images.max()) + 1,), len(pairs))
        self.rows = first.scatter_reduce(0, pairs.images, torch.arange(len(pairs)), "amin")  # [G] int64: a row that shows the picture
        self.queries = torch.arange(len(pairs) if self.captioned else 0)  # [Q] int64: rows
        self.unreadable: dict[int, str] = {}  # row -> first_line, of this rank's pictures
        self.settled = False  # whether it is known which pictures can be read

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def persons(self) -> Tensor:
        """Of the pictures, [G] int64."""
        return self.pairs.persons[self.rows]

    @property
    def query_persons(self) -> Tensor:
        """Of the captions, [Q] int64."""
        return self.pairs.persons[self.queries]

    @property
    def labels(self) -> Tensor | None:
        """[G, A] int64 in {-1, 0, 1}."""
        return None if self.pairs.labels is None else self.pairs.labels[self.rows].long()

    def images(self) -> Iterator[tuple[Tensor, Tensor]]:
        """This rank's pictures, their numbers [B] and what towers see [B, 3, H, W]; those that cannot be read are named and left out."""
        batches = Pictures(self.pairs, self.rows, self.look, shares(len(self), self.batch))
        for numbers, images, unreadable in DataLoader(batches, batch_size=None, **in_workers(self.workers)):
            for row, told in unreadable.items():
                if self.settled:
                    raise UserError(f"{told}, though it could be read before")
                if len(self.unreadable) < NAMED:
                    print(f"{told}; it is left out", file=sys.stderr, flush=True)
                self.unreadable[int(row)] = told
            if len(numbers):
                yield numbers, images.to(self.device, non_blocking=True)

    def texts(self, everyone: bool = False) -> Iterator[tuple[Tensor, Text]]:
        """This rank's captions, or those of all, in batches: their numbers [B] and their tokens."""
        for share in slices(len(self.queries), TEXTS) if everyone else shares(len(self.queries), TEXTS):
            captions = [self.pairs.caption(row) for row in self.queries[share].tolist()]
            yield torch.arange(share.start, share.stop), encoded(self.tokenizer, captions, self.device, self.plain)

    def some(self, numbers: Tensor) -> "Gallery":
        """The gallery of these pictures alone."""
        found = copy(self)
        found.rows = self.rows[numbers]
        return found

    def leave_out(self) -> Tensor:
        """Go on without the pictures that a rank could not read, and their captions; which of the pictures [G] stay. UserError for none."""
        lost = torch.isin(self.rows, torch.tensor(list(self.unreadable), dtype=torch.int64))
        read = ranks.sum_over_ranks(lost.float().to(self.device)).cpu() == 0
        if not read.any():
            raise UserError(f"no picture can be read; {next(iter(self.unreadable.values()), 'another process says first_line')}")
        self.queries = self.queries[torch.isin(self.pairs.images[self.queries], self.pairs.images[self.rows[read]])]
        self.rows, self.settled = self.rows[read], True
        return read


def opened(data: Sequence[Place], split: str, spaces: Iterable[str] | None, need: str = NEED) -> tuple[ImageTextPairs, str | None]:
    """The rows of a split, with the labels of the first of `spaces` that the data have, and its name; None: no labels.

    A row is a caption, or a picture where none has a caption; UserError where some have and others have not, NoLabels where no space fits.
    """
    first: NoLabels | None = None
    for space in [None] if spaces is None else dict.fromkeys(spaces):
        classes = None if space is None else load_space(space).classes
        try:
            try:
                return ImageTextPairs.open(data, split, classes, need, every=True, need_captions=NEED_CAPTIONS), space
            except NoCaptions:
                pairs = ImageTextPairs.open(data, split, classes, need, captions=False)
                if any(pairs.captions()):
                    raise
                return pairs, space
        except NoLabels as error:
            first = first or error
    assert first is not None
    raise first


class Pictures(torch.utils.data.Dataset[Any]):
    """Batches of pictures by their place in `shares`: numbers, images, and which rows could not be read."""

    def __init__(self, pairs: ImageTextPairs, rows: Tensor, look: ImageTransform, shares: Sequence[slice]) -> None:
        self.pairs, self.rows, self.look, self.shares = pairs, rows, look, shares

    def __len__(self) -> int:
        return len(self.shares)

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor, dict[str, str]]:
        share, unreadable = self.shares[at], {}
        numbers, images = [], []
        for number, row in enumerate(self.rows[share].tolist(), share.start):
            try:
                images.append(augment.test_image(decode_image(self.pairs.image_bytes(row)), self.look))
                numbers.append(number)
            except Exception as error:  # each kind of picture fails in its own way
                if ran_out(error):
                    raise
                unreadable[str(row)] = f"{self.pairs.location(row)}: the picture cannot be read ({first_line(error)})"
        return torch.tensor(numbers), torch.stack(images) if images else torch.empty(0), unreadable


def slices(count: int, size: int) -> list[slice]:
    """Batches of `count` rows."""
    return [slice(at, min(count, at + size)) for at in range(0, count, size)]


def shares(count: int, size: int) -> list[slice]:
    """This rank's batches of `count` rows: every W-th."""
    return slices(count, size)[ranks.rank() :: ranks.world_size()]


def encoded(tokenizer: Tokenizer, captions: Sequence[str], device: Any = "cpu", plain: bool = False) -> Text:
    """Captions as a tower reads them, on a device."""
    text = tokenizer.encode([clean_caption(caption, plain=plain) for caption in captions])
    return Text(text.ids.to(device), text.mask.to(device))

"""The gallery of an evaluation: the images of a split, each once, and its captions as queries, in batches that the ranks share.

A split whose images have no captions is a gallery without queries. For identification, images are queries too: those of a split of their
own, or all images of the gallery (`open_persons`). A batch holds the same rows for any number of ranks and workers, so
that results computed from it are equal to the bit.

Shapes: G images, Q captions, B rows of a batch, H x W pixels, A attributes.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from mals.attributes import FOLDER, load_space
from mals.errors import UserError
from mals.images import decode_image
from pretrain import ranks
from pretrain.data import augment
from pretrain.data.augment import ImageTransform
from pretrain.data.captions import Reduction, clean_caption
from pretrain.data.errors import NoCaptions, NoLabels, first_line
from pretrain.data.loader import NAMED, worker_settings
from pretrain.data.packed import split_names
from pretrain.data.rows import ImageTextPairs
from pretrain.data.shared_memory import Sent, received
from pretrain.data.sources import DatasetAddress, local_path
from pretrain.data.tokenizers import Tokenizer
from pretrain.memory import ran_out
from pretrain.method import Text
from pretrain.retrieval_protocol import RetrievalProtocol

log = logging.getLogger(__name__)

TEXTS_PER_BATCH = 256
QUERY, DISTRACTORS = "query", "distractors"  # splits of an identification beside `test`
SPACES = sorted(file.stem for file in FOLDER.glob("*.yaml"))  # attribute spaces that a data set's labels may belong to


class Gallery:
    """The images and captions of one split.

    `dataset` has a row for each caption, and one for each image without a caption, which is searched and is no query. Its labels, if any,
    belong to the attribute space `space`. `protocol` says how retrieval is measured. `splits` are the names of the splits that were
    opened; of several, the first one holds the queries of an identification.
    """

    def __init__(
        self,
        dataset: ImageTextPairs,
        tokenizer: Tokenizer,
        preprocessing: ImageTransform,
        device: Any = "cpu",
        *,
        batch: int = 64,
        workers: int = 0,
        protocol: RetrievalProtocol | None = None,
        space: str | None = None,
        splits: Sequence[str] = (),
    ) -> None:
        self.splits = tuple(splits)
        self.dataset, self.tokenizer, self.preprocessing, self.device = dataset, tokenizer, preprocessing, device
        self.batch, self.workers, self.space = batch, workers, space
        self.protocol = protocol or RetrievalProtocol()
        captioned = dataset.captioned_rows()
        self.has_captions = len(captioned) > 0
        first = torch.full((int(dataset.images.max()) + 1,), len(dataset))
        self.rows = first.scatter_reduce(0, dataset.images, torch.arange(len(dataset)), "amin")  # [G] int64: the first row of each image
        self.all_rows = self.rows  # with the images that turned out unreadable
        self.queries = captioned  # [Q] int64: rows
        self.unreadable: dict[int, str] = {}  # row -> reason, among the images of this rank
        self.only_readable = False  # whether unreadable images have been dropped

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def identities(self) -> Tensor:
        """Of the images, [G] int64."""
        return self.dataset.persons[self.rows]

    @property
    def query_identities(self) -> Tensor:
        """Of the captions, [Q] int64."""
        return self.dataset.persons[self.queries]

    @property
    def labels(self) -> Tensor | None:
        """[G, A] int64 in {-1, 0, 1}, -1 unknown; None without labels."""
        return None if self.dataset.labels is None else self.dataset.labels[self.rows].long()

    @property
    def cameras(self) -> Tensor | None:
        """Of the images, [G] int64; None if an image has none."""
        cameras = None if self.dataset.cameras is None else self.dataset.cameras[self.rows]
        return None if cameras is None or (cameras < 0).any() else cameras

    @property
    def query_images(self) -> Tensor:
        """[G] bool: the queries of an identification, the images of the first split, or all if there is one split."""
        return self._in_first_split() if self.dataset.splits is not None else torch.ones(len(self), dtype=torch.bool)

    @property
    def searched_images(self) -> Tensor:
        """[G] bool: the images among which an identification ranks."""
        return ~self._in_first_split() if self.dataset.splits is not None else torch.ones(len(self), dtype=torch.bool)

    def _in_first_split(self) -> Tensor:
        assert self.dataset.splits is not None
        return self.dataset.splits[self.rows] == 0

    @property
    def can_identify(self) -> bool:
        """Whether two cameras have seen a person of the gallery."""
        if (cameras := self.cameras) is None:
            return False
        seen = torch.stack([self.identities, cameras], 1).unique(dim=0)[:, 0]
        return len(seen) > len(seen.unique())

    def image_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """This rank's images: indices [B] in the gallery and the tower's input [B, 3, H, W]; unreadable ones are logged and left out."""
        batches = ImageBatches(self.dataset, self.rows, self.preprocessing, rank_batches(len(self), self.batch))
        loader: DataLoader[Any] = DataLoader(Sent(batches), batch_size=None, **worker_settings(self.workers))
        size = 3 * self.preprocessing.height * self.preprocessing.width * torch.float32.itemsize
        for indices, images, unreadable in received(loader, self.batch * size, self.dataset.tensors()):
            for row, reason in unreadable.items():
                if self.only_readable:
                    raise UserError(f"{reason}, though it could be read before; is another program changing the data?")
                if len(self.unreadable) < NAMED:
                    log.warning("%s; it is left out", reason)
                self.unreadable[row] = reason
            if len(indices):
                yield indices, images.to(self.device, non_blocking=True)

    def caption_batches(self, all_ranks: bool = False) -> Iterator[tuple[Tensor, Text]]:
        """This rank's captions, or those of all ranks: their indices [B] among the queries and their tokens."""
        for batch in batch_slices(len(self.queries), TEXTS_PER_BATCH) if all_ranks else rank_batches(len(self.queries), TEXTS_PER_BATCH):
            captions = [self.dataset.caption(row) for row in self.queries[batch].tolist()]
            yield torch.arange(batch.start, batch.stop), tokenize(self.tokenizer, captions, self.device, self.protocol.reduction)

    def captions(self) -> list[str]:
        """The captions [Q] that are queries."""
        return [self.dataset.caption(row) for row in self.queries.tolist()]

    def subset(self, indices: Tensor) -> "Gallery":
        """The gallery with these images alone; it shares the record of unreadable images with this one."""
        return self.with_rows(self.rows[indices])

    def with_rows(self, rows: Tensor) -> "Gallery":
        """The gallery with the images of these rows alone, as `subset`."""
        gallery = copy(self)
        gallery.rows = rows
        return gallery

    def with_queries(self, queries: Tensor) -> "Gallery":
        """The gallery with the captions of these rows alone."""
        gallery = copy(self)
        gallery.queries = queries
        return gallery

    def drop_unreadable(self) -> Tensor:
        """Remove the images that a rank could not read, and their captions; returns [G] bool, True for images that stay.

        Raises UserError if no image can be read.
        """
        unreadable = torch.isin(self.rows, torch.tensor(list(self.unreadable), dtype=torch.int64))
        readable = ranks.sum_over_ranks(unreadable.float().to(self.device)).cpu() == 0
        if not readable.any():
            raise UserError(f"no image can be read; {next(iter(self.unreadable.values()), 'the log of another rank has the reasons')}")
        self.queries = self.queries[torch.isin(self.dataset.images[self.queries], self.dataset.images[self.rows[readable]])]
        self.rows, self.only_readable = self.rows[readable], True
        return readable


def open_rows(
    data: Sequence[DatasetAddress], split: str, spaces: Iterable[str] | None, captions: bool = True
) -> tuple[ImageTextPairs, str | None]:
    """The rows of a split, with labels of the first of `spaces` that the data have, and the name of that space; None: without labels.

    A row is a caption, or an image without one, whose caption is "". Without `captions` it is an image, of a JSON list a caption, which may
    be empty. Raises NoCaptions if a data set has no caption and another one has some, NoLabels if no space fits.
    """
    first_error: NoLabels | None = None
    for space in [None] if spaces is None else dict.fromkeys(spaces):
        classes = None if space is None else load_space(space).classes
        try:
            dataset = ImageTextPairs.open(data, split, classes, every=captions, captions=False)
            if captions:
                _require_captions_of_all(dataset, data)
            return dataset, space
        except NoLabels as error:
            first_error = first_error or error
    assert first_error is not None
    raise first_error


def _require_captions_of_all(dataset: ImageTextPairs, data: Sequence[DatasetAddress]) -> None:
    """Log how many images have no caption beside others that have one; NoCaptions if these are whole data sets."""
    without = [sum(not columns.captions[row] for row in range(len(columns.captions))) for columns in dataset.columns]
    if not 0 < sum(without) < len(dataset):
        return
    for place, count, columns in zip(data, without, dataset.columns, strict=True):
        if count == len(columns.captions):
            raise NoCaptions(f"{local_path(place)[0]} has no captions")
    if ranks.is_main():
        log.warning("%s images have no caption: they are searched, and are no query", f"{sum(without):,}")


def open_persons(data: Sequence[DatasetAddress], split: str = "test", query: str | None = None) -> tuple[ImageTextPairs, tuple[str, ...]]:
    """The images for an identification, a row each, with the names of their splits, the queries' first.

    The queries are the split `query`; if None, the split `query` of data that have one beside `test`, and otherwise every image of `split`
    is a query. Images of the split `distractors` are searched too. Raises UserError where images have no camera, or no two of a person.
    """
    present = set.intersection(*(set(split_names(local_path(place)[0])) for place in data)) if data else set()
    if query is None and split == "test" and QUERY in present:
        query = QUERY
    splits = (split,)
    if query not in (None, split):
        splits = (str(query), split, *({DISTRACTORS} & present if split == "test" else ()))
    dataset = ImageTextPairs.open(data, splits, captions=False)
    without = len(dataset) if dataset.cameras is None else int((dataset.cameras < 0).sum())
    if without:
        raise UserError(
            f"{data[0]}: {without:,} of {len(dataset):,} images have no camera, which an identification needs: "
            "it leaves images of a query's person by the query's own camera out"
        )
    if len(dataset.persons.unique()) == len(dataset):
        raise UserError(f"{data[0]}: no person has two images, as far as the column person says: there is no one to identify")
    return dataset, splits


class ImageBatches(torch.utils.data.Dataset[Any]):
    """Batches of images: their indices in the gallery, the tower's input, and the rows that could not be read with the reasons."""

    def __init__(self, dataset: ImageTextPairs, rows: Tensor, preprocessing: ImageTransform, batches: Sequence[slice]) -> None:
        self.dataset, self.rows, self.preprocessing, self.batches = dataset, rows, preprocessing, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor, dict[int, str]]:
        batch, unreadable = self.batches[at], dict[int, str]()
        indices, images = [], []
        for index, row in enumerate(self.rows[batch].tolist(), batch.start):
            try:
                images.append(augment.test_image(decode_image(self.dataset.image_bytes(row)), self.preprocessing))
                indices.append(index)
            except Exception as error:  # each image format fails in its own way
                if ran_out(error):
                    raise
                unreadable[row] = f"{self.dataset.location(row)}: the image cannot be read ({first_line(error)})"
        return torch.tensor(indices), torch.stack(images) if images else torch.empty(0), unreadable


def batch_slices(count: int, size: int) -> list[slice]:
    """Slices of at most `size` that cover `count` rows."""
    return [slice(at, min(count, at + size)) for at in range(0, count, size)]


def rank_batches(count: int, size: int) -> list[slice]:
    """The batches of `count` rows that belong to this rank: every W-th of W ranks."""
    return batch_slices(count, size)[ranks.rank() :: ranks.world_size()]


def tokenize(tokenizer: Tokenizer, captions: Sequence[str], device: Any = "cpu", reduction: Reduction = "none") -> Text:
    """Captions as tokens on a device, after their reduction."""
    text = tokenizer.encode([clean_caption(caption, tokenizer.max_words, reduction) for caption in captions])
    return Text(text.ids.to(device), text.mask.to(device))

"""`mals embed`: the embeddings of a data set's images or captions in one file, for search engines such as faiss and LanceDB.

FILE.parquet                    id, caption (of captions), embedding: a list of fixed size of float32, of length 1
FILE.npy, FILE.ids.txt          an array [N, D] of float32; the ids, one a line, in the same order

The file appears whole. What was embedded before a kill is kept beside the data set, see `pretrain.embeddings`, and is not embedded again.

Shapes: N rows, D width of the embeddings.
"""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow.parquet as pq
import torch

from mals.errors import UserError
from mals.files import replacing
from pretrain.data.rows import ImageTextPairs
from pretrain.data.sources import DatasetAddress
from pretrain.data.splits import choose_split
from pretrain.embeddings import Embedded, EmbeddingStore, What, embedding_table
from pretrain.gallery import Gallery
from pretrain.trained_method import Trained

SUFFIXES = (".parquet", ".npy")
Write = Callable[[Embedded, Sequence[str]], None]  # a chunk, with its captions


@dataclass(frozen=True)
class EmbedReport:
    """What was written."""

    file: str
    rows: int
    width: int
    unreadable: int  # images that could not be read and are not in the file
    method: str  # a hash of its weights and settings

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check_target(to: Path) -> None:
    """UserError where a file name does not say its format."""
    if to.suffix not in SUFFIXES:
        raise UserError(f"--to {to}: the name ends in {' or '.join(SUFFIXES)}, which is the format")


def open_embedded(
    trained: Trained, data: Sequence[DatasetAddress], split: str | None, what: What, *, batch: int = 64, workers: int = 0
) -> Gallery:
    """The images of a split, by default `test` or the only one, or with `what` "captions" every caption that has a word."""
    needed = {"embed"} if what == "captions" else {"embed", "identify"}
    if not needed & trained.method.abilities:
        raise UserError(f"this method computes no embeddings of {what}")
    split = choose_split(data, split)
    dataset = ImageTextPairs.open(data, split, every=what == "captions", captions=False)
    gallery = Gallery(dataset, trained.tokenizer, trained.preprocessing, trained.device, batch=batch, workers=workers, splits=(split,))
    if what == "captions":
        rows = [row for row, caption in enumerate(dataset.captions()) if caption.strip()]
        gallery = gallery.with_queries(torch.tensor(rows, dtype=torch.int64))
        if not len(gallery.queries):
            raise UserError(f"the images ({dataset.location(0)}, ...) have no captions to embed")
    return gallery


def embed(trained: Trained, gallery: Gallery, to: Path, what: What = "images", keep: bool = True) -> EmbedReport:
    """Write the embeddings of a gallery's images, or captions, to a file; only one chunk of them is in memory.

    UserError where no image can be read, or if `to` is of another format.
    """
    check_target(to)
    store, rows, width = EmbeddingStore(trained, gallery, what, keep), 0, 0
    facts = {"method": store.method, "what": what}
    with ExitStack() as stack:
        write = (_parquet_writer if to.suffix == ".parquet" else _npy_writer)(stack, to, facts)
        for chunk in store:
            if len(chunk.places):
                captions = [gallery.dataset.caption(row) for row in store.rows[chunk.places].tolist()] if what == "captions" else []
                write(chunk, captions)
                rows, width = rows + len(chunk.places), chunk.rows.shape[1]
        if not rows:
            gallery.drop_unreadable()  # raises, with a reason
    return EmbedReport(str(to), rows, width, len(store.rows) - rows, store.method)


def _parquet_writer(stack: ExitStack, to: Path, facts: dict[str, str]) -> Write:
    path = stack.enter_context(replacing(to))
    writers: list[pq.ParquetWriter] = []

    def write(chunk: Embedded, captions: Sequence[str]) -> None:
        table = embedding_table(chunk.ids, chunk.rows, **({"caption": list(captions)} if facts["what"] == "captions" else {}))
        if not writers:
            schema = table.schema.with_metadata({b"mals.embeddings": json.dumps(facts).encode()})
            writers.append(stack.enter_context(pq.ParquetWriter(path, schema, compression="none")))
        writers[0].write_table(table.cast(writers[0].schema))

    return write


def _npy_writer(stack: ExitStack, to: Path, facts: dict[str, str]) -> Write:
    array, ids = to, to.with_suffix(".ids.txt")
    names = stack.enter_context(_open(stack, ids))
    file = stack.enter_context(_open(stack, array))
    rows = 0

    def header(width: int) -> None:
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (rows, width)})  # of one length

    def write(chunk: Embedded, captions: Sequence[str]) -> None:
        nonlocal rows
        if not rows:
            header(chunk.rows.shape[1])
        rows += len(chunk.places)
        file.write(chunk.rows.numpy().astype("<f4").tobytes())
        names.write("".join(f"{_on_one_line(name)}\n" for name in chunk.ids).encode())
        header(chunk.rows.shape[1])
        file.seek(0, os.SEEK_END)

    return write


def _on_one_line(name: str) -> str:
    return name if name.isprintable() else name.encode("unicode_escape").decode()


def _open(stack: ExitStack, to: Path) -> IO[bytes]:
    return stack.enter_context(replacing(to)).open("w+b")

"""The embeddings of a data set's images, or of its captions, in chunks that are kept beside the set and reused while they fit.

SET/.mals/embeddings/METHOD-SPLIT/images-00000.parquet     id, embedding

METHOD is a hash of the weights and settings of a method. A chunk holds CHUNK rows in the order of the set, and in its metadata the hash of
METHOD and of all that its rows depend on (`ImageTextPairs.stamp`): a changed image and other weights or settings make it anew, and images
that come or go make the chunks behind them anew. An image that cannot be read is not in its chunk, and is tried again each time. Chunks are
written whole, so that a kill loses one at most, and commands at the same time write the same ones. Where the set's folder may not be
written, or is in the cache of the hub, chunks are in the user's cache. Those of the METHODS methods that were used last are kept, and the
others removed.

Shapes: G images, n rows of a chunk, D width of the embeddings.
"""

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

import mals
from mals.files import replacing
from mals.grid.progress import log_every_ten_seconds
from mals.models import hub_cache
from pretrain import ranks
from pretrain.gallery import Gallery
from pretrain.precision import finite
from pretrain.text_scores import embed_images
from pretrain.trained_method import Trained

log = logging.getLogger(__name__)

CHUNK = 1024  # rows
METHODS = 8  # whose embeddings are kept in one folder
FOLDER = Path(".mals") / "embeddings"
KEY = b"mals.embeddings"  # of the metadata
OF_METHOD = re.compile(r"[0-9a-f]{12}-")  # the names of folders
NOTHING = torch.empty(0, dtype=torch.int64)
What = Literal["images", "captions"]


@dataclass(frozen=True)
class Chunk:
    """Neighbouring rows of one data set."""

    rows: slice  # of the images, or of the captions, of a gallery
    key: str  # of all that the embeddings depend on
    file: Path | None  # where they are kept; None: nowhere

    @property
    def places(self) -> Tensor:
        """[n] int64."""
        return torch.arange(self.rows.start, self.rows.stop)


@dataclass(frozen=True)
class Embedded:
    """The embeddings of a chunk; without the images that cannot be read."""

    places: Tensor  # [n] int64, ascending: among the images, or captions, of the gallery
    ids: list[str]  # [n] of the images
    rows: Tensor  # [n, D] float32, on the CPU


def method_key(trained: Trained) -> str:
    """A hash of everything that embeddings depend on but the data: weights, settings, and the version of this code."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([mals.__version__, trained.config.model_dump(mode="json")], sort_keys=True).encode())
    for name, tensor in sorted(trained.method.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()


class EmbeddingStore:
    """The embeddings of the images or captions of a gallery; with `keep`, they are read where they are kept, and kept."""

    def __init__(self, trained: Trained, gallery: Gallery, what: What = "images", keep: bool = True) -> None:
        self.trained, self.gallery, self.what, self.keep = trained, gallery, what, keep
        self.rows = gallery.all_rows if what == "images" else gallery.queries  # of the data set
        self.method = method_key(trained)
        self.chunks = list(self._chunks())

    def __iter__(self) -> Iterator[Embedded]:
        """The chunks in order: what is kept of them as it is, the rest embedded now, and kept."""
        missing = [self._missing(chunk) for chunk in self.chunks]
        stream = self._stream(missing)
        for chunk, places in zip(self.chunks, missing, strict=True):
            kept = self._read(chunk) if len(places) < len(chunk.places) else None
            if kept is None and len(places) < len(chunk.places):  # damaged
                yield self._add(chunk, None, *self._stream([chunk.places]).until(chunk.rows.stop))
            elif kept is None or len(places):
                yield self._add(chunk, kept, *stream.until(chunk.rows.stop))
            else:
                yield kept

    def _stream(self, places: list[Tensor]) -> "_Stream":
        rows = self.rows[torch.cat([NOTHING, *places])]
        unreadable = torch.isin(rows, torch.tensor(list(self.gallery.unreadable), dtype=torch.int64))  # which an earlier pass has told
        return _Stream(self.trained, self.gallery, self.what, torch.cat([NOTHING, *places])[~unreadable], self.rows)

    def _missing(self, chunk: Chunk) -> Tensor:
        """The places of a chunk whose embeddings are not kept: all, none, or those of images that could not be read."""
        try:
            with pq.ParquetFile(chunk.file) as file:
                facts = json.loads(file.schema_arrow.metadata[KEY])
            return chunk.places[facts["unreadable"]] if facts["key"] == chunk.key else chunk.places
        except (TypeError, KeyError, OSError, pa.ArrowException, ValueError, IndexError):  # there is no file, or none of this kind
            return chunk.places

    def _chunks(self) -> Iterator[Chunk]:
        ends = np.searchsorted(self.rows.numpy(), self.gallery.dataset.starts[1:]).tolist()  # the rows of each data set are side by side
        for number, (first, end) in enumerate(zip([0, *ends], ends, strict=False)):
            folder = self._folder(number) if self.keep and first < end else None
            for at, start in enumerate(range(first, end, CHUNK)):
                rows = slice(start, min(end, start + CHUNK))
                file = folder and folder / f"{self.what}-{at:05d}.parquet"
                yield Chunk(rows, self._key(self.rows[rows].tolist()), file)
            if folder is not None:
                _remove_beyond(folder, self.what, -(-(end - first) // CHUNK))

    def _key(self, rows: list[int]) -> str:
        """A hash of the method and of what the embeddings of these rows are made from."""
        dataset, digest = self.gallery.dataset, hashlib.blake2b(self.method.encode(), digest_size=16)
        for row in rows:
            try:
                stamp = dataset.stamp(row)
            except OSError:  # which is told when the image is read
                stamp = "missing"
            caption = dataset.caption(row) if self.what == "captions" else ""
            digest.update(f"{stamp}\0{caption}\0".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def _folder(self, number: int) -> Path | None:
        """Where the chunks of a data set are kept: beside it, or else in the user's cache; None where neither can be written."""
        source = self.gallery.dataset.sources[number]
        home = source.home.absolute()
        name = f"{self.method[:12]}-{'+'.join(self.gallery.splits) or 'all'}"
        name += f"-{source.name}" if source.name else ""
        user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mals" / "embeddings"
        own = user / hashlib.blake2b(str(home).encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()
        beside = [] if home.is_relative_to(Path(hub_cache()).absolute()) else [home / FOLDER]
        for folder in (*beside, own):
            try:
                (folder / name).mkdir(parents=True, exist_ok=True)
                if os.access(folder / name, os.W_OK):
                    if folder is own:
                        log.info("the embeddings of %s are kept in %s: its own folder is for reading", home, folder)
                    os.utime(folder / name)  # the last use
                    _remove_older(folder, self.method[:12])
                    return folder / name
            except OSError:
                continue
        log.warning("the embeddings of %s are not kept: neither its folder nor %s can be written", home, user)
        return None

    def _read(self, chunk: Chunk) -> Embedded | None:
        """What is kept of a chunk; None where it is damaged."""
        try:
            with pq.ParquetFile(chunk.file, page_checksum_verification=True) as file:
                table, facts = file.read(), json.loads(file.schema_arrow.metadata[KEY])
            readable = torch.ones(len(chunk.places), dtype=torch.bool)
            readable[facts["unreadable"]] = False
            rows = torch.from_numpy(table["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False).copy())
            return Embedded(chunk.places[readable], table["id"].to_pylist(), rows.view(int(readable.sum()), -1))
        except (OSError, pa.ArrowException, ValueError, RuntimeError):
            return None

    def _add(self, chunk: Chunk, kept: Embedded | None, places: Tensor, rows: Tensor) -> Embedded:
        """A chunk with embeddings [n, D] at `places` [n] besides those that are kept; it is written where it is new."""
        if kept is not None and not len(places):
            return kept
        if kept is not None and len(kept.places):
            places, order = torch.cat([kept.places, places]).sort()
            rows = torch.cat([kept.rows, rows])[order]
        embedded = Embedded(places, [self.gallery.dataset.image_id(row) for row in self.rows[places].tolist()], rows)
        if chunk.file is not None and len(places):
            try:
                _write(chunk, embedded)
            except OSError as error:
                log.warning("the embeddings are not kept: %s cannot be written (%s)", chunk.file, error.strerror)
        return embedded


class _Stream:
    """The embeddings at some places of a gallery, ascending, computed in order; `rows` are those of all places."""

    def __init__(self, trained: Trained, gallery: Gallery, what: What, places: Tensor, rows: Tensor) -> None:
        self.trained, self.what, self.places = trained, what, places
        self.gallery = gallery.with_rows(rows[places]) if what == "images" else gallery.with_queries(rows[places])
        self.batches = self._batches()
        self.pending: list[tuple[Tensor, Tensor]] = []  # places [b] and embeddings [b, D] that were not taken yet
        self.report = log_every_ten_seconds("embed", what)
        self.done = 0

    def until(self, end: int) -> tuple[Tensor, Tensor]:
        """The places [n] before `end` that were not taken yet, and their embeddings [n, D]."""
        while not self.pending or int(self.pending[-1][0][-1]) < end - 1:
            batch = next(self.batches, None)
            if batch is None:
                break
            self.pending.append(batch)
        width = self.pending[0][1].shape[1] if self.pending else 0
        places = torch.cat([NOTHING, *(places for places, _ in self.pending)])
        rows = torch.cat([torch.empty(0, width), *(rows for _, rows in self.pending)])
        count = int((places < end).sum())
        self.pending = [(places[count:], rows[count:])] if count < len(places) else []
        self.done += count
        self.report(self.done, len(self.places))
        return places[:count], rows[:count]

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        if not len(self.places):
            return
        method = self.trained.method
        for indices, inputs in self.gallery.image_batches() if self.what == "images" else self.gallery.caption_batches():
            with torch.inference_mode(), self.trained.precision():
                part = method.embed_image(inputs) if isinstance(inputs, Tensor) else method.embed_text(inputs)
                part = finite(part.float())
            yield self.places[indices], part.cpu().clone()


def image_embeddings(trained: Trained, gallery: Gallery, keep: bool = False, report: Callable[[int], None] = lambda done: None) -> Tensor:
    """Embeddings [G, D] of all readable images on the gallery's device; drops the others from the gallery.

    With `keep`, they are read and kept as the module says, by one process; several compute them. `report` gets the number of images that
    are done, after each chunk that is kept.
    """
    if not keep or ranks.world_size() > 1:
        with trained.precision():
            return embed_images(trained.method, gallery)
    store = EmbeddingStore(trained, gallery)
    parts = []
    for chunk, part in zip(store.chunks, store, strict=True):
        parts += [part] if len(part.places) else []
        report(chunk.rows.stop)
    gallery.drop_unreadable()  # raises where no image is left
    places = torch.cat([part.places for part in parts])
    return torch.cat([part.rows for part in parts])[torch.isin(store.rows[places], gallery.rows)].to(gallery.device)


def _write(chunk: Chunk, embedded: Embedded) -> None:
    """Write the embeddings of a chunk with its key, and which of its rows are not in it."""
    assert chunk.file is not None
    unreadable = (~torch.isin(chunk.places, embedded.places)).nonzero()[:, 0].tolist()
    facts = json.dumps({"key": chunk.key, "unreadable": unreadable})
    table = embedding_table(embedded.ids, embedded.rows).replace_schema_metadata({KEY: facts.encode()})
    with replacing(chunk.file, chunk.file.with_name(f".{chunk.file.name}.{os.getpid()}")) as path:
        pq.write_table(table, path, compression="none", write_page_checksum=True)


def embedding_table(ids: list[str], rows: Tensor, **columns: list[str]) -> pa.Table:
    """The columns id, those given, and embedding, a list of fixed size of float32."""
    values = pa.array(rows.contiguous().view(-1).numpy())
    vectors = pa.FixedSizeListArray.from_arrays(values, rows.shape[1]) if len(rows) else pa.nulls(0, pa.list_(pa.float32(), 1))
    return pa.table({"id": pa.array(ids, pa.string()), **columns, "embedding": vectors})


def _remove_older(folder: Path, method: str) -> None:
    """Remove what is kept of all methods but those that were used last; `method` is used now."""
    last_use: dict[str, float] = {}
    with suppress(FileNotFoundError):  # another command removes them
        for path in folder.iterdir():
            if OF_METHOD.match(path.name):
                last_use[path.name[:12]] = max(path.stat().st_mtime, last_use.get(path.name[:12], 0))
        latest = sorted(last_use, key=lambda name: (name == method, last_use[name]), reverse=True)[:METHODS]
        for path in folder.iterdir():
            if OF_METHOD.match(path.name) and path.name[:12] not in latest:
                shutil.rmtree(path, ignore_errors=True)


def _remove_beyond(folder: Path, what: What, count: int) -> None:
    """Remove the chunks of a set that was larger."""
    for file in folder.glob(f"{what}-*.parquet"):
        if file.stem.rpartition("-")[2].isdigit() and int(file.stem.rpartition("-")[2]) >= count:
            file.unlink(missing_ok=True)

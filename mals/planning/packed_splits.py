"""Splits of packed sets that settings name as FOLDER/SPLIT, such as cuhk/test: sets of mals, and what `mals import` makes of benchmarks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from mals.errors import ModelMissing, UserError, quoted
from mals.grid.ranged import RangedParquet
from mals.grid.receipt import canonical
from mals.grid.store import Store
from mals.row_captions import good_captions

SUMS = "SHA256SUMS"
FILE = re.compile(r"data/(\w+)-\d+-of-\d+\.parquet")
ROWS = 256  # read at once


class SplitRow(NamedTuple):
    """One row of a split."""

    name: str  # the row's id
    image: bytes | None  # the image file
    captions: list[str]


@dataclass(frozen=True)
class PackedSplit:
    """A split that is there."""

    name: str  # the last two parts of its address; it goes into data sets, so it is no path
    store: Store
    checksums: dict[str, str]  # file -> sha256, as the set states them
    images: int

    def params(self) -> dict[str, str | int]:
        """What it is, wherever it lies, as JSON values."""
        return {"set": self.name, "sha256": sha256(canonical(sorted(self.checksums.values()))).hexdigest(), "images": self.images}

    def rows(self) -> Iterator[SplitRow]:
        """Every row, in order."""
        for file in self.checksums:
            parquet = _parquet(self.store, file)
            columns = [name for name in ("id", "image", "caption", "captions") if name in parquet.schema_arrow.names]
            for batch in parquet.iter_batches(ROWS, columns=columns):
                for row in batch.to_pylist():
                    texts = [row.get("caption"), *good_captions(row.get("captions"))]
                    image = row["image"]["bytes"] if row.get("image") else None
                    yield SplitRow(row["id"], image, list(dict.fromkeys(text for text in texts if text)))


def open_split(address: str, setting: str) -> PackedSplit:
    """The split at `address`, the folder of a packed set, or of a run, with /SPLIT behind it.

    Raises ModelMissing, which names `setting`, where there is none or a file is damaged: as with a model, the run can be looked at without
    it.
    """
    folder, _, split = address.rstrip("/").rpartition("/")
    if not folder:
        raise ModelMissing(f"{setting}: {quoted(address)} is no FOLDER/SPLIT such as cuhk/test, the folder of a packed set and its split")
    for place in (folder, f"{folder}/dataset"):
        store = Store(place)
        checksums = _checksums(store)
        if checksums:
            break
    else:
        raise ModelMissing(
            f"{setting}: there is no packed set in {folder}, which a set of mals or `mals import` would be; put it there, "
            f"or take {quoted(address)} out"
        )
    splits = list(dict.fromkeys(FILE.fullmatch(name)[1] for name in checksums))  # type: ignore[index]
    if split not in splits:
        raise ModelMissing(f"{setting}: {folder} has no split {split}; it has {', '.join(splits)}")
    files = {name: checksum for name, checksum in sorted(checksums.items()) if name.startswith(f"data/{split}-")}
    if missing := [name for name in files if store.size(name) is None]:
        raise ModelMissing(f"{setting}: {folder} lacks the file {missing[0]} of its {SUMS}; copy the whole folder")
    try:
        images = sum(_parquet(store, name).metadata.num_rows for name in files)
    except UserError as error:
        raise ModelMissing(f"{setting}: {error}") from None
    return PackedSplit("/".join(address.rstrip("/").split("/")[-2:]), store, files, images)


def _parquet(store: Store, name: str) -> pq.ParquetFile | RangedParquet:
    """A file of the set; UserError where it is no whole Parquet file."""
    try:
        return store.parquet(name)
    except pa.ArrowInvalid:
        raise UserError(f"{store.path(name)} is no whole Parquet file; copy the set again") from None


def _checksums(store: Store) -> dict[str, str]:
    """Parquet file of rows -> sha256, as SHA256SUMS states them; none where there is no packed set."""
    try:
        lines = store.read(SUMS).decode(errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    pairs = (line.partition("  ") for line in lines)
    return {name: checksum for checksum, _, name in pairs if FILE.fullmatch(name)}

"""The packed data set in other formats: the layout in which MALS was published, and tar shards for WebDataset.

Both read `dataset/` alone. Rows keep their order and nothing of the machine is written, so that an export repeats byte for byte; files
that are there already are kept, so that the same command continues an interrupted export. What makes a split usable (its JSON list, or
each tar) appears whole or not at all.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mals.dataset.features import RULE_COLUMNS
from mals.dataset.pack import check
from mals.dataset.receipts import FOLDER, FileRecord, PackReceipt
from mals.dataset.source import attribute_values
from mals.errors import UserError
from mals.grid.run import Run
from mals.grid.store import Store

BATCH = 256  # rows in memory
NUMBERS = ("width", "height", *RULE_COLUMNS, "heads_blurred")
TEXTS = (
    "prompt", "negative_prompt", "source_caption", "person", "camera", "image_sha256",
    "origin", "source_name", "source_sha256", "reencoded",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """The result of an export."""

    format: str
    url: str  # of the folder that holds the export
    rows: int
    files: list[str]  # JSON lists or tars
    written: int  # images (mals-json) or tars (webdataset) that were not there before

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def export(run: Run, to: str, format: str) -> ExportReport:
    """Write the kept rows of a packed run to the folder or URL `to`; UserError if that is impossible."""
    if format not in FORMATS:
        raise UserError(f"there is no export format {format!r}; there are {', '.join(FORMATS)}")
    if problems := check(run):
        raise UserError(f"{run.store.url} cannot be exported: {problems[0]}; `mals pack {run.store.url}` mends it")
    receipt = PackReceipt.load(run.store)
    assert receipt is not None
    target = Store(to)
    _check_target(run, target, to)
    target.sweep()
    return FORMATS[format](run, receipt, target)


def _check_target(run: Run, target: Store, to: str) -> None:
    """UserError if `to` is a file or inside the packed data set."""
    if target.folder is None:
        return
    if target.folder.exists() and not target.folder.is_dir():
        raise UserError(f"{to} is a file; give a folder to export to")
    if run.store.folder is not None and target.folder.resolve().is_relative_to((run.store.folder / FOLDER).resolve()):
        raise UserError(f"{to} is inside the packed data set; give another folder to export to")


def mals_json(run: Run, receipt: PackReceipt, target: Store) -> ExportReport:
    """`SPLIT.json`, a list of {image, caption, image_id, label}, and the images as `images/SPLIT/NUMBER/ID.jpg`, NUMBER the packed file."""
    rows = written = 0
    splits = receipt.split_files()
    for split, files in splits.items():
        with target.writer(f"{split}.json") as path, path.open("w", encoding="utf-8") as output:
            separator = "[\n"
            for number, file in enumerate(files):
                for row in read_rows(run, file.path, ["id", "image", "caption", "attributes"]):
                    name = f"images/{split}/{number:05d}/{row['id']}.jpg"
                    written += _write_image(target, name, row["image"]["bytes"])
                    item = {
                        "image": name,
                        "caption": row.get("caption") or "",
                        "image_id": row["id"],
                        "label": label_vector(row["attributes"]),
                    }
                    output.write(separator + json.dumps(item, ensure_ascii=False))
                    separator, rows = ",\n", rows + 1
            output.write("\n]\n" if separator == ",\n" else "[]\n")
            if target.folder is not None:
                os.sync()  # the images are on the disk before the list that names them
    return ExportReport(format="mals-json", url=target.url, rows=rows, files=[f"{split}.json" for split in splits], written=written)


def _write_image(target: Store, name: str, data: bytes) -> bool:
    """Write one image unless the file holds these bytes; whether it was written. It is not synced: that is done once for all."""
    if target.folder is None:
        if target.size(name) == len(data):
            return False
        target.commit(name, data)
        return True
    path = target.folder / name
    try:
        if path.stat().st_size == len(data) and path.read_bytes() == data:
            return False
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    part.write_bytes(data)
    part.replace(path)
    return True


def webdataset(run: Run, receipt: PackReceipt, target: Store) -> ExportReport:
    """`SPLIT-00000.tar` for each packed file: `ID.jpg`, `ID.txt` (the caption) and `ID.json` for every row, without nulls."""
    attributes = list(attribute_values(run))
    names, rows, written = [], 0, 0
    for split, files in receipt.split_files().items():
        for number, file in enumerate(files):
            name = f"{split}-{number:05d}.tar"
            written += _export_tar(run, target, name, file, attributes)
            names.append(name)
            rows += file.rows or 0
    return ExportReport(format="webdataset", url=target.url, rows=rows, files=names, written=written)


def _export_tar(run: Run, target: Store, name: str, packed: FileRecord, attributes: list[str]) -> bool:
    """Write one tar, and its receipt (size, hash of the packed file) beside it, unless it is complete; whether it was written."""
    receipt_name = f".{name}.json"
    receipt = _read_tar_receipt(target, receipt_name)
    if receipt.get("packed") == packed.sha256 and target.size(name) == receipt.get("bytes"):
        return False
    target.remove(receipt_name)
    with target.writer(name) as path:
        write_tar(path, read_rows(run, packed.path), attributes)
        size = path.stat().st_size
    target.commit(receipt_name, json.dumps({"packed": packed.sha256, "bytes": size}).encode())
    return True


def _read_tar_receipt(target: Store, name: str) -> dict[str, Any]:
    try:
        return json.loads(target.read(name))
    except (FileNotFoundError, ValueError):
        return {}


def read_rows(run: Run, path: str, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of one packed file, a few hundred in memory."""
    for batch in run.store.parquet(path).iter_batches(batch_size=BATCH, columns=columns):
        yield from batch.to_pylist()


def label_vector(values: dict[str, int | None]) -> list[int]:
    """Attribute values as MALS publishes them: 0 the first value, 1 the second, -1 unknown."""
    return [-1 if value is None else value for value in values.values()]


def write_tar(path: Path, rows: Iterator[dict[str, Any]], attributes: list[str]) -> None:
    """One tar of samples; equal rows give equal bytes."""
    from webdataset import TarWriter

    with path.open("wb") as file, TarWriter(file, user="mals", group="mals", mtime=0, encoder=False) as tar:
        for row in rows:
            metadata = json.dumps(sample_metadata(row, attributes), ensure_ascii=False, sort_keys=True).encode()
            tar.write({"__key__": row["id"], "jpg": row["image"]["bytes"], "txt": (row.get("caption") or "").encode(), "json": metadata})


def sample_metadata(row: dict[str, Any], attributes: list[str]) -> dict[str, Any]:
    """The JSON of one sample: every sample has the same keys and types, because readers take types from the first ones.

    Unknown values are "" or -1, but for `synthetic`, which is null where the origin is not known.
    """
    values = row.get("attributes") or dict.fromkeys(attributes)
    metadata: dict[str, Any] = {"id": row["id"], "label": label_vector(values), "attributes": attributes}
    for name in TEXTS:
        if name in row:
            metadata[name] = row[name] or ""
    for name in NUMBERS:
        if name in row:
            metadata[name] = -1.0 if row[name] is None else float(row[name])
    if "seed" in row:
        metadata["seed"] = -1 if row["seed"] is None else row["seed"]
    for name in ("bbox", "person_box"):
        if name in row:
            metadata[name] = [float(number) for number in row[name] or [-1] * 4]
    if "keypoints" in row:
        metadata["keypoints"] = row["keypoints"] or [[-1.0] * 3] * 17
    if "captions" in row:
        metadata["captions"] = [caption["text"] or "" for caption in row["captions"] or ()]
    if "generator" in row:
        metadata["model"], metadata["revision"] = ((row["generator"] or {}).get(name) or "" for name in ("model", "revision"))
    metadata["synthetic"] = row["synthetic"]
    return metadata


FORMATS: dict[str, Callable[[Run, PackReceipt, Store], ExportReport]] = {"mals-json": mals_json, "webdataset": webdataset}

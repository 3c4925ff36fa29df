"""The packed data set in other clothes: the layout in which MALS was published, and tar shards for WebDataset.

Both read `dataset/` alone. Files come in the order of the pack with nothing of the machine in them, so that an export repeats; what is
there already is kept, so that a killed one goes on. What makes a split usable (its JSON list, or each tar) comes whole or not at all.
"""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mals.dataset.pack import FOLDER, check, labels_of, read_receipt
from mals.errors import UserError
from mals.grid.run import Run
from mals.grid.store import Store

BATCH = 256  # rows in memory
NUMBERS = ("width", "height", "persons", "person_score", "ref_bytes", "bits_per_pixel", "channel_variance", "sharpness", "nsfw_score")
WORDS = ("prompt", "negative_prompt", "source_caption", "person", "camera", "image_sha256")


def export(run: Run, to: str, format: str) -> dict[str, Any]:
    """Write the kept rows of a packed run to the folder or URL `to`; what was written. Raises UserError for what cannot be exported."""
    if format not in FORMATS:
        raise UserError(f"there is no export format {format!r}; there are {', '.join(FORMATS)}")
    if problems := check(run):
        raise UserError(f"{run.store.url} cannot be exported: {problems[0]}; `mals pack {run.store.url}` mends it")
    target = Store(to)
    if target.folder is not None and target.folder.exists() and not target.folder.is_dir():
        raise UserError(f"{to} is a file; give a folder to export to")
    if (
        target.folder is not None
        and run.store.folder is not None
        and target.folder.resolve().is_relative_to((run.store.folder / FOLDER).resolve())
    ):
        raise UserError(f"{to} is inside the packed data set; give another folder to export to")
    target.sweep()
    made = FORMATS[format](run, target)
    return {"format": format, "to": to, **made}


def packed_files(run: Run) -> dict[str, list[str]]:
    """Split -> its packed files, in order."""
    receipt = read_receipt(run)
    assert receipt is not None
    found: dict[str, list[str]] = {split: [] for split in receipt["splits"]}
    for file in receipt["files"]:
        if file["path"].startswith(f"{FOLDER}/data/"):
            found[Path(file["path"]).name.rsplit("-", 3)[0]].append(file["path"])
    return found


def rows_of(run: Run, path: str, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of one packed file, a few hundred in memory."""
    for batch in run.store.parquet(path).iter_batches(batch_size=BATCH, columns=columns):
        yield from batch.to_pylist()


def label_vector(values: dict[str, int | None]) -> list[int]:
    """Attributes in the published polarity: 0 the first value, 1 the second, -1 unknown."""
    return [-1 if value is None else value for value in values.values()]


def mals_json(run: Run, target: Store) -> dict[str, Any]:
    """`SPLIT.json`, a list of {image, caption, image_id, label}, and the pictures under `images/SPLIT/NUMBER/`, a folder a packed file."""
    rows = new = 0
    splits = packed_files(run)
    for split, paths in splits.items():
        with target.writer(f"{split}.json") as path, path.open("w", encoding="utf-8") as out:
            opening = "[\n"
            for number, packed in enumerate(paths):
                for row in rows_of(run, packed, ["id", "image", "caption", "attributes"]):
                    name = f"images/{split}/{number:05d}/{row['id']}.jpg"
                    new += _put(target, name, row["image"]["bytes"])
                    item = {"image": name, "caption": row["caption"], "image_id": row["id"], "label": label_vector(row["attributes"])}
                    out.write(opening + json.dumps(item, ensure_ascii=False))
                    opening, rows = ",\n", rows + 1
            out.write("\n]\n" if opening == ",\n" else "[]\n")
            if target.folder is not None:
                os.sync()  # the pictures are on the disk before the list that names them
    return {"rows": rows, "files": [f"{split}.json" for split in splits], "pictures": rows, "new_pictures": new}


def _put(target: Store, name: str, data: bytes) -> int:
    """Write one picture unless it is there with these bytes; 1 where it was written. It is synced later, with all the others."""
    if target.folder is None:
        if target.size(name) == len(data):
            return 0
        target.commit(name, data)
        return 1
    path = target.folder / name
    try:
        if path.stat().st_size == len(data) and path.read_bytes() == data:
            return 0
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    beside.write_bytes(data)
    beside.replace(path)
    return 1


def webdataset(run: Run, target: Store) -> dict[str, Any]:
    """`SPLIT-00000.tar` a packed file: `id.jpg`, `id.txt` (the caption) and `id.json` for every row, without nulls."""
    splits = packed_files(run)
    attributes = list(labels_of(run))
    made, rows, new = [], 0, 0
    for split, paths in splits.items():
        for number, packed in enumerate(paths):
            name = f"{split}-{number:05d}.tar"
            count, written = _tar(run, target, name, packed, attributes)
            made.append(name)
            rows, new = rows + count, new + written
    return {"rows": rows, "files": made, "new_files": new}


def _tar(run: Run, target: Store, name: str, packed: str, attributes: list[str]) -> tuple[int, int]:
    """One tar with its note beside it (the packed file's hash); rows in it, and 1 where it was written."""
    receipt = read_receipt(run)
    assert receipt is not None
    facts = next(file for file in receipt["files"] if file["path"] == packed)
    note = f".{name}.json"
    known = _read_note(target, note)
    if known.get("packed") == facts["sha256"] and target.size(name) == known.get("bytes"):
        return facts["rows"], 0
    target.remove(note)
    with target.writer(name) as path:
        write_tar(path, rows_of(run, packed), attributes)
        size = path.stat().st_size
    target.commit(note, json.dumps({"packed": facts["sha256"], "bytes": size}).encode())
    return facts["rows"], 1


def _read_note(target: Store, note: str) -> dict[str, Any]:
    try:
        return json.loads(target.read(note))
    except (FileNotFoundError, ValueError):
        return {}


def write_tar(path: Path, rows: Iterator[dict[str, Any]], attributes: list[str]) -> None:
    """One tar of samples; the same rows give the same bytes."""
    from webdataset import TarWriter

    with path.open("wb") as file, TarWriter(file, user="mals", group="mals", mtime=0, encoder=False) as tar:
        for row in rows:
            facts = json.dumps(sample(row, attributes), ensure_ascii=False, sort_keys=True).encode()
            tar.write({"__key__": row["id"], "jpg": row["image"]["bytes"], "txt": (row["caption"] or "").encode(), "json": facts})


def sample(row: dict[str, Any], attributes: list[str]) -> dict[str, Any]:
    """The JSON of one sample: the same keys and types in each, "" or -1 for what is unknown; readers take types from the first ones."""
    values = row.get("attributes") or dict.fromkeys(attributes)
    found: dict[str, Any] = {"id": row["id"], "label": label_vector(values), "attributes": attributes}
    for name in WORDS:
        if name in row:
            found[name] = row[name] or ""
    for name in NUMBERS:
        if name in row:
            found[name] = -1.0 if row[name] is None else float(row[name])
    if "seed" in row:
        found["seed"] = -1 if row["seed"] is None else row["seed"]
    for name in ("bbox", "person_box"):
        if name in row:
            found[name] = [float(number) for number in row[name] or [-1] * 4]
    if "keypoints" in row:
        found["keypoints"] = row["keypoints"] or [[-1.0] * 3] * 17
    if "captions" in row:
        found["captions"] = [caption["text"] or "" for caption in row["captions"]]
    if "generator" in row:
        found["model"], found["revision"] = (row["generator"].get(name) or "" for name in ("model", "revision"))
    found["synthetic"] = True
    return found


FORMATS: dict[str, Callable[[Run, Store], dict[str, Any]]] = {"mals-json": mals_json, "webdataset": webdataset}

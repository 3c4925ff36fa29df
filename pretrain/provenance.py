"""The data sets that a method was trained on, described by their own cards, and those of its initial weights."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mals.dataset.origins import synthetic_by_tags
from mals.dataset.receipts import CHECKSUMS
from mals.errors import UserError
from mals.files import write_file
from mals.models import card_metadata, licence_in
from pretrain.data.rows import DatasetAddress, ImageTextPairs
from pretrain.datasets.importing import CLAIM

FILE = "origins.json"


def about(place: DatasetAddress) -> dict[str, Any]:
    """Name, licence, link, whether all images are synthetic, which benchmark, a hash of SHA256SUMS; None if the card does not say."""
    path = Path(place[0] if isinstance(place, tuple) else place).expanduser()
    folders = (path, path / "dataset", path.parent.parent) if path.suffix != ".json" else ()
    folder = next((candidate for candidate in folders if (candidate / "README.md").is_file()), path)
    facts = card_metadata(folder / "README.md")
    tags, sums = facts.get("tags"), folder / CHECKSUMS
    return {
        "name": str(facts.get("pretty_name") or path.resolve().stem),
        "licence": licence_in(facts),
        "link": str(facts["license_link"]) if str(facts.get("license_link", "")).startswith("http") else None,
        "synthetic": synthetic_by_tags(map(str, tags)) if isinstance(tags, list) else None,
        "benchmark": _benchmark(folder / CLAIM),
        "sums": hashlib.sha256(sums.read_bytes()).hexdigest() if sums.is_file() else None,
    }


def record(out: Path, data: Sequence[DatasetAddress], dataset: ImageTextPairs, start: str | None = None) -> None:
    """Write into the training's folder `out` which data it is trained on, a row a caption, and the record of its initial weights."""
    sets = [about(place) | rows(dataset, number) for number, place in enumerate(data)]
    text = json.dumps({"v": 1, "data": sets, "before": read(Path(start).expanduser()) if start else None}, indent=1)
    write_file(out / FILE, text + "\n")


def rows(dataset: ImageTextPairs, number: int) -> dict[str, Any]:
    """The number of training rows of one data set, and a hash of them."""
    return {"rows": len(dataset.columns[number].captions), "digest": dataset.digest(number)}


def refuse_other(out: Path, dataset: ImageTextPairs) -> None:
    """UserError if the training in `out` was started with other rows than these."""
    before = [{name: recorded.get(name) for name in ("rows", "digest")} for recorded in (_read(out) or {}).get("data", ())]
    now = [rows(dataset, number) for number in range(len(dataset.columns))]
    if before and before != now:
        counts = [" + ".join(f"{each['rows']:,}" for each in sets) for sets in (before, now)]
        raise UserError(f"{out} was started with other data ({counts[0]} rows then, {counts[1]} now); give those, or another --out")


def read(place: Path) -> dict[str, Any] | None:
    """The record of weights: in their folder, or in that of the training whose checkpoint they are; None if there is none."""
    folder = place if place.is_dir() else place.parent
    return _read(folder) or _read(folder.parent.parent)


def _read(folder: Path) -> dict[str, Any] | None:
    """The record in a folder; None if there is none that can be read."""
    try:
        origins = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return origins if isinstance(origins, dict) and isinstance(origins.get("data"), list) else None


def all_data(origins: dict[str, Any] | None) -> list[dict[str, Any]]:
    """All data sets that a method and its initial weights were trained on, the latest first."""
    return [*origins["data"], *all_data(origins.get("before"))] if origins else []


def trained_on(origins: dict[str, Any] | None, place: DatasetAddress) -> bool:
    """Whether a method was trained on the data set at `place`, on any split: the same public benchmark, or one with the same SHA256SUMS."""
    here = about(place)
    return any(data[key] is not None and data[key] == here[key] for data in all_data(origins) for key in ("benchmark", "sums"))


def _benchmark(claim: Path) -> str | None:
    """The benchmark that `mals import` packed, by its claim; None for other data."""
    try:
        tree = json.loads(claim.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return str(tree["benchmark"]) if isinstance(tree, dict) and "benchmark" in tree else None

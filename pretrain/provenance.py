"""What a method learnt from: its data sets as their own cards tell of them, and what its first weights had learnt from."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mals.dataset.receipts import CHECKSUMS
from mals.errors import UserError
from mals.files import write_file
from mals.models import card_facts, licence_of
from pretrain.data.rows import ImageTextPairs, Place
from pretrain.datasets.importing import CLAIM

FILE = "origins.json"


def about(place: Place) -> dict[str, Any]:
    """Name, licence, whether it is synthetic, which public benchmark, and a hash of its SHA256SUMS: None is what nobody tells."""
    path = Path(place[0] if isinstance(place, tuple) else place).expanduser()
    folders = (path, path / "dataset", path.parent.parent) if path.suffix != ".json" else ()
    folder = next((one for one in folders if (one / "README.md").is_file()), path)
    facts = card_facts(folder / "README.md")
    tags, sums = facts.get("tags"), folder / CHECKSUMS
    return {
        "name": str(facts.get("pretty_name") or path.resolve().stem),
        "licence": licence_of(facts),
        "link": str(facts["license_link"]) if str(facts.get("license_link", "")).startswith("http") else None,
        "synthetic": "synthetic" in tags if isinstance(tags, list) else None,
        "benchmark": _benchmark(folder / CLAIM),
        "sums": hashlib.sha256(sums.read_bytes()).hexdigest() if sums.is_file() else None,
    }


def note(out: Path, data: Sequence[Place], pairs: ImageTextPairs, start: str | None = None) -> None:
    """Write of a training into `out` what it learns from, a row a caption, and what the weights that it starts from had learnt from."""
    sets = [about(place) | rows(pairs, number) for number, place in enumerate(data)]
    text = json.dumps({"v": 1, "data": sets, "before": read(Path(start).expanduser()) if start else None}, indent=1)
    write_file(out / FILE, text + "\n")


def rows(pairs: ImageTextPairs, number: int) -> dict[str, Any]:
    """How many rows of a data set are trained on, and a hash of them."""
    return {"rows": len(pairs.columns[number].captions), "digest": pairs.digest(number)}


def refuse_other(out: Path, pairs: ImageTextPairs) -> None:
    """UserError where the training in `out` was begun with other rows than these."""
    before = [{name: one.get(name) for name in ("rows", "digest")} for one in (_noted(out) or {}).get("data", ())]
    now = [rows(pairs, number) for number in range(len(pairs.columns))]
    if before and all(one["digest"] for one in before) and before != now:  # a training of before digests were noted has none
        counts = [" + ".join(f"{one['rows']:,}" for one in sets) for sets in (before, now)]
        raise UserError(f"{out} was begun with other data ({counts[0]} rows then, {counts[1]} now); give those, or another --out")


def read(place: Path) -> dict[str, Any] | None:
    """What was noted for weights: in their folder, in that of the training whose checkpoint they are; None where nothing was."""
    folder = place if place.is_dir() else place.parent
    return _noted(folder) or _noted(folder.parent.parent)


def _noted(folder: Path) -> dict[str, Any] | None:
    """What a folder's own file tells; None where there is none that can be read."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("data"), list) else None


def every(origins: dict[str, Any] | None) -> list[dict[str, Any]]:
    """All data sets of a method and of those that it was made from, the latest first."""
    return [*origins["data"], *every(origins.get("before"))] if origins else []


def met(origins: dict[str, Any] | None, place: Place) -> bool:
    """Whether a method learnt from the data set at `place`, from whatever split: the same public benchmark, or one with its sums."""
    here = about(place)
    return any(one[key] is not None and one[key] == here[key] for one in every(origins) for key in ("benchmark", "sums"))


def _benchmark(claim: Path) -> str | None:
    """What `mals import` packed, as its claim tells."""
    try:
        found = json.loads(claim.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return str(found["benchmark"]) if isinstance(found, dict) and "benchmark" in found else None

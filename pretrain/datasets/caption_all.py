"""`caption_all.json` of CUHK-PEDES: all images with captions and identities, and without splits, as most mirrors have it.

The splits are those of `reid_raw.json`. Where that lists a part of the images, as mirrors of one split do, the split of the others follows
from their identity, if both files number the persons of their common images alike.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mals.errors import UserError
from pretrain.datasets.layout import Placed, placed_objects, relative_path

NAME = "caption_all.json"
IDENTITIES = {"train": range(1, 11_004), "val": range(11_004, 12_004), "test": range(12_004, 13_004)}


def refuse_alone(file: Path) -> UserError:
    """The error for the file without the one that has the splits."""
    return UserError(
        f"{file} has no splits: put reid_raw.json, which is in the authors' release of CUHK-PEDES, beside it, "
        "or the lists cuhk_train.json, cuhk_val.json and cuhk_test.json of APTM"
    )


def join(released: list[Placed], file: Path) -> tuple[list[Placed], list[str]]:
    """The objects of reid_raw.json, those that only caption_all.json has, with their split, and sentences about what was joined.

    An object of reid_raw.json without captions has those of caption_all.json.
    """
    others = {_path(placed): placed for placed in placed_objects(file)}
    known = {_path(placed): placed[1] for placed in released}
    completed = [_with_captions(placed, others.get(_path(placed))) for placed in released]
    common = [(entry, others[path][1]) for path, entry in known.items() if path in others]
    numbered_alike = bool(common) and all(
        entry.get("id") == other.get("id") and _split(other) == entry.get("split") for entry, other in common
    )
    rest = [placed for path, placed in others.items() if path not in known]
    added = [(where, entry | {"split": _split(entry)}) for where, entry in rest if numbered_alike and _split(entry)]
    notes = [
        (sum(new is not old for new, old in zip(completed, released, strict=True)), f"images whose captions are only in {NAME}"),
        (len(added), f"images that only {NAME} lists, whose split follows from their identity"),
        (len(rest) - len(added), f"images that only {NAME} lists, left out, since no file says of which split they are"),
    ]
    return [*completed, *added], [f"{sentence}: {count:,}" for count, sentence in notes if count]


def _path(placed: Placed) -> str:
    where, entry = placed
    return relative_path(where, entry.get("file_path"))


def _with_captions(placed: Placed, other: Placed | None) -> Placed:
    """An object, with the captions of the other file where it has none."""
    where, entry = placed
    return placed if entry.get("captions") or other is None else (where, entry | {"captions": other[1].get("captions")})


def _split(entry: Mapping[str, Any]) -> str | None:
    """The split of an identity by its number."""
    identity = entry.get("id")
    return next((split for split, numbers in IDENTITIES.items() if type(identity) is int and identity in numbers), None)

"""What a reader of a public benchmark gives, and how it looks for files in the folder that somebody unpacked."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from mals.dataset.features import Feature
from mals.errors import UserError

SAMPLE = 50  # pictures by which their folder is told
SEEN = 8  # entries of a wrong folder that are named


@dataclass(frozen=True)
class Size:
    """Pictures, persons and captions of a split; None: nobody says, or there are none."""

    images: int
    persons: int | None = None
    captions: int | None = None


@dataclass(frozen=True, kw_only=True)
class About:
    """What is known of a data set before it is seen."""

    key: str  # as `mals import` names it
    name: str
    folder: str  # as its authors' users call it
    sizes: Mapping[str, Size]  # split -> what is expected, in the order of packing
    looked: tuple[str, ...]  # annotation files, any of which tells that it is there
    kind: str  # one sentence: what it is
    terms: str  # of use, in a sentence
    citation: str
    url: str
    space: str | None = None  # of the attributes
    captions: str | None = "annotator"  # who wrote them; None: there are none
    person: bool = True
    camera: bool = False
    synthetic: bool = False
    extras: Mapping[str, Feature] = field(default_factory=dict)  # columns of its own


@dataclass(frozen=True)
class Row:
    """One picture with all that is said of it."""

    id: str
    picture: str  # under the folder of pictures
    captions: tuple[str, ...] = ()
    person: int | None = None
    camera: int | None = None
    labels: tuple[int, ...] | None = None  # one an attribute of the space; -1: unknown
    extras: tuple[int | None, ...] = ()


@dataclass(frozen=True)
class Benchmark:
    """A data set that was found."""

    about: About
    pictures: Path
    splits: Mapping[str, Iterable[Row]]  # each may be gone through again
    notes: Sequence[str] = ()  # what is odd, a sentence each


def bases(folder: Path, about: About) -> list[Path]:
    """Where annotations may lie: the folder itself, the data set's in it, and where APTM's code keeps its lists."""
    named = [folder, folder / about.folder, folder / "annotation", folder / about.folder / "annotation"]
    return [*named, folder / "finetune", folder / "data" / "finetune", folder / "data"]


def first(places: Iterable[Path]) -> Path | None:
    """The first of these files that is there."""
    return next((place for place in places if place.is_file()), None)


def seen(folder: Path) -> str:
    """What is in a folder, in a few words."""
    names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in folder.iterdir())
    more = f" and {len(names) - SEEN:,} more" if len(names) > SEEN else ""
    return ", ".join(names[:SEEN]) + more if names else "nothing"


def entries(file: Path) -> list[dict[str, Any]]:
    """The objects of a JSON list; UserError where it is none, or empty."""
    try:
        found = json.loads(file.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text ({error.reason})") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{file} is not JSON ({error.msg} at line {error.lineno}); perhaps it was downloaded in part") from None
    except RecursionError:
        raise UserError(f"{file} is nested too deeply") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise UserError(f"{file} holds something else than a list of objects")
    if not found:
        raise UserError(f"{file} is empty: it lists no picture")
    return found


def matlab(file: Path, *names: str) -> dict[str, Any]:
    """The variables of a MAT file, structs as dictionaries; UserError where it lacks one of `names`."""
    from scipy.io import loadmat

    try:
        found = loadmat(file, simplify_cells=True)
    except Exception as error:  # a torn file fails in many ways
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{file} is not a readable MAT file ({reason}); perhaps it was downloaded in part") from None
    require(file, found, names)
    return found


def require(where: object, found: Mapping[str, Any], names: Iterable[str]) -> None:
    """UserError where one of the names is missing."""
    if lacks := [name for name in names if name not in found]:
        has = ", ".join(name for name in found if not name.startswith("__")) or "nothing"
        raise UserError(f"{where} has no {', '.join(lacks)}, only {has}")


def inside(where: str, path: Any) -> str:
    """A picture's path as an annotation gives it; UserError where it is none, or leads out of the folder."""
    text = str(path).replace("\\", "/") if isinstance(path, str) else ""
    found = PurePosixPath(text)
    if not text.strip() or found.is_absolute() or ".." in found.parts:
        raise UserError(f"{where} names the picture {path!r}, which is no path in the folder of pictures")
    return str(found)


def pictures(folder: Path, about: About, annotation: Path, names: Sequence[str], subfolders: Sequence[str] = ("imgs", "")) -> Path:
    """The folder that pictures of these names are in, the likeliest of those that are usual; UserError where none is in any."""
    roots = [annotation.parent, folder, folder / about.folder, folder / "images" / about.folder, folder / "images"]
    places = list(dict.fromkeys(root / sub for root in roots for sub in subfolders))
    places = [place for place in places if place.is_dir()]
    spread = list(names[:: max(1, len(names) // SAMPLE)])
    for some in (spread, names):
        hits = {place: sum((place / name).is_file() for name in some) for place in places}
        best = max(places, key=lambda place: hits[place])
        if hits[best]:
            return best
    where = ", ".join(str(place.relative_to(folder)) for place in places if place.is_relative_to(folder))
    raise UserError(
        f"none of {len(names):,} pictures that {annotation.name} names is in {folder}: looked for {names[0]} in {where}, "
        f"and saw {seen(folder)}; unpack the pictures there"
    )


def number(where: str, value: Any, what: str) -> int:
    """A whole number, or a text that is one."""
    if isinstance(value, str) and re.fullmatch(r"-?\d+", value):
        return int(value)
    if type(value) is not int:
        raise UserError(f"{where} has {value!r} as its {what}, not a whole number")
    return value


def labels(where: str, values: Any, count: int, allowed: Sequence[int] = (-1, 0, 1)) -> tuple[int, ...]:
    """A label of so many attributes."""
    if not isinstance(values, list) or len(values) != count or not all(type(value) is int and value in allowed for value in values):
        raise UserError(f"{where} has a label that is not {count} numbers, each one of {', '.join(map(str, allowed))}")
    return tuple(values)

"""What the reader of a benchmark returns, and how readers search a folder for files and check what they hold."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from mals.dataset.features import Feature
from mals.errors import UserError, quoted
from mals.planning.json_lists import CONTROL, captions_of, identifier, key_names, stream_objects
from pretrain.data.captions import Reduction
from pretrain.data.image_folder import ImageFolder

NAMES_KEPT = 100_000  # names of image files that are kept in memory, some 120 bytes each
SAMPLE = 50  # images that are looked for to recognise their folder
WHOLE, LARGEST = re.compile(r"-?[0-9]{1,18}"), 10**18  # identities, which are packed in 64 bits
Placed = tuple[str, dict[str, Any]]  # the place of an object, for errors, and the object
DRIVE = re.compile(r"[A-Za-z]:/")  # begins an absolute path of Windows
NAMED = 8  # entries of a wrong folder that an error sentence names


@dataclass(frozen=True)
class SplitSize:
    """Number of images, identities and captions of a split; None if the authors state none, or there are none."""

    images: int | None = None
    identities: int | None = None
    captions: int | None = None


@dataclass(frozen=True, kw_only=True)
class BenchmarkInfo:
    """What is known of a benchmark before its files are read."""

    key: str  # its name for `mals import`
    name: str
    folder: str  # the name of its folder after unpacking
    sizes: Mapping[str, SplitSize]  # split -> its size as the authors state it, in the order of packing
    total: SplitSize = SplitSize()  # of all splits together, where the authors state it and not the sizes of the splits
    annotation_files: tuple[str, ...]  # alternatives: any of them shows that the benchmark is there
    description: str  # one sentence
    terms: str  # of use, in one sentence
    citation: str
    url: str
    space: str | None = None  # the attribute space; None if there are no attributes
    caption_source: str | None = "annotator"  # who wrote the captions; None if there are none
    captions_each: str = ""  # how many captions an image has, in words, where the sizes do not say
    uncounted_source: str | None = None  # the source of captions that the authors' number of captions leaves out
    images_elsewhere: bool = False  # whether the set is captions of images that another set has
    uncaptioned_splits: frozenset[str] = frozenset()  # splits in which an image needs no caption
    published_captions: Reduction = "none"  # what its authors' evaluation leaves of captions
    similarity_distribution: bool = False  # its authors measure mSD
    other_tests: Mapping[str, str] = field(default_factory=dict)  # test splits beside `test` -> what they are called
    galleries: Mapping[str, str] = field(default_factory=dict)  # split -> which images are its gallery, in words, where not all are
    has_identities: bool = True
    has_cameras: bool = False
    synthetic: bool = False  # all images are; a row may state it for itself
    camera_source: str = "the file's name"  # what the camera comes from
    extra_columns: Mapping[str, Feature] = field(default_factory=dict)  # columns that only this benchmark has
    column_notes: tuple[str, ...] = ()  # sentences of the card about columns that differ from other benchmarks


@dataclass(frozen=True)
class BenchmarkRow:
    """One image with its annotations."""

    id: str
    image: str  # path in the image folder
    captions: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()  # who wrote each caption; () if that is the benchmark's caption_source for all
    identity: int | None = None
    camera: int | None = None
    labels: tuple[int, ...] | None = None  # one value in {-1, 0, 1} for each attribute of the space; -1 if unknown
    extras: tuple[int | str | None, ...] = ()  # values of the extra columns
    synthetic: bool | None = None  # None: as the benchmark says
    data: bytes | None = None  # the image's file, where the set has it in a table and not in the image folder


@dataclass(frozen=True)
class Benchmark:
    """A benchmark in a folder."""

    info: BenchmarkInfo
    images: ImageFolder
    splits: Mapping[str, Iterable[BenchmarkRow]]  # each can be iterated several times
    notes: Sequence[str] = ()  # sentences about irregularities in the files


class Reader(NamedTuple):
    """A benchmark, and the function that reads it from a folder: what a module of this package has as its READER."""

    info: BenchmarkInfo
    read: Callable[[Path], Benchmark | None]  # None if the folder does not hold it; UserError if it is too incomplete to be read


def annotation_folders(folder: Path, info: BenchmarkInfo) -> list[Path]:
    """Where annotation files may lie: in the folder, in the benchmark's own folder in it, and in the MALS authors' data/finetune."""
    own = [folder, folder / info.folder, folder / "annotation", folder / info.folder / "annotation"]
    return [*own, folder / "finetune", folder / "data" / "finetune", folder / "data"]


def first_file(paths: Iterable[Path]) -> Path | None:
    """The first of these files that exists."""
    return next((path for path in paths if path.is_file()), None)


def folder_contents(folder: Path) -> str:
    """The first entries of a folder, for an error sentence."""
    names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in folder.iterdir())
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more if names else "nothing"


def placed_objects(file: Path) -> list[Placed]:
    """The objects of a JSON list with their places."""
    return list(stream_placed(file))


def stream_placed(file: Path) -> Iterator[Placed]:
    """The objects of a JSON list of any size with their places, one after the other."""
    return ((f"{file}: object {number}", entry) for number, entry in enumerate(stream_objects(file), 1))


def require_names(where: object, values: Mapping[str, Any], names: Iterable[str]) -> None:
    """UserError if one of the names is missing; `where` begins the sentence."""
    if missing := [name for name in names if name not in values]:
        present = key_names({name: None for name in values if not name.startswith("__")})
        raise UserError(f"{where} has no {', '.join(missing)}, only {present}")


def relative_path(where: str, path: Any) -> str:
    """An image's path in an annotation; UserError if it is not a path, or leads out of the image folder."""
    text = str(path).replace("\\", "/") if isinstance(path, str) else ""
    relative = PurePosixPath(text)
    absolute = relative.is_absolute() or DRIVE.match(text)
    if not text.strip("./ ") or text.endswith("/") or CONTROL.search(text) or absolute or ".." in relative.parts:
        raise UserError(f"{where} names the image {quoted(path)}, which is no path in the image folder")
    return str(relative)


def present_captions(where: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    """The captions of an object (its `captions` or `caption`) without blank ones; UserError for other things than texts."""
    return tuple(caption for caption in captions_of(where, entry) if caption is not None)


def find_image_folder(
    folder: Path, info: BenchmarkInfo, annotation: Path, images: Sequence[str], subfolders: Sequence[str] = ("imgs", "")
) -> ImageFolder:
    """The folder that holds most of a sample of `images`, of the usual folders; UserError if none holds any, or there is no image."""
    if not images:
        raise UserError(f"{annotation} lists no image of the splits of {info.name}")
    roots = [annotation.parent, folder, folder / info.folder, folder / "images" / info.folder, folder / "images"]
    candidates = list(dict.fromkeys(root / subfolder for root in roots for subfolder in subfolders))
    folders = [ImageFolder(candidate, NAMES_KEPT) for candidate in candidates if candidate.is_dir()]
    sample = list(images[:: max(1, len(images) // SAMPLE)])
    for names in (sample, images):
        hits = [sum(candidate.find(name) is not None for name in names) for candidate in folders]
        if any(hits):
            return folders[hits.index(max(hits))]
    searched = ", ".join(str(candidate.root.relative_to(folder)) for candidate in folders if candidate.root.is_relative_to(folder))
    raise UserError(
        f"none of {len(images):,} images that {annotation.name} names is in {folder}: looked for {images[0]} in {searched}, "
        f"and saw {folder_contents(folder)}; unpack the images there"
    )


def whole_number(where: str, value: Any, meaning: str) -> int:
    """A whole number of at most 18 digits, or a text that is one; UserError otherwise."""
    number = value if type(value) is int else int(value) if isinstance(value, str) and WHOLE.fullmatch(value) else None
    if number is None or abs(number) > LARGEST:
        raise UserError(f"{where} has {quoted(value)} as its {meaning}, not a whole number")
    return number


def identity_number(where: str, value: Any) -> int:
    """An identity: a whole number as it is, another text as a number of 18 digits that follows from it (a part of its SHA-256)."""
    if type(value) is int or (isinstance(value, str) and WHOLE.fullmatch(value)):
        return whole_number(where, value, "identity")
    text = identifier(where, "identity", value)
    if text is None:
        raise UserError(f"{where} has no identity")
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % LARGEST


def optional_text(where: str, entry: Mapping[str, Any], name: str) -> str | None:
    """A text, or a number as text; None where there is none, UserError for other values."""
    value = entry.get(name)
    if value is None or isinstance(value, str):
        return value or None
    if type(value) is int:
        return str(value)
    raise UserError(f"{where} has {quoted(value)} as its {name}, not a text")


def numeric_key(file: Path) -> list[tuple[int, str]]:
    """A sort key of names that puts "_2_" before "_10_"."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", file.name)]


def label_values(where: str, values: Any, count: int, allowed: Sequence[int] = (-1, 0, 1)) -> tuple[int, ...]:
    """The values of `count` attributes; UserError if they are something else."""
    if not isinstance(values, list) or len(values) != count or not all(type(value) is int and value in allowed for value in values):
        raise UserError(f"{where} has a label that is not {count} numbers, each one of {', '.join(map(str, allowed))}")
    return tuple(values)

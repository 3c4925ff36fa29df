"""Images in a folder and its sub-folders, locally or behind a URL, with what lies beside them: captions in .txt, facts in .json.

A file without a suffix is an image where its first bytes are those of one. What is no image is left out and counted. Links are followed:
those to files always, those to folders where the folder is not in the collection already, so that no image comes twice and a loop ends.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mals.errors import UserError
from mals.images import BEGINNINGS, HEIC
from mals.planning.image_source import file_address, open_file, printable

# Of images; those of them that cannot be decoded are refused one by one, so that they are seen.
COMMON = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"}
SUFFIXES = COMMON | {".jp2", ".j2k", ".jpx", ".avif", ".heic", ".heif", ".jxl", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico"}
SYSTEM_FOLDERS = {"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
MOST = 1 << 20  # bytes that are read of a caption or of facts
BEGINNING = 32  # bytes that are read of a file without a suffix
CAPTION, FACTS = ".txt", ".json"
KEYS = ("caption", "text")  # of the facts, where there is no text
SETTINGS, PLAN = "mals.yaml", "plan"  # of a run, whose contact sheets are no images of the collection
AGAIN = "link to a folder that is there already"
UNREADABLE = "folder that may not be read"


@dataclass
class Folder:
    """The images of one folder."""

    name: str  # relative to the root of the collection; "" for the root
    path: str  # absolute, or a URL
    images: list[str] = field(default_factory=list)  # file names, sorted
    others: set[str] = field(default_factory=set)  # the names of the other files


class ImageFile(NamedTuple):
    """One image of a collection of files."""

    name: str  # relative to the root, "/" between folders
    address: str
    folder: str  # the part of `name` before the last "/"; "" in the root
    caption: str | None  # of the .txt beside it
    facts: dict[str, Any]  # of the .json beside it, where that is asked for


def image_files(folders: Iterator[Folder], left_out: Counter[str], read_facts: bool = False) -> Iterator[ImageFile]:
    """The images of `folders` one by one; other files are counted in `left_out` by kind."""
    for folder in folders:
        used = set()
        for image in folder.images:
            stem = stem_of(image)
            caption, facts = None, dict[str, Any]()
            if (name := stem + CAPTION) in folder.others:
                used.add(name)
                text = decode_text(_read(f"{folder.path}/{name}"))
                caption = caption_of(text)
                left_out["caption that is no text"] += text is None or (caption is None and bool(text.strip()))
            if read_facts and (name := stem + FACTS) in folder.others:
                used.add(name)
                content = json_object(_read(f"{folder.path}/{name}"))
                left_out["facts that are no JSON object"] += content is None
                facts = content or {}
            address = file_address(f"{folder.path}/{image}")
            yield ImageFile(f"{folder.name}/{image}" if folder.name else image, address, folder.name, caption, facts)
        left_out.update(kind_of(name) for name in folder.others - used)


def stem_of(name: str) -> str:
    """The name of an image's file without its suffix, where it has one: the captions and facts beside it have the same."""
    return name.rpartition(".")[0] or name


def walk(root: str, left_out: Counter[str]) -> Iterator[Folder]:
    """The folders under the local folder `root`, in the order of their names, those reached through links last."""
    real_root = os.path.realpath(root)
    visited: set[tuple[int, int]] = set()
    links: list[Folder] = []
    todo = [Folder("", root)]
    while todo or links:
        folder = todo.pop() if todo else links.pop(0)
        try:
            status = Path(folder.path).stat()
        except OSError:
            left_out[UNREADABLE] += 1
            continue
        if (status.st_dev, status.st_ino) in visited:
            left_out[AGAIN] += 1
            continue
        visited.add((status.st_dev, status.st_ino))
        subfolders, linked = _scan(folder, real_root, left_out)
        if SETTINGS in folder.others and any(child.name.rpartition("/")[2] == PLAN for child in subfolders):
            left_out["run of mals"] += 1
            continue
        todo += reversed(subfolders)
        links += linked
        yield folder


def _scan(folder: Folder, real_root: str, left_out: Counter[str]) -> tuple[list[Folder], list[Folder]]:
    """Take up the files of `folder`; returns its sub-folders, and those that links lead to."""
    subfolders, linked = [], []
    try:
        entries = sorted(os.scandir(folder.path), key=lambda entry: entry.name)
    except OSError:
        left_out[UNREADABLE] += 1
        return [], []
    for entry in entries:
        try:
            if reason := ignored(entry.name):
                left_out[reason] += 1
            elif entry.is_dir():
                child = Folder(f"{folder.name}/{entry.name}" if folder.name else entry.name, entry.path)
                if not entry.is_symlink():
                    subfolders.append(child)
                elif _inside(os.path.realpath(entry.path), real_root):
                    left_out[AGAIN] += 1
                else:
                    linked.append(child)
            elif entry.is_file():
                _add(folder, entry.name, is_image_file(entry.path))
            else:
                left_out["broken link" if entry.is_symlink() else "no file"] += 1
        except OSError:  # a link in a circle
            left_out["broken link"] += 1
    return subfolders, linked


def _inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/") or root.startswith(path.rstrip("/") + "/")


def walk_url(url: str, patterns: Sequence[str], left_out: Counter[str]) -> Iterator[Folder]:
    """As `walk` and `walk_pattern`, for a folder behind a URL of fsspec; without patterns all its files."""
    import fsspec

    fs, root = fsspec.url_to_fs(url)
    folders: dict[str, Folder] = {}
    files = set(fs.find(root))
    matches = files if not patterns else {path for pattern in patterns for path in fs.glob(f"{root}/{pattern}")} & files
    bare = [path for path in sorted(matches) if not suffix_of(path.rpartition("/")[2])]
    beginnings = fs.cat_ranges(bare, [0] * len(bare), [BEGINNING] * len(bare), on_error="return") if bare else []
    images = {path for path, data in zip(bare, beginnings, strict=True) if isinstance(data, bytes) and is_beginning(data)}
    for path in sorted(matches):
        parts = path.removeprefix(root).lstrip("/").split("/")
        if reason := next((reason for part in parts if (reason := ignored(part))), None):
            left_out[reason] += 1
        else:
            name = "/".join(parts[:-1])
            folder = folders.setdefault(name, Folder(name, f"{url.rstrip('/')}/{name}".rstrip("/")))
            _add(folder, parts[-1], is_image(parts[-1]) or path in images)
    for folder in folders.values():
        if patterns:
            names = {stem_of(image) + suffix for image in folder.images for suffix in (CAPTION, FACTS)}
            folder.others |= {name for name in names if f"{root}/{folder.name}/{name}".replace("//", "/") in files}
        yield folder


def walk_pattern(root: str, pattern: str, left_out: Counter[str]) -> Iterator[Folder]:
    """The images under `root` that a relative pattern such as "*/a*.jpg" matches; a folder that it matches is walked, but for "**"."""
    folders: dict[str, Folder] = {}
    seen: set[tuple[str, str]] = set()
    matched_folders = []
    for name in _matches(root, pattern):
        parent, _, file = name.rpartition("/")
        path = f"{root}/{name}"
        if reason := next((reason for part in name.split("/") if (reason := ignored(part))), None):
            left_out[reason] += 1
        elif Path(path).is_dir():
            matched_folders.append(name)
        elif (real := (os.path.realpath(f"{root}/{parent}"), file)) in seen:
            left_out[AGAIN] += 1
        else:
            seen.add(real)
            _add(folders.setdefault(parent, Folder(parent, f"{root}/{parent}".rstrip("/"))), file, is_image_file(path))
    for folder in folders.values():
        add_beside(folder)
        yield folder
    for name in [] if "**" in pattern else matched_folders:
        for folder in walk(f"{root}/{name}", left_out):
            yield Folder(f"{name}/{folder.name}".rstrip("/"), folder.path, folder.images, folder.others)


def _matches(root: str, pattern: str) -> list[str]:
    """What a pattern matches under `root`, relative to it, sorted."""
    try:
        return sorted(os.fspath(path)[len(root.rstrip("/")) + 1 :] for path in Path(root).glob(pattern))
    except (ValueError, NotImplementedError) as error:
        raise UserError(f"the pattern {pattern} is not one: {error}") from None


def add_beside(folder: Folder) -> None:
    """Take up the captions and facts beside the images of a folder that was not listed."""
    names = {stem_of(image) + suffix for image in folder.images for suffix in (CAPTION, FACTS)}
    folder.others |= {name for name in names if Path(f"{folder.path}/{name}").is_file()}


def ignored(name: str) -> str | None:
    """Why a file or folder is left out by its name alone; None if it is not."""
    if name in SYSTEM_FOLDERS:
        return name
    return "hidden" if name.startswith(".") else None


def _add(folder: Folder, name: str, image: bool) -> None:
    if image:
        folder.images.append(name)
    else:
        folder.others.add(name)


def is_image(name: str) -> bool:
    """Whether a file's name ends as that of an image."""
    return suffix_of(name) in SUFFIXES


def suffix_of(name: str) -> str:
    """The end of a file's name from its last dot, in lower case; empty where it has none, or begins with it."""
    stem, dot, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if stem and dot else ""


def is_image_file(path: str) -> bool:
    """Whether a local file is an image by its name or, where that has no suffix, by its first bytes; False where it may not be read."""
    name = path.rpartition("/")[2]
    if suffix_of(name):
        return is_image(name)
    try:
        with Path(path).open("rb") as file:
            return is_beginning(file.read(BEGINNING))
    except OSError:
        return False


def is_beginning(data: bytes) -> bool:
    """Whether the first bytes of a file are those of an image that can be decoded, or of HEIC, which is refused where it is seen."""
    return BEGINNINGS.match(data) is not None or HEIC.match(data) is not None


def kind_of(name: str) -> str:
    """The suffix of a file that is no image, for the count of what was left out."""
    return printable(suffix_of(name)) or "without suffix"


def _read(path: str) -> bytes:
    with open_file(file_address(path)) as file:
        return file.read(MOST)


def decode_text(data: bytes) -> str | None:
    """UTF-8, or UTF-16 by its mark; None for other bytes."""
    try:
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        return None


def json_object(data: bytes) -> dict[str, Any] | None:
    """The JSON object in `data`; None if there is none."""
    try:
        value = json.loads(decode_text(data) or "")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def caption_beside(image: ImageFile, key: str | None, left_out: Counter[str]) -> str | None:
    """The caption of an image: under `key` of its facts where that is given, else its text, else what stands under one of KEYS."""
    if key is not None:
        return first_caption(image.facts.get(key), left_out)
    return image.caption or next(filter(None, (first_caption(image.facts.get(key), left_out) for key in KEYS)), None)


def first_caption(value: Any, left_out: Counter[str]) -> str | None:
    """The caption in a value of a table or of JSON; of a list the first, and the others are counted."""
    if not isinstance(value, list):
        return caption_of(value)
    captions = [caption for text in value if (caption := caption_of(text))]
    left_out["further caption of an image"] += max(0, len(captions) - 1)
    return captions[0] if captions else None


def caption_of(text: Any) -> str | None:
    """A caption as a plan holds it: on one line, and None where there is no letter in it, as in the boxes that detectors learn from."""
    if not isinstance(text, str) or not any(map(str.isalpha, text)):
        return None
    return " ".join(printable(text).split())

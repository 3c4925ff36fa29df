"""The images of a list in their folder: each folder is listed once, which takes a fraction of a look at every file."""

import os
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from mals.errors import UserError

NAMED, LONGEST = 8, 100  # missing images that a sentence names, and characters of each


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def caseless(name: str) -> str:
    """A name whatever its case and Unicode normal form."""
    return _composed(name).casefold()


SPELLINGS: tuple[Callable[[str], str], ...] = (_composed, caseless)


class _Names:
    """The names of files, or of folders, in one folder."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    @cached_property
    def _spellings(self) -> list[dict[str, str | None]]:
        """For each kind of other spelling: a name so changed -> the name, None if several become the same."""
        tables: list[dict[str, str | None]] = []
        for change in SPELLINGS:
            table: dict[str, str | None] = {}
            for name in self.names:
                table[change(name)] = None if change(name) in table else name
            tables.append(table)
        return tables

    def respelled(self, name: str) -> str | None:
        """The only name that is equal but for its Unicode normal form, or else but for its case; None without."""
        same = (table.get(change(name)) for change, table in zip(SPELLINGS, self._spellings, strict=True))
        return next((actual for actual in same if actual is not None), None)


@dataclass
class _Listing:
    """What is in a folder."""

    files: _Names = field(default_factory=_Names)
    folders: _Names = field(default_factory=_Names)


class ImageFolder:
    """Finds files by the paths of a list, also where the list spells them in another case or Unicode normal form, or with "\\".

    Names are kept in memory up to `kept`, if it is not None. Then those of the last folder are, and every file is looked at.
    """

    def __init__(self, root: Path, kept: int | None = None) -> None:
        self.root = root
        self._kept, self._names = kept, 0
        self._has_too_many = False
        self._listings: dict[str, _Listing | None] = {}

    def find(self, path: str) -> str | None:
        """The path of a file as the folder has it: this one, or else the only one that differs in its spelling alone; None without."""
        if self._has_too_many and self._is_file(path):
            return path
        folder, name = os.path.split(path)
        listing = self._listing(folder)
        if listing is not None and name in listing.files.names:
            return path
        actual = self._folder(folder)
        listing = None if actual is None else self._listing(actual)
        if listing is not None and (spelled := listing.files.respelled(name)) is not None:
            return f"{actual}/{spelled}" if actual else spelled
        flat, top = path.replace("/", "\\"), self._listing("")  # what some programs make of an archive from Windows
        return flat if top is not None and flat in top.files.names else None

    def path(self, path: str) -> Path:
        """Where the file of this path is, or would be if it were there."""
        return self.root / (self.find(path) or path)

    def missing_folder(self, path: str) -> str | None:
        """The first folder on the way to a file that is not there; None if all are."""
        parents = [str(parent) for parent in PurePosixPath(path).parents][::-1]  # "." is the first
        return next((parent for parent in parents[1:] if self._folder(parent) is None), None)

    def _folder(self, folder: str) -> str | None:
        """The path of a folder as it is on the disk; None if there is none, or several differ in their spelling alone."""
        if self._listing(folder) is not None:
            return folder
        above, name = os.path.split(folder)
        if not name:
            return None
        actual = self._folder(above)
        listing = None if actual is None else self._listing(actual)
        spelled = None if listing is None else listing.folders.respelled(name)
        return f"{actual}/{spelled}" if actual and spelled else spelled

    def _listing(self, folder: str) -> _Listing | None:
        """The names in a folder; None if there is none, or it cannot be read."""
        if folder not in self._listings:
            listing = _Listing()
            try:
                with os.scandir(self.root / folder) as entries:
                    for entry in entries:
                        kind = listing.files if entry.is_file() else listing.folders
                        kind.names.add(entry.name)
            except (OSError, ValueError):
                self._listings[folder] = None
                return None
            self._keep(folder, listing)
        return self._listings[folder]

    def _is_file(self, path: str) -> bool:
        try:
            return (self.root / path).is_file()
        except (OSError, ValueError):  # a name that is too long, or holds a zero byte
            return False

    def _keep(self, folder: str, listing: _Listing) -> None:
        """Keep what is in a folder, and drop other folders if it were too much."""
        count = len(listing.files.names) + len(listing.folders.names)
        if self._kept is not None and self._names + count > self._kept:
            self._has_too_many, self._names = True, 0
            self._listings.clear()
        self._names += count
        self._listings[folder] = listing


def locate_images(list_file: Path, root: Path, paths: Iterable[str]) -> tuple[list[str], list[str]]:
    """The path of each image of a list as its folder has it, and sentences about those that are spelled otherwise there.

    Raises UserError, which counts and names them, where images are missing.
    """
    folder, listed = ImageFolder(root), list(paths)
    located = [folder.find(path) for path in listed]
    missing = [path for path, actual in zip(listed, located, strict=True) if actual is None]
    if len(missing) == len(listed):
        first = root / _shortened(listed[0])
        raise UserError(f"the images of {list_file} are not in {root}: there is no {first}; give the folder that they are in")
    if missing:
        names = ", ".join(map(_shortened, missing[:NAMED])) + (f" and {len(missing) - NAMED:,} more" if len(missing) > NAMED else "")
        raise UserError(
            f"{len(missing):,} of the {len(listed):,} images that {list_file} names are not in {root}: {names}; "
            "put them there, or take them out of the list"
        )
    respelled = [(path, actual) for path, actual in zip(listed, located, strict=True) if path != actual]
    if not respelled:
        return listed, []
    example = spelling(*respelled[0])
    return [str(actual) for actual in located], [
        f"{len(respelled):,} of the {len(listed):,} images of {list_file} are spelled otherwise in {root}, such as {example}"
    ]


def spelling(path: str, actual: str | None) -> str:
    """A path and how its folder spells it, for a sentence: with escapes where both look alike."""
    show = ascii if _composed(path) == _composed(str(actual)) else str
    return f"{show(actual)} for {show(path)}"


def _shortened(path: str) -> str:
    return path if len(path) <= LONGEST else f"{path[: LONGEST - 3]}..."

"""Captions of several files, joined with each other and with the images in a folder by base name, in a temporary database on disk.

A million images have gigabytes of captions, and the files need not list them in the same order.
"""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from mals.errors import UserError, quoted
from mals.planning.json_lists import captions_of, stream_entries
from pretrain.datasets.layout import relative_path

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")  # suffixes
CACHE = 16 << 10  # KiB of the database that are kept in memory
TABLES = """
CREATE TABLE local (name TEXT PRIMARY KEY, path TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE images (number INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL);
CREATE TABLE captions (image INTEGER, source INTEGER, text TEXT, PRIMARY KEY (image, source)) WITHOUT ROWID;
"""
ADD_CAPTION = """
INSERT OR IGNORE INTO captions
SELECT number, :source, CASE WHEN EXISTS (SELECT 1 FROM local WHERE name = :name) THEN :text END FROM images WHERE name = :name
"""  # the text is kept of local images alone
SELECT = """
SELECT images.name, local.path, captions.source, captions.text FROM images JOIN captions ON captions.image = images.number
LEFT JOIN local ON local.name = images.name ORDER BY images.number, captions.source
"""


class JoinedImage(NamedTuple):
    """An image of the files of captions."""

    name: str  # its base name
    path: str | None  # in the folder; None if it is not there
    captions: dict[str, str]  # source -> caption, of an image that is there


class JoinedCaptions:
    """The images that files of captions name, in the order in which they are first named; each iteration gives them all.

    Raises UserError for a file that is no object of captions, and where the disk has no room for the database.
    """

    def __init__(self, root: Path, files: Mapping[str, Path]) -> None:
        self.notes: list[str] = []  # sentences about base names that come twice
        self._sources = list(files)
        with _on_disk():
            self._database = sqlite3.connect("", isolation_level=None)  # a file that is gone when the process ends
            self._database.executescript(f"PRAGMA journal_mode = OFF; PRAGMA cache_size = -{CACHE}; {TABLES} BEGIN;")
            self._add_images(root)
            for source, file in enumerate(files.values()):
                self._add_captions(source, file)
            self._database.execute("COMMIT")

    def __iter__(self) -> Iterator[JoinedImage]:
        with _on_disk():
            for (name, path), rows in groupby(self._database.execute(SELECT), itemgetter(0, 1)):
                captions = {self._sources[source]: text for _, _, source, text in rows if text is not None}
                yield JoinedImage(name, path, captions)

    def _add_images(self, root: Path) -> None:
        """Index the images under a folder; of those with the same base name the first one counts."""
        repeated, example = 0, ""
        for path in _image_paths(root):
            row = {"name": path.rsplit("/", 1)[-1], "path": path}
            if not self._database.execute("INSERT OR IGNORE INTO local VALUES (:name, :path)", row).rowcount:
                repeated += 1
                example = example or path
        if repeated:
            note = f"images here whose base name another image has, which has the captions instead: {repeated:,}, such as {example}"
            self.notes.append(note)

    def _add_captions(self, source: int, file: Path) -> None:
        repeated, example = 0, ""
        for listed, value in stream_entries(file):
            where = f"{file}: {quoted(listed)}"
            name = relative_path(where, listed.replace("\\", "/").rsplit("/", 1)[-1])
            texts = captions_of(where, {"captions": value})
            if len(texts) > 1:
                raise UserError(f"{where} has {len(texts)} captions, where one is expected")
            if texts[0] is None:
                continue
            self._database.execute("INSERT OR IGNORE INTO images (name) VALUES (?)", (name,))
            if not self._database.execute(ADD_CAPTION, {"source": source, "name": name, "text": texts[0]}).rowcount:
                repeated += 1
                example = example or listed
        if repeated:
            self.notes.append(f"captions in {file.name} whose base name it has before, left out: {repeated:,}, such as that of {example}")


def _image_paths(root: Path) -> Iterator[str]:
    """The paths of all images under a folder, in the order of their names; folders that are links are followed, each folder once."""
    visited: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(root, followlinks=True):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in visited:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders.sort()
        for file in sorted(files):
            if file.lower().endswith(IMAGES):
                yield (Path(place) / file).relative_to(root).as_posix()


@contextmanager
def _on_disk() -> Iterator[None]:
    """Errors of the database, which can only be those of its disk, as UserError."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise UserError(
            f"captions are joined in a temporary file, which failed: {error}; name a disk with room for them in TMPDIR"
        ) from None

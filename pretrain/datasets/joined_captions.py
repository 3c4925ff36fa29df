"""Captions of several files, joined with each other and with the images in a folder by base name, in a temporary database on disk.

A million images have gigabytes of captions, and the files need not list them in the same order.
"""

import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from mals.errors import UserError, quoted
from mals.planning.json_lists import captions_of, stream_entries
from pretrain.data.image_folder import caseless
from pretrain.datasets.layout import relative_path
from pretrain.datasets.long_lists import Irregularities

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")  # suffixes
NOT_UNICODE = re.compile("[\ud800-\udfff]")  # what Python makes of bytes in a name that are no UTF-8
CACHE = 16 << 10  # KiB of the database that are kept in memory
TABLES = """
CREATE TABLE local (name TEXT PRIMARY KEY, spelling TEXT NOT NULL, path TEXT NOT NULL, other TEXT) WITHOUT ROWID;
CREATE TABLE images (number INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, path TEXT);
CREATE TABLE captions (image INTEGER, source INTEGER, text TEXT, PRIMARY KEY (image, source)) WITHOUT ROWID;
"""  # `spelling` is the name whatever its case and Unicode normal form; `other` is the last path of an image of the same name
INDEX = "CREATE INDEX spellings ON local (spelling)"
ADD_IMAGE = """
INSERT INTO local VALUES (?, ?, ?, NULL)
ON CONFLICT (name) DO UPDATE SET path = min(path, excluded.path), other = max(coalesce(other, path), path, excluded.path)
"""
ADD_CAPTION = """
INSERT OR IGNORE INTO captions SELECT number, :source, CASE WHEN path IS NOT NULL THEN :text END FROM images WHERE name = :name
"""  # the text is kept of local images alone
SELECT = """
SELECT images.name, images.path, captions.source, captions.text FROM images JOIN captions ON captions.image = images.number
ORDER BY images.number, captions.source
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
        self.notes: list[str] = []  # sentences about base names that come twice, and that are spelled otherwise in the folder
        self._respelled = Irregularities()
        self._sources = list(files)
        with _on_disk():
            self._database = sqlite3.connect("", isolation_level=None)  # a file that is gone when the process ends
            self._database.executescript(f"PRAGMA journal_mode = OFF; PRAGMA cache_size = -{CACHE}; {TABLES} BEGIN;")
            self._add_images(root)
            for source, file in enumerate(files.values()):
                self._add_captions(source, file)
            self._database.execute("COMMIT")
        self.notes += self._respelled.notes()

    def __iter__(self) -> Iterator[JoinedImage]:
        with _on_disk():
            for (name, path), rows in groupby(self._database.execute(SELECT), itemgetter(0, 1)):
                captions = {self._sources[source]: text for _, _, source, text in rows if text is not None}
                yield JoinedImage(name, path, captions)

    def _add_images(self, root: Path) -> None:
        """Index the images under a folder; of those with the same base name the first one by its path counts."""
        paths = 0
        for path in _image_paths(root):
            paths += 1
            name = path.rsplit("/", 1)[-1]
            self._database.execute(ADD_IMAGE, (name, caseless(name), path))
        self._database.execute(INDEX)
        if repeated := paths - self._database.execute("SELECT count(*) FROM local").fetchone()[0]:
            example = self._database.execute("SELECT other FROM local WHERE other IS NOT NULL ORDER BY name LIMIT 1").fetchone()[0]
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
            if not self._database.execute("SELECT 1 FROM images WHERE name = ?", (name,)).fetchone():
                self._database.execute("INSERT INTO images (name, path) VALUES (?, ?)", (name, self._local_path(name)))
            if not self._database.execute(ADD_CAPTION, {"source": source, "name": name, "text": texts[0]}).rowcount:
                repeated += 1
                example = example or listed
        if repeated:
            self.notes.append(f"captions in {file.name} whose base name it has before, left out: {repeated:,}, such as that of {example}")

    def _local_path(self, name: str) -> str | None:
        """The path of the image of this name, or else of the only one whose name differs in its spelling alone; None without."""
        exact = self._database.execute("SELECT path FROM local WHERE name = ?", (name,)).fetchone()
        if exact:
            return str(exact[0])
        alike = self._database.execute("SELECT path FROM local WHERE spelling = ? LIMIT 2", (caseless(name),)).fetchall()
        if len(alike) != 1:
            return None
        self._respelled.add("images that are spelled otherwise in the folder", f"{alike[0][0]} for {name}")
        return str(alike[0][0])


def _image_paths(root: Path) -> Iterator[str]:
    """The paths of all images under a folder, in any order; folders that are links are followed, each folder once.

    Links that lead nowhere are no images, folders that may not be read have none, and paths that are no Unicode are in no list.
    """
    visited: set[tuple[int, int]] = set()

    def walk(folder: str) -> Iterator[str]:
        status = (root / folder).stat()
        if (status.st_dev, status.st_ino) in visited:
            return
        visited.add((status.st_dev, status.st_ino))
        inner = []
        with suppress(PermissionError), os.scandir(root / folder) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if NOT_UNICODE.search(path):
                    continue
                if entry.is_dir():
                    inner.append(path)
                elif entry.name.lower().endswith(IMAGES) and entry.is_file():
                    yield path
        for path in sorted(inner):  # of two ways to a folder always the same one
            yield from walk(path)

    return walk("")


@contextmanager
def _on_disk() -> Iterator[None]:
    """Errors of the database, which can only be those of its disk, as UserError."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise UserError(
            f"captions are joined in a temporary file, which failed: {error}; name a disk with room for them in TMPDIR"
        ) from None

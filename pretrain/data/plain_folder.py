"""A folder of image files and nothing else, or with captions beside them (1.jpg, 1.txt), as a data set without splits.

Sub-folders belong to it. Every image is a row, in the order of the names, and a person of its own.
"""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pyarrow as pa
import torch

from mals.errors import UserError
from mals.planning.image_files import image_files, walk
from mals.planning.image_source import printable
from pretrain.data.columns import Columns, Request, checked_captions, file_stamp
from pretrain.data.errors import NoLabels
from pretrain.data.strings import Strings

RUN = "mals.yaml"  # of a run: the images in its reports are no data set


class PlainFolder:
    """The images of a folder."""

    name = ""

    def __init__(self, home: Path, names: Strings, addresses: Strings, notes: Sequence[str]) -> None:
        self.home, self.names, self.addresses, self.notes = home, names, addresses, notes

    def image_bytes(self, at: int) -> bytes:
        return _path(self.addresses[at]).read_bytes()

    def other_captions(self, at: int) -> list[str]:
        return []

    def location(self, at: int) -> str:
        return str(self.home / self.names[at])

    def image_id(self, at: int) -> str:
        return self.names[at]

    def stamp(self, at: int) -> str:
        return f"{self.names[at]} {file_stamp(_path(self.addresses[at]).stat())}"


def is_plain_folder(path: Path) -> bool:
    """Whether a path is a folder that is no packed data set and no run."""
    has_tables = any(next((path / folder).glob("*.parquet"), None) for folder in ("data", "dataset/data"))
    return path.is_dir() and not has_tables and not (path / RUN).is_file()


def open_folder(path: Path, request: Request) -> tuple[PlainFolder, Columns]:
    """The images of a folder with the captions beside them; UserError where there is no image, NoLabels where labels are requested."""
    left_out: Counter[str] = Counter()
    files = sorted(image_files(walk(str(path.absolute()), left_out), left_out), key=lambda file: file.name)
    if not files:
        problem = f"{path} holds neither a packed data set, which `mals pack` makes in {path / 'data'}, nor an image"
        raise UserError(problem + (f"; it has {listed(left_out)}" if left_out else ""))
    if request.classes is not None:
        raise NoLabels(f"the folder {path} has no attribute labels")
    captions = checked_captions(_texts([file.caption for file in files]), path, request)
    numbers = torch.arange(len(files))
    others = +Counter({kind: count for kind, count in left_out.items() if kind != "hidden"})
    notes = [f"{path}: {len(files):,} images; what is no image is left out: {listed(others)}"] if others else []
    names, addresses = _texts([printable(file.name) for file in files]), _texts([file.address for file in files])
    return PlainFolder(path, Strings(names), Strings(addresses), notes), Columns(Strings(captions), numbers, None, numbers)


def listed(counts: Counter[str]) -> str:
    """Counts in words, the highest first."""
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.most_common())


def _path(address: str) -> Path:
    """The file at an address of mals.planning.image_source that is a local path, or a URL of one whose name is not UTF-8."""
    return Path(os.fsdecode(unquote_to_bytes(address.removeprefix("file://"))) if address.startswith("file://") else address)


def _texts(values: list[str] | list[str | None]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, pa.large_string())])

"""A plain folder of images, with the captions in the text files beside them."""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from mals.errors import UserError
from mals.look.source import KEPT, REASON, STAGE, STATE, Part, Refusals, Source
from mals.planning.image_files import image_files, walk
from mals.planning.image_source import open_file, printable

LARGEST = 64 << 20  # bytes of a file that is shown


class FolderSource(Source):
    """The images under a folder, in the order of their names; those that are added later are shown after a new start."""

    kind = "folder"

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.title, self.attributes = folder, {}
        left_out: Counter[str] = Counter()
        files = sorted(image_files(walk(str(Path(folder).absolute()), left_out), left_out), key=lambda file: file.name)
        if not files:
            raise UserError(f"{folder} is no run, holds no packed set, and there is no image in it")
        self.parts = [Part(0, len(files))]
        self._addresses = [file.address for file in files]
        self._columns = {
            "id": pa.array([printable(file.name) for file in files], pa.string()),
            "caption": pa.array([file.caption for file in files], pa.string()),
            "folder": pa.array([printable(file.folder) for file in files], pa.string()),
            STATE: pa.repeat(pa.scalar(KEPT), len(files)),
            STAGE: pa.nulls(len(files), pa.string()),
            REASON: pa.nulls(len(files), pa.string()),
        }

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        return {name: array.type for name, array in self._columns.items()}

    def read_part(self, part: int, names: list[str]) -> Mapping[str, pa.Array]:
        return {name: self._columns[name] for name in names}

    def refusals(self) -> Refusals:
        return Refusals(pa.array([], pa.int64()), pa.array([], pa.string()), pa.array([], pa.string()))

    def refresh(self) -> None:
        """UserError where the folder is gone."""
        if not Path(self.title).is_dir():
            raise UserError(f"{self.title} is not there any more, or cannot be read")

    def image(self, row: int) -> bytes | None:
        self.part_of(row)
        try:
            with open_file(self._addresses[row]) as file:
                data = file.read(LARGEST + 1)
        except OSError:
            return None
        return data if len(data) <= LARGEST else None

    def stamp(self, row: int) -> str:
        with open_file(self._addresses[row]) as file:
            stat = os.fstat(file.fileno())
        return f"{self._columns['id'][row].as_py()} {stat.st_size} {stat.st_mtime_ns}"

"""Stages in generate's place whose images no generator made, or only some: what a person writes who has photographs."""

import io
from typing import Any

import pyarrow as pa
from PIL import Image

from mals.config import Config
from tests.small import cells

SERIAL = b"serial number 4711"  # in the metadata of every photograph


def photograph(row_id: str, width: int = 48, height: int = 96) -> bytes:
    """A JPEG with the EXIF of a camera: its maker, a serial number, and a place."""
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    exif.get_ifd(0x8769)[0xA431] = SERIAL.decode()
    exif.get_ifd(0x8825)[0x0001] = "N"
    buffer = io.BytesIO()
    Image.open(io.BytesIO(cells.small_jpeg(row_id, width, height))).save(buffer, "JPEG", quality=90, exif=exif)
    return buffer.getvalue()


def _stage(columns: list[tuple[str, Any]], more: Any) -> cells.Small:
    adds = pa.schema([("image", pa.binary()), ("width", pa.int32()), ("height", pa.int32()), *columns])
    return cells.Small(
        "generate", ("id",), adds, lambda row: {"image": photograph(row["id"]), "width": 48, "height": 96, **more(cells.number(row["id"]))}
    )


def bare(config: Config) -> cells.Small:
    """Nothing but images and their size."""
    return _stage([], lambda at: {})


def original(config: Config) -> cells.Small:
    """Photographs, as the stage says."""
    return _stage([("origin", pa.string())], lambda at: {"origin": "original"})


def mixed(config: Config) -> cells.Small:
    """By turns generated, from an image, original, and not known."""

    def more(at: int) -> dict[str, Any]:
        origin = ("generated", "image_to_image", "original", None)[at % 4]
        model = {"model": "small/generator", "steps": 2} if at % 4 < 2 else {}
        return {"origin": origin, **model}

    return _stage([("origin", pa.string()), ("model", pa.string()), ("steps", pa.int32())], more)


def wrong(config: Config) -> cells.Small:
    """An origin that does not exist."""
    return _stage([("origin", pa.string())], lambda at: {"origin": "photo"})

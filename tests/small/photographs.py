"""Stages in generate's place whose images no generator made, or only some: what a person writes who has photographs."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from mals.config import Config
from mals.stages.crop import Crop
from mals.stages.crop import stage as crop_stage
from mals.stages.generated_images import jpeg
from mals.stages.pose import Person
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


FACE_BOX = (25, 10, 39, 28)  # x0, y0, x1, y1 of the faces below
POINTS = {
    0: (32, 20),
    1: (35, 17),
    2: (29, 17),
    3: (38, 18),
    4: (26, 18),
    5: (46, 32),
    6: (18, 32),
    11: (40, 68),
    12: (24, 68),
}  # of COCO's


def chequered_face(config: Config) -> cells.Small:
    """Images of 64 x 128 pixels that are grey but for a face in magenta and green, which are nowhere once it is blurred."""
    pixels = np.full((128, 64, 3), 120, np.uint8)
    x0, y0, x1, y1 = FACE_BOX
    chequers = (np.indices((y1 - y0, x1 - x0)) // 3).sum(0) % 2
    pixels[y0:y1, x0:x1] = np.where(chequers[..., None], (255, 0, 255), (0, 255, 0))
    columns = {"width": 64, "height": 128, "origin": "original"}
    adds = pa.schema([("image", pa.binary()), ("width", pa.int32()), ("height", pa.int32()), ("origin", pa.string())])
    return cells.Small("generate", ("id",), adds, lambda row: {"image": jpeg(pixels), **columns})


def shows_a_face(image: bytes) -> bool:
    """Whether an image has a pixel of their magenta."""
    red, green, blue = np.moveaxis(np.asarray(Image.open(io.BytesIO(image)).convert("RGB")).astype(int), 2, 0)
    return bool(((red - green > 120) & (blue - green > 120)).any())


class KnownPerson:
    """In place of a pose model: the person of these images."""

    def people(self, images: list[np.ndarray]) -> list[list[Person]]:
        keypoints = np.zeros((17, 3), np.float32)
        for number, point in POINTS.items():
            keypoints[number] = [*point, 0.9]
        return [[Person(keypoints, None, 0.9)] for _ in images]


def crop_known_person(config: Config) -> Crop:
    """The stage of mals with this person in place of a model's."""
    ready = crop_stage(config)
    ready._estimator = KnownPerson()
    ready.setup = lambda: None  # type: ignore[method-assign]
    return ready

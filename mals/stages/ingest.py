"""Stage `ingest`: images that exist, in the place of generated ones.

Each file is read and decoded once. A JPEG that is shown as it is stored (upright, grey or RGB, in sRGB) keeps its compressed pixels; all
others are encoded anew as `generate` does it, and `reencoded` says why. What is stored has no metadata. A file that gives no image is
refused with the reason of mals/images.py; one that cannot be read fails.
"""

import hashlib
from typing import Any

import pyarrow as pa

from mals.config import Config
from mals.errors import UserError
from mals.grid.stage import Resources, output_batch
from mals.images import BadImage, decode_image, is_srgb, open_image
from mals.jpeg_header import START, read_header
from mals.jpeg_metadata import without_metadata
from mals.origin import stated_origin
from mals.planning.image_source import ImageReader
from mals.stages.generated_images import QUALITY, jpeg

KEPT_FRAMES = (0xC0, 0xC1, 0xC2)  # sequential and progressive with Huffman codes, which every reader knows


class Ingest:
    """Images of a plan of images."""

    name = "ingest"
    version = 1
    needs: tuple[str, ...] = ("source", "source_name", "origin")
    adds = pa.schema(
        [
            ("image", pa.binary()),  # a JPEG
            ("width", pa.int32()),  # pixels
            ("height", pa.int32()),
            ("origin", pa.string()),  # see mals/origin.py: what the file itself says, or else its collection
            ("source_name", pa.string()),  # of the file, in its collection
            ("source_sha256", pa.string()),  # of the file as it was
            ("reencoded", pa.string()),  # why the pixels were encoded anew; null: they are as they were
        ]
    )
    batch = 16
    resources = Resources(cpus=1)

    def __init__(self) -> None:
        self._reader = ImageReader()

    def params(self) -> dict[str, Any]:
        return {"jpeg_quality": QUALITY}

    def setup(self) -> None:
        pass

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = [self._row(row) for row in batch.to_pylist()]
        columns = {field.name: [row.get(field.name) for row in rows] for field in self.adds}
        return output_batch(self.adds, columns, [row.get("reject") for row in rows], [row.get("error") for row in rows])

    def _row(self, planned: dict[str, Any]) -> dict[str, Any]:
        name = planned["source_name"]
        row = {"source_name": name}
        try:
            data = self._reader.read(planned["source"])
        except UserError:  # of a package that is missing, for all rows
            raise
        except Exception as error:  # of any file system; the row alone is lost
            return row | {"error": f"{type(error).__name__}: {name} cannot be read where it was when the run was planned"}
        row |= {"source_sha256": hashlib.sha256(data).hexdigest(), "origin": stated_origin(metadata(data)) or planned["origin"]}
        try:
            pixels = decode_image(data)
        except BadImage as error:
            return row | {"reject": [error.reason]}
        stored, reason = store(data, pixels)
        return row | {"image": stored, "width": pixels.shape[1], "height": pixels.shape[0], "reencoded": reason}


def stage(config: Config) -> Ingest:
    """The stage; it has no settings."""
    return Ingest()


def store(data: bytes, pixels: Any) -> tuple[bytes, str | None]:
    """An image file as a JPEG without metadata, and why it was encoded anew (None: it was not); `pixels` [H, W, 3] are the decoded ones."""
    if (reason := foreign(data)) is None:
        try:
            return without_metadata(data), None
        except ValueError:
            reason = "structure"
    return jpeg(pixels), reason


def foreign(data: bytes) -> str | None:
    """Why the compressed pixels of a file that can be decoded are not kept; None for a JPEG that is shown as it is stored."""
    if not data.startswith(START):
        return kind(data)
    header = read_header(data)
    if header.components == 4:
        return "cmyk"
    if header.orientation != 1:
        return "orientation"
    if header.profile is not None and not is_srgb(header.profile):
        return "color_profile"
    return None if header.frame in KEPT_FRAMES else "arithmetic_coding"


def kind(data: bytes) -> str:
    """The kind of an image file, in lower case: "png"."""
    with open_image(data) as image:
        return (image.format or "unknown").lower()


def metadata(data: bytes) -> bytes:
    """What an image file says of itself: the file, in which XMP and C2PA mostly stand as they are, and XMP that PNG compresses."""
    if b"XML:com.adobe.xmp" not in data[: 1 << 20]:
        return data
    try:
        with open_image(data) as image:
            xmp = image.info.get("xmp", b"")
            return data + (xmp if isinstance(xmp, bytes) else xmp.encode())
    except Exception:  # damaged; decoding says so
        return data

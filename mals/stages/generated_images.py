"""The columns of an image that a model made, whatever made it."""

from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from mals.images import Pixels

QUALITY = 95  # of the JPEG, without colour subsampling
LEVELS = 1  # an image whose channels each vary by at most this many of 255 levels is constant
ADDS = pa.schema(
    [
        ("image", pa.binary()),
        ("width", pa.int32()),  # pixels
        ("height", pa.int32()),
        ("model", pa.string()),
        ("revision", pa.string()),
        ("pipeline", pa.string()),
        ("scheduler", pa.string()),
        ("steps", pa.int32()),
        ("guidance", pa.float32()),
        ("strength", pa.float32()),  # null for an image that was made from noise
        ("dtype", pa.string()),
        ("batch", pa.int32()),  # rows in the pipeline's call, padding included
        ("lora", pa.string()),
        ("origin", pa.string()),  # generated, or image_to_image where the plan gave an initial image
    ]
)


def columns_of(pixels: Pixels) -> dict[str, Any]:
    """The image [H, W, 3] as a JPEG with its size, refused where it is of one colour."""
    flat = int(np.ptp(pixels, axis=(0, 1)).max()) <= LEVELS
    return {
        "image": jpeg(pixels),
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "reject": ["constant_image"] if flat else None,
    }


def jpeg(pixels: np.ndarray) -> bytes:
    """[H, W, 3] uint8 RGB as a JPEG of quality 95, without chroma subsampling."""
    sink = BytesIO()
    Image.fromarray(pixels).save(sink, "JPEG", quality=QUALITY, subsampling=0)
    return sink.getvalue()

"""The filter stage: numbers of every generated picture, and the rules that refuse by them.

    ref_bytes          the size of the picture as a JPEG at the reference quality, 4:2:0, standard Huffman tables. A file's own size
                       depends on its encoder (one picture: 54 kB at quality 75, 116 kB at 95): MALS' rule of 24 kB needs one named
    bits_per_pixel     8 ref_bytes / pixels: the same rule for pictures of any size
    channel_variance   mean over (R-G, G-B, B-R) of the variance of that difference over the pixels, 8-bit scale; 0 for grey pictures, and
                       for pictures of one colour
    sharpness          variance of the Laplacian of the luma, with the longer side reduced to a fixed number of pixels (never enlarged)
    phash              imagehash's 64-bit perceptual hash of that luma, reduced by area averaging

A picture is decoded once. The variances come from exact integers: that of a difference follows from the sums of it and of its square.
JPEG pictures of the usual kind, such as generate writes, go through jpeg/recode.c, which takes no longer than decoding alone; the numbers
are the same either way, to the last bit. Rules see them as they are stored, in 32 bits.
"""

from ctypes import c_float
from functools import lru_cache
from io import BytesIO
from typing import Any

import pyarrow as pa

from mals.config import Config
from mals.config import Filter as Settings
from mals.grid.stage import Resources, Stage, answer, describe
from mals.stages.recode import Recoded, native, recode

ADDS = pa.schema(
    [
        ("ref_bytes", pa.int32()),
        ("bits_per_pixel", pa.float32()),
        ("channel_variance", pa.float32()),
        ("sharpness", pa.float32()),
        ("phash", pa.uint64()),
    ]
)
RULES = {  # reason -> the number and the setting that is its least value; in the order of the reasons
    "small_file": ("ref_bytes", "min_bytes"),
    "low_bits": ("bits_per_pixel", "min_bits_per_pixel"),
    "grey": ("channel_variance", "min_channel_variance"),
    "blurred": ("sharpness", "min_sharpness"),
}
Numbers = dict[str, Any]


def stage(config: Config) -> Stage:
    return Filter(config.filter)


class Filter:
    """The stage of this module."""

    name = "filter"
    version = 1
    needs: tuple[str, ...] = ("image",)
    adds = ADDS
    resources = Resources(cpus=1)

    def __init__(self, settings: Settings):
        self.settings = settings
        self.batch = settings.batch

    def params(self) -> dict[str, Any]:
        return self.settings.model_dump(mode="json", exclude={"batch"})

    def setup(self) -> None:
        import cv2  # noqa: F401 - loaded here, so that the threads of all libraries are set before work begins
        import simplejpeg  # noqa: F401

        native()

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        numbers: list[Numbers] = []
        errors: list[str | None] = []
        for image in batch["image"]:
            try:
                numbers.append(measure(image.as_buffer(), self.settings))
                errors.append(None)
            except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises for a picture that it cannot read
                numbers.append(dict.fromkeys(ADDS.names))
                errors.append(describe(error, "cannot read the picture"))
        reasons = [None if error else refusals(row, self.settings) for row, error in zip(numbers, errors, strict=True)]
        return answer(ADDS, {name: [row[name] for row in numbers] for name in ADDS.names}, reasons, errors)


def refusals(numbers: Numbers, settings: Settings) -> list[str]:
    """Every rule that refuses a picture of these numbers, in the order of RULES."""
    found = []
    for reason, (number, setting) in RULES.items():
        least = getattr(settings, setting)
        if least is not None and numbers[number] < least:
            found.append(reason)
    return found


def measure(image: Any, settings: Settings) -> Numbers:
    """The numbers of one encoded picture (any bytes-like); raises OSError or ValueError where it cannot be read."""
    image = memoryview(image).cast("B")  # Arrow's buffers are signed
    found = recode(image, settings.reference_quality) or by_libraries(image, settings.reference_quality)
    luma = reduced(found.luma, settings.sharpness_side)
    return {
        "ref_bytes": found.size,
        "bits_per_pixel": c_float(8 * found.size / found.pixels).value,
        "channel_variance": c_float(channel_variance(found)).value,
        "sharpness": c_float(sharpness(luma)).value,
        "phash": perceptual_hash(luma),
    }


def by_libraries(image: Any, quality: int) -> Recoded:
    """What recode gives, for every kind of picture; raises OSError or ValueError."""
    import cv2
    import numpy as np
    from PIL import Image

    pixels = decode(image)
    height, width = pixels.shape[:2]
    channels = cv2.split(pixels, [scratch(f"channel {at}", height, width) for at in range(3)])
    blue, green, red = (int(total) for total in cv2.sumElems(pixels)[:3])
    # rounded: OpenCV takes a root and squares it again
    squares = [round(cv2.norm(channels[a], channels[b], cv2.NORM_L2SQR)) for a, b in ((2, 1), (1, 0), (0, 2))]
    luma = np.asarray(Image.frombuffer("RGB", (width, height), pixels, "raw", "BGR").convert("L"))
    size = _reference_bytes(pixels, quality)
    return Recoded(size, height * width, [red - green, green - blue, blue - red], squares, luma)


@lru_cache(8)
def scratch(use: str, *shape: int) -> Any:
    """An array that every picture of one size uses again: fresh pages for each one would cost as much as the measuring."""
    import numpy as np

    return np.empty(shape, np.uint8)


def decode(image: Any) -> Any:
    """[H, W, 3] uint8, blue first, to be used before the next call; transparency is dropped, 16 bits are scaled to 8.

    Raises OSError or ValueError.
    """
    import numpy as np
    import simplejpeg
    from PIL import Image

    if bytes(image[:2]) == b"\xff\xd8":
        try:
            height, width, _, _ = simplejpeg.decode_jpeg_header(image)
            return simplejpeg.decode_jpeg(image, "BGR", buffer=scratch("pixels", height, width, 3))
        except ValueError:
            pass  # CMYK, or broken: Pillow knows, and says which
    with Image.open(BytesIO(image)) as opened:
        if opened.mode.startswith("I"):  # 16-bit grey, which Pillow would clip
            grey = np.asarray(opened).astype(np.float64)
            return np.repeat(np.clip(grey / 257 + 0.5, 0, 255).astype(np.uint8)[:, :, None], 3, 2)
        return np.ascontiguousarray(np.asarray(opened.convert("RGB"))[:, :, ::-1])


def _reference_bytes(pixels: Any, quality: int) -> int:
    import cv2

    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    return len(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality, *sampling])[1])


def channel_variance(found: Recoded) -> float:
    """Mean over the three channel pairs of the variance of their difference, [0, 16256.25]."""
    n = found.pixels
    return sum(n * squares - total * total for total, squares in zip(found.sums, found.squares, strict=True)) / (3 * n * n)


def reduced(luma: Any, side: int) -> Any:
    """[H, W] uint8 by area averaging to a longer side of `side` pixels; smaller pictures stay as they are."""
    import cv2

    height, width = luma.shape
    if (longer := max(height, width)) <= side:
        return luma
    size = (max(1, round(width * side / longer)), max(1, round(height * side / longer)))
    return cv2.resize(luma, size, interpolation=cv2.INTER_AREA)


def sharpness(luma: Any) -> float:
    """Variance of the Laplacian of [H, W] uint8."""
    import cv2

    edges = cv2.Laplacian(luma, cv2.CV_16S)
    squares, total, n = round(cv2.norm(edges, cv2.NORM_L2SQR)), int(cv2.sumElems(edges)[0]), edges.size
    return (n * squares - total * total) / (n * n)


def perceptual_hash(luma: Any) -> int:
    """The 64 bits of imagehash.phash on [H, W] uint8 reduced to 32 x 32, as one number; a few times as fast as the library."""
    import cv2
    import numpy as np

    small = cv2.resize(luma, (32, 32), interpolation=cv2.INTER_AREA)
    waves = cv2.dct(small.astype(np.float64))[:8, :8]
    waves[0] *= 2**0.5  # OpenCV scales the constant waves down; the library's transform does not
    waves[:, 0] *= 2**0.5
    ordered = np.sort(waves, axis=None)
    return int.from_bytes(np.packbits(waves > (ordered[31] + ordered[32]) / 2).tobytes(), "big")

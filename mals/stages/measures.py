"""The measures of an image by which the filter stage refuses: size as a JPEG, colour, sharpness, light, size in pixels; a perceptual hash.

    ref_bytes          size in bytes of the image as a JPEG of the reference quality, 4:2:0, standard Huffman tables. A file's own size
                       depends on its encoder (the same image: 54 kB at quality 75, 116 kB at 95), so a rule in bytes needs one encoding
    bits_per_pixel     8 ref_bytes / pixels: the same rule for images of any size
    channel_variance   mean over (R-G, G-B, B-R) of the variance of that difference over the pixels, on the 8-bit scale, in [0, 16256.25];
                       0 for grey images and for images of one colour
    sharpness          variance of the Laplacian of the luma, after the longer side is reduced to a fixed number of pixels (never enlarged)
    phash              imagehash's 64-bit perceptual hash of that luma, reduced by area averaging
    luminance          mean of the luma over the pixels, in [0, 255]
    overexposure       share of the pixels whose luma is at least 250, in [0, 1]: there, bright parts have lost their detail
    width, height      pixels of the upright image
    aspect             height / width

Sums are sums of integers, so no measure depends on the order of addition. Floats are rounded to 32 bits, as they are stored.
"""

from ctypes import c_float
from typing import Any

from mals.config import Filter as Settings
from mals.images import Pixels

CLIPPED = 250  # luma; a JPEG scatters white pixels down to about it


def measure(pixels: Pixels, settings: Settings) -> dict[str, Any]:
    """The measures of the pixels [H, W, 3] of an image."""
    import cv2

    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    height, width = bgr.shape[:2]
    size = reference_bytes(bgr, settings.reference_quality)
    grey = luma(cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA))
    small = reduced(grey, settings.sharpness_side)
    return {
        "ref_bytes": size,
        "bits_per_pixel": c_float(8 * size / (height * width)).value,
        "channel_variance": c_float(channel_variance(bgr)).value,
        "sharpness": c_float(sharpness(small)).value,
        "phash": perceptual_hash(small),
        "luminance": c_float(cv2.sumElems(grey)[0] / grey.size).value,
        "overexposure": c_float(cv2.countNonZero(cv2.inRange(grey, CLIPPED, 255)) / grey.size).value,
        "width": width,
        "height": height,
        "aspect": height / width,
    }


def luma(rgbx: Any) -> Any:
    """[H, W, 4] uint8 to [H, W] uint8, as Pillow's mode L and JPEG define it; OpenCV's grey differs by one level in some pixels."""
    import numpy as np
    from PIL import Image

    height, width = rgbx.shape[:2]
    return np.asarray(Image.frombuffer("RGBX", (width, height), rgbx, "raw", "RGBX", 0, 1).convert("L"))  # without copying rgbx


def reference_bytes(bgr: Any, quality: int) -> int:
    """Size of [H, W, 3] uint8 as a JPEG, to the byte what Pillow writes (simplejpeg's encoder uses a less exact transform)."""
    import cv2

    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    return len(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality, *sampling])[1])


def channel_variance(bgr: Any) -> float:
    """Mean over the three channel pairs of the variance of their difference, [0, 16256.25], from [H, W, 3] uint8."""
    import cv2

    channels = cv2.split(bgr)
    blue, green, red = (int(total) for total in cv2.sumElems(bgr)[:3])
    # rounded: OpenCV takes a root and squares it again
    squares = sum(round(cv2.norm(channels[a], channels[b], cv2.NORM_L2SQR)) for a, b in ((2, 1), (1, 0), (0, 2)))
    pixels = bgr.shape[0] * bgr.shape[1]
    totals = (red - green) ** 2 + (green - blue) ** 2 + (blue - red) ** 2
    return (pixels * squares - totals) / (3 * pixels * pixels)


def reduced(luma: Any, side: int) -> Any:
    """[H, W] uint8 by area averaging to a longer side of `side` pixels; smaller images stay as they are."""
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
    """The 64 bits of imagehash.phash on [H, W] uint8 reduced to 32 x 32, as one number; several times as fast as the library."""
    import cv2
    import numpy as np

    small = cv2.resize(luma, (32, 32), interpolation=cv2.INTER_AREA)
    waves = cv2.dct(small.astype(np.float64))[:8, :8]
    waves[0] *= 2**0.5  # OpenCV scales the constant waves down; imagehash's transform does not
    waves[:, 0] *= 2**0.5
    ordered = np.sort(waves, axis=None)
    return int.from_bytes(np.packbits(waves > (ordered[31] + ordered[32]) / 2).tobytes(), "big")

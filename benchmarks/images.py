"""Synthetic images with the statistics of photographs."""

from io import BytesIO

import numpy as np
from PIL import Image


def photograph(seed: int, height: int = 512, width: int = 512) -> np.ndarray:
    """[H, W, 3] uint8: coloured noise whose amplitude falls with frequency as in nature; about 115 kB as a JPEG of quality 95, 4:4:4."""
    random = np.random.default_rng(seed)
    down, across = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    frequency = np.hypot(down, across)
    frequency[0, 0] = 1
    fields = []
    for _ in range(3):
        field = np.fft.irfft2(np.fft.rfft2(random.normal(size=(height, width))) / frequency**1.5, (height, width))
        fields.append(field / field.std())
    light, warm, cold = fields
    colours = np.stack([light + 0.35 * warm, light, light + 0.35 * cold], -1)
    return np.clip(colours * 45 + 120, 0, 255).astype(np.uint8)


def encoded(pixels: np.ndarray, kind: str = "JPEG", **options: object) -> bytes:
    """The image as a file; by default a JPEG as the generate stage writes it."""
    sink = BytesIO()
    settings = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    Image.fromarray(pixels).save(sink, kind, **(settings | options))
    return sink.getvalue()

"""Cameras: each has a colour cast, a sharpness, a height above the ground and a place that it looks at; each image has its own noise."""

from dataclasses import dataclass

import cv2
import numpy as np

from mals.images import decode_image

CAMERAS = 6


@dataclass(frozen=True)
class Camera:
    """What one camera does to all its images."""

    number: int
    color_cast: tuple[float, float, float]  # factors of red, green and blue
    gamma: float
    sharpness: float  # sensor pixels for each pixel of the image, along each axis
    horizon: float  # row where the ground begins, as a share of the height: a high camera sees much ground
    foreshortening: float  # factor of body heights: a high camera sees people shorter
    place: str
    place_seed: int  # of the objects that stand about in the place

    @staticmethod
    def numbered(seed: int, number: int, places: tuple[str, ...]) -> "Camera":
        """Camera `number` of the world `seed`."""
        rng = np.random.default_rng((seed, 0xCA3, number))
        red, green, blue = (float(value) for value in 1 + rng.uniform(-0.07, 0.07, 3))
        return Camera(
            number=number,
            color_cast=(red, green, blue),
            gamma=float(rng.uniform(0.88, 1.14)),
            sharpness=float(rng.uniform(0.6, 1.0)),
            horizon=float(rng.uniform(0.42, 0.66)),
            foreshortening=float(rng.uniform(0.93, 1.0)),
            place=places[int(rng.integers(len(places)))],
            place_seed=int(rng.integers(1 << 30)),
        )


@dataclass(frozen=True)
class Exposure:
    """What differs between images of the same camera."""

    light: float  # factor of all levels
    light_slope: float  # light from one side, -1 (left) to 1 (right)
    blur: float  # standard deviation in pixels of the canvas
    noise: float  # standard deviation in levels of 0 to 255
    quality: int  # of the JPEG


def expose(canvas: np.ndarray, camera: Camera, exposure: Exposure, height: int, rng: np.random.Generator) -> np.ndarray:
    """The image [height, height / 2, 3] uint8 that the camera takes of a canvas [H, W, 3]."""
    pixels = cv2.GaussianBlur(canvas, (0, 0), exposure.blur) if exposure.blur > 0.2 else canvas
    size = (height // 2, height)
    if camera.sharpness < 0.97:
        sensor = (round(size[0] * camera.sharpness), round(size[1] * camera.sharpness))
        pixels = cv2.resize(pixels, sensor, interpolation=cv2.INTER_AREA)
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)
    elif pixels.shape[0] != height:
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    levels = pixels.astype(np.float32) * (1 / 255)
    if abs(camera.gamma - 1) > 0.01:
        cv2.pow(levels, camera.gamma, levels)
    slope = 1 + exposure.light_slope * np.linspace(-0.12, 0.12, size[0], dtype=np.float32)
    levels *= (slope * exposure.light)[None, :, None] * np.array(camera.color_cast, np.float32)
    levels *= 255
    if exposure.noise > 0:
        levels += rng.standard_normal(levels.shape, dtype=np.float32) * exposure.noise
    pixels = np.clip(levels, 0, 255).astype(np.uint8)
    return jpeg_pixels(pixels, exposure.quality) if exposure.quality < 100 else pixels


def jpeg_pixels(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Pixels [H, W, 3] after compression as a JPEG of that quality."""
    _, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return decode_image(data.tobytes())

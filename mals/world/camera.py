"""Cameras: each has a colour cast, a sharpness, a height above the ground and a place that it looks at; a picture adds its own noise."""

from dataclasses import dataclass

import cv2
import numpy as np

CAMERAS = 6


@dataclass(frozen=True)
class Camera:
    """What one camera does to every picture that it takes."""

    number: int
    cast: tuple[float, float, float]  # red, green, blue times this
    gamma: float
    sharp: float  # of the picture's pixels, those that the sensor has along each axis
    horizon: float  # row where the ground begins, a share of the height: a high camera sees much ground
    squat: float  # heights times this: a high camera sees people shorter
    place: str
    scene: int  # seed of the place's things that do not move

    @staticmethod
    def numbered(seed: int, number: int, places: tuple[str, ...]) -> "Camera":
        """Camera `number` of the world `seed`."""
        rng = np.random.default_rng((seed, 0xCA3, number))
        red, green, blue = (float(value) for value in 1 + rng.uniform(-0.07, 0.07, 3))
        return Camera(
            number=number,
            cast=(red, green, blue),
            gamma=float(rng.uniform(0.88, 1.14)),
            sharp=float(rng.uniform(0.6, 1.0)),
            horizon=float(rng.uniform(0.42, 0.66)),
            squat=float(rng.uniform(0.93, 1.0)),
            place=places[int(rng.integers(len(places)))],
            scene=int(rng.integers(1 << 30)),
        )


@dataclass(frozen=True)
class Shot:
    """What is of one picture alone."""

    light: float  # all values times this
    side: float  # light from one side: the slope across the picture, -1 to 1
    blur: float  # pixels of the canvas, standard deviation
    noise: float  # levels, standard deviation
    quality: int  # of the JPEG


def expose(canvas: np.ndarray, camera: Camera, shot: Shot, height: int, rng: np.random.Generator) -> np.ndarray:
    """The canvas [H, W, 3] as that camera takes it, [height, height / 2, 3] uint8."""
    pixels = cv2.GaussianBlur(canvas, (0, 0), shot.blur) if shot.blur > 0.2 else canvas
    size = (height // 2, height)
    if camera.sharp < 0.97:
        pixels = cv2.resize(pixels, (round(size[0] * camera.sharp), round(size[1] * camera.sharp)), interpolation=cv2.INTER_AREA)
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)
    elif pixels.shape[0] != height:
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    levels = pixels.astype(np.float32) * (1 / 255)
    if abs(camera.gamma - 1) > 0.01:
        cv2.pow(levels, camera.gamma, levels)
    slope = 1 + shot.side * np.linspace(-0.12, 0.12, size[0], dtype=np.float32)
    levels *= (slope * shot.light)[None, :, None] * np.array(camera.cast, np.float32)
    levels *= 255
    if shot.noise > 0:
        levels += rng.standard_normal(levels.shape, dtype=np.float32) * shot.noise
    pixels = np.clip(levels, 0, 255).astype(np.uint8)
    return jpeg_pixels(pixels, shot.quality) if shot.quality < 100 else pixels


def jpeg_pixels(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Pixels [H, W, 3] after a JPEG of that quality."""
    _, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1])

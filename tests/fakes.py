"""Stages without models, for tests of the grid: `stages.generate=tests.fakes:painter` puts one in place of ours.

They work on real images in the real columns, and are pure functions of their rows, so that any difference after a kill comes from
the grid.
"""

import sys
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from mals.config import Config
from mals.errors import UserError
from mals.grid.cells import build_stage
from mals.grid.stage import Resources, Stage, output_batch, row_seed


def jpeg(pixels: np.ndarray) -> bytes:
    """[H, W, 3] uint8 as a JPEG of quality 95, 4:4:4."""
    sink = BytesIO()
    Image.fromarray(pixels).save(sink, "JPEG", quality=95, subsampling=0)
    return sink.getvalue()


def png(pixels: np.ndarray) -> bytes:
    """[H, W, 3] uint8 as a PNG."""
    sink = BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def block_image(seed: int, height: int = 64, width: int = 32) -> np.ndarray:
    """An image [H, W, 3] of colored blocks, a function of the seed."""
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return blocks.repeat(8, 0).repeat(8, 1)


class Fake:
    """A stage whose columns are those of the real one."""

    version = 1
    resources = Resources(gpus=1)  # so that batches are padded, as for a model

    def __init__(self, name: str, real: Stage, needs: tuple[str, ...], config: Config):
        self.name, self.adds, self.needs, self.config = name, real.adds, needs, config
        self.batch = 8

    def params(self) -> dict[str, Any]:
        return {"fake": type(self).__name__, "beams": self.config.caption.captioners[0].beams if self.name == "caption" else 0}

    def setup(self) -> None:
        pass

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = [self.row(row) for row in batch.to_pylist()]
        return output_batch(
            self.adds, {field.name: [row.get(field.name) for row in rows] for field in self.adds}, [row.get("reject") for row in rows]
        )

    def row(self, row: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError


class Painter(Fake):
    """Blocks of colour instead of diffusion."""

    def row(self, row: dict[str, Any]) -> dict[str, Any]:
        pixels = block_image(row["seed"])
        facts = {
            "model": "painter",
            "revision": "1",
            "pipeline": "Painter",
            "scheduler": "none",
            "steps": 1,
            "guidance": 1.0,
            "dtype": "fp32",
            "origin": "generated",
        }
        return {"image": jpeg(pixels), "width": pixels.shape[1], "height": pixels.shape[0], "batch": self.batch, **facts}


class ShortOfMemory(Painter):
    """Runs out of memory with more than four rows."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if len(batch) > 4:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return super().__call__(batch)


class MostlyFailing(Painter):
    """Fails on nine rows of ten."""

    def row(self, row: dict[str, Any]) -> dict[str, Any]:
        if row["seed"] % 10:
            raise ValueError("the brush is dry")
        return super().row(row)


class OneBadRow(Painter):
    """Fails on the row whose prompt says so."""

    def __init__(self, name: str, real: Stage, needs: tuple[str, ...], config: Config):
        super().__init__(name, real, (*needs, "prompt"), config)

    def row(self, row: dict[str, Any]) -> dict[str, Any]:
        if "bad" in row["prompt"]:
            raise ValueError("this row is bad")
        return super().row(row)


class OddMistake(UserError):
    """A mistake of a stage of one's own that no other process can read."""

    def __init__(self, model: str, *, needed: int):
        super().__init__(f"{model} needs {needed} GB")


class Mistaken(Painter):
    """Raises one."""

    def row(self, row: dict[str, Any]) -> dict[str, Any]:
        raise OddMistake("the brush", needed=80)


class Leaver(Painter):
    """Calls sys.exit, as command line code may."""

    def row(self, row: dict[str, Any]) -> dict[str, Any]:
        sys.exit("no brush")


class Cropper(Fake):
    """The middle of the image; every fifth image shows no person."""

    def row(self, row: dict[str, Any]) -> dict[str, Any]:
        if row_seed(0, row["id"], "crop") % 5 == 0:
            return {"persons": 0, "reject": ["no_person"]}
        image = Image.open(BytesIO(row["image"])).convert("RGB")
        box = (4, 4, image.width - 4, image.height - 4)
        points = [[8.0 + i, 8.0 + 2 * i, 0.9] for i in range(17)]
        pixels = np.asarray(image.crop(box))
        crop = {"crop": jpeg(pixels), "crop_width": pixels.shape[1], "crop_height": pixels.shape[0], "crop_box": list(box)}
        return {"persons": 1, "person_score": 0.9, "keypoints": points, "person_box": [float(v) for v in box], **crop}


class Captioner(Fake):
    """One of a few sentences, by id."""

    SENTENCES = ("a woman in a red coat and black pants", "a man wearing a white shirt and blue jeans with a backpack", "a person")

    def row(self, row: dict[str, Any]) -> dict[str, Any]:
        text = self.SENTENCES[row_seed(0, row["id"], "caption") % 3]
        entry = {"text": text, "raw": text, "model": "captioner", "revision": "1", "prompt": "", "repetition": 0.0}
        return {"caption": text, "captions": [entry]}


class Slow(Fake):
    """Takes a moment for each call, so that there is time to interfere, under a bar that is not shown, as models do."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        import time

        from tqdm import tqdm

        with tqdm(disable=True):
            time.sleep(0.2)
        return super().__call__(batch)


class SlowCaptioner(Slow, Captioner):
    pass


def ours(name: str, config: Config) -> Stage:
    """The stage that a fake stands in for."""
    return build_stage(name, config.model_copy(update={"stages": {}}))


def painter(config: Config) -> Stage:
    return Painter("generate", ours("generate", config), ("seed",), config)


def short_of_memory(config: Config) -> Stage:
    return ShortOfMemory("generate", ours("generate", config), ("seed",), config)


def mostly_failing(config: Config) -> Stage:
    return MostlyFailing("generate", ours("generate", config), ("seed",), config)


def one_bad_row(config: Config) -> Stage:
    return OneBadRow("generate", ours("generate", config), ("seed",), config)


def mistaken(config: Config) -> Stage:
    return Mistaken("generate", ours("generate", config), ("seed",), config)


def leaver(config: Config) -> Stage:
    return Leaver("generate", ours("generate", config), ("seed",), config)


def cropper(config: Config) -> Stage:
    return Cropper("crop", ours("crop", config), ("id", "image"), config)


def captioner(config: Config) -> Stage:
    return Captioner("caption", ours("caption", config), ("id",), config)


def slow_captioner(config: Config) -> Stage:
    return SlowCaptioner("caption", ours("caption", config), ("id",), config)


def labeller(config: Config) -> Stage:
    return Captioner("label", ours("label", config), ("id",), config)


FAST = [  # settings of a run in which nothing needs a model
    "stages.generate=tests.fakes:painter",
    "stages.crop=tests.fakes:cropper",
    "stages.caption=tests.fakes:captioner",
    "shard_rows=8",
    "pack.rows_per_file=16",
    "run.workers=1",
]

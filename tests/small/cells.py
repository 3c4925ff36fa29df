"""A finished run in under a second: a real plan, real cells and receipts, with small stages in place of the models.

`python -m tests.small.cells FOLDER ROWS` writes such a run. Row i is refused by the filter where i % 10 is 3 (as small, and every
second such row as grey too), by the crop where i % 10 is 6, and fails in `generate` where i % 50 is 8; all others are kept.
"""

import hashlib
import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mals import settings
from mals.config import Config
from mals.grid.plan import RECEIPT, PlanFile, PlanReceipt, PlanRequest, plan_file, plan_settings
from mals.grid.run import Run, save_settings
from mals.grid.stage import Resources, output_batch
from mals.grid.store import Store
from mals.planning.table import PLAN
from tests.one_cell import make_cell

STAGES = ("generate", "safety", "filter", "crop", "caption", "label")
COUNTS = ("heads", "visible_head", "visible_arms", "visible_hips", "visible_legs", "cut_keypoints")
KEYPOINTS = pa.list_(pa.list_(pa.float32(), 3), 17)
CAPTIONS = pa.list_(
    pa.struct(
        [
            ("text", pa.string()),
            ("raw", pa.string()),
            ("model", pa.string()),
            ("revision", pa.string()),
            ("prompt", pa.string()),
            ("repetition", pa.float32()),
            ("instruction", pa.string()),
            ("template", pa.string()),
            ("tries", pa.int32()),
            ("refused", pa.string()),
        ]
    )
)


class Small:
    """A stage from a function of one row."""

    version = 1
    batch = 16
    resources = Resources()

    def __init__(self, name: str, needs: tuple[str, ...], adds: pa.Schema, answer_row: Callable[[dict[str, Any]], dict[str, Any]]):
        self.name, self.needs, self.adds, self.answer_row = name, needs, adds, answer_row

    def params(self) -> dict[str, Any]:
        return {"small": True}

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = [self.answer_row(row) for row in batch.to_pylist()]
        columns: dict[str, Sequence[Any]] = {name: [row.get(name) for row in rows] for name in self.adds.names}
        return output_batch(self.adds, columns, [row.get("reject") for row in rows], [row.get("error") for row in rows])


def number(row_id: str) -> int:
    return int(row_id.rsplit("-", 1)[1])


def small_jpeg(text: str, width: int, height: int) -> bytes:
    """A small JPEG that is a function of `text`."""
    pixels = np.frombuffer(hashlib.blake2b(text.encode()).digest()[:48], np.uint8).reshape(4, 4, 3)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((width, height)).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def generate(config: Config) -> Small:
    kinds = {"steps": pa.int32(), "batch": pa.int32(), "guidance": pa.float32(), "strength": pa.float32()}
    names = ("model", "revision", "pipeline", "scheduler", "steps", "guidance", "strength", "dtype", "batch", "lora")
    facts = [(name, kinds.get(name, pa.string())) for name in names]
    adds = pa.schema([("image", pa.binary()), ("width", pa.int32()), ("height", pa.int32()), *facts, ("origin", pa.string())])

    def answer_row(row: dict[str, Any]) -> dict[str, Any]:
        if number(row["id"]) % 50 == 8:
            return {"error": f"OSError: cannot open /home/somebody/pictures/{row['id']}.png"}
        columns = {"image": small_jpeg(row["id"], 48, 96), "width": 48, "height": 96, "model": "small/generator", "revision": "0" * 40}
        columns["origin"] = "generated" if number(row["id"]) % 4 else "image_to_image"
        return columns | {"pipeline": "Small", "scheduler": "Euler", "steps": 2, "guidance": 1.5, "dtype": "fp32", "batch": 16}

    return Small("generate", ("id",), adds, answer_row)


def safety(config: Config) -> Small:
    return Small("safety", ("id",), pa.schema([("nsfw_score", pa.float32())]), lambda row: {})


def filter(config: Config) -> Small:
    floats = [(name, pa.float32()) for name in ("bits_per_pixel", "channel_variance", "sharpness", "luminance", "overexposure")]

    def answer_row(row: dict[str, Any]) -> dict[str, Any]:
        at = number(row["id"])
        reject = (["small_file", "grey"] if at % 20 == 3 else ["small_file"]) if at % 10 == 3 else None
        numbers = {"ref_bytes": 100 + at, "bits_per_pixel": 0.5, "channel_variance": float(at), "sharpness": 9.0}
        return numbers | {"phash": (1 << 63) + at, "reject": reject}

    return Small("filter", ("id", "image"), pa.schema([("ref_bytes", pa.int32()), *floats, ("phash", pa.uint64())]), answer_row)


def crop(config: Config) -> Small:
    adds = pa.schema(
        [
            ("persons", pa.int32()),
            ("person_score", pa.float32()),
            *((name, pa.int32()) for name in COUNTS),
            ("keypoints", KEYPOINTS),
            ("person_box", pa.list_(pa.float32(), 4)),
            ("crop_box", pa.list_(pa.int32(), 4)),
            ("crop", pa.binary()),
            ("crop_width", pa.int32()),
            ("crop_height", pa.int32()),
            ("heads_blurred", pa.int32()),
        ]
    )

    def answer_row(row: dict[str, Any]) -> dict[str, Any]:
        at = number(row["id"])
        if at % 10 == 6:
            return {"persons": 0, "person_score": 0.0, "reject": ["no_person"]}
        size = (24 + at % 5, 64)
        points = [[float(k), float(at), 0.5] for k in range(17)]
        columns = {"persons": 1, "person_score": 0.75, "keypoints": points, "person_box": [1.0, 2.0, 30.5, 60.0], "crop_box": [0, 0, *size]}
        return columns | {"crop": small_jpeg(f"crop {row['id']}", *size), "crop_width": size[0], "crop_height": size[1]}

    return Small("crop", ("id", "image"), adds, answer_row)


def quality(config: Config) -> Small:
    def answer_row(row: dict[str, Any]) -> dict[str, Any]:
        marked = number(row["id"]) % 10 == 5
        return {"watermark_score": 0.75 if marked else 0.25, "reject": ["watermark"] if marked else None}

    return Small("quality", ("id", "crop"), pa.schema([("watermark_score", pa.float32())]), answer_row)


def caption(config: Config) -> Small:
    def answer_row(row: dict[str, Any]) -> dict[str, Any]:
        at = number(row["id"])
        text = f"a man in a red shirt, number {at}, “näh”"
        captions = [
            {"text": text, "raw": text + " and " + text, "model": "small/blip", "revision": "1" * 40, "prompt": "", "repetition": 0.5},
            {"text": "a person", "raw": "a person", "model": "small/vlm", "revision": "2" * 40, "prompt": "Describe.", "repetition": 0.0},
        ]
        return {"caption": text, "captions": captions}

    return Small("caption", ("id", "crop"), pa.schema([("caption", pa.string()), ("captions", CAPTIONS)]), answer_row)


def label(config: Config) -> Small:
    lists = [("attributes", pa.list_(pa.int8())), ("attribute_source", pa.list_(pa.string()))]
    adds = pa.schema([*lists, ("agreement_captions", pa.float32()), ("agreement_wanted", pa.float32())])

    def answer_row(row: dict[str, Any]) -> dict[str, Any]:
        values = attribute_values(number(row["id"]))
        words = [("explicit", "implicit", "unknown")[value if value >= 0 else 2] for value in values]
        return {"attributes": values, "attribute_source": words, "agreement_captions": 0.5, "agreement_wanted": None}

    return Small("label", ("id", "captions"), adds, answer_row)


def attribute_values(at: int) -> list[int]:
    """27 values in {-1, 0, 1} that differ from row to row."""
    return [(at + 7 * i) % 3 - 1 for i in range(27)]


def write_plan(store: Store, config: Config, rows: int, without: Sequence[str] = ()) -> None:
    """A plan of `rows` rows: every second with a person, every third with requested attributes, every fourth with an initial image.

    `without`: columns that it does not have.
    """
    each = config.shard_rows
    ids = [f"row-{at:06d}" for at in range(rows)]
    columns = {
        "id": ids,
        "prompt": [f"a photo of a man in a red shirt, number {at}" for at in range(rows)],
        "negative_prompt": ["blurry"] * rows,
        "seed": [(1 << 62) + at for at in range(rows)],
        "caption": [f"a man in a red shirt, number {at}" for at in range(rows)],
        "person": [f"person {at // 6}" if at % 2 else None for at in range(rows)],
        "camera": [f"c{at % 4}" if at % 2 else None for at in range(rows)],
        "wanted": [attribute_values(at) if at % 3 == 0 else None for at in range(rows)],
        "init_image": [f"/home/somebody/pictures/{at}.jpg" if at % 4 == 0 else None for at in range(rows)],
        "prompt_tokens": [12] * rows,
        "prompt_cut": [at % 25 == 0 for at in range(rows)],
    }
    table = pa.table(columns, PLAN).drop_columns(list(without))
    with store.writer(plan_file(0)) as path:
        pq.write_table(table, path, row_group_size=each)
    file = PlanFile(path=plan_file(0), bytes=store.size(plan_file(0)) or 0, sha256=store.sha256(plan_file(0)))
    receipt = PlanReceipt(
        rows=rows,
        shard_rows=each,
        shards_per_file=-(-rows // each),
        fingerprint=file.sha256,
        files=[file],
        request=PlanRequest(captions_file=None, count=rows, images=None, form={}, grammar={}, settings=plan_settings(config)),
        prompts_cut=None,
        token_limit=None,
    )
    store.commit(RECEIPT, json.dumps(receipt.to_json()).encode())


def planned_run(
    folder: Path | str,
    rows: int = 100,
    shard_rows: int = 16,
    stages: dict[str, str] | None = None,
    sections: dict[str, Any] | None = None,
    without: Sequence[str] = (),
    **pack: Any,
) -> Run:
    """A run at `folder` without cells, by these stages or by `stages`, and a plan `without` these columns.

    `pack` are its pack settings, `sections` other ones.
    """
    tree = {
        **(sections or {}),
        "preset": "tiny",
        "shard_rows": shard_rows,
        "stages": stages or {name: f"tests.small.cells:{name}" for name in STAGES},
        "pack": {"rows_per_file": 32, "rows_per_group": 8, **pack},
        "run": {"max_error_rate": 1.0, "workers": 1},
    }
    store, config = Store(str(folder)), settings.check(tree)
    save_settings(store, tree)
    write_plan(store, config, rows, without)
    return Run.open(folder)


def small_run(folder: Path | str, rows: int = 100, shard_rows: int = 16, **planned: Any) -> Run:
    """`planned_run` with all its cells."""
    run = planned_run(folder, rows, shard_rows, **planned)
    make_cells(run)
    return run


def make_cells(run: Run) -> None:
    """Compute every missing cell."""
    for name, stage in run.grid.stages.items():
        for shard in range(run.grid.shards):
            if run.grid.receipt(name, shard) is None:
                make_cell(run.grid, stage, shard)


if __name__ == "__main__":
    print(small_run(sys.argv[1], int(sys.argv[2])).store.url)

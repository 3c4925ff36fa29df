"""A run with every stage and nearly every setting that makes its data vary: the same bytes whatever happens to it, and no row is lost.

Its models are small random ones in the formats of real ones, so that all of the real stages but the crop work.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from mals.dataset.pack import pack
from mals.grid.run import Run, run_stages
from mals.grid.verify import verify
from mals.planning.create import create
from tests.conftest import environment
from tests.fakes import block_image, jpeg
from tests.small import captioner, diffusion
from tests.small.packed_set import packed_set

ROWS, PERSONS = 24, 8  # in three shards, of which the borders are between images of one person
HERE = "tests.mals.grid.test_every_stage"
pytestmark = pytest.mark.slow


class Colors:
    """A scorer without weights: the mean colours of the halves of an image, and a direction for each text."""

    def embed_images(self, images: Sequence[Any]) -> np.ndarray:
        halves = [np.array_split(np.asarray(image, np.float64), 2) for image in images]
        return self._directions([np.concatenate([half.mean((0, 1)) - 128 for half in of_one]) for of_one in halves])

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        return self._directions([np.random.default_rng(zlib.crc32(text.encode())).normal(size=6) for text in texts])

    def match(self, texts: Sequence[str], images: Sequence[Any]) -> np.ndarray:
        return self.embed_texts(texts) @ self.embed_images(images).T

    @staticmethod
    def _directions(vectors: list[np.ndarray]) -> np.ndarray:
        return np.stack([vector / np.linalg.norm(vector) for vector in vectors]).astype(np.float32)


def load_colors(_target: str, device: str) -> Colors:
    return Colors()


def models(folder: Path) -> None:
    """Small models of every kind, templates, examples and poses."""
    generator = diffusion.build_stable_diffusion(folder / "sd")
    diffusion.build_controlnet(folder / "controlnet", generator)
    diffusion.build_ip_adapter(folder / "ip_adapter", generator)
    diffusion.build_classifier(folder / "watermarks", labels=("clean", "watermark"))
    captioner.build_blip(folder / "blip")
    captioner.build_vlm(folder / "vlm")
    captioner.build_language_model(folder / "language")
    packed_set(folder / "benchmark", [jpeg(block_image(seed)) for seed in range(3)])
    points = np.random.default_rng(0).uniform(0, 60, (4, 17, 2))
    poses = [{"keypoints": [[float(x), float(y), 0.9] for x, y in pose]} for pose in points]
    (folder / "poses.jsonl").write_text("".join(json.dumps(pose) + "\n" for pose in poses))
    (folder / "templates.txt").write_text("{person} in {clothes}\n{person} with {hair}\n{clothes} on {person}\n")
    (folder / "captions.txt").write_text("".join(f"a {who} in a {color} coat\n" for who in ("man", "woman") for color in COLORS))


COLORS = ("red", "blue", "black", "white")


def captioners(folder: Path) -> str:
    small = {"beams": 1, "batch": 4}
    instructions = [
        {"text": "describe this person"},
        {"kind": "template", "templates": str(folder / "templates.txt"), "text": "see {template}", "count": 2},
        {"kind": "style", "examples": str(folder / "captions.txt"), "text": "see {example}"},
        {"kind": "questions", "questions": ["what do you see", "what hat"], "text": "describe {answers}"},
    ]
    sampled = {**small, "max_tokens": 8, "sample": True, "temperature": 1.5}
    return json.dumps(
        [
            {**small, "model": str(folder / "blip"), "max_tokens": 12},
            {**sampled, "backend": "vlm", "model": str(folder / "vlm"), "instructions": instructions},
            {**small, "backend": "template", "instructions": [{"kind": "template", "count": 2}]},
            {**sampled, "backend": "rewrite", "model": str(folder / "language")},
        ]
    )


def assignments(folder: Path) -> list[str]:
    generator: dict[str, Any] = {"model": str(folder / "sd"), "dtype": "fp32", "variant": None, "scheduler": None, "lora": None}
    generator |= {"height": 64, "width": 32, "steps": 3, "guidance": 2.0, "batch": 4, "view_strength": 0.7}
    generator |= {"control": {"model": str(folder / "controlnet"), "poses": str(folder / "poses.jsonl")}}
    generator |= {"ip_adapter": {"model": str(folder / "ip_adapter"), "weight_name": "ip-adapter.safetensors"}}
    watermark = {"model": str(folder / "watermarks"), "label": "watermark", "threshold": 0.95}
    scorer = {"scorer": "colors", "loader": f"{HERE}:load_colors", "batch": 4}
    sections = {
        "generate": generator,
        "quality": {"watermark": watermark, "batch": 4},
        "identity": {**scorer, "min_agreement": 0.1, "min_similarity": 0.0},
        "agree": {**scorer, "references": 10, "best_rank": 9},
        "dedup": {**scorer, "distance": 12, "similarity": 0.6, "against": [f"{folder}/benchmark/test"]},
        "keep": {"share": 0.7},
        "caption.rules": {"min_words": 6, "retries": 2, "on_bad": "static"},
    }
    filters = [f"filter.{name}=null" for name in ("min_bytes", "min_bits_per_pixel", "min_sharpness", "min_channel_variance")]
    trees = [f"{name}={json.dumps(tree)}" for name, tree in sections.items()]
    plan = ["plan.views=3", "shard_rows=8", "run.workers=1", "pack.rows_per_file=16", "stages.crop=tests.fakes:cropper"]
    return [*plan, *filters, *trees, f"caption.captioners={captioners(folder)}"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models, a planned run, and the same one finished in one process."""
    folder = tmp_path_factory.mktemp("every-stage")
    models(folder)
    create(str(folder / "planned"), captions=folder / "captions.txt", count=ROWS, assignments=assignments(folder))
    shutil.copytree(folder / "planned", folder / "calm")
    finish(folder / "calm")
    return folder


def finish(folder: Path, *sets: str) -> None:
    """Run and pack it."""
    run = Run.open(folder, sets)
    run_stages(run, quiet=True)
    pack(run)


def cells(folder: Path) -> dict[str, bytes]:
    """All that the run made: cells, summaries, the packed set."""
    files = [*folder.glob("*/*.parquet"), *(path for path in (folder / "dataset").rglob("*") if path.is_file())]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_every_row_is_accounted_for_and_the_receipts_count_what_each_stage_refused(finished: Path) -> None:
    run = Run.open(finished / "calm")
    stages = list(run.grid.stages)
    assert stages == ["generate", "safety", "filter", "crop", "quality", "caption", "label", "identity", "agree", "embed", "dedup", "keep"]
    kept, refused = 0, Counter[str]()
    for shard in range(3):
        left = run.grid.row_count(shard)
        for stage in stages:
            receipt = run.grid.receipt(stage, shard)
            assert receipt is not None and receipt.active == left and receipt.failed == 0, (stage, shard)
            rows = pq.read_table(finished / f"calm/{stage}/{shard:05d}.parquet", columns=["reject", "error"]).to_pylist()
            assert receipt.rejects == Counter(row["reject"][0] for row in rows if row["reject"]), (stage, shard)
            assert receipt.rows == len(rows)
            left -= sum(receipt.rejects.values())
            refused.update(receipt.rejects)
        kept += left
    assert kept + refused.total() == ROWS and kept > 0
    packed = [pq.read_table(path).num_rows for path in (finished / "calm/dataset/data").iterdir()]
    rejected = [pq.read_table(path)["reject_reason"].to_pylist() for path in (finished / "calm/dataset/rejected").iterdir()]
    assert sum(packed) == kept and Counter(reason for file in rejected for reason in file) == refused


def test_the_captions_are_of_every_kind_and_some_were_written_again(finished: Path) -> None:
    table = pq.read_table(sorted((finished / "calm/caption").glob("*.parquet")), columns=["captions"])
    entries = [row for row in table["captions"].to_pylist() if row]
    assert {len(row) for row in entries} == {1 + 5 + 2 + 1}
    assert {entry["instruction"] for row in entries for entry in row} == {"static", "template", "style", "questions"}
    assert {entry["tries"] for row in entries for entry in row} == {1, 2, 3}
    assert any(entry["refused"] and entry["text"] for row in entries for entry in row), "the static caption in place of a bad one"


def test_a_run_with_every_stage_has_the_same_bytes_with_two_workers_and_in_parts(finished: Path, tmp_path: Path) -> None:
    for name in ("two", "parts"):
        shutil.copytree(finished / "planned", tmp_path / name)
    finish(tmp_path / "two", "run.workers=2")
    stops = [run_stages(Run.open(tmp_path / "parts"), part=(call % 2, 2), quiet=True).waiting for call in range(6)]
    waited_for = [sentence.removeprefix("the stage ").partition(" looks")[0] for sentence in stops]
    assert waited_for == ["identity", "agree", "dedup", "keep", "", ""], "each part goes on at a barrier when the other is there"
    finish(tmp_path / "parts")
    assert cells(tmp_path / "two") == cells(finished / "calm")
    assert cells(tmp_path / "parts") == cells(finished / "calm")


def test_a_run_with_every_stage_that_was_killed_goes_on_to_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    shutil.copytree(finished / "planned", folder)
    for pattern in ("generate/*.parquet", "caption/*.parquet", "agree/summary-*.parquet"):
        command = [sys.executable, "-m", "cli.main", "run", str(folder), "-q", "--set", "run.workers=2"]
        process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True)
        while not any(folder.glob(pattern)):
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    finish(folder)
    assert cells(folder) == cells(finished / "calm")
    assert verify(Run.open(folder)) == []

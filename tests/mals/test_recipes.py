"""Every preset of a run, from captions or images to a packed set, with the embedded models in place of its own."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from mals import settings
from mals.config import Config
from mals.dataset.pack import pack
from mals.grid.run import Run, run_stages
from mals.planning.create import STARTER, create
from mals.settings import RUN, presets
from mals.world.scene import draw_image
from tests.conftest import Mals

ROWS = 4
EMBEDDED = [
    "safety.model=null",
    *("generate.model=embedded", "generate.dtype=fp32", "generate.variant=null", "generate.scheduler=null", "generate.guidance=3"),
    *("generate.steps=8", "generate.height=128", "generate.width=64", "generate.batch=4"),
    *("crop.backend=vitpose", "crop.model=embedded", "crop.detector=embedded", "crop.batch=4"),
    *("shard_rows=4", "run.workers=1"),
]
SMALL = ["filter.min_bytes=null", "crop.min_side=8", "crop.min_aspect=1", "crop.max_aspect=9"]  # of images of 128 x 64
RECIPES = [name for name in presets() if name != "tiny"]


def recipe(name: str, folder: Path) -> Config:
    """The settings of a preset, with style examples where it needs some."""
    config = settings.check({"preset": name})
    (folder / "captions.txt").write_text((STARTER / "starter.txt").read_text(encoding="utf-8"), encoding="utf-8")
    return config


def small_captioners(config: Config) -> str:
    """As --set takes them: the embedded models in place of the recipe's, with its own instructions."""
    assert config.caption is not None
    small: dict[str, dict[str, Any]] = {
        "blip": {"model": "embedded", "beams": 1, "max_tokens": 40, "batch": 4},
        "vlm": {"backend": "vlm", "model": "embedded", "beams": 1, "max_tokens": 80, "batch": 4},
    }
    captioners = [
        {**small[captioner.backend], **captioner.model_dump(mode="json", include={"prompt", "instructions"})}
        for captioner in config.caption.captioners
    ]
    return f"caption.captioners={json.dumps(captioners)}"


def images(folder: Path) -> Path:
    (folder / "images").mkdir()
    for number in range(ROWS):
        Image.fromarray(draw_image(9, number, 0, 128).pixels).save(folder / f"images/{number}.png")
    return folder / "images"


@pytest.mark.parametrize("name", RECIPES)
def test_each_preset_runs_to_a_packed_set_on_the_embedded_models(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = recipe(name, tmp_path)
    sets = [*EMBEDDED, *SMALL, small_captioners(config)]
    if config.agree:
        sets.insert(0, "agree.scorer=embedded")
    if "generate.model" in settings.recipe(name).changes:
        create(str(tmp_path / "run"), captions=STARTER / "starter.txt", count=ROWS, preset=name, assignments=sets)
    else:
        create(str(tmp_path / "run"), ingest=images(tmp_path), preset=name, assignments=sets)
    run = Run.open(tmp_path / "run")
    run_stages(run, quiet=True)
    result = pack(run)
    assert result.receipt.kept > 0 and result.receipt.failed == 0
    for row in pq.read_table(tmp_path / "run" / "dataset" / "data").to_pylist():
        sources = {caption["source"] for caption in row["captions"]}
        assert row["caption"] and "embedded" in sources and sources <= {"embedded", "prompt"}


def test_a_preset_runs_from_the_command_line(mals: Mals, tmp_path: Path) -> None:
    sets = [word for setting in (*EMBEDDED, *SMALL, small_captioners(recipe("luperson-mllm", tmp_path))) for word in ("--set", setting)]
    planned = mals("plan", "run", "--ingest", images(tmp_path), "--preset", "luperson-mllm", *sets)
    assert planned.returncode == 0, planned.stderr
    made = mals("run", "run", "-q")
    assert made.returncode == 0, made.stderr
    rows = pq.read_table(tmp_path / "run" / "dataset" / "data").to_pylist()
    assert rows and all(len(row["captions"]) == 4 for row in rows), "a static caption and one by a template, of two captioners"


@pytest.mark.parametrize("name", [name for name in RECIPES if settings.recipe(name).base])
def test_each_recipe_names_its_source_in_its_file(name: str) -> None:
    text = (RUN.folder / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# ") and "\n# Source: " in text

"""The columns of a packed data set."""

import pyarrow as pa

from mals.dataset.features import kept_columns, rejected_columns
from tests.conftest import ROOT

DATASETS = "4.0"  # the first version that knows the feature "List"


def test_a_stage_of_ones_own_may_leave_columns_out_and_bring_others() -> None:
    adds = {
        "generate": pa.schema([("image", pa.binary()), ("model", pa.string())]),
        "crop": pa.schema([("crop", pa.binary())]),
        "filter": pa.schema([("clip_score", pa.float64()), ("embedding", pa.list_(pa.float32()))]),
    }
    kept = kept_columns(["id", "prompt", "caption"], adds, {})
    head, tail = ["id", "image", "caption", "clip_score"], ["generator", "image_sha256", "origin", "synthetic"]
    assert kept.names == [*head, "prompt", "source_caption", *tail]
    assert kept.schema.field("clip_score").type == pa.float64()
    assert kept.schema.field("generator").type == pa.struct({"model": pa.string()})
    assert rejected_columns(kept).names[:6] == ["id", "reject_reason", "reject_all", "reject_stage", "error", "error_stage"]
    assert "image" not in rejected_columns(kept)


def test_an_image_that_no_generator_made_has_its_size_and_no_generator() -> None:
    sizes = [("width", pa.int32()), ("height", pa.int32())]
    kept = kept_columns(
        ["id", "seed"], {"generate": pa.schema([("image", pa.binary()), *sizes]), "crop": pa.schema([("crop", pa.binary())])}, {}
    )
    assert kept.names == ["id", "image", "seed", "source_width", "source_height", "image_sha256", "origin", "synthetic"]


def test_pages_and_cards_name_the_least_version_of_datasets_that_reads_the_columns() -> None:
    least = f"from datasets import load_dataset  # datasets {DATASETS} or later"
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "data_cards").glob("*.md")]
    texts = {page.name: page.read_text(encoding="utf-8") for page in pages}
    loading = {name for name, text in texts.items() if "from datasets import" in text}
    assert {"README.md", "dataset.md", "world.md", "benchmark.md"} <= loading == {name for name, text in texts.items() if least in text}
    assert f'"datasets>={DATASETS}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")

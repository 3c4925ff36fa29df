"""The columns of a packed data set."""

import pyarrow as pa

from mals.dataset.features import kept_columns, rejected_columns


def test_a_stage_of_ones_own_may_leave_columns_out_and_bring_others() -> None:
    adds = {
        "generate": pa.schema([("image", pa.binary()), ("model", pa.string())]),
        "crop": pa.schema([("crop", pa.binary())]),
        "filter": pa.schema([("clip_score", pa.float64()), ("embedding", pa.list_(pa.float32()))]),
    }
    kept = kept_columns(["id", "prompt", "caption"], adds, {})
    assert kept.names == ["id", "image", "clip_score", "prompt", "source_caption", "generator", "image_sha256", "synthetic"]
    assert kept.schema.field("clip_score").type == pa.float64()
    assert kept.schema.field("generator").type == pa.struct({"model": pa.string()})
    assert rejected_columns(kept).names[:6] == ["id", "reject_reason", "reject_all", "reject_stage", "error", "error_stage"]
    assert "image" not in rejected_columns(kept)

"""The rows of a packed set as pages get them."""

from pathlib import Path

import pyarrow as pa
import pytest

from mals.dataset.pack import pack
from mals.errors import UserError
from mals.look.server import open_source
from mals.look.set_source import SetSource
from tests.small import cells


def test_a_packed_set_has_its_rows_images_labels_and_splits(tmp_path: Path) -> None:
    run = cells.small_run(tmp_path / "run", 100, split={"train": 0.5, "test": 0.5})
    pack(run)
    source = open_source(str(tmp_path / "run/dataset"))
    assert isinstance(source, SetSource) and source.splits() == {"test": 39, "train": 39} and source.rows == 78
    ids = source.load(["id"])["id"].to_pylist()
    assert sorted(ids) == sorted(f"row-{at:06d}" for at in range(100) if at % 10 not in (3, 6) and at % 50 != 8)
    for row in (0, 40, 77):
        at = cells.number(ids[row])
        (line,) = source.take([row], ["attributes", "attribute_source", "caption", "split"])
        assert line["attributes"] == cells.attribute_values(at) and f"number {at}," in line["caption"]
        assert line["attribute_source"][0] in ("explicit", "implicit", "unknown")
        assert line["split"] == ("test" if row < 39 else "train")
        assert (source.image(row) or b"").startswith(b"\xff\xd8")
    assert source.load(["attributes"])["attributes"].type == pa.list_(pa.int8())
    assert source.attributes["hat"] == ["yes", "no"] and "image" not in source.columns


def test_a_folder_with_other_parquet_files_is_one_sentence(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"x": [1]}), tmp_path / "data/a.parquet")
    with pytest.raises(UserError, match="has no column id"):
        open_source(str(tmp_path))

"""The rows of a packed set as pages get them."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mals.dataset.pack import pack
from mals.errors import UserError
from mals.look import views
from mals.look.server import open_source
from mals.look.set_source import SetSource
from tests.conftest import Mals
from tests.mals.look.serving import ask, serving
from tests.pretrain.datasets import layouts
from tests.pretrain.packs import imported
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
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"x": [1]}), tmp_path / "data/a.parquet")
    with pytest.raises(UserError, match="has no column id"):
        open_source(str(tmp_path))


def write_set(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """A folder with a file of rows, as another program might write it."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    file = folder / "data/train-00000-of-00001.parquet"
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file


def test_every_screen_of_an_imported_benchmark_answers(tmp_path: Path) -> None:
    places = imported(tmp_path, {"cuhk-pedes": layouts.cuhk})
    source = open_source(places["cuhk-pedes"])
    assert source.columns["person"] == pa.string()  # the files have numbers
    with serving(source) as address:
        for name, _ in views.screens(source):
            assert ask(address + ("/" if name == "overview" else f"/{name}")).code == 200, name
        (line,) = source.take([0], ["id", "person"])
        assert line["person"].isdecimal()
        one = ask(f"{address}/person/0").text
        assert f'<h1 class="id">{line["person"]}</h1>' in one and line["id"] in one
        assert line["id"] in ask(f"{address}/images?person={line['person']}&id={line['id'].split('/')[0]}").text


def test_a_file_that_is_half_written_is_one_sentence(tmp_path: Path, mals: Mals) -> None:
    file = write_set(tmp_path / "set", [{"id": str(number)} for number in range(40)])
    whole = file.read_bytes()
    for data in (b"", whole[: len(whole) // 2], whole[:-9] + b"123456789"):
        file.write_bytes(data)
        with pytest.raises(UserError, match=r"train-00000-of-00001\.parquet is damaged or half-written"):
            open_source(str(tmp_path / "set"))
    result = mals("look", "set")
    assert result.returncode == 2 and "damaged or half-written" in result.stderr and "Traceback" not in result.stderr


def test_images_that_cannot_be_read_are_named_on_the_overview(tmp_path: Path) -> None:
    file = write_set(tmp_path, [{"id": "a", "image": {"bytes": cells.small_jpeg("a", 32, 64)}, "caption": "a man"}])
    group = pq.read_metadata(file).row_group(0)
    column = next(group.column(at) for at in range(group.num_columns) if group.column(at).path_in_schema == "image.bytes")
    at, data = column.dictionary_page_offset or column.data_page_offset, file.read_bytes()
    file.write_bytes(data[:at] + b"\xff" * 8 + data[at + 8 :])
    with serving(open_source(str(tmp_path))) as address:
        assert ask(f"{address}/thumbnail/0.jpg").headers["content-type"] == "image/svg+xml"
        assert "a man" in ask(f"{address}/images").text
        assert "train-00000-of-00001.parquet cannot be read" in ask(address).text


def test_sets_of_other_programs_are_shown(tmp_path: Path) -> None:
    write_set(tmp_path / "a", [{"id": 7, "caption": ["x"], "row": 9, "row_state": "x", "person": 1.5, 'we"ird,<b>': 2.5}])
    source = open_source(str(tmp_path / "a"))
    assert "row" not in source.columns and "caption" not in source.columns
    with serving(source) as address:
        for page in ("/", "/images?id=7&person=1.5", "/image/0", "/persons", "/person/0", "/images?number=we%22ird%2C%3Cb%3E&least=1"):
            assert ask(address + page).code == 200, page
        assert "<strong>1</strong> row fits" in ask(f"{address}/images?id=7&person=1.5").text
        assert ask(f"{address}/thumbnail/0.jpg").headers["content-type"] == "image/svg+xml"  # there are no images
        assert ask(f"{address}/images?text=x").code == 200 and ask(f"{address}/images?number=row").code == 409
    write_set(tmp_path / "b", [{"id": "x"}])
    pq.write_table(pq.read_table(tmp_path / "b/data")[:0], tmp_path / "b/data/train-00000-of-00001.parquet")
    with serving(open_source(str(tmp_path / "b"))) as address:
        assert ask(address).code == 200 and ask(f"{address}/images").code == 200
        assert "has no rows" in ask(f"{address}/image/0").text


def test_a_set_that_is_packed_anew_is_read_again_and_one_that_is_deleted_is_one_sentence(tmp_path: Path) -> None:
    write_set(tmp_path / "set", [{"id": "before", "image": {"bytes": cells.small_jpeg("before", 16, 32)}}])
    with serving(open_source(str(tmp_path / "set"))) as address:
        assert "before" in ask(f"{address}/images").text
        before = ask(f"{address}/thumbnail/0.jpg").data
        shutil.move(tmp_path / "set/data", tmp_path / "old")
        for page in ("/", "/images", "/thumbnail/0.jpg"):
            answer = ask(address + page)
            assert answer.code == 409 and "is not there any more" in answer.text
        write_set(tmp_path / "set", [{"id": name, "image": {"bytes": cells.small_jpeg(name, 16, 32)}} for name in ("new", "other")])
        assert "new" in ask(f"{address}/images").text and "<strong>2</strong> rows fit" in ask(f"{address}/images").text
        assert ask(f"{address}/thumbnail/0.jpg").data != before

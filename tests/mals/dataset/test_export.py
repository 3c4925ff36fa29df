"""Exports: the layout of MALS and WebDataset, as others read them."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mals.dataset import export as exporting
from mals.dataset.export import export
from mals.dataset.pack import pack
from mals.errors import UserError
from mals.grid.run import Run
from tests.small import cells


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = cells.small_run(tmp_path_factory.mktemp("export") / "run", 60, split={"train": 0.8, "test": 0.2})
    pack(run)
    return run


def kept(run: Run, split: str) -> list[dict]:
    assert run.store.folder is not None
    return [row for path in sorted((run.store.folder / "dataset/data").glob(f"{split}-*")) for row in pq.read_table(path).to_pylist()]


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_json_has_the_keys_and_the_polarity_of_mals(packed: Run, tmp_path: Path) -> None:
    report = export(packed, str(tmp_path / "out"), "mals-json")
    assert sorted(report.files) == ["test.json", "train.json"] and report.rows == len(kept(packed, "train")) + len(kept(packed, "test"))
    for split in ("train", "test"):
        items, rows = json.loads((tmp_path / "out" / f"{split}.json").read_text(encoding="utf-8")), kept(packed, split)
        assert len(items) == len(rows) > 0
        for item, row in zip(items, rows, strict=True):
            assert list(item) == ["image", "caption", "image_id", "label"]
            assert item["label"] == cells.attribute_values(cells.number(row["id"])) and item["image_id"] == row["id"]
            assert (tmp_path / "out" / item["image"]).read_bytes() == row["image"]["bytes"]


def test_an_export_repeats_byte_for_byte_and_keeps_what_is_there(packed: Run, tmp_path: Path) -> None:
    for format in exporting.FORMATS:
        export(packed, str(tmp_path / format / "a"), format)
        export(packed, str(tmp_path / format / "b"), format)
        before = files(tmp_path / format / "a")
        assert files(tmp_path / format / "b") == before
        victim = sorted(path for path in (tmp_path / format / "a").rglob("*.*") if path.suffix in (".jpg", ".tar"))[0]
        victim.write_bytes(b"torn")
        again = export(packed, str(tmp_path / format / "a"), format)
        assert again.written == 1
        assert files(tmp_path / format / "a") == before


def test_an_export_that_is_killed_leaves_no_list_and_goes_on(packed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image, seen = exporting._write_image, []

    def stopping(*arguments) -> int:
        seen.append(1)
        if len(seen) == 20:
            raise KeyboardInterrupt
        return write_image(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(exporting, "_write_image", stopping)
        export(packed, str(tmp_path / "out"), "mals-json")
    assert not (tmp_path / "out/train.json").exists()
    report = export(packed, str(tmp_path / "out"), "mals-json")
    assert report.written == report.rows - 19
    export(packed, str(tmp_path / "clean"), "mals-json")
    assert files(tmp_path / "out") == files(tmp_path / "clean")


def test_every_sample_of_a_tar_has_exactly_jpg_txt_and_json_without_nulls(packed: Run, tmp_path: Path) -> None:
    report = export(packed, str(tmp_path), "webdataset")
    seen = []
    for name in report.files:
        with tarfile.open(tmp_path / name) as tar:
            members = tar.getmembers()
            names = [member.name for member in members]
            assert {(member.mtime, member.uname, member.gname) for member in members} == {(0, "mals", "mals")}
            for at in range(0, len(names), 3):
                row_id = names[at].split(".")[0]
                assert names[at : at + 3] == [f"{row_id}.jpg", f"{row_id}.json", f"{row_id}.txt"]
                facts = json.load(tar.extractfile(names[at + 1]))
                assert "null" not in json.dumps(facts) and len(facts["label"]) == 27
                seen.append((row_id, sorted(facts)))
    assert len({keys[0] for keys in seen}) == len(seen) == report.rows
    assert len({str(keys) for _, keys in seen}) == 1, "every sample has the same keys"


def test_datasets_reads_the_tars(packed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    export(packed, str(tmp_path / "out"), "webdataset")
    rows = datasets.load_dataset("webdataset", data_files={"train": str(tmp_path / "out/train-*.tar")}, cache_dir=str(tmp_path / "cache"))[
        "train"
    ]
    expected = kept(packed, "train")
    assert len(rows) == len(expected)
    assert isinstance(rows[0]["jpg"], Image.Image) and rows[0]["txt"] == expected[0]["caption"]
    assert rows[0]["json"]["seed"] == expected[0]["seed"] and rows[0]["__key__"] == expected[0]["id"]


def test_webdataset_itself_reads_the_tars(packed: Run, tmp_path: Path) -> None:
    import webdataset

    report = export(packed, str(tmp_path), "webdataset")
    urls = [str(tmp_path / name) for name in report.files if name.startswith("train")]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode("pil"))
    expected = kept(packed, "train")
    assert [sample["__key__"] for sample in samples] == [row["id"] for row in expected]
    with Image.open(io.BytesIO(expected[3]["image"]["bytes"])) as image:
        assert np.array_equal(np.asarray(samples[3]["jpg"]), np.asarray(image.convert("RGB")))


def test_an_export_to_a_url_is_that_of_a_folder(packed: Run, tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for format in exporting.FORMATS:
        export(packed, f"memory://export/{format}", format)
        export(packed, str(tmp_path / format), format)
        exported = {name.removeprefix(f"/export/{format}/"): memory.cat(name) for name in memory.find(f"/export/{format}")}
        assert exported == files(tmp_path / format)
        again = export(packed, f"memory://export/{format}", format)
        assert again.written == 0
    memory.rm("/export", recursive=True)


def test_what_cannot_be_exported_is_told_in_a_sentence(packed: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no export format 'coco'; there are mals-json, webdataset"):
        export(packed, str(tmp_path), "coco")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        export(packed, str(tmp_path / "file"), "mals-json")
    with pytest.raises(UserError, match="inside the packed data set"):
        export(packed, f"{packed.store.url}/dataset/more", "mals-json")
    unpacked = cells.small_run(tmp_path / "run", 8)
    with pytest.raises(UserError, match="the run is not packed"):
        export(unpacked, str(tmp_path / "out"), "mals-json")
    assert not (tmp_path / "out").exists()

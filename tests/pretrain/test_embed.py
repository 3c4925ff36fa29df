"""`mals embed`: files of embeddings for other programs."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mals.errors import UserError
from pretrain import embeddings, load
from pretrain.embed import check_target, embed, open_embedded
from pretrain.trained_method import Trained
from tests.conftest import Mals
from tests.pretrain.packs import mals_list
from tests.small.cells import small_jpeg


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "CHUNK", 4)


def photos(place: Path, count: int = 11) -> Path:
    place.mkdir()
    for number in range(count):
        (place / f"{number:02}.jpg").write_bytes(small_jpeg(str(number), 16, 32))
    (place / "05.jpg").write_bytes(b"no image")
    return place


def test_images_are_written_as_lists_of_fixed_size_with_their_ids(mals: Mals, out: Path, tmp_path: Path) -> None:
    place = photos(tmp_path / "photos")
    result = mals("embed", out, "--data", place, "--to", "a.parquet", "--workers", 0, "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["rows"], report["width"], report["unreadable"]) == (10, 96, 1)
    table = pq.read_table(tmp_path / "a.parquet")
    names = [file.name for file in sorted(place.glob("*.jpg")) if file.name != "05.jpg"]
    assert table.column_names == ["id", "embedding"] and table["id"].to_pylist() == names
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 96)
    rows = torch.from_numpy(np.stack(table["embedding"].to_numpy()))
    torch.testing.assert_close(rows, load(out).embed_image([place / name for name in names]), atol=1e-5, rtol=0)
    facts = json.loads(pq.read_schema(tmp_path / "a.parquet").metadata[b"mals.embeddings"])
    assert facts == {"method": report["method"], "what": "images"} and not list(tmp_path.glob(".*part*"))


def test_an_array_has_its_ids_beside_it(trained: Trained, tmp_path: Path) -> None:
    place = photos(tmp_path / "photos", 23)
    for to in ("a.parquet", "a.npy"):
        embed(trained, open_embedded(trained, [place], None, "images"), tmp_path / to, keep=to == "a.npy")
    array, table = np.load(tmp_path / "a.npy"), pq.read_table(tmp_path / "a.parquet")
    assert array.shape == (22, 96) and array.dtype == np.float32 and np.allclose(array, np.stack(table["embedding"].to_numpy()), atol=1e-6)
    assert (tmp_path / "a.ids.txt").read_text().splitlines() == table["id"].to_pylist()
    assert np.load(tmp_path / "a.npy", mmap_mode="r").shape == (22, 96)


def test_every_caption_with_a_word_is_embedded(trained: Trained, data: Path, tmp_path: Path) -> None:
    gallery = open_embedded(trained, [data], None, "captions")
    for _ in range(2):  # computed, and kept
        report = embed(trained, gallery, tmp_path / "captions.parquet", "captions")
        table = pq.read_table(tmp_path / "captions.parquet")
        assert report.rows == len(table) == len(gallery.queries) > len(gallery) and table.column_names == ["id", "caption", "embedding"]
        texts = table["caption"].to_pylist()
        expected = load_texts(trained, texts)
        torch.testing.assert_close(torch.from_numpy(np.stack(table["embedding"].to_numpy())), expected, atol=1e-5, rtol=0)
    listed = mals_list(tmp_path / "list", 6)
    entries = json.loads(listed.read_text())
    entries[2]["caption"] = " "
    listed.write_text(json.dumps(entries))
    report = embed(trained, open_embedded(trained, [(listed, tmp_path / "list/images")], None, "captions"), tmp_path / "b.npy", "captions")
    assert report.rows == 5


def load_texts(trained: Trained, texts: list[str]) -> torch.Tensor:
    from pretrain.api import LoadedMethod

    return LoadedMethod(trained).embed_text(texts)


def test_what_cannot_be_embedded_is_refused(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = photos(tmp_path / "photos", 4)
    with pytest.raises(UserError, match=r"--to a\.csv: the name ends in \.parquet or \.npy"):
        check_target(Path("a.csv"))
    with pytest.raises(UserError, match="have no captions to embed"):
        open_embedded(trained, [place], None, "captions")
    for file in place.glob("*.jpg"):
        file.write_bytes(b"no image")
    with pytest.raises(UserError, match="no image can be read"):
        embed(trained, open_embedded(trained, [place], None, "images"), tmp_path / "a.npy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]
    monkeypatch.setattr(trained.method, "abilities", frozenset({"classify"}))
    with pytest.raises(UserError, match="computes no embeddings of images"):
        open_embedded(trained, [place], None, "images")

"""Data sets drawn from the world: their contents, loading them with other libraries, and equal bytes however they are made."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mals.attributes import load_space
from mals.errors import UserError
from mals.origin import DRAWN, SOURCE_TYPES
from mals.world.make import CLAIM, make
from mals.world.person import create_person
from mals.world.rows import columns
from mals.world.scene import draw_image
from mals.world.settings import WorldSettings
from tests.conftest import Mals, environment
from tests.interruption import Killed, killed_at

SPLIT = "train=0.5,val=0.2,test=0.3"
SMALL = WorldSettings.checked(persons=6, views=3, split=SPLIT, seed=5, height=64, rows_per_file=6)


@pytest.fixture(scope="module")
def drawn_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished data set that no test changes."""
    folder = tmp_path_factory.mktemp("world") / "drawn"
    make(str(folder), SMALL, workers=1)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def rows(folder: Path, split: str = "*") -> list[dict]:
    return [row for path in sorted((folder / "data").glob(f"{split}-*")) for row in pq.read_table(path).to_pylist()]


def test_splits_have_disjoint_persons_and_all_of_them(drawn_set: Path) -> None:
    persons = {split: {row["person"] for row in rows(drawn_set, split)} for split in ("train", "val", "test")}
    assert {split: len(numbers) for split, numbers in persons.items()} == {"train": 3, "val": 1, "test": 2}
    assert set.union(*persons.values()) == set(range(6))
    assert sorted(path.name for path in (drawn_set / "data").iterdir()) == [
        "test-00000-of-00001.parquet",
        "train-00000-of-00002.parquet",
        "train-00001-of-00002.parquet",
        "val-00000-of-00001.parquet",
    ]


def test_two_cameras_or_more_see_each_person(drawn_set: Path) -> None:
    cameras: dict[int, set[int]] = {}
    for row in rows(drawn_set):
        cameras.setdefault(row["person"], set()).add(row["camera"])
    assert all(numbers == {0, 1, 2} for numbers in cameras.values()) and len(cameras) == 6


def test_a_row_is_an_image_of_the_world_with_its_ground_truth(drawn_set: Path) -> None:
    by_id = {row["id"]: row for row in rows(drawn_set)}
    assert len(by_id) == 18
    row, drawn = by_id["p00004-v002"], draw_image(5, 4, 2, 64)
    assert (row["person"], row["camera"], row["place"], row["walking"]) == (4, drawn.camera, drawn.place, drawn.walking)
    assert list(row["attributes"].values()) == drawn.attributes == create_person(5, 4).attributes()
    assert tuple(row["attributes"]) == load_space("market1501").names
    assert np.array_equal(np.array(row["keypoints"], np.float32), drawn.keypoints)
    assert row["person_box"] == pytest.approx(drawn.box)
    data = row["image"]["bytes"]
    assert hashlib.sha256(data).hexdigest() == row["image_sha256"] and row["image"]["path"] == "p00004-v002.jpg"
    with Image.open(io.BytesIO(data)) as image:
        assert np.abs(np.asarray(image).astype(int) - drawn.pixels).mean() < 3
        assert image.size == (row["width"], row["height"]) == (32, 64) and SOURCE_TYPES[DRAWN] in str(image.getxmp())


def test_an_image_has_two_captions_and_images_have_different_captions(drawn_set: Path) -> None:
    all_rows = rows(drawn_set)
    assert all(row["caption"] == row["captions"][0]["text"] and len(row["captions"]) == 2 for row in all_rows)
    assert {caption["source"] for row in all_rows for caption in row["captions"]} == {"world"}
    texts = [caption["text"] for row in all_rows for caption in row["captions"]]
    assert len(set(texts)) >= 35


def test_load_dataset_gives_images_and_labels(drawn_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    splits = datasets.load_dataset(str(drawn_set), cache_dir=str(tmp_path))
    assert {split: len(part) for split, part in splits.items()} == {"train": 9, "val": 3, "test": 6}
    features, row = splits["test"].features, splits["test"][1]
    assert isinstance(row["image"], Image.Image) and row["image"].size == (32, 64)
    assert isinstance(features["attributes"]["hat"], datasets.ClassLabel) and features["attributes"]["gender"].names == ["woman", "man"]
    assert features["attributes"]["gender"].int2str(row["attributes"]["gender"]) == create_person(5, row["person"]).gender
    assert datasets.Features.from_arrow_schema(columns().schema) == features


def test_files_have_the_listed_hashes_and_the_card_has_their_sizes(drawn_set: Path) -> None:
    listed = dict(reversed(line.split("  ")) for line in (drawn_set / "SHA256SUMS").read_text().splitlines())
    expected = {name: data for name, data in files(drawn_set).items() if name != "SHA256SUMS" and not name.startswith(".receipts/")}
    assert listed == {name: hashlib.sha256(data).hexdigest() for name, data in expected.items()}
    card = (drawn_set / "README.md").read_text()
    assert "| train | 3 | 9 |" in card and f"download_size: {sum(len(d) for n, d in expected.items() if n.startswith('data/'))}" in card


def test_croissant_is_valid_and_gives_rows(drawn_set: Path) -> None:
    import mlcroissant

    description = mlcroissant.Dataset(jsonld=drawn_set / "croissant.json")
    assert not description.metadata.issues.errors
    row = next(iter(description.records("default")))
    assert row["default/id"].decode() in {row["id"] for row in rows(drawn_set)}
    assert json.loads((drawn_set / "croissant.json").read_text())["rai:hasSyntheticData"] is True


def test_two_makes_are_the_same_bytes_with_one_worker_and_with_two(drawn_set: Path, tmp_path: Path) -> None:
    make(str(tmp_path / "two"), SMALL, workers=2)
    assert files(tmp_path / "two") == files(drawn_set)
    assert str(tmp_path).encode() not in b"".join(files(tmp_path / "two").values())


def test_a_finished_data_set_is_left_as_it_is_and_a_damaged_file_is_made_again(drawn_set: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    assert make(str(folder), SMALL, workers=1)["drawn"] == 18
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS"}
    assert make(str(folder), SMALL, workers=1)["drawn"] == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    damaged = folder / "data/train-00001-of-00002.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    assert make(str(folder), SMALL, workers=1)["drawn"] == 3
    assert files(folder) == files(drawn_set)


@pytest.mark.parametrize("moment", [0, 1, 2, 5, 9, 10, 11])
def test_a_make_that_stopped_while_it_wrote_any_file_completes_to_the_same_bytes(
    moment: int, drawn_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(tmp_path / "killed")
    with killed_at(moment, monkeypatch), pytest.raises(Killed):
        make(folder, SMALL, workers=1)
    assert not (tmp_path / "killed" / "SHA256SUMS").exists()
    again = make(folder, SMALL, workers=1)
    assert again["drawn"] == {0: 18, 1: 18, 2: 18, 5: 9}.get(moment, 0)
    assert files(tmp_path / "killed") == files(drawn_set)


def test_a_killed_make_completes_to_the_same_bytes_and_leaves_no_worker(tmp_path: Path) -> None:
    folder, settings = tmp_path / "killed", WorldSettings.checked(persons=100, views=4, split=SPLIT, seed=5, height=64, rows_per_file=40)
    script = (
        "from mals.world.make import make\n"
        "from mals.world.settings import WorldSettings\n"
        "if __name__ == '__main__':\n"
        f"    settings = WorldSettings.checked(persons=100, views=4, split={SPLIT!r}, seed=5, height=64, rows_per_file=40)\n"
        f"    make({str(folder)!r}, settings, workers=2)\n"
    )
    (tmp_path / "killed.py").write_text(script)
    process = subprocess.Popen([sys.executable, str(tmp_path / "killed.py")], env=environment(), start_new_session=True)
    while not list(folder.glob(".receipts/*.json")):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "SHA256SUMS").exists()
    assert 0 < make(str(folder), settings, workers=1)["drawn"] < settings.rows
    make(str(tmp_path / "whole"), settings, workers=1)
    assert files(folder) == files(tmp_path / "whole")
    for _ in range(200):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("workers outlived the make that was killed")


def test_a_folder_that_holds_something_else_is_refused_and_left_alone(drawn_set: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="holds something else"):
        make(str(tmp_path / "mine"), SMALL, workers=1)
    assert files(tmp_path / "mine") == {"letter.txt": b"dear"}
    with pytest.raises(UserError, match="is not a folder"):
        make(str(tmp_path / "mine" / "letter.txt"), SMALL, workers=1)
    before = files(drawn_set)
    with pytest.raises(UserError, match=r"another world \(it differs in seed\)"):
        make(str(drawn_set), WorldSettings.checked(persons=6, views=3, split=SPLIT, seed=6, height=64, rows_per_file=6), workers=1)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / CLAIM).write_text("[1]")
    with pytest.raises(UserError, match=r"holds a file .* that cannot be read; give a new or empty folder"):
        make(str(tmp_path / "broken"), SMALL, workers=1)
    with pytest.raises(UserError, match="--workers"):
        make(str(tmp_path / "new"), SMALL, workers=0)
    assert files(drawn_set) == before and not (tmp_path / "new").exists()


def test_the_command_makes_a_data_set_and_refuses_with_exit_code_two(mals: Mals, tmp_path: Path) -> None:
    arguments = ("world", "make", "--to", "set", "--persons", 3, "--views", 2, "--height", 64, "--workers", 1, "--json")
    process = mals(*arguments)
    assert process.returncode == 0, process.stderr
    summary = json.loads(process.stdout)
    assert summary["rows"] == summary["drawn"] == 6 and summary["splits"] == {"train": 2, "val": 2, "test": 2}
    refused = mals(*arguments, "--seed", 9)
    assert refused.returncode == 2 and len(refused.stderr.strip().splitlines()) == 1
    assert json.loads(refused.stdout) == {"error": refused.stderr.strip()}
    assert mals(*arguments, "--split", "train=2").returncode == 2

"""Images that exist go in as they are, without their metadata; what gives no image is refused, and what is lost costs one row."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from benchmarks.images import photograph
from mals.dataset.pack import pack
from mals.dataset.xmp import with_xmp
from mals.grid.run import Run, RunFailed, run_stages
from mals.images import Decoder, decode_image
from mals.jpeg_metadata import without_metadata
from mals.origin import SOURCE_TYPES
from mals.planning.create import create
from mals.stages.ingest import store
from pretrain.data.rows import ImageTextPairs
from tests.conftest import Mals, environment
from tests.images_of_every_kind import LOSSY, write_images

SETS = ["caption=none", "crop=none", "shard_rows=8", "run.workers=1", "run.max_error_rate=0.5"]


def ingested(folder: Path, source: Any, **options: Any) -> dict[str, dict[str, Any]]:
    """Source name -> the row of the stage, of a new run of the images in `source`."""
    create(folder / "run", ingest=source, assignments=SETS, **options)
    run = Run.open(folder / "run")
    run_stages(run, "ingest", quiet=True)
    tables = [pq.read_table(file) for file in sorted((folder / "run/ingest").glob("*.parquet"))]
    return {row["source_name"]: row for table in tables for row in table.to_pylist()}


def saved(kind: str = "JPEG", seed: int = 0, **options: Any) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(photograph(seed, 96, 48)).save(sink, kind, **options)
    return sink.getvalue()


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory):
    """A folder of images of every kind, what is expected of them, and what the stage made of them; they have captions too."""
    folder = tmp_path_factory.mktemp("kinds")
    expected = write_images(folder / "images")
    for name in expected:
        (folder / "images" / name).with_suffix(".txt").write_text("a woman in a red coat")
    return folder / "images", expected, ingested(folder, folder / "images")


@pytest.fixture(scope="module")
def packed(every_kind):
    """The packed set of the run of `every_kind`; the filter only measures."""
    folder = every_kind[0].parent / "run"
    rules = ["min_bytes", "min_bits_per_pixel", "min_channel_variance", "min_sharpness"]
    run = Run.open(folder, [f"filter.{rule}=null" for rule in rules])
    run_stages(run, quiet=True)
    pack(run)
    return folder / "dataset"


def test_images_of_every_kind_are_kept_or_refused_as_a_person_would_say(every_kind):
    _, expected, rows = every_kind
    assert {name: (row["reject"] or [None])[0] for name, row in rows.items()} == {name: e.reason for name, e in expected.items()}
    assert [row["error"] for row in rows.values() if row["error"]] == []


def test_what_is_stored_shows_what_was_decoded_from_the_file(every_kind):
    folder, expected, rows = every_kind
    for name, row in rows.items():
        if expected[name].reason is None:
            pixels, before = decode_image(row["image"]), decode_image((folder / name).read_bytes())
            assert pixels.shape[:2] == (row["height"], row["width"])
            assert replace(expected[name], tolerance=max(expected[name].tolerance, LOSSY)).differences(pixels) == [], name
            assert np.array_equal(pixels, before) if row["reencoded"] is None else np.abs(pixels.astype(int) - before).mean() < 6


def test_the_pixels_of_upright_jpegs_in_rgb_are_not_encoded_anew(every_kind):
    folder, expected, rows = every_kind
    for name, row in rows.items():
        if expected[name].reason is None:
            data = (folder / name).read_bytes()
            assert (row["reencoded"] is None) == (row["image"] == _cut(data)), name
            assert row["source_sha256"] == hashlib.sha256(data).hexdigest()
    reasons = {row["reencoded"] for row in rows.values()}
    assert {None, "png", "gif", "webp", "orientation", "cmyk", "color_profile"} <= reasons


def _cut(data: bytes) -> bytes | None:
    return without_metadata(data) if data.startswith(b"\xff\xd8") else None


def test_the_packed_set_shows_every_kept_image_upright_and_training_sees_the_same(every_kind, packed, tmp_path):
    import datasets

    _, expected, rows = every_kind
    kept = {name for name, of in expected.items() if of.reason is None}
    assert len(kept) >= 60
    viewed = datasets.load_dataset(str(packed), split="train", cache_dir=str(tmp_path))
    assert {row["source_name"] for row in viewed} == kept
    rejected = datasets.load_dataset(str(packed), "rejected", split="train", cache_dir=str(tmp_path))
    assert {row["source_name"]: row["reject_reason"] for row in rejected} == {
        name: of.reason for name, of in expected.items() if of.reason is not None
    }
    pairs, decode = ImageTextPairs.open([packed]), Decoder()
    trained = {pairs.image_id(row): decode(pairs.image_bytes(row)).copy() for row in range(len(pairs))}
    for row in viewed:
        pixels = np.asarray(row["image"].convert("RGB"))
        name = row["source_name"]
        assert replace(expected[name], tolerance=max(expected[name].tolerance, LOSSY)).differences(pixels) == [], name
        assert np.array_equal(pixels, trained[row["id"]]), name
        assert (row["origin"], row["synthetic"], row["reencoded"]) == ("original", False, rows[name]["reencoded"])
    files = [file.read_bytes() for file in (packed / "data").iterdir()]
    assert not any(mark in data for data in files for mark in (b"Camera", b"digitalsourcetype", b"Exif\0\0"))


def test_nothing_of_a_camera_or_a_place_is_left(tmp_path):
    tags = Image.Exif()
    tags[0x010F], tags[0xA431], tags[0x0112] = "Canon", "SERIAL-4711", 1
    tags.get_ifd(0x8825)[0x001D] = "2024:05:06"
    text = PngInfo()
    text.add_text("Comment", "secret comment")
    (tmp_path / "photos").mkdir()
    files = {"upright.jpg": saved(exif=tags, comment=b"secret comment"), "png.png": saved("PNG", exif=tags, pnginfo=text)}
    tags[0x0112] = 6
    files["turned.jpg"] = saved(exif=tags, comment=b"secret comment") + b"ftypmp42 a video of 2024:05:06"
    for name, data in files.items():
        (tmp_path / "photos" / name).write_bytes(data)
        assert b"2024:05:06" in data
        assert b"SERIAL-4711" in data
    for row in ingested(tmp_path, tmp_path / "photos").values():
        assert all(secret not in row["image"] for secret in (b"2024:05:06", b"SERIAL-4711", b"Canon", b"secret", b"Exif", b"ftyp"))


def test_what_a_file_says_of_its_origin_is_kept(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    packet = f'<rdf:Description Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPES["generated"]}"/>'
    compressed = PngInfo()
    compressed.add_itxt("XML:com.adobe.xmp", packet, zip=True)
    c2pa = b"\x78\x19digitalSourceType\x78\x46" + SOURCE_TYPES["generated"].encode() + b"idigested"
    files = {
        "photograph.jpg": saved(),
        "generated.jpg": with_xmp(saved(), SOURCE_TYPES["generated"]),
        "composite.jpg": with_xmp(saved(), SOURCE_TYPES["image_to_image"]),
        "drawn.webp": saved("WEBP", xmp=packet.replace(SOURCE_TYPES["generated"], SOURCE_TYPES["drawn"]).encode()),
        "compressed.png": saved("PNG", pnginfo=compressed),
        "c2pa.jpg": saved()[:2] + b"\xff\xeb" + (len(c2pa) + 2).to_bytes(2, "big") + c2pa + saved()[2:],
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    origins = {name: row["origin"] for name, row in ingested(tmp_path, folder).items()}
    assert origins == {
        "photograph.jpg": "original",
        "generated.jpg": "generated",
        "composite.jpg": "image_to_image",
        "drawn.webp": "drawn",
        "compressed.png": "generated",
        "c2pa.jpg": "generated",
    }


def test_a_jpeg_whose_segments_cannot_be_followed_is_encoded_anew():
    pixels = photograph(0, 96, 48)
    stored, reason = store(saved()[:-2] + b"\xff\xe5\xff\xff", pixels)
    assert reason == "structure"
    assert decode_image(stored).shape == pixels.shape


def test_a_lost_file_fails_in_its_own_row_and_a_changed_one_is_read_as_it_is(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.jpg").write_bytes(saved(seed=number))
    create(tmp_path / "run", ingest=folder, assignments=SETS)
    (folder / "2.jpg").unlink()
    (folder / "3.jpg").write_bytes(saved(seed=9))
    run = Run.open(tmp_path / "run")
    run_stages(run, "ingest", quiet=True)
    rows = pq.read_table(tmp_path / "run/ingest/00000.parquet").to_pylist()
    assert [row["error"] for row in rows if row["error"]] == [
        "FileNotFoundError: 2.jpg cannot be read where it was when the run was planned"
    ]
    assert rows[3]["source_sha256"] == hashlib.sha256(saved(seed=9)).hexdigest()
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(RunFailed, match="FileNotFoundError"):
        run_stages(Run.open(tmp_path / "run"), "ingest", retry_errors=True, quiet=True)


def test_a_run_of_images_that_was_killed_goes_on_to_the_same_bytes(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(64):
        (folder / f"{number:02d}.png").write_bytes(saved("PNG", seed=number))
    for name in ("calm", "killed"):
        create(
            tmp_path / name,
            ingest=folder,
            assignments=[*SETS, "shard_rows=4", "filter.min_bits_per_pixel=null", "filter.min_sharpness=null"],
        )
    run_stages(Run.open(tmp_path / "calm"), quiet=True)
    for stage in ("ingest", "label"):
        command = [sys.executable, "-m", "cli.main", "run", "killed", "-q"]
        process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.DEVNULL, start_new_session=True)
        while len(list((tmp_path / "killed" / stage).glob("*.parquet"))) < 2:
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    run_stages(Run.open(tmp_path / "killed"), quiet=True)
    cells = [
        {str(file.relative_to(tmp_path / name)): file.read_bytes() for file in sorted((tmp_path / name).rglob("*.parquet"))}
        for name in ("calm", "killed")
    ]
    assert cells[0].keys() - {name for name in cells[0] if "dataset" in name} <= cells[1].keys()
    assert all(cells[1][name] == data for name, data in cells[0].items())


def test_every_command_works_on_a_run_of_images(mals: Mals, tmp_path):
    """From a folder of labelled photographs to a packed set, as a person gives the commands."""
    folder = tmp_path / "photos"
    for number in range(12):
        person = folder / f"person {number // 4}"
        person.mkdir(parents=True, exist_ok=True)
        (person / f"{number}.jpg").write_bytes(saved(seed=number, quality=95))
        (person / f"{number}.txt").write_text("a woman in a red coat and black trousers with a backpack")
    planned = mals("plan", "run", "--ingest", "photos", "--person-from", "folder", *[word for s in SETS for word in ("--set", s)])
    assert planned.returncode == 0, planned.stderr
    shares = ["--set", "pack.split={train: 0.5, test: 0.5}", "--set", "pack.split_by=person", "--set", "filter.min_bits_per_pixel=null"]
    result = mals("run", "run", "-q", *shares)
    assert result.returncode == 0, result.stderr
    status = json.loads(mals("status", "run", "--json").stdout)
    assert [stage["stage"] for stage in status["stages"]] == ["ingest", "safety", "filter", "crop", "label"]
    for command in (["verify"], ["report"], ["filter", "--preview"], ["label", "--stats"], ["models"], ["pack"]):
        shown = mals(command[0], "run", *command[1:])
        assert shown.returncode == 0, shown.stderr
    for form in ("mals-json", "webdataset"):
        exported = mals("export", "run", "--to", form, "--format", form)
        assert exported.returncode == 0, exported.stderr
    rows = [row for file in sorted((tmp_path / "run/dataset/data").glob("*.parquet")) for row in pq.read_table(file).to_pylist()]
    assert {row["person"] for row in rows} == {"person 0", "person 1", "person 2"}
    assert all(row["caption"].startswith("a woman in a red coat") and row["attributes"]["backpack"] == 0 for row in rows)
    again = json.loads(mals("replay", "run", rows[0]["id"], "--json").stdout)
    assert again["identical"] is True
    splits = [{row["person"] for row in pq.read_table(file).to_pylist()} for file in (tmp_path / "run/dataset/data").glob("*.parquet")]
    assert splits[0].isdisjoint(splits[1])
    assert mals("generate", "run").returncode == 2
    packed = mals("plan", "next", "--ingest", "run", "--person-from", "person", *[word for s in SETS for word in ("--set", s)])
    assert packed.returncode == 0, packed.stderr
    assert {row["id"] for row in pq.read_table(tmp_path / "next/plan/00000.parquet").to_pylist()} == {row["id"] for row in rows}


@pytest.mark.slow
def test_images_that_exist_go_through_the_real_crop_captioner_and_labels(mals: Mals, tmp_path):
    assert mals("world", "make", "--to", "world", "--persons", 6, "--views", 2).returncode == 0
    assert mals("plan", "run", "--ingest", "world", "--person-from", "person", "--set", "shard_rows=8").returncode == 0
    result = mals("run", "run", "-q")
    assert result.returncode == 0, result.stderr
    rows = [row for file in (tmp_path / "run/dataset/data").iterdir() for row in pq.read_table(file).to_pylist()]
    assert len(rows) >= 8
    assert {(row["origin"], row["synthetic"], row["reencoded"]) for row in rows} == {("drawn", True, None)}
    assert all(row["caption"] != row["source_caption"] and row["keypoints"] and row["person"] in set("012345") for row in rows)
    assert sum(row["attributes"]["gender"] is not None for row in rows) >= len(rows) // 2

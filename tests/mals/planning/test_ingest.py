"""Plans of images that exist: which files become rows, in which order, with which person, caption and id."""

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mals.errors import UserError
from mals.grid.run import Run
from mals.planning.caption_files import CaptionsForm
from mals.planning.create import create
from mals.planning.image_source import ImageReader
from tests.conftest import Mals

FILES = {  # in the order of the plan
    "b.jpg": b"1",
    "z.PNG": b"2",
    "a b/ü ö.webp": b"3",
    "person 2/cam1/x.tiff": b"4",
    "person 2/y.heic": b"5",
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of images, some deep in it, with files beside them that are none."""
    folder = tmp_path / "photos"
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def rows(run: Path) -> list[dict[str, Any]]:
    return [row for file in sorted((run / "plan").glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


def plan(folder: Path, source: Any, **options: Any) -> list[dict[str, Any]]:
    run = folder / f"run{len(list(folder.glob('run*')))}"
    create(run, ingest=source, **options)
    return rows(run)


def names(planned: list[dict[str, Any]]) -> list[str]:
    return [row["source_name"] for row in planned]


def contents(planned: list[dict[str, Any]]) -> list[bytes]:
    reader = ImageReader()
    return [reader.read(row["source"]) for row in planned]


def tar_of(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def test_every_image_of_a_folder_is_a_row_whatever_its_suffix(tmp_path, photos):
    planned = plan(tmp_path, photos)
    assert sorted(names(planned)) == sorted(FILES)
    assert dict(zip(names(planned), contents(planned), strict=True)) == FILES
    assert {row["origin"] for row in planned} == {"original"}
    assert {(row["person"], row["caption"]) for row in planned} == {(None, None)}


def test_the_settings_of_the_run_say_ingest_and_its_stages_follow(tmp_path, photos):
    create(tmp_path / "run", ingest=photos, assignments=["caption=none"])
    run = Run.open(tmp_path / "run")
    assert list(run.grid.stages) == ["ingest", "safety", "filter", "crop", "label"]
    with pytest.raises(UserError, match="no stage generate"):
        run.grid.earlier("generate")
    with pytest.raises(UserError, match="other settings"):
        Run.open(tmp_path / "run", ["source=generate"])


def test_ids_can_be_file_names_and_are_those_of_the_same_names_elsewhere(tmp_path, photos):
    planned = plan(tmp_path, photos)
    ids = {row["source_name"]: row["id"] for row in planned}
    assert len(set(ids.values())) == len(FILES)
    assert all(set(id_) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") for id_ in ids.values())
    assert ids["person 2/y.heic"].startswith("person_2_y-")
    photos.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/a new.jpg").write_bytes(b"6")
    later = {row["source_name"]: row["id"] for row in plan(tmp_path, tmp_path / "elsewhere")}
    assert {name: later[name] for name in ids} == ids


def test_names_that_differ_in_odd_characters_only_have_ids_of_their_own(tmp_path):
    odd = [b"a b.jpg", b"a_b.jpg", b"a\\b.jpg", b"a\xffb.jpg", b"a\\xffb.jpg", b"a\nb.jpg", "a\u00e9.jpg".encode(), "ae\u0301.jpg".encode()]
    (tmp_path / "odd").mkdir()
    for number, name in enumerate([*odd, b"tar:1:2:x.jpg", "日本語.jpg".encode(), b"100%25.jpg", b"#1?.jpg"]):
        (tmp_path / "odd" / os.fsdecode(name)).write_bytes(str(number).encode())
    planned = plan(tmp_path, tmp_path / "odd")
    assert len({row["id"] for row in planned}) == 12
    assert sorted(contents(planned)) == sorted(str(number).encode() for number in range(12))


@pytest.mark.parametrize("name", ["photos [2024]", "photos {a,b}", "tar:1:2:", "photos*"])
def test_a_folder_whose_name_looks_like_a_pattern_is_read_as_a_folder(tmp_path, photos, name):
    planned = plan(tmp_path, photos.rename(tmp_path / name))
    assert sorted(contents(planned)) == sorted(FILES.values())


def test_what_is_no_image_is_left_out_and_counted(tmp_path, photos):
    for name in ("Thumbs.db", ".DS_Store", "._b.jpg", "notes.pdf", "list.csv", "NOTES", "lonely.txt", ".hidden/c.jpg", "__MACOSX/._b.jpg"):
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_bytes(b"x")
    (photos / "gone.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(photos / "pipe.jpg")
    receipt = create(tmp_path / "run", ingest=photos)
    assert receipt.rows == len(FILES)
    left_out = {".db": 1, "hidden": 3, ".pdf": 1, ".csv": 1, "without suffix": 1, ".txt": 1, "__MACOSX": 1, "broken link": 1, "no file": 1}
    assert receipt.left_out == left_out


def test_links_are_followed_but_nothing_comes_twice_and_loops_end(tmp_path, photos):
    other = tmp_path / "other disk"
    other.mkdir()
    (other / "c.jpg").write_bytes(b"c")
    (other / "back").symlink_to(photos)
    (other / "self").symlink_to(other)
    (photos / "linked").symlink_to(other)
    (photos / "linked again").symlink_to(other)
    (photos / "loop").symlink_to(photos)
    (photos / "up").symlink_to(tmp_path)
    (photos / "same").symlink_to(photos / "person 2")
    (photos / "circle").symlink_to(photos / "circle")
    (photos / "link.jpg").symlink_to(other / "c.jpg")
    planned = plan(tmp_path, photos)
    assert sorted(names(planned)) == sorted([*FILES, "link.jpg", "linked/c.jpg"])


def test_the_folder_gives_the_person_where_it_is_asked_for(tmp_path, photos):
    persons = {row["source_name"]: row["person"] for row in plan(tmp_path, photos, person_from="folder")}
    assert persons == {
        "b.jpg": None,
        "z.PNG": None,
        "a b/ü ö.webp": "a b",
        "person 2/cam1/x.tiff": "person 2/cam1",
        "person 2/y.heic": "person 2",
    }


def test_a_text_beside_an_image_is_its_caption(tmp_path, photos):
    (photos / "b.txt").write_text("a man\nin a red coat\n")
    (photos / "z.txt").write_bytes("a woman".encode("utf-16"))
    (photos / "a b/ü ö.txt").write_text("\u200b \n")
    (photos / "person 2/y.txt").write_bytes(b"\xff\xfa\x00")
    (photos / "person 2/cam1/x.txt").write_text("0 0.51 0.48 0.1 0.3\n")  # a box
    receipt = create(tmp_path / "run", ingest=photos)
    captions = {row["source_name"]: row["caption"] for row in rows(tmp_path / "run") if row["caption"]}
    assert captions == {"b.jpg": "a man in a red coat", "z.PNG": "a woman"}
    assert receipt.left_out == {"caption that is no text": 3}


def test_a_key_of_the_json_beside_an_image_gives_the_person(tmp_path, photos):
    (photos / "b.json").write_text('{"pid": 7}')
    (photos / "z.json").write_text('{"pid": "eight \\ud83d"}')
    (photos / "person 2/y.json").write_text("[1")
    persons = {row["source_name"]: row["person"] for row in plan(tmp_path, photos, person_from="pid") if row["person"]}
    assert persons == {"b.jpg": "7", "z.PNG": "eight \\ud83d"}


@pytest.mark.parametrize("is_tar", [False, True])
def test_a_key_of_the_json_that_is_named_gives_the_caption_and_not_the_text_beside(tmp_path, is_tar):
    files = {
        "a.jpg": b"1",
        "a.txt": b"ALT TEXT",
        "a.json": b'{"caption": "an alt text", "blip": ["a man", "a boy"], "pid": 1}',
        "b.jpg": b"2",
    }
    files |= {"b.json": b'{"caption": "a woman", "pid": 2}'}
    (folder := tmp_path / "in").mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    tar_of(tmp_path / "in.tar", files)
    source = tmp_path / "in.tar" if is_tar else folder
    named = plan(tmp_path, source, form=CaptionsForm(caption_column="blip"))
    assert [row["caption"] for row in named] == ["a man", None]
    assert [row["caption"] for row in plan(tmp_path, source, person_from="pid")] == ["ALT TEXT", "a woman"]


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("photos/*.jpg", ["b.jpg"]),
        ("photos/**/*", list(FILES)),
        ("photos/person*", ["person 2/cam1/x.tiff", "person 2/y.heic"]),
        ("photos/*/*.{webp,heic}", ["a b/ü ö.webp", "person 2/y.heic"]),
        ("photos/b.jpg", ["b.jpg"]),
    ],
)
def test_a_pattern_takes_what_it_matches(tmp_path, photos, monkeypatch, pattern, matched):
    monkeypatch.chdir(tmp_path)
    (photos / "b.txt").write_text("a man")
    planned = plan(tmp_path, pattern)
    assert sorted(names(planned)) == sorted(matched)
    assert contents(planned) == [FILES[name] for name in names(planned)]
    assert [row["caption"] for row in planned if row["source_name"] == "b.jpg"] == ["a man"] * ("b.jpg" in matched)


def test_a_folder_behind_a_url_is_read_like_one_that_is_not(tmp_path, photos):
    import fsspec

    fs = fsspec.filesystem("memory")
    fs.store.clear()
    (photos / "b.txt").write_text("a man")
    for name in [*FILES, "b.txt", ".hidden.jpg"]:
        fs.pipe(f"/bucket/photos/{name}", FILES.get(name, b"a man"))
    here = {row["source_name"]: (row["id"], row["caption"]) for row in plan(tmp_path, photos)}
    there = plan(tmp_path, "memory://bucket/photos")
    assert {row["source_name"]: (row["id"], row["caption"]) for row in there} == here
    assert contents(there) == [FILES[name] for name in names(there)]
    some = plan(tmp_path, "memory://bucket/photos/*.jpg")
    assert [(row["source_name"], row["caption"]) for row in some] == [("b.jpg", "a man")]
    with pytest.raises(UserError, match="memory://bucket/other"):
        plan(tmp_path, "memory://bucket/other")


def test_the_images_of_webdataset_shards_are_read_by_their_place_in_the_tar(tmp_path):
    shards = tmp_path / "shards"
    shards.mkdir()
    first = {
        "000.jpg": b"one",
        "000.txt": b"a man",
        "000.json": b'{"person": 4, "key": "000"}',
        "001.jpg": b"two",
        "001.json": b'{"caption": "a woman"}',
    }
    tar_of(shards / "00000.tar", first)
    tar_of(shards / "00001.tar", {"./a/002.png": b"three" * 1000, "a/002.seg.png": b"mask", "a/002.cls": b"5", ".hidden.jpg": b""})
    (shards / "00000.parquet").write_bytes(b"the table that img2dataset writes beside a shard")
    expected = [
        ("00000.tar/000.jpg", "4", "a man", b"one"),
        ("00000.tar/001.jpg", None, "a woman", b"two"),
        ("00001.tar/a/002.png", None, None, b"three" * 1000),
    ]
    for source in (shards, f"{shards}/*.tar", f"{shards}/{{00000..00001}}.tar"):
        planned = plan(tmp_path, source, person_from="person")
        assert (
            list(
                zip(names(planned), [row["person"] for row in planned], [row["caption"] for row in planned], contents(planned), strict=True)
            )
            == expected
        )
    assert [row["person"] for row in plan(tmp_path, shards, person_from="folder")] == [None, None, "a"]
    with pytest.raises(UserError, match=r"no file matches .*00002\.tar"):
        plan(tmp_path, f"{shards}/{{00000..00002}}.tar")


def test_a_tar_of_images_with_dots_in_their_names_loses_none(tmp_path):
    members = {f"set/a.{number}.jpg": str(number).encode() for number in range(3)}
    more = {"set/a.1.txt": b"the middle one", "set/\udcff.jpg": b"no UTF-8", "/home/me/b.jpg": b"an absolute name"}
    tar = tar_of(tmp_path / "images.tar", members | more)
    planned = plan(tmp_path, tar)
    assert contents(planned) == [b"0", b"1", b"2", b"no UTF-8", b"an absolute name"]
    assert [row["caption"] for row in planned] == [None, "the middle one", None, None, None]
    assert names(planned)[3:] == ["images.tar/set/\\xff.jpg", "images.tar/home/me/b.jpg"]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.tar", b"no tar at all" * 100, "cannot be read as an uncompressed tar"),
        ("a.tar.gz", b"\x1f\x8b", "compressed"),
        ("a.zip", b"PK", "compressed"),
        ("a.parquet", b"PAR1", "not a readable Parquet file"),
        ("a.docx", b"x", "no image"),
    ],
)
def test_a_file_that_is_no_collection_is_refused_in_a_sentence(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=words):
        plan(tmp_path, tmp_path / name)


@pytest.mark.parametrize("images", ["bytes", "struct", "large"])
def test_the_images_of_a_parquet_file_are_read_by_row(tmp_path, images):
    data = [f"image {number}".encode() for number in range(10)]
    column = {
        "bytes": pa.array(data, pa.binary()),
        "large": pa.array(data, pa.large_binary()),
        "struct": pa.array([{"bytes": image, "path": f"{at}.png"} for at, image in enumerate(data)]),
    }[images]
    persons = [1, 1, None, *range(7)]
    table = pa.table({"caption": ["a man", None, *[""] * 8], "image": column, "pid": persons, "mask": pa.array(data, pa.binary())})
    pq.write_table(table, tmp_path / "set.parquet", row_group_size=3)
    planned = plan(tmp_path, tmp_path / "set.parquet", person_from="pid")
    assert contents(planned) == data
    assert contents(planned[::-1]) == data[::-1]
    assert [row["caption"] for row in planned] == ["a man"] + [None] * 9
    assert [row["person"] for row in planned] == [None if person is None else str(person) for person in persons]
    assert names(planned)[3] == ("3.png" if images == "struct" else "set.parquet/3")
    with pytest.raises(UserError, match=r"no column name .*caption, image, pid, mask"):
        plan(tmp_path, tmp_path / "set.parquet", person_from="name")


def test_a_column_of_paths_is_read_from_the_folder_of_the_table(tmp_path, photos):
    paths = ["b.jpg", "a b\\ü ö.webp", str(photos / "z.PNG"), None, "person 2/y.heic"]
    pq.write_table(pa.table({"file_name": paths, "caption": list("vwxyz")}), photos / "list.parquet")
    receipt = create(tmp_path / "run", ingest=photos / "list.parquet", person_from="folder")
    planned = rows(tmp_path / "run")
    assert contents(planned) == [b"1", b"3", b"2", b"5"]
    assert [row["caption"] for row in planned] == ["v", "w", "x", "z"]
    assert receipt.left_out == {"row without a path": 1}


def test_the_folders_of_a_machine_are_in_no_name_and_no_person(tmp_path, photos):
    paths = [str(photos / "person 2/y.heic"), "C:\\users\\me\\7\\x.jpg", "https://me:secret@host/set/8/x.jpg?token=secret"]
    (tmp_path / "lists").mkdir()
    pq.write_table(pa.table({"path": paths}), tmp_path / "lists/list.parquet")
    planned = plan(tmp_path, tmp_path / "lists/list.parquet", person_from="folder")
    assert [(row["source_name"], row["person"]) for row in planned] == [("person 2/y.heic", "person 2"), ("7/x.jpg", "7"), ("8/x.jpg", "8")]
    data = pa.array([{"bytes": b"1", "path": "/home/me/set/9/x.png"}])
    pq.write_table(pa.table({"image": data}), tmp_path / "lists/encoded.parquet")
    planned = plan(tmp_path, tmp_path / "lists/encoded.parquet", person_from="folder")
    assert [(row["source_name"], row["person"]) for row in planned] == [("9/x.png", "9")]


def test_columns_of_other_names_are_named(tmp_path):
    table = pa.table({"crop": [b"1", b"2"], "mask": [b"3", b"4"], "texts": [["a man", "a boy"], []], "number": [1, 2]})
    pq.write_table(table, tmp_path / "set.parquet")
    with pytest.raises(UserError, match="name it with --image-column"):
        plan(tmp_path, tmp_path / "set.parquet")
    form = CaptionsForm(image_column="crop", caption_column="texts")
    receipt = create(tmp_path / "run", ingest=tmp_path / "set.parquet", form=form)
    planned = rows(tmp_path / "run")
    assert contents(planned) == [b"1", b"2"]
    assert [row["caption"] for row in planned] == ["a man", None]
    assert receipt.left_out == {"further caption of an image": 1}
    for wrong, words in (
        (CaptionsForm(image_column="image"), "no column image for --image-column"),
        (CaptionsForm(image_column="crop", caption_column="text"), "no column text for --caption-column"),
        (CaptionsForm(image_column="crop", caption_column="number"), "number for --caption-column holds no texts"),
        (CaptionsForm(image_column="number"), "no column of images"),
        (CaptionsForm(image_column="crop", encoding="cp1252"), "--encoding"),
    ):
        with pytest.raises(UserError, match=words):
            create(tmp_path / "other", ingest=tmp_path / "set.parquet", form=wrong)


def test_a_packed_set_keeps_its_ids_and_what_it_says_of_its_images(tmp_path):
    data = tmp_path / "set/data"
    data.mkdir(parents=True)
    (tmp_path / "set/rejected").mkdir()
    images = pa.array([{"bytes": b"1", "path": "x.jpg"}, {"bytes": b"2", "path": "y.jpg"}, {"bytes": b"3", "path": "z.jpg"}])
    table = pa.table({"id": ["x", "y", "z"], "image": images, "person": ["p", None, "q"], "image_sha256": ["", "", ""]})
    for column, origins in (("origin", ["generated", None, "original"]), ("synthetic", [True, None, False])):
        pq.write_table(table.append_column(column, pa.array(origins)), data / "train-00000-of-00001.parquet")
        planned = plan(tmp_path, tmp_path / "set", person_from="person")
        assert [(row["id"], row["person"]) for row in planned] == [("x", "p"), ("y", None), ("z", "q")]
        assert [row["origin"] for row in planned] == ["generated", None, "original"]
    assert [row["origin"] for row in plan(tmp_path, tmp_path / "set", origin="drawn")] == ["drawn"] * 3


def test_columns_with_the_names_of_ours_that_hold_something_else_do_no_harm(tmp_path):
    table = pa.table({"image": [b"1", b"2"], "id": [1, 2], "image_sha256": [3, 4], "origin": ["flickr", "web"], "synthetic": ["no", "no"]})
    pq.write_table(table, tmp_path / "set.parquet")
    planned = plan(tmp_path, tmp_path / "set.parquet")
    assert [(row["source_name"], row["origin"]) for row in planned] == [("set.parquet/0", None), ("set.parquet/1", None)]
    pq.write_table(table.append_column("image", pa.array(["a", "b"])), tmp_path / "set.parquet")
    with pytest.raises(UserError, match="has 2 columns with the name image"):
        plan(tmp_path, tmp_path / "set.parquet")


def test_the_ids_of_several_packed_sets_do_not_meet(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "data").mkdir(parents=True)
        table = pa.table({"id": ["x"], "image": [name.encode()], "image_sha256": [""]})
        pq.write_table(table, tmp_path / name / "data/train-00000-of-00001.parquet")
    planned = plan(tmp_path, f"{tmp_path}/*/data/*.parquet")
    assert contents(planned) == [b"one", b"two"]
    assert len({row["id"] for row in planned}) == 2


def test_a_run_in_the_folder_is_no_image_and_one_that_is_not_packed_is_refused(tmp_path, photos):
    receipt = create(photos / "run", ingest=photos)
    (photos / "run/report").mkdir()
    (photos / "run/report/contact-sheet.jpg").write_bytes(b"x")
    assert create(photos / "run", ingest=photos) == receipt
    assert create(tmp_path / "other", ingest=photos).left_out == {"run of mals": 1}
    with pytest.raises(UserError, match="not packed"):
        plan(tmp_path, photos / "run")


def test_a_folder_of_images_and_tars_is_not_guessed(tmp_path, photos):
    tar_of(photos / "backup.tar", {"a.jpg": b"1"})
    with pytest.raises(UserError, match=r"holds images and \.tar files"):
        plan(tmp_path, photos)
    assert contents(plan(tmp_path, f"{photos}/*.tar")) == [b"1"]
    assert len(plan(tmp_path, f"{photos}/**/*")) == len(FILES)


def test_a_limit_takes_the_first_and_a_shuffle_is_the_same_each_time(tmp_path, photos):
    every = names(plan(tmp_path, photos))
    assert names(plan(tmp_path, photos, limit=2)) == every[:2]
    one, two = names(plan(tmp_path, photos, shuffle=1)), names(plan(tmp_path, photos, shuffle=2))
    assert sorted(one) == sorted(two) == sorted(every)
    assert len({tuple(every), tuple(one), tuple(two)}) == 3
    assert names(plan(tmp_path, photos, shuffle=1, limit=3)) == one[:3]


def test_the_same_plan_again_is_kept_and_another_is_refused(tmp_path, photos):
    receipt = create(tmp_path / "run", ingest=photos)
    before = (tmp_path / "run/plan/plan.json").read_bytes()
    assert create(tmp_path / "run", ingest=photos) == receipt
    assert (tmp_path / "run/plan/plan.json").read_bytes() == before
    with pytest.raises(UserError, match="other options"):
        create(tmp_path / "run", ingest=photos, limit=1)
    (photos / "new.jpg").write_bytes(b"new")
    with pytest.raises(UserError, match="have changed since"):
        create(tmp_path / "run", ingest=photos)
    (tmp_path / "captions.txt").write_text("a man")
    with pytest.raises(UserError, match="source: ingest"):
        create(tmp_path / "run", captions=tmp_path / "captions.txt")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ingest", "empty"], ["no images in", "empty"]),
        (["--ingest", "texts"], ["no images in", "2 .txt"]),
        (["--ingest", "nowhere"], ["nowhere"]),
        (["--ingest", "nowhere/*.jpg"], ["no images in", "nowhere"]),
        (["--ingest", "photos", "--captions", "captions.txt"], ["--ingest", "--captions"]),
        (["--ingest", "photos", "--count", "3"], ["--ingest", "--count"]),
        (["--ingest", "photos", "--images", "photos"], ["--ingest", "--images"]),
        (["--ingest", "photos", "--limit", "0"], ["--limit"]),
        (["--ingest", "photos", "--person-from", "pid"], ["--person-from pid", "no image", ".json"]),
        (["--ingest", "photos", "--caption-column", "alt"], ["--caption-column alt", "no image"]),
        (["--ingest", "flat", "--person-from", "folder"], ["--person-from folder", "no image", "in the folder itself"]),
        (["--ingest", "photos", "--origin", "painted"], ["painted", "generated"]),
        (["--captions", "captions.txt", "--limit", "3"], ["--limit", "--ingest"]),
        (["--ingest", "gdrive://x/y"], ["gdrive"]),
    ],
)
def test_what_is_wrong_with_a_plan_of_images_is_one_sentence(mals: Mals, tmp_path, photos, arguments, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat/a.jpg").write_bytes(b"1")
    for name in ("captions.txt", "texts/a.txt", "texts/b.txt"):
        (tmp_path / name).write_text("a man\n")
    result = mals("plan", "run", *arguments)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1), result.stderr
    assert all(word in result.stderr for word in words)
    assert not (tmp_path / "run/plan/plan.json").exists()


def test_the_command_says_what_was_left_out(mals: Mals, tmp_path, photos):
    (photos / "Thumbs.db").write_bytes(b"x")
    result = mals("plan", "run", "--ingest", "photos", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["left_out"] == {".db": 1}
    shown = mals("plan", "run", "--ingest", "photos")
    assert "5 rows in 1 shards" in shown.stdout
    assert shown.stderr == "left out: 1 .db\n"

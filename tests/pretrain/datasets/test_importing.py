"""Imported benchmarks: what is packed, that others load it, that it repeats byte for byte, and how gaps are reported."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from mals.attributes import load_space
from mals.dataset.export import export
from mals.dataset.pack import pack
from mals.errors import UserError
from pretrain.data.rows import ImageTextPairs
from pretrain.datasets import READERS, contents
from pretrain.datasets.contents import Count, SplitContents
from pretrain.datasets.importing import import_benchmark
from tests.conftest import Mals, environment
from tests.images_of_every_kind import images
from tests.interruption import Killed, killed_at
from tests.pretrain.datasets import big_layouts, layouts
from tests.small.cells import attribute_values, small_run

MADE = {
    "cuhk-pedes": layouts.cuhk,
    "icfg-pedes": layouts.icfg,
    "rstpreid": layouts.rstp,
    "pa100k": layouts.pa100k,
    "market1501": layouts.market,
    "mals-json": layouts.mals,
    "ufine6926": layouts.ufine6926,
    "ufine3c": layouts.ufine3c,
    "tag-pedes": layouts.tag,
    "aeri-pedes": layouts.aeri,
    "tbapr": layouts.tbapr,
    **big_layouts.MADE,
    "pab": layouts.pab,
    "syntbpr": layouts.syntbpr,
    "syncpr": layouts.syncpr,
    "itcpr": layouts.itcpr,
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A miniature of each data set that no test changes."""
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in MADE.items()}


@pytest.fixture(scope="module")
def packed(sources: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each of them imported."""
    folders = {name: tmp_path_factory.mktemp("packed") / name for name in sources}
    for name, folder in folders.items():
        import_benchmark(name, sources[name], str(folder))
    return folders


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def rows(folder: Path, split: str = "train") -> list[dict]:
    return [row for path in sorted((folder / "data").glob(f"{split}-*")) for row in pq.read_table(path).to_pylist()]


def test_an_image_is_a_row_with_all_its_captions_person_and_its_file_as_it_is(packed: dict[str, Path], sources: dict[str, Path]) -> None:
    first, second, third = rows(packed["cuhk-pedes"])
    assert first["caption"] == "A man in red." and [caption["text"] for caption in second["captions"]] == [
        *("A man with a bag.", "Red coat, black bag.", "Someone in red.")
    ]
    assert {caption["source"] for row in (first, second, third) for caption in row["captions"]} == {"annotator"}
    assert [row["person"] for row in (first, second, third)] == [1, 1, 2] and "camera" not in first and "attributes" not in first
    data = (sources["cuhk-pedes"] / "imgs" / "CUHK01/0363004.jpg").read_bytes()
    assert first["image"] == {"bytes": data, "path": "CUHK01/0363004.jpg"} and first["id"] == "CUHK01/0363004.jpg"
    assert (first["width"], first["height"], first["synthetic"]) == (16, 32, False)
    assert first["image_sha256"] == hashlib.sha256(data).hexdigest()


def test_cameras_are_packed_where_names_tell_them(packed: dict[str, Path]) -> None:
    assert [row["camera"] for row in rows(packed["rstpreid"])] == [14, 3, 14, 3]
    assert [row["camera"] for row in rows(packed["icfg-pedes"])] == [1, 5, 1]
    assert [row["camera"] for row in rows(packed["market1501"])] == [1, 3, 2]


def test_data_sets_without_captions_have_null_captions_and_all_attributes(packed: dict[str, Path]) -> None:
    for name, space in (("pa100k", "pa100k"), ("market1501", "market1501")):
        for row in rows(packed[name]):
            assert row["caption"] is None and row["captions"] == []
            assert tuple(row["attributes"]) == load_space(space).names
    assert [list(row["attributes"].values()) for row in rows(packed["pa100k"])] == [layouts.pa100k_values(at) for at in range(5)]
    assert [row["age"] for row in rows(packed["market1501"])] == [1, 1, 2]
    (distractor,) = rows(packed["market1501"], "distractors")
    assert distractor["person"] is None and distractor["attributes"] is None and distractor["age"] is None


def test_mals_is_packed_with_its_labels_unknown_ones_null(packed: dict[str, Path]) -> None:
    mals_rows = rows(packed["mals-json"])
    assert [row["id"] for row in mals_rows] == [f"c_g_a_{number}_{at}" for number in (2, 10) for at in range(4)]
    values = [[-1 if value is None else value for value in row["attributes"].values()] for row in mals_rows]
    assert values == [attribute_values(at) for at in range(4)] * 2 and mals_rows[0]["synthetic"] is True


def test_load_dataset_gives_images_and_classes(packed: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    market = datasets.load_dataset(str(packed["market1501"]), cache_dir=str(tmp_path))
    assert {split: len(part) for split, part in market.items()} == {"train": 3, "query": 2, "test": 2, "distractors": 1}
    features, row = market["train"].features, market["train"][0]
    assert isinstance(row["image"], Image.Image) and row["image"].size == (16, 32)
    assert features["attributes"]["hat"].int2str(row["attributes"]["hat"]) == "no" and features["age"].int2str(row["age"]) == "teenager"
    cuhk = datasets.load_dataset(str(packed["cuhk-pedes"]), cache_dir=str(tmp_path))
    assert cuhk["test"][0]["captions"][1]["text"] == "Her bag is blue." and cuhk["test"].num_rows == 1


def test_load_dataset_gives_sources_views_and_all_splits(packed: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    loaded = {
        name: datasets.load_dataset(str(packed[name]), cache_dir=str(tmp_path))
        for name in ("ufine6926", "ufine3c", "tag-pedes", "aeri-pedes")
    }
    assert {name: {split: len(part) for split, part in splits.items()} for name, splits in loaded.items()} == {
        "ufine6926": {"train": 3, "test": 2},
        "ufine3c": {"test": 4},
        "tag-pedes": {"train": 3, "test": 2},
        "aeri-pedes": {"train": 3, "ground_train": 2, "test": 4, "ground_test": 2},
    }
    assert loaded["ufine3c"]["test"]["source"] == ["CUHK-PEDES", "CUHK-PEDES", "ICFG-PEDES", "UFine6926"]
    assert loaded["tag-pedes"]["train"]["camera"] == [0, 1, None]
    aeri = loaded["aeri-pedes"]
    assert aeri["train"]["view"] == ["aerial"] * 3 and aeri["ground_test"]["view"] == ["ground"] * 2
    assert aeri["train"]["ground_image"] == ["gnd/1.jpg", "gnd/1.jpg", "gnd/2.jpg"] and aeri["test"][1]["caption"] is None


def test_pairs_reads_captions_and_persons_of_what_was_packed(packed: dict[str, Path]) -> None:
    pairs = ImageTextPairs.open([packed["cuhk-pedes"]], every=True)
    assert len(pairs) == 6 and len(set(pairs.persons.tolist())) == 2
    assert pairs.other_captions(0) == ["He wears a red coat."]
    pairs = ImageTextPairs.open([packed["mals-json"]], classes=load_space("market1501").classes)
    assert pairs.labels is not None and pairs.labels[1].tolist() == attribute_values(1)
    assert len(ImageTextPairs.open([packed["rstpreid"]], "val")) == 2


@pytest.mark.parametrize("name", ["pa100k", "market1501"])
def test_pairs_reads_attributes_where_there_are_no_captions(name: str, packed: dict[str, Path]) -> None:
    classes = load_space(name).classes
    with pytest.raises(UserError, match="has no captions"):
        ImageTextPairs.open([packed[name]], classes=classes)
    pairs = ImageTextPairs.open([packed[name]], classes=classes, captions=False)
    expected = [[-1 if value is None else value for value in row["attributes"].values()] for row in rows(packed[name])]
    assert pairs.labels is not None and pairs.labels.tolist() == expected and pairs.caption(0) == "" and pairs.image_bytes(1)


def test_the_counts_stand_beside_the_expected_ones(sources: dict[str, Path], tmp_path: Path) -> None:
    report = import_benchmark("cuhk-pedes", sources["cuhk-pedes"], str(tmp_path / "out"))
    assert report.contents.splits["train"] == SplitContents(
        images=Count(3, 34_054),
        identities=Count(2, 11_003),
        captions=Count(6, 68_126),
        missing=0,
        unreadable=0,
        without_caption=0,
    )
    assert "val: 1 identities, where 1,000 are expected" in report.contents.warnings and report.rows == report.packed == 5
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| train | 3 of 34,054 | 2 of 11,003 | 6 of 68,126 |" in card and '"a of b": a is the number in this folder' in card


def test_the_expected_sizes_are_the_known_ones() -> None:
    sizes = {name: {split: (s.images, s.identities, s.captions) for split, s in info.sizes.items()} for name, (info, _) in READERS.items()}
    assert sizes["icfg-pedes"] == {"train": (34_674, 3_102, 34_674), "test": (19_848, 1_000, 19_848)}
    assert sizes["rstpreid"] == {"train": (18_505, 3_701, 37_010), "val": (1_000, 200, 2_000), "test": (1_000, 200, 2_000)}
    assert {split: images for split, (images, *_) in sizes["pa100k"].items()} == {"train": 80_000, "val": 10_000, "test": 10_000}
    assert sum(images or 0 for images, *_ in sizes["cuhk-pedes"].values()) == 40_206
    assert sum(captions or 0 for *_, captions in sizes["cuhk-pedes"].values()) == 80_440
    totals = {name: (info.total.images, info.total.identities, info.total.captions) for name, (info, _) in READERS.items()}
    assert sizes["ufine6926"] == {"train": (None,) * 3, "test": (None,) * 3} and totals["ufine6926"] == (26_206, 6_926, 52_412)
    assert sizes["ufine3c"] == {"test": (7_446, 2_250, 37_939)}
    assert sizes["tag-pedes"] == {"train": (19_954, 4_840, 39_908), "test": (8_252, 2_000, 16_504)}
    assert sizes["pab"] == {"train": (1_013_605, None, 1_013_605), "test": (1_978, None, 1_978), "ucc": (5_320, None, 5_320)}
    assert sizes["synth-pedes"]["train"] == (4_791_771, 312_321, 12_138_157) and sizes["luperson-mllm"]["train"][0] == 1_020_022
    assert sizes["syncpr"]["train"] == (1_153_220, 177_530, 1_153_220) and sizes["itcpr"]["test"] == (20_510, None, 2_202)
    assert sizes["webperson"]["train"][0] == 5_002_723 and sizes["aeri-pedes"]["test"] == (None, None, 6_141)
    assert [sizes["tbapr"][split] for split in ("train", "val", "test")] == [
        *((31_340, 1_180, 31_340), (9_255, 529, 9_255), (3_200, 529, 3_200))
    ]
    assert sizes["market1501"]["train"] == (12_936, 751, None) and sizes["mals-json"]["train"][0] == 1_510_330


@pytest.mark.parametrize("name", list(MADE))
def test_the_card_names_source_terms_and_columns_and_the_sums_hold(name: str, packed: dict[str, Path]) -> None:
    packed_files, info = files(packed[name]), READERS[name][0]
    card = packed_files["README.md"].decode()
    assert "license: other\nlicense_name: research-only\n" in card and info.terms in card and info.citation in card and info.url in card
    assert ("people in it are real" in card) is not info.synthetic
    assert all(f"- {note}\n" in card for note in info.column_notes)
    assert ("There are no captions" in card) is (info.caption_source is None) and ("## Attributes" in card) is (info.space is not None)
    listed = dict(reversed(line.split("  ")) for line in packed_files["SHA256SUMS"].decode().splitlines())
    listed_files = {path: data for path, data in packed_files.items() if path != "SHA256SUMS" and not path.startswith(".receipts/")}
    assert listed == {path: hashlib.sha256(data).hexdigest() for path, data in listed_files.items()}


def test_an_import_repeats_byte_for_byte_wherever_the_data_set_lies(packed: dict[str, Path], tmp_path: Path) -> None:
    for name, make in MADE.items():
        import_benchmark(name, make(tmp_path / "elsewhere" / name), str(tmp_path / "again" / name))
        assert files(tmp_path / "again" / name) == files(packed[name])
        assert str(tmp_path).encode() not in b"".join(files(packed[name]).values())


def test_rows_are_cut_into_files_and_row_groups(sources: dict[str, Path], tmp_path: Path) -> None:
    import_benchmark("rstpreid", sources["rstpreid"], str(tmp_path / "out"), rows_per_file=3)
    names = sorted(path.name for path in (tmp_path / "out" / "data").glob("train-*"))
    assert names == ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]
    assert [pq.read_metadata(tmp_path / "out" / "data" / name).num_rows for name in names] == [3, 1]
    assert [row["person"] for row in rows(tmp_path / "out")] == [0, 0, 1, 1]


def test_sizes_are_upright_and_what_lost_pixels_is_left_out(tmp_path: Path) -> None:
    source = layouts.rstp(tmp_path / "rstp")
    for name, kind in (("0000_c14_0000.jpg", "exif_6.jpg"), ("0001_c3_0001.jpg", "baseline_half_with_end.jpg")):
        (source / "imgs" / name).write_bytes(images()[kind][0])
    report = import_benchmark("rstpreid", source, str(tmp_path / "out"))
    assert [name.split(" (")[0] for name in report.contents.examples["unreadable"]] == ["0001_c3_0001.jpg"]
    sizes = {row["id"]: (row["width"], row["height"]) for row in rows(tmp_path / "out")}
    assert sizes["0000_c14_0000.jpg"] == images()["exif_6.jpg"][1].size and sizes["0000_c3_0001.jpg"] == (16, 32)


def test_missing_and_unreadable_images_are_left_out_counted_and_named(tmp_path: Path) -> None:
    source = layouts.rstp(tmp_path / "rstp")
    (source / "imgs" / "0000_c14_0000.jpg").unlink()
    torn = source / "imgs" / "0001_c3_0001.jpg"
    torn.write_bytes(torn.read_bytes()[:-40])
    (source / "imgs" / "3701_c3_0001.jpg").write_bytes(b"")
    report = import_benchmark("rstpreid", source, str(tmp_path / "out"))
    assert report.contents.examples["missing"] == ["0000_c14_0000.jpg"] and [
        name.split(" (")[0] for name in report.contents.examples["unreadable"]
    ] == [*("0001_c3_0001.jpg", "3701_c3_0001.jpg")]
    train, val = report.contents.splits["train"], report.contents.splits["val"]
    assert (train.missing, train.unreadable, train.images.count, train.identities.count) == (1, 1, 2, 2)
    assert (val.missing, val.unreadable, val.images.count) == (0, 1, 1)
    assert "images left out as missing: 1, such as 0000_c14_0000.jpg" in report.contents.notes
    assert [row["id"] for row in rows(tmp_path / "out")] == ["0000_c3_0001.jpg", "0001_c14_0000.jpg"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| split | images | identities | captions | missing | unreadable |" in card and len(ImageTextPairs.open([tmp_path / "out"])) == 2


def test_folders_that_a_mirror_lacks_are_named_with_their_images(tmp_path: Path) -> None:
    source = layouts.cuhk(tmp_path / "cuhk")
    shutil.rmtree(source / "imgs" / "cam_a")
    report = import_benchmark("cuhk-pedes", source, str(tmp_path / "out"))
    assert report.rows == 4 and report.contents.splits["train"].missing == 1
    message = "folders of images that are not there: cam_a/ (1 images); the same command packs their images once they are"
    assert message in report.contents.notes and message in (tmp_path / "out" / "README.md").read_text()
    shutil.rmtree(source / "imgs" / "Market")
    with pytest.raises(UserError, match=r"split test of CUHK-PEDES would be empty: none of its 1 images .*; there is no folder Market$"):
        import_benchmark("cuhk-pedes", source, str(tmp_path / "other"))


def test_names_in_another_case_or_normal_form_are_the_images_and_are_told(tmp_path: Path) -> None:
    source, whole = layouts.cuhk(tmp_path / "cuhk"), layouts.cuhk(tmp_path / "whole")
    (source / "imgs" / "CUHK01" / "0363004.jpg").rename(source / "imgs" / "CUHK01" / "0363004.JPG")
    (source / "imgs" / "cam_a").rename(source / "imgs" / "CAM_A")
    report = import_benchmark("cuhk-pedes", source, str(tmp_path / "out"))
    note = "images that are spelled otherwise in the folder: 2, such as CUHK01/0363004.JPG for CUHK01/0363004.jpg"
    assert note in report.contents.notes and report.rows == 5
    import_benchmark("cuhk-pedes", whole, str(tmp_path / "same"))
    assert rows(tmp_path / "out") == rows(tmp_path / "same")


def test_missing_folders_are_counted_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "COUNTED_FOLDERS", 10)
    survey = contents.SplitSurvey()
    for at in [*range(20), 0]:
        survey.add_missing_folder(f"{at:02d}")
    assert survey.missing_folders["00"] == 2 and len(survey.missing_folders) == 10
    (note,) = contents._survey_notes([survey])
    assert note.startswith("folders of images that are not there: 00/ (2 images), 01/ (1 images)") and "and at least 2 more" in note


def test_only_the_first_twenty_missing_images_are_named(tmp_path: Path) -> None:
    source = layouts.mals(tmp_path / "mals", 40)
    for at in range(30):
        (source / "images" / "MALS" / "gene_crop" / "c_g_a_10" / f"{at}.jpg").unlink()
    report = import_benchmark("mals-json", source, str(tmp_path / "out"))
    assert report.contents.splits["train"].missing == 30 and report.contents.examples["missing"] == [
        f"gene_crop/c_g_a_10/{at}.jpg" for at in range(20)
    ]


def test_an_image_without_a_caption_is_left_out_where_there_should_be_one(tmp_path: Path) -> None:
    source = layouts.cuhk(tmp_path / "cuhk")
    entries = json.loads((source / "reid_raw.json").read_text())
    entries[0]["captions"] = ["", " "]
    layouts.written(source / "reid_raw.json", entries)
    report = import_benchmark("cuhk-pedes", source, str(tmp_path / "out"))
    assert report.contents.splits["train"].without_caption == 1 and report.contents.splits["train"].images.count == 2


def test_a_split_without_any_image_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    source = layouts.rstp(tmp_path / "rstp")
    for path in (source / "imgs").glob("3901_*"):
        path.unlink()
    with pytest.raises(UserError, match=r"the split test of RSTPReid would be empty: none of its 2 images is in .*imgs, such as 3901_c14"):
        import_benchmark("rstpreid", source, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_split_of_which_no_image_can_be_read_is_refused(tmp_path: Path) -> None:
    source = layouts.rstp(tmp_path / "rstp")
    for path in (source / "imgs").glob("3701_*"):
        path.write_bytes(b"not an image")
    with pytest.raises(UserError, match="none of the 2 images of the split val of RSTPReid can be read"):
        import_benchmark("rstpreid", source, str(tmp_path / "out"))
    assert not (tmp_path / "out" / "SHA256SUMS").exists()


def test_a_list_that_is_missing_is_reported_as_an_empty_split(tmp_path: Path) -> None:
    source = layouts.cuhk_lists(tmp_path / "aptm")
    (source / "data" / "finetune" / "cuhk_val.json").unlink()
    report = import_benchmark("cuhk-pedes", source, str(tmp_path / "out"))
    assert report.contents.splits["val"].images == Count(0, 3_078)
    assert "val: 0 images, where 3,078 are expected" in report.contents.warnings


def test_images_that_came_later_are_packed_by_the_same_command(tmp_path: Path) -> None:
    source, whole = layouts.rstp(tmp_path / "rstp"), layouts.rstp(tmp_path / "whole")
    late = sorted((source / "imgs").glob("000?_*"))[:3]
    kept = [path.read_bytes() for path in late]
    for path in late:
        path.unlink()
    import_benchmark("rstpreid", source, str(tmp_path / "out"), rows_per_file=3)
    for path, data in zip(late, kept, strict=True):
        path.write_bytes(data)
    report = import_benchmark("rstpreid", source, str(tmp_path / "out"), rows_per_file=3)
    assert report.packed == 4 and report.contents.splits["train"].missing == 0  # those of val and test are kept
    import_benchmark("rstpreid", whole, str(tmp_path / "once"), rows_per_file=3)
    assert files(tmp_path / "out") == files(tmp_path / "once")
    (source / "imgs" / "0000_c14_0000.jpg").unlink()
    (source / "imgs" / "0000_c3_0001.jpg").unlink()
    import_benchmark("rstpreid", source, str(tmp_path / "out"), rows_per_file=3)
    assert sorted(path.name for path in (tmp_path / "out" / "data").glob("train-*")) == ["train-00000-of-00001.parquet"]


@pytest.mark.parametrize("moment", range(11))
def test_an_import_that_stopped_while_it_wrote_any_file_completes_to_the_same_bytes(
    moment: int, sources: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, source = str(tmp_path / "killed"), sources["rstpreid"]
    with killed_at(moment, monkeypatch), pytest.raises(Killed):
        import_benchmark("rstpreid", source, folder, rows_per_file=3)
    assert not (tmp_path / "killed" / "SHA256SUMS").exists()
    again = import_benchmark("rstpreid", source, folder, rows_per_file=3)
    import_benchmark("rstpreid", source, str(tmp_path / "whole"), rows_per_file=3)
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    assert again.packed == [8, 8, 8, 5, 5, 4, 4, 2, 2, 0, 0][moment]


@pytest.mark.parametrize("name", ["mals-json", "synth-pedes"])
def test_a_killed_import_completes_to_the_same_bytes(name: str, tmp_path: Path) -> None:
    source = MADE[name](tmp_path / "set", 400)
    script = "from pretrain.datasets.importing import import_benchmark\n"
    script += f"import_benchmark({name!r}, {str(source)!r}, {str(tmp_path / 'killed')!r}, rows_per_file=40)\n"
    process = subprocess.Popen([sys.executable, "-c", script], env=environment(), start_new_session=True)
    while not list((tmp_path / "killed").glob(".receipts/*.json")):
        assert process.poll() is None
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "SHA256SUMS").exists()
    again = import_benchmark(name, source, str(tmp_path / "killed"), rows_per_file=40)
    import_benchmark(name, source, str(tmp_path / "whole"), rows_per_file=40)
    assert 0 < again.packed < again.rows and files(tmp_path / "killed") == files(tmp_path / "whole")


def test_a_finished_import_is_left_as_it_is_and_a_spoilt_file_is_made_again(sources: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    import_benchmark("cuhk-pedes", sources["cuhk-pedes"], str(folder))
    before, times = files(folder), {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert import_benchmark("cuhk-pedes", sources["cuhk-pedes"], str(folder)).packed == 0
    assert {path: path.stat().st_mtime_ns for path in times} == times
    spoilt = folder / "data/test-00000-of-00001.parquet"
    spoilt.write_bytes(spoilt.read_bytes()[:-1] + b"?")
    assert import_benchmark("cuhk-pedes", sources["cuhk-pedes"], str(folder)).packed == 1 and files(folder) == before


def test_a_folder_that_holds_something_else_is_refused_and_left_alone(
    packed: dict[str, Path], sources: dict[str, Path], tmp_path: Path
) -> None:
    before = files(packed["rstpreid"])
    with pytest.raises(UserError, match=r"holds another data set \(it differs in benchmark\)"):
        import_benchmark("cuhk-pedes", sources["cuhk-pedes"], str(packed["rstpreid"]))
    with pytest.raises(UserError, match="holds something else already"):
        import_benchmark("cuhk-pedes", sources["cuhk-pedes"], str(sources["rstpreid"]))
    assert files(packed["rstpreid"]) == before
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="is not a folder"):
        import_benchmark("cuhk-pedes", sources["cuhk-pedes"], str(tmp_path / "file"))


def test_what_mals_exports_comes_back(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", 60, split={"train": 0.7, "test": 0.3})
    pack(run)
    export(run, str(tmp_path / "json"), "mals-json")
    import_benchmark("mals-json", tmp_path / "json", str(tmp_path / "out"))
    for split in ("train", "test"):
        expected, imported = rows(tmp_path / "run" / "dataset", split), rows(tmp_path / "out", split)
        assert len(imported) > 0
        for name in ("id", "caption", "attributes", "width", "height", "image_sha256"):
            assert [row[name] for row in imported] == [row[name] for row in expected]


def test_the_command_prints_the_table_and_refuses_with_exit_code_two(mals: Mals, tmp_path: Path) -> None:
    source = layouts.rstp(tmp_path / "rstp")
    command = mals("import", "rstpreid", source, "--to", "out", "--json")
    assert command.returncode == 0, command.stderr
    report = json.loads(command.stdout)
    assert report["splits"]["test"]["captions"] == {"count": 4, "expected": 2_000} and report["packed"] == 8
    command = mals("import", "rstpreid", source, "--to", "out")
    lines = [line.split() for line in command.stdout.splitlines()]
    assert command.returncode == 0 and lines[0] == ["split", "images", "identities", "captions"]
    assert lines[1] == ["train", "4", "of", "18,505", "2", "of", "3,701", "8", "of", "37,010"]
    for words in (("cuhk-pedes", source), ("coco", source), ("rstpreid", tmp_path / "nowhere")):
        refused = mals("import", *words, "--to", "other")
        assert refused.returncode == 2 and refused.stdout == "" and len(refused.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "other").exists()


def test_the_help_of_import_names_every_benchmark(mals: Mals) -> None:
    text = mals("import", "--help").stdout
    assert all(name in text for name in READERS)

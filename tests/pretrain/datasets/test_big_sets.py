"""The large captioned sets: what is read from their authors' layouts, and what is said of their faults."""

import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mals.errors import UserError
from pretrain.data.rows import ImageTextPairs
from pretrain.datasets import open_benchmark
from pretrain.datasets.importing import import_benchmark
from pretrain.datasets.layout import BenchmarkRow
from tests.pretrain.datasets.big_layouts import MADE, ham_pedes, luperson_mllm, synth_pedes, webperson, webperson_tables
from tests.pretrain.datasets.layouts import shown, written


def rows(name: str, folder: Path) -> list[BenchmarkRow]:
    (part,) = open_benchmark(name, folder).splits.values()
    assert list(part) == list(part)  # as often as it is gone through
    return list(part)


def packed_rows(folder: Path) -> list[dict]:
    return [row for path in sorted((folder / "data").iterdir()) for row in pq.read_table(path).to_pylist()]


def texts(row: BenchmarkRow) -> dict[str, list[str]]:
    """Source -> captions."""
    return {source: [text for text, own in zip(row.captions, row.sources, strict=True) if own == source] for source in row.sources}


def test_synth_pedes_has_captions_of_two_sources_persons_and_phrases(tmp_path: Path) -> None:
    benchmark = open_benchmark("synth-pedes", synth_pedes(tmp_path))
    first, second, third, again, last = rows("synth-pedes", tmp_path)
    assert texts(first) == {"SPAC": ["A woman in red.", "She wears a red coat."], "SPAC attributes": ["A woman."]}
    assert (first.identity, first.image, second.image) == (4, "Part1/4/0.jpg", "Part1/4/1.jpg")
    assert texts(second)["SPAC"] == ["A woman.", "A red coat."]  # a blank caption says nothing
    assert first.extras == ("woman", "brown hair", "red coat", "black trousers", "white shoes", None)
    assert third.extras == last.extras == (None,) * 6
    assert again.image == first.image and again.id == "Part1/4/0.jpg#2"
    assert benchmark.notes == [
        "images whose attributes are not six phrases, taken as unknown: 1, such as Part1/5/0.jpg",
        "rows of images that are listed before, packed once for each: 1",
    ]


def test_synth_pedes_counts_the_captions_of_the_captioner_and_packs_phrases_as_text(tmp_path: Path) -> None:
    report = import_benchmark("synth-pedes", synth_pedes(tmp_path / "set"), str(tmp_path / "out"))
    train_split = report.contents.splits["train"]
    assert (train_split.images.count, train_split.identities.count, train_split.captions.count) == (5, 3, 8)
    assert "train: 8 captions, where 12,138,157 are expected" in report.contents.warnings
    first = packed_rows(tmp_path / "out")[0]
    assert (first["hair"], first["belongings"]) == ("brown hair", None)
    assert [caption["source"] for caption in first["captions"]] == ["SPAC", "SPAC", "SPAC attributes"]
    pairs = ImageTextPairs.open([tmp_path / "out"], every=True)
    assert len(set(pairs.persons.tolist())) == 3 and "A woman." in pairs.other_captions(0)


def test_luperson_mllm_joins_four_files_by_base_name(tmp_path: Path) -> None:
    by_name = {row.id: row for row in rows("luperson-mllm", luperson_mllm(tmp_path))}
    assert list(by_name) == ["a1.jpg", "b2.jpg", "gone.jpg", "c3.jpg"]  # in the order in which the files first name them
    assert by_name["a1.jpg"].image == "LUPerson-MLLM/a1.jpg" and by_name["gone.jpg"].image == "gone.jpg"
    assert list(zip(by_name["a1.jpg"].sources, by_name["a1.jpg"].captions, strict=True)) == [
        ("qwen static", "A man in black."),
        ("qwen static", "A man in black."),  # in place of the damaged dynamic one
        ("shikra static", "A man with black hair."),
        ("shikra dynamic", "Black hair."),
    ]
    assert by_name["b2.jpg"].captions == ("A lady with a bag.",) * 3  # the other captioner's static caption is the only good one
    assert by_name["c3.jpg"].captions == ("A [footwear description] man.", "A man walks.")  # there is no static one


def test_luperson_mllm_says_how_many_images_are_here_and_what_is_odd(tmp_path: Path) -> None:
    (luperson_mllm(tmp_path / "set") / "caption" / "Ts-shikra.json").unlink()
    report = import_benchmark("luperson-mllm", tmp_path / "set", str(tmp_path / "out"))
    assert report.rows == 3 and report.contents.splits["train"].missing == 1
    assert report.contents.notes == [
        "files of captions that are not there: Ts-shikra.json; the same command packs their captions once they are",
        "images here whose base name another image has, which has the captions instead: 1, such as more/a1.jpg",
        "captions in Ts-qwen.json whose base name it has before, left out: 1, such as that of z/a1.jpg",
        "captions with a rest of their template, replaced by a static caption of the image: 1, such as a1.jpg",
        "captions with a rest of their template, kept since the image has no static caption: 3, such as b2.jpg",
        "captions of 4 images, 3 of them here",
        "images left out as missing: 1, such as gone.jpg",
    ]
    luperson_mllm(tmp_path / "set")
    again = import_benchmark("luperson-mllm", tmp_path / "set", str(tmp_path / "out"))
    assert again.packed == 3 and len(packed_rows(tmp_path / "out")[0]["captions"]) == 4


def test_ham_pedes_finds_images_by_their_path_in_synth_pedes(tmp_path: Path) -> None:
    first, second, third, missing = rows("ham-pedes", ham_pedes(tmp_path / "set"))
    assert [row.image for row in (first, second, third, missing)] == ["Part1/4/0.jpg", "Part1/4/1.jpg", "Part11/9/0.jpg", "Part3/8/1.jpg"]
    assert second.captions == ("A woman.", "The woman has brown hair.") and third.captions == ("A person.",)
    report = import_benchmark("ham-pedes", tmp_path / "set", str(tmp_path / "out"))
    assert report.contents.warnings == [] and report.contents.notes == [
        "images that have not two captions: 1, such as Part11/9/0.jpg",
        "captions of 4 images, 3 of them here",
        "folders of images that are not there: Part3/ (1 images); the same command packs their images once they are",
        "images left out as missing: 1, such as Part3/8/1.jpg",
    ]


def test_webperson_takes_line_breaks_out_and_reads_the_longest_list(tmp_path: Path) -> None:
    first, second, third, _ = rows("webperson", webperson(tmp_path / "set"))
    assert first.captions == ("A man. He wears a black/navy coat.", "A man in black and blue.")
    assert (second.captions, second.sources) == (("A woman in green.",), ("caption1",)) and third.image == "001/3.jpg"
    report = import_benchmark("webperson", tmp_path / "set", str(tmp_path / "out"))
    assert report.rows == 3 and report.contents.warnings == ["train: 3 images, where 5,002,723 are expected"]
    assert report.contents.notes == [
        'captions with "/n" for a line break, which was taken out: 2, such as 000/1.jpg',
        "the list that was read is 100w.json, not 10w.json",
        "captions of 4 images, 3 of them here",
        "images left out as missing: 1, such as 001/4.jpg",
    ]


@pytest.mark.parametrize(
    ("caption", "text"),
    [
        ("A man./nwith a hat", "A man. with a hat"),
        ("/na man in a black/navy coat", "a man in a black/navy coat"),
        ("A man./n/nHe walks. /n", "A man. He walks."),
        ("A man /n in red", "A man in red"),
        ("/n", None),
    ],
)
def test_a_literal_line_break_is_taken_out_wherever_it_stands(caption: str, text: str | None, tmp_path: Path) -> None:
    written(tmp_path / "100w.json", [{"a.jpg": {"caption1": caption, "caption2": "Someone."}}])
    shown(tmp_path / "images", ["a.jpg"])
    (row,) = rows("webperson", tmp_path)
    assert row.captions == ((text, "Someone.") if text else ("Someone.",))


def test_webperson_in_tables_is_the_same_set_with_its_images(tmp_path: Path) -> None:
    listed, source = rows("webperson", webperson(tmp_path / "list")), webperson_tables(tmp_path / "set")
    tables = rows("webperson", source)
    assert [replace(row, data=None) for row in tables[:4]] == listed and tables[3].data is None
    assert tables[0].data == (tmp_path / "list" / "images" / "000/1.jpg").read_bytes()
    report = import_benchmark("webperson", source, str(tmp_path / "out"), rows_per_file=2)
    import_benchmark("webperson", tmp_path / "list", str(tmp_path / "other"), rows_per_file=2)
    assert packed_rows(tmp_path / "out") == packed_rows(tmp_path / "other")
    assert report.contents.examples["missing"] == ["001/4.jpg"] and report.contents.examples["unreadable"][0].startswith("001/5.jpg (")
    assert import_benchmark("webperson", source, str(tmp_path / "out"), rows_per_file=2).packed == 0


def test_tables_that_are_not_those_of_webperson_are_refused(tmp_path: Path) -> None:
    source = webperson_tables(tmp_path / "set")
    second = source / "data" / "train-00001-of-00002.parquet"
    whole = second.read_bytes()
    second.write_bytes(whole[:-100])
    with pytest.raises(UserError, match=r"train-00001-of-00002.parquet is no readable Parquet file .*; perhaps it was downloaded in part"):
        open_benchmark("webperson", source)
    pq.write_table(pq.read_table(source / "data" / "train-00000-of-00002.parquet").drop_columns(["caption2"]), second)
    with pytest.raises(UserError, match="has no caption2, only image, image_path, caption1"):
        open_benchmark("webperson", source)
    (tmp_path / "packed" / "data").mkdir(parents=True)
    pq.write_table(pa.table({"image": [b"x"], "caption": ["a"]}), tmp_path / "packed" / "data" / "train.parquet")
    with pytest.raises(UserError, match=r"does not hold WebPerson: looked for 100w.json or the Parquet files of the hub, and saw data/$"):
        open_benchmark("webperson", tmp_path / "packed")


@pytest.mark.parametrize(
    ("name", "file", "content", "words"),
    [
        ("synth-pedes", "synthpedes_dataset.json", [{"id": 1, "file_path": "a.jpg"}], "object 1 has no captions, only id, file_path"),
        ("synth-pedes", "synthpedes_dataset.json", [{"id": "x", "file_path": "a", "captions": []}], "'x' as its identity, not a whole"),
        ("synth-pedes", "synthpedes_dataset.json", [{"id": 1, "file_path": "../a", "captions": []}], "no path in the image folder"),
        ("synth-pedes", "synthpedes_dataset.json", [{"id": 1, "file_path": "a", "captions": [1]}], "a number as a caption, not a text"),
        ("synth-pedes", "synthpedes_dataset.json", {"a": "b"}, "holds an object that begins with the key a, not a list"),
        ("luperson-mllm", "caption/Td-qwen.json", [{"a.jpg": "b"}], "holds a list, not one object of names and captions"),
        ("luperson-mllm", "caption/Td-qwen.json", {"a.jpg": ["b", "c"]}, "'a.jpg' has 2 captions, where one is expected"),
        ("luperson-mllm", "caption/Td-qwen.json", {"a/": "b"}, "names the image '', which is no path"),
        ("luperson-mllm", "caption/Td-qwen.json", {"a.jpg": 5}, "has a number as a caption"),
        ("luperson-mllm", "caption/Td-qwen.json", {}, "is an empty object"),
        ("ham-pedes", "random100w_2HAMcaptions.json", {"/etc/passwd": ["a"]}, "no path in the image folder"),
        ("ham-pedes", "random100w_2HAMcaptions.json", {"Part1/1.jpg": [["a"]]}, "has a list as a caption"),
        ("webperson", "100w.json", [{"a": {"caption1": "b"}, "c": {}}], "object 1 has a, c, where one path with its captions is expected"),
        ("webperson", "100w.json", [{"a": "b"}], "object 1 has a, where one path"),
        ("webperson", "100w.json", [{"": {"caption1": "b"}}], "names the image ''"),
    ],
)
def test_a_file_that_is_not_as_released_is_refused_with_its_place(name: str, file: str, content, words: str, tmp_path: Path) -> None:
    written(MADE[name](tmp_path) / file, content)
    with pytest.raises(UserError, match=words) as refused:
        open_benchmark(name, tmp_path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("name", "folder"), [("synth-pedes", "Part1"), ("ham-pedes", "SYNTH-PEDES"), ("webperson", "images")])
def test_a_set_without_its_images_is_refused(name: str, folder: str, tmp_path: Path) -> None:
    source = MADE[name](tmp_path / "set")
    for path in source.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    with pytest.raises(UserError, match=r"none of \d+ images that .*json names is in .*unpack the images there"):
        import_benchmark(name, source, str(tmp_path / "out"))


def test_luperson_mllm_without_its_images_is_refused(tmp_path: Path) -> None:
    source = luperson_mllm(tmp_path / "set")
    shutil.rmtree(source / "LUPerson-MLLM")
    shutil.rmtree(source / "more")
    with pytest.raises(UserError, match=r"the split train of LUPerson-MLLM would be empty: none of its 4 images is in .*, such as a1.jpg"):
        import_benchmark("luperson-mllm", source, str(tmp_path / "out"))


def test_a_half_downloaded_synth_pedes_is_packed_in_part_and_names_what_lacks(tmp_path: Path) -> None:
    source = synth_pedes(tmp_path / "set")
    shutil.rmtree(source / "Part11")
    report = import_benchmark("synth-pedes", source, str(tmp_path / "out"))
    assert report.rows == 4 and report.contents.examples["missing"] == ["Part11/9/0.jpg"]
    shown(source, ["Part11/9/0.jpg"])
    assert import_benchmark("synth-pedes", source, str(tmp_path / "out")).rows == 5

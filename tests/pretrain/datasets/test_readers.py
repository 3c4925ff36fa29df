"""Each public benchmark is read from its authors' layout: what is in it, and the errors for a folder that does not hold it."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from mals.attributes import load_space
from mals.errors import UserError
from pretrain.datasets import READERS, open_benchmark
from pretrain.datasets.layout import BenchmarkRow
from tests.pretrain.datasets import layouts

MARKET = load_space("market1501")


def rows(name: str, folder: Path) -> dict[str, list[BenchmarkRow]]:
    return {split: list(rows_of_split) for split, rows_of_split in open_benchmark(name, folder).splits.items()}


def label_names(row: BenchmarkRow) -> dict[str, str]:
    """The values of a row's attributes in market1501."""
    assert row.labels is not None
    return {name: MARKET.classes[name][value] for name, value in zip(MARKET.names, row.labels, strict=True)}


def test_cuhk_pedes_has_its_splits_several_captions_and_persons(tmp_path: Path) -> None:
    splits = rows("cuhk-pedes", layouts.cuhk(tmp_path))
    assert {split: len(part) for split, part in splits.items()} == {"train": 3, "val": 1, "test": 1}
    assert [row.image for row in splits["train"]] == ["CUHK01/0363004.jpg", "cam_a/000_45.jpg", "train_query/p2_s3.jpg"]
    assert [len(row.captions) for row in splits["train"]] == [2, 3, 1]  # a blank caption says nothing
    assert [row.identity for row in splits["train"]] == [1, 1, 2] and splits["test"][0].identity == 12004
    assert all((tmp_path / "imgs" / row.image).is_file() for part in splits.values() for row in part)
    assert {row.camera for part in splits.values() for row in part} == {None}


def test_cuhk_pedes_in_aptms_lists_is_the_same_data_set(tmp_path: Path) -> None:
    lists, released = rows("cuhk-pedes", layouts.cuhk_lists(tmp_path / "a")), rows("cuhk-pedes", layouts.cuhk(tmp_path / "b"))
    assert lists.keys() == released.keys()
    for split, part in released.items():
        assert [(row.captions, row.identity, f"imgs/{row.image}") for row in part] == [
            (row.captions, row.identity, row.image) for row in lists[split]
        ]


def test_a_data_set_is_found_in_the_folder_above_too(tmp_path: Path) -> None:
    layouts.cuhk(tmp_path / "CUHK-PEDES")
    assert len(rows("cuhk-pedes", tmp_path)["train"]) == 3


def test_icfg_pedes_has_one_caption_each_and_cameras_in_its_names(tmp_path: Path) -> None:
    splits = rows("icfg-pedes", layouts.icfg(tmp_path))
    assert {split: len(part) for split, part in splits.items()} == {"train": 3, "test": 1}
    assert all(len(row.captions) == 1 for part in splits.values() for row in part)
    assert [row.camera for row in splits["train"]] == [1, 5, 1] and splits["test"][0].camera == 14
    first, _, again = splits["train"]
    assert first.image == again.image and again.id == f"{first.id}#2" and first.captions != again.captions
    (tmp_path / "ICFG-PEDES.json").rename(tmp_path / "ICFG_PEDES.json")  # as its authors' page calls it
    assert rows("icfg-pedes", tmp_path) == splits


def test_rstpreid_has_images_under_imgs_and_cameras_in_their_names(tmp_path: Path) -> None:
    benchmark = open_benchmark("rstpreid", layouts.rstp(tmp_path))
    assert benchmark.images.root == tmp_path / "imgs"
    first = next(iter(benchmark.splits["train"]))
    assert (first.image, first.identity, first.camera, first.captions) == ("0000_c14_0000.jpg", 0, 14, ("One of 0.", "Two of 0."))
    assert {split: [row.identity for row in part] for split, part in benchmark.splits.items()} == {
        "train": [0, 0, 1, 1],
        "val": [3701] * 2,
        "test": [3901] * 2,
    }


@pytest.mark.parametrize("inner", ["data", "release_data", "data/release_data/release_data", "."])
def test_pa100k_has_26_attributes_by_name_in_the_order_of_the_space(inner: str, tmp_path: Path) -> None:
    splits = rows("pa100k", layouts.pa100k(tmp_path, inner=inner))
    assert {split: len(part) for split, part in splits.items()} == layouts.PA100K_SIZES
    all_rows = [row for part in splits.values() for row in part]
    assert [list(row.labels or ()) for row in all_rows] == [layouts.pa100k_values(at) for at in range(10)]
    assert all_rows[-1].image == "000010.jpg" and all_rows[0].captions == () and all_rows[0].identity is None


def test_pa100k_with_its_columns_in_another_order_is_the_same(tmp_path: Path) -> None:
    assert rows("pa100k", layouts.pa100k(tmp_path / "a")) == rows("pa100k", layouts.pa100k(tmp_path / "b", layouts.PA100K[::-1]))


def test_pa100k_with_one_image_in_each_split_is_read(tmp_path: Path) -> None:
    assert {split: len(part) for split, part in rows("pa100k", layouts.pa100k(tmp_path, single=True)).items()} == dict.fromkeys(
        layouts.PA100K_SIZES, 1
    )


def test_pa100k_in_aptms_lists_is_the_same_data_set(tmp_path: Path) -> None:
    assert rows("pa100k", layouts.pa100k_lists(tmp_path / "a")) == rows("pa100k", layouts.pa100k(tmp_path / "b"))


def test_market1501_turns_labels_that_count_from_one_into_the_space(tmp_path: Path) -> None:
    splits = rows("market1501", layouts.market(tmp_path))
    woman, again, man = splits["train"]
    labels = label_names(woman)
    assert (labels["gender"], labels["age"], labels["hair_length"], labels["lower_type"]) == ("woman", "child", "long", "skirt")
    assert (labels["sleeve_length"], labels["lower_length"], labels["hat"], labels["backpack"]) == ("long", "long", "no", "no")
    assert labels["upper_red"] == labels["lower_pink"] == "yes" and labels["upper_black"] == labels["lower_brown"] == "no"
    assert woman.labels == again.labels and (woman.identity, woman.camera, again.camera) == (2, 1, 3)
    labels = label_names(man)
    assert (labels["gender"], labels["age"], labels["sleeve_length"], labels["lower_length"]) == ("man", "adult", "short", "short")
    assert labels["hat"] == labels["backpack"] == labels["upper_black"] == labels["lower_brown"] == "yes" and labels["bag"] == "no"
    assert [row.extras for row in splits["train"]] == [(1,), (1,), (2,)]  # teenager, teenager, adult


def test_market1501_reads_train_and_test_by_the_names_of_their_fields(tmp_path: Path) -> None:
    layouts.market(tmp_path)
    fields = loadmat(tmp_path / "market_attribute.mat")["market_attribute"][0, 0]
    assert fields["train"].dtype.names[1:] != fields["test"].dtype.names[1:]  # their orders differ, as in the real file
    splits = rows("market1501", tmp_path)
    for split in ("test", "query"):
        child, adult = splits[split]
        assert (child.identity, adult.identity) == (1, 3) and (child.extras, adult.extras) == ((0,), (3,))
        first, second = label_names(child), label_names(adult)
        assert first["age"] == "child" and first["bag"] == first["upper_green"] == first["lower_gray"] == "yes" == second["handbag"]
        assert second["age"] == "adult" and second["upper_yellow"] == second["lower_green"] == "yes" and second["bag"] == "no"
        assert [name for name in MARKET.names[10:] if first[name] == "yes"] == ["upper_green", "lower_gray"]


def test_market1501_keeps_distractors_apart_and_leaves_junk_out(tmp_path: Path) -> None:
    benchmark = open_benchmark("market1501", layouts.market(tmp_path))
    assert {split: len(list(part)) for split, part in benchmark.splits.items()} == {"train": 3, "query": 2, "test": 2, "distractors": 1}
    (distractor,) = benchmark.splits["distractors"]
    assert (distractor.identity, distractor.labels, distractor.camera) == (None, None, 6)
    assert benchmark.notes == ["images left out as neither good nor bad (-1): 1"]


def test_market1501_says_which_labels_it_does_not_know(tmp_path: Path) -> None:
    attributes = layouts.market_attributes()
    layouts.market(tmp_path)
    attributes["train"]["hat"][0, 0] = 3
    attributes["train"]["image_index"][0, 1] = "0008"
    savemat(tmp_path / "market_attribute.mat", {"market_attribute": attributes})
    benchmark = open_benchmark("market1501", tmp_path)
    rows = list(benchmark.splits["train"])
    assert rows[0].labels is not None and rows[0].labels[MARKET.names.index("hat")] == -1 and rows[2].labels is None
    assert "images of identities that market_attribute.mat does not name, their attributes unknown: 1" in benchmark.notes
    assert "values in market_attribute.mat that are empty or that its authors do not describe, taken as unknown: 1" in benchmark.notes


def test_mals_is_read_list_after_list_as_often_as_it_is_gone_through(tmp_path: Path) -> None:
    mals_rows = open_benchmark("mals-json", layouts.mals(tmp_path)).splits["train"]
    ids = [row.id for row in mals_rows]
    assert ids == [f"c_g_a_{number}_{at}" for number in (2, 10) for at in range(4)] == [row.id for row in mals_rows]
    row = next(iter(mals_rows))
    assert row.captions == ("a person number 0 of 2",) and row.labels is not None and len(row.labels) == 27 and row.identity is None


def test_a_folder_that_holds_something_else_is_refused_with_what_was_looked_for_and_seen(tmp_path: Path) -> None:
    layouts.rstp(tmp_path / "rstp")
    for name, (info, _) in READERS.items():
        if name == "rstpreid":
            continue
        with pytest.raises(UserError, match="does not hold") as refused:
            open_benchmark(name, tmp_path / "rstp")
        text = str(refused.value)
        assert info.annotation_files[0] in text and "saw data_captions.json, imgs/; it looks like rstpreid" in text and "\n" not in text
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"and saw nothing$"):
        open_benchmark("cuhk-pedes", tmp_path / "empty")
    with pytest.raises(UserError, match="there is no folder"):
        open_benchmark("cuhk-pedes", tmp_path / "nowhere")
    with pytest.raises(UserError, match="is a file; unpack it"):
        open_benchmark("rstpreid", tmp_path / "rstp" / "data_captions.json")
    with pytest.raises(UserError, match="there is no benchmark 'coco'; there are cuhk-pedes"):
        open_benchmark("coco", tmp_path)


def test_a_folder_without_its_images_is_refused_with_where_they_were_looked_for(tmp_path: Path) -> None:
    layouts.cuhk(tmp_path)
    (tmp_path / "imgs").rename(tmp_path / "photos")
    with pytest.raises(UserError, match=r"none of 5 images that reid_raw.json names .* looked for CUHK01/0363004.jpg in .*saw photos/"):
        open_benchmark("cuhk-pedes", tmp_path)


def test_market1501_without_its_attribute_file_is_refused(tmp_path: Path) -> None:
    layouts.market(tmp_path)
    (tmp_path / "market_attribute.mat").rename(tmp_path / "old.mat")
    with pytest.raises(UserError, match=r"no market_attribute.mat; put that of https://github.com/vana77"):
        open_benchmark("market1501", tmp_path)
    (tmp_path / "attribute").mkdir()
    (tmp_path / "old.mat").rename(tmp_path / "attribute" / "market_attribute.mat")
    assert open_benchmark("market1501", tmp_path)


def entries(folder: Path, file: str) -> list[dict]:
    return json.loads((folder / file).read_text())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda objects: objects[0].pop("split"), "object 1 has no split, only captions, file_path"),
        (lambda objects: objects[0].update(split="dev"), "object 1 is of the split 'dev', not train, val, test"),
        (lambda objects: objects[1].pop("id"), "object 2 has no id"),
        (lambda objects: objects[1].update(id="x7"), "object 2 has 'x7' as its identity, not a whole number"),
        (lambda objects: objects[2].pop("captions"), "object 3 has no captions, only split"),
        (lambda objects: objects[2].update(file_path="../../etc/passwd"), "no path in the image folder"),
        (lambda objects: objects[2].update(file_path="/etc/passwd"), "no path in the image folder"),
        (lambda objects: objects[2].pop("file_path"), "object 3 names the image 'None'"),
        (lambda objects: objects[0].update(split=["train"]), r"object 1 is of the split .*train.*, not train, val, test"),
        (
            lambda objects: objects[1].update(id=10**30),
            "object 2 has '10+' as its identity, not a whole number",
        ),
        (lambda objects: objects[1].update(id="9" * 400), "object 2 has '9+...' as its identity, not a whole number"),
        (lambda objects: objects[1].update(id="\u0663"), "not a whole number"),
        (lambda objects: objects[2].update(file_path="a\0.jpg"), "no path in the image folder"),
        (lambda objects: objects[2].update(file_path=["a"]), "no path in the image folder"),
        (lambda objects: objects[2].update(file_path=""), "object 3 names the image ''"),
        (lambda objects: objects[2].update(captions=[["a"]]), "object 3 has a list as a caption, not a text"),
        (lambda objects: objects[2].update(captions=["\ud83d"]), r"object 3 holds \\ud83d, half of a character"),
        (lambda objects: objects.clear(), "is an empty list"),
        (lambda objects: objects.append("x"), "holds a list that is not of objects, not a list"),
    ],
)
def test_a_list_that_is_not_as_released_is_refused_with_its_place(change, words: str, tmp_path: Path) -> None:
    objects = entries(layouts.cuhk(tmp_path), "reid_raw.json")
    change(objects)
    layouts.written(tmp_path / "reid_raw.json", objects)
    with pytest.raises(UserError, match=words) as refused:
        open_benchmark("cuhk-pedes", tmp_path)
    assert "\n" not in str(refused.value)


def caption_all(folder: Path, released: Path) -> list[dict]:
    """caption_all.json of the same data set: no splits, no tokens."""
    objects = [{name: entry[name] for name in ("id", "file_path", "captions")} for entry in entries(released, "reid_raw.json")]
    layouts.written(folder / "caption_all.json", objects)
    return objects


def test_cuhk_pedes_without_its_splits_is_refused_with_what_to_do(tmp_path: Path) -> None:
    caption_all(tmp_path, layouts.cuhk(tmp_path))
    (tmp_path / "reid_raw.json").unlink()
    with pytest.raises(UserError, match=r"caption_all.json has no splits: put reid_raw.json, .*, beside it, or the lists cuhk_train.json"):
        open_benchmark("cuhk-pedes", tmp_path)
    lists = layouts.cuhk_lists(tmp_path / "aptm")
    (tmp_path / "caption_all.json").rename(lists / "caption_all.json")
    assert len(rows("cuhk-pedes", lists)["train"]) == 3


def test_cuhk_pedes_with_both_files_is_that_of_the_released_one(tmp_path: Path) -> None:
    whole = rows("cuhk-pedes", layouts.cuhk(tmp_path))
    caption_all(tmp_path, tmp_path)
    benchmark = open_benchmark("cuhk-pedes", tmp_path)
    assert dict(benchmark.splits) == whole and benchmark.notes == []
    released = entries(tmp_path, "reid_raw.json")
    for entry in released:
        del entry["captions"]
    layouts.written(tmp_path / "reid_raw.json", released)
    benchmark = open_benchmark("cuhk-pedes", tmp_path)
    assert dict(benchmark.splits) == whole and benchmark.notes == ["images whose captions are only in caption_all.json: 5"]


def test_cuhk_pedes_with_one_released_split_has_the_others_by_their_identities(tmp_path: Path) -> None:
    whole = rows("cuhk-pedes", layouts.cuhk(tmp_path))
    objects = caption_all(tmp_path, tmp_path)
    layouts.written(tmp_path / "reid_raw.json", [entry for entry in entries(tmp_path, "reid_raw.json") if entry["split"] == "train"])
    benchmark = open_benchmark("cuhk-pedes", tmp_path)
    assert {split: list(part) for split, part in benchmark.splits.items()} == whole
    assert benchmark.notes == ["images that only caption_all.json lists, whose split follows from their identity: 2"]
    layouts.written(tmp_path / "caption_all.json", [entry | {"id": entry["id"] - 1} for entry in objects])  # numbered otherwise
    benchmark = open_benchmark("cuhk-pedes", tmp_path)
    assert dict(benchmark.splits) == {"train": whole["train"]}
    assert benchmark.notes[0] == "images that only caption_all.json lists, left out, since no file says of which split they are: 2"
    (tmp_path / "caption_all.json").unlink()
    benchmark = open_benchmark("cuhk-pedes", tmp_path)
    assert dict(benchmark.splits) == {"train": whole["train"]}
    (note,) = benchmark.notes
    assert note.startswith("reid_raw.json lists no image of val and test, which the released file does; the same command packs them once")


def test_images_of_several_persons_or_splits_are_named(tmp_path: Path) -> None:
    objects = entries(layouts.cuhk(tmp_path), "reid_raw.json")
    objects += [objects[0] | {"id": 2}, objects[1] | {"split": "val"}]
    layouts.written(tmp_path / "reid_raw.json", objects)
    assert open_benchmark("cuhk-pedes", tmp_path).notes == [
        "images listed under several persons, packed once for each: 1, such as CUHK01/0363004.jpg (1 and 2)",
        "images listed under several splits, packed once for each: 1, such as Market/1004_c1s4_056461_00.jpg (test and val)",
    ]


def test_empty_cells_are_called_empty_cells(tmp_path: Path) -> None:
    file = layouts.pa100k(tmp_path / "pa") / "annotation" / "annotation.mat"
    variables = {name: value for name, value in loadmat(file).items() if not name.startswith("__")}
    variables["train_images_name"][1, 0] = np.zeros((0, 0))
    savemat(file, variables)
    benchmark = open_benchmark("pa100k", tmp_path / "pa")
    assert len(list(benchmark.splits["train"])) == 4
    assert benchmark.notes == ["empty cells in annotation.mat where an image of train should be named, left out: 1, row 2 first"]
    attributes = layouts.market_attributes()
    layouts.market(tmp_path / "market")
    attributes["train"]["image_index"][0, 1] = np.zeros((0, 0))
    attributes["train"]["hat"] = layouts._cells([1.0, np.zeros((0, 0))]).T
    attributes["test"]["age"] = layouts._cells([np.zeros((0, 0)), 2.5]).T
    savemat(tmp_path / "market" / "market_attribute.mat", {"market_attribute": attributes})
    benchmark = open_benchmark("market1501", tmp_path / "market")
    train = list(benchmark.splits["train"])
    assert train[0].labels is not None and train[2].labels is None and [row.extras for row in benchmark.splits["test"]] == [(None,)] * 2
    assert "empty cells in market_attribute.mat where an identity should be, left out with their attributes: 1" in benchmark.notes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda fields: fields.update(hat={"a": 1.0}), r"market_attribute.train.hat: cell 1 holds a struct, not a number"),
        (lambda fields: fields.update(hat=layouts._cells(["x", "y"])), r"train.hat: cell 1 holds a str, not a number"),
        (lambda fields: fields.update(hat=np.ones((1, 3))), r"train has 3 values of hat for 2 identities"),
        (lambda fields: fields.update(image_index=layouts._cells(["0002", "x7"])), r"train.image_index holds 'x7', which is no identity"),
        (
            lambda fields: fields.update(image_index=layouts._cells(["2", np.ones(3)])),
            r"image_index: cell 2 holds a list, not a text",
        ),
    ],
)
def test_cells_of_another_kind_are_refused(change, words: str, tmp_path: Path) -> None:
    attributes = layouts.market_attributes()
    layouts.market(tmp_path)
    change(attributes["train"])
    savemat(tmp_path / "market_attribute.mat", {"market_attribute": attributes})
    with pytest.raises(UserError, match=words):
        open_benchmark("market1501", tmp_path)


def test_annotations_that_were_downloaded_in_part_are_refused(tmp_path: Path) -> None:
    for name, make, file in (
        ("rstpreid", layouts.rstp, "data_captions.json"),
        ("pa100k", layouts.pa100k, "annotation/annotation.mat"),
        ("market1501", layouts.market, "market_attribute.mat"),
        ("ufine6926", layouts.ufine6926, "UFine6926_Annotations_1024.json"),
        ("ufine3c", layouts.ufine3c, "UFine3C/UFine3C_Annotations.json"),
        ("tag-pedes", layouts.tag, "anno_dir/test_reid.json"),
        ("aeri-pedes", layouts.aeri, "test_caption.json"),
    ):
        path = make(tmp_path / name) / file
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(UserError, match="downloaded in part") as refused:
            open_benchmark(name, tmp_path / name)
        assert "\n" not in str(refused.value)
    (tmp_path / "rstpreid" / "data_captions.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-16 text"):
        open_benchmark("rstpreid", tmp_path / "rstpreid")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda variables: variables.pop("val_label"), "annotation.mat has no val_label, only attributes"),
        (lambda variables: variables.update(train_label=np.zeros((5, 25))), "train_label is 5 x 25, where 5 x 26 is expected"),
        (lambda variables: variables.update(train_label=np.full((5, 26), 2)), "train_label holds other values than 0 and 1"),
        (lambda variables: variables.update(attributes=layouts._cells([*layouts.PA100K[1:], "Tie"])), r"not the 26 of PA-100K \(Tie\)"),
        (lambda variables: variables.update(test_images_name=np.empty((0, 1), object)), "lists no image of the split test"),
    ],
)
def test_an_annotation_of_pa100k_that_is_not_as_released_is_refused(change, words: str, tmp_path: Path) -> None:
    file = layouts.pa100k(tmp_path) / "annotation" / "annotation.mat"
    variables = {name: value for name, value in loadmat(file).items() if not name.startswith("__")}
    change(variables)
    savemat(file, variables)
    with pytest.raises(UserError, match=words):
        open_benchmark("pa100k", tmp_path)


def test_labels_that_are_no_labels_are_refused(tmp_path: Path) -> None:
    for name, make, file, words in (
        ("mals-json", layouts.mals, "gene_attrs/g_c_g_a_10_attrs.json", "object 2 has a label that is not 27 numbers"),
        ("pa100k", layouts.pa100k_lists, "PA100K_val.json", "object 2 has a label that is not 26 numbers, each one of 0, 1"),
    ):
        objects = entries(make(tmp_path / name), file)
        objects[1]["label"][0] = 2
        layouts.written(tmp_path / name / file, objects)
        with pytest.raises(UserError, match=words):
            [row for part in open_benchmark(name, tmp_path / name).splits.values() for row in part]


def test_the_attribute_file_must_have_both_structs_and_all_fields(tmp_path: Path) -> None:
    layouts.market(tmp_path)
    attributes = layouts.market_attributes()
    del attributes["test"]["upgray"]
    savemat(tmp_path / "market_attribute.mat", {"market_attribute": attributes})
    with pytest.raises(UserError, match=r"market_attribute.test has no upgray, only age"):
        open_benchmark("market1501", tmp_path)
    savemat(tmp_path / "market_attribute.mat", {"market_attribute": {"train": attributes["train"]}})
    with pytest.raises(UserError, match="market_attribute has no test, only train"):
        open_benchmark("market1501", tmp_path)
    savemat(tmp_path / "market_attribute.mat", {"other": 1})
    with pytest.raises(UserError, match=r"market_attribute.mat has no market_attribute, only other"):
        open_benchmark("market1501", tmp_path)


def test_a_folder_of_market1501_without_persons_is_refused(tmp_path: Path) -> None:
    layouts.market(tmp_path)
    for file in (tmp_path / "query").iterdir():
        file.unlink()
    with pytest.raises(UserError, match="query holds no image of a person"):
        open_benchmark("market1501", tmp_path)

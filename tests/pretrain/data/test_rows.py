"""What is trained on, read from every form it has; what cannot be trained on is refused with a sentence."""

import gzip
import io
import json
import pickle
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from mals.attributes import load_space
from mals.errors import UserError
from mals.images import BadImage, decode_image
from pretrain.data.errors import NoCaptions, first_line
from pretrain.data.rows import ImageTextPairs
from tests.pretrain.packs import cuhk_list, mals_list, packed, pictures, rewritten, written

CLASSES = load_space("market1501").classes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return packed(tmp_path_factory.mktemp("packed") / "run")


@pytest.fixture
def own(tmp_path):
    return packed(tmp_path / "run", 20)


def table_of(folder):
    return pa.concat_tables([pq.read_table(file) for file in sorted((folder / "data").glob("train-*.parquet"))])


def test_a_packed_data_set_is_read_row_by_row(folder):
    pairs, table = ImageTextPairs.open([folder], classes=CLASSES), table_of(folder)
    assert len(pairs) == len(table) > 32 and len(list((folder / "data").iterdir())) > 1
    assert list(pairs.captions()) == table["caption"].to_pylist()
    for row in np.random.default_rng(0).permutation(len(pairs)).tolist():
        assert pairs.image_bytes(row) == table["image"][row].as_py()["bytes"]
        assert pairs.caption(row) == table["caption"][row].as_py()
        assert pairs.other_captions(row) == ["a person"]
        values = table["attributes"][row].as_py()
        assert pairs.labels[row].tolist() == [-1 if values[name] is None else values[name] for name in CLASSES]
    assert pairs.location(0).endswith(".parquet, row 0") and pairs.location(40) != pairs.location(8)


def test_rows_of_one_person_have_one_number_and_rows_without_have_their_own(folder):
    pairs, names = ImageTextPairs.open([folder]), table_of(folder)["person"].to_pylist()
    numbers = pairs.persons.tolist()
    assert None in names and len(set(numbers)) == len({name for name in names if name}) + names.count(None)
    for name in {name for name in names if name}:
        assert len({number for number, other in zip(numbers, names, strict=True) if other == name}) == 1


def test_the_folder_of_a_run_and_a_single_file_are_data_sets_too(folder):
    assert len(ImageTextPairs.open([folder.parent])) == len(ImageTextPairs.open([folder]))
    file = sorted((folder / "data").iterdir())[0]
    assert len(ImageTextPairs.open([file])) == pq.read_metadata(file).num_rows


def test_several_data_sets_are_numbered_through(folder, tmp_path):
    names = cuhk_list(tmp_path)
    pairs, first = ImageTextPairs.open([folder, (names, tmp_path / "images")]), ImageTextPairs.open([folder])
    assert len(pairs) == len(first) + 8 and pairs.labels is None
    assert pairs.caption(len(first)) == "caption 0 of picture 0" and pairs.caption(len(first) - 1) == first.caption(len(first) - 1)
    assert pairs.persons[: len(first)].equal(first.persons) and pairs.persons[len(first) :].min() > first.persons.max()


def test_labels_go_by_name_and_in_the_order_that_is_asked_for(folder):
    some = {name: CLASSES[name] for name in reversed(list(CLASSES)[:3])}
    assert ImageTextPairs.open([folder], classes=some).labels.equal(ImageTextPairs.open([folder], classes=CLASSES).labels[:, [2, 1, 0]])


def test_a_list_of_mals_has_labels_and_every_row_is_a_person(tmp_path):
    pairs = ImageTextPairs.open([(mals_list(tmp_path), tmp_path / "images")], classes=CLASSES)
    assert len(pairs) == 12 == len(set(pairs.persons.tolist()))
    assert pairs.labels.shape == (12, 27) and set(pairs.labels.flatten().tolist()) == {-1, 0, 1}
    assert decode_image(pairs.image_bytes(3)).shape == (32, 16, 3) and pairs.other_captions(3) == []


def test_a_list_of_cuhk_has_a_row_a_caption_and_persons(tmp_path):
    pairs = ImageTextPairs.open([(cuhk_list(tmp_path), tmp_path / "images")])
    assert pairs.persons.tolist() == [0] * 4 + [1] * 4
    assert pairs.image_bytes(0) == pairs.image_bytes(1) and pairs.caption(1) == "caption 1 of picture 0"


def test_pictures_lie_beside_a_list_unless_told(tmp_path):
    pictures(tmp_path, 1)
    entries = [{"file_path": "images/0.jpg", "captions": ["one", "two"], "id": 7}]
    assert len(ImageTextPairs.open([written(tmp_path / "list.json", entries)])) == 2


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P"])
def test_a_picture_of_any_mode_becomes_red_green_blue(mode):
    file = io.BytesIO()
    Image.new("RGB", (4, 6), (200, 10, 10)).convert(mode).save(file, "TIFF" if mode == "CMYK" else "PNG")
    assert decode_image(file.getvalue()).shape == (6, 4, 3)


def test_a_data_set_travels_to_another_process(folder):
    pairs = ImageTextPairs.open([folder], classes=CLASSES)
    before = pairs.image_bytes(5)
    other = pickle.loads(pickle.dumps(pairs))
    assert other.image_bytes(5) == before and other.caption(5) == pairs.caption(5) and torch.equal(other.labels, pairs.labels)


def test_what_is_not_there_is_refused(folder, tmp_path):
    with pytest.raises(UserError, match="no data set to train on"):
        ImageTextPairs.open([])
    with pytest.raises(UserError, match="there is no data set"):
        ImageTextPairs.open([tmp_path / "nowhere"])
    (tmp_path / "data").mkdir()
    with pytest.raises(UserError, match="holds neither a packed data set"):
        ImageTextPairs.open([tmp_path])
    with pytest.raises(UserError, match="has no split val, only train"):
        ImageTextPairs.open([folder], split="val")
    with pytest.raises(UserError, match="is no JSON list"):
        ImageTextPairs.open([(folder, tmp_path)])
    with pytest.raises(UserError, match="holds no caption"):
        ImageTextPairs.open([written(tmp_path / "empty.json", [])])
    with pytest.raises(UserError, match="give the folder that they are in"):
        ImageTextPairs.open([(mals_list(tmp_path), tmp_path)])
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        ImageTextPairs.open([tmp_path / "bad.parquet"])


def test_a_set_without_rows_is_refused(own):
    with pytest.raises(UserError, match="is empty: its split train has no row"):
        ImageTextPairs.open([rewritten(own, lambda table: table.slice(0, 0))])


def test_a_set_without_captions_is_refused(own):
    def silent(table):
        at = table.schema.get_field_index("caption")
        texts = table["caption"].to_pylist()
        return table.set_column(at, "caption", pa.array([None, "  ", *texts[2:]], pa.string()))

    with pytest.raises(UserError, match=r"2 of \d+ rows have no caption \(row 0 is the first\)$"):
        ImageTextPairs.open([rewritten(own, silent)])
    with pytest.raises(NoCaptions, match=r"\.parquet has no captions$"):
        ImageTextPairs.open([rewritten(own, lambda table: emptied(table, len(table)))])
    with pytest.raises(NoCaptions, match=r"\.parquet has no captions$"):
        ImageTextPairs.open([rewritten(own, lambda table: table.drop_columns(["caption"]))])


def emptied(table, rows):
    """Without the first captions."""
    at = table.schema.get_field_index("caption")
    texts = table["caption"].to_pylist()
    return table.set_column(at, "caption", pa.array([None] * rows + texts[rows:], pa.string()))


def changed(file, change):
    """A JSON list with its objects changed, or left out where the change gives None."""
    return written(file, [change(number, entry) for number, entry in enumerate(json.loads(file.read_text()))])


def test_a_list_without_captions_is_refused_only_where_they_are_wanted(tmp_path):
    file, images = mals_list(tmp_path), tmp_path / "images"
    changed(file, lambda number, entry: entry if number != 3 else entry | {"caption": " "})
    with pytest.raises(UserError, match=r"1 of 12 rows have no caption \(row 3 is the first\)$"):
        ImageTextPairs.open([(file, images)])
    for change in (
        lambda number, entry: {key: value for key, value in entry.items() if key != "caption"},
        lambda number, entry: entry | {"caption": None},
        lambda number, entry: entry | {"captions": []},
    ):
        changed(mals_list(tmp_path), change)
        with pytest.raises(NoCaptions, match=r"g_attrs\.json has no captions$"):
            ImageTextPairs.open([(file, images)], classes=CLASSES)
        pairs = ImageTextPairs.open([(file, images)], classes=CLASSES, captions=False)
        assert (
            len(pairs) == 12 == len(pairs.labels)
            and set(pairs.captions()) == {""}
            and decode_image(pairs.image_bytes(3)).shape == (32, 16, 3)
        )


def test_a_list_of_other_things_is_no_list_without_captions(tmp_path):
    with pytest.raises(UserError, match="object 1 has the keys foo, which none of the known data sets has"):
        ImageTextPairs.open([written(tmp_path / "other.json", [{"foo": 1}])], captions=False)
    with pytest.raises(UserError, match="holds no caption"):
        ImageTextPairs.open([written(tmp_path / "empty.json", [])], captions=False)


def replaced(name, make):
    """A change of a table: a column made anew of its values."""
    return lambda table: table.set_column(table.schema.get_field_index(name), name, make(table[name].to_pylist()))


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("caption", lambda values: pa.array([{"a": 1}] * len(values)), r"the column caption holds struct<a: int64>, not texts$"),
        ("person", lambda values: pa.array([[1]] * len(values)), r"the column person holds list<.*int64>, not texts$"),
        ("image", lambda values: pa.array([value["bytes"] for value in values]), r"the column image holds binary, not images with their"),
        (
            "image",
            lambda values: pa.array([{"path": "x"}] * len(values)),
            r"the column image holds struct<path: string>, not images",
        ),
        ("captions", lambda values: pa.array([["a"]] * len(values)), r"the column captions holds list<.*string>, not texts with their"),
    ],
)
def test_a_column_of_another_kind_is_refused(own, name, make, message):
    with pytest.raises(UserError, match=rf"\.parquet: {message}"):
        ImageTextPairs.open([rewritten(own, replaced(name, make))], every=True)


@pytest.mark.parametrize("kind", [pa.uint8(), pa.uint64(), pa.int8()])
def test_labels_are_read_from_whole_numbers_of_any_width(own, kind):
    file = sorted((own / "data").iterdir())[0]

    def labelled(first):
        kinds = pa.struct([(name, kind) for name in CLASSES])
        return replaced("attributes", lambda rows: pa.array([dict.fromkeys(CLASSES, 1 if at else first) for at in range(len(rows))], kinds))

    rewritten(own, labelled(None))
    assert ImageTextPairs.open([file], classes=CLASSES).labels[:3, 26].tolist() == [-1, 1, 1]
    most = 2 ** (kind.bit_width - pa.types.is_signed_integer(kind)) - 1
    rewritten(own, labelled(most))
    with pytest.raises(UserError, match=rf"the label of gender in row 0 is {most}, not -1, 0 or 1"):
        ImageTextPairs.open([file], classes=CLASSES)


def test_a_set_without_labels_is_refused_only_where_they_are_wanted(own):

    def changed(make):
        def change(table):
            at = table.schema.get_field_index("attributes")
            values = table["attributes"].combine_chunks()
            fields = {name: make(name, pc.struct_field(values, [name])) for name in CLASSES}
            fields = {name: field for name, field in fields.items() if field is not None}
            return table.set_column(at, "attributes", pa.StructArray.from_arrays(list(fields.values()), list(fields)))

        return change

    keep = pq.read_table(sorted((own / "data").iterdir())[0])
    for make, sentence in (
        (lambda name, field: None if name == "hat" else field, "has no labels of the attribute hat"),
        (lambda name, field: field.cast(pa.string()), "holds string, not the numbers"),
        (lambda name, field: pa.nulls(len(field), pa.int64()), "no attribute label that is known"),
        (lambda name, field: pa.array([5] * len(field)), r"is 5, not -1, 0 or 1"),
    ):
        rewritten(own, lambda table, make=make: changed(make)(keep))
        with pytest.raises(UserError, match=sentence):
            ImageTextPairs.open([own], classes=CLASSES)
    rewritten(own, lambda table: keep.drop_columns(["attributes"]))
    with pytest.raises(UserError, match="has no attribute labels"):
        ImageTextPairs.open([own], classes=CLASSES)
    assert ImageTextPairs.open([own]).labels is None


def test_labels_whose_values_are_named_otherwise_are_refused(folder):
    inverted = {name: values[::-1] for name, values in CLASSES.items()}
    with pytest.raises(UserError, match=r"the values of \w+ are .* are expected"):
        ImageTextPairs.open([folder], classes=inverted)


def test_a_list_with_other_labels_is_refused(tmp_path):
    images = tmp_path / "images"
    with pytest.raises(UserError, match="is not a list of 27 numbers"):
        ImageTextPairs.open([(mals_list(tmp_path, label=[1, 0]), images)], classes=CLASSES)
    for large in (2, 10**30):
        message = rf"g_attrs\.json: the label of gender in row 0 is {large}, not -1, 0 or 1"
        with pytest.raises(UserError, match=message):
            ImageTextPairs.open([(mals_list(tmp_path, label=[large, *[0] * 26]), images)], classes=CLASSES)
    with pytest.raises(UserError, match="is 2, not -1, 0 or 1"):
        ImageTextPairs.open([(mals_list(tmp_path, label=[2] * 27), images)], classes=CLASSES)
    with pytest.raises(UserError, match="object 1 has no attribute labels"):
        ImageTextPairs.open([(cuhk_list(tmp_path), images)], classes=CLASSES)


@pytest.mark.parametrize(
    "kind", [pa.string_view(), pa.dictionary(pa.int32(), pa.string()), pa.list_(pa.string()), pa.large_list(pa.string())], ids=str
)
def test_captions_of_every_arrow_type_are_read_and_a_list_is_several_captions(own, kind):
    lists = pa.types.is_nested(kind)
    texts = [f"a man {row}" for row in range(len(table_of(own)))]

    def change(table):
        here = [texts.pop(0) for _ in range(len(table))]
        values = pa.array([[text, f"{text} again"] for text in here] if lists else here)
        return table.drop_columns(["caption", "captions"]).append_column("caption", values.cast(kind))

    expected = list(texts)
    rewritten(own, change)
    once, every = ImageTextPairs.open([own]), ImageTextPairs.open([own], every=True)
    assert list(once.captions()) == expected
    assert list(every.captions()) == ([caption for text in expected for caption in (text, f"{text} again")] if lists else expected)
    assert once.other_captions(0) == ([f"{expected[0]} again"] if lists else [])


def test_every_caption_is_a_row_where_that_is_asked_and_pictures_tell_which_rows_show_the_same(tmp_path):
    folder = packed(tmp_path / "run")
    once, every = ImageTextPairs.open([folder], classes=CLASSES), ImageTextPairs.open([folder], classes=CLASSES, every=True)
    assert once.images.tolist() == list(range(len(once)))
    captions = [list(dict.fromkeys([once.caption(row), *once.other_captions(row)])) for row in range(len(once))]
    assert [every.caption(row) for row in range(len(every))] == [text for texts in captions for text in texts] and len(every) > len(once)
    at = every.images
    assert every.persons.equal(once.persons[at]) and every.labels.equal(once.labels[at])
    assert every.image_bytes(len(every) - 1) == once.image_bytes(len(once) - 1) and every.location(0) == once.location(0)
    listed = ImageTextPairs.open([(cuhk_list(tmp_path), tmp_path / "images"), folder], every=True)
    assert listed.images[:10].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4] and listed.location(3).endswith("1.jpg")


def test_a_method_that_needs_no_captions_reads_pictures_without(own):
    def silent(table):
        at = table.schema.get_field_index("caption")
        return table.set_column(at, "caption", pa.array([None, *table["caption"].to_pylist()[1:]], pa.string()))

    folder = rewritten(own, silent)
    pairs = ImageTextPairs.open([folder], classes=CLASSES, captions=False)
    assert pairs.caption(0) == "" and pairs.caption(1) and len(pairs.labels) == len(pairs)
    rewritten(folder, lambda table: table.drop_columns(["caption", "captions", "person"]))
    pairs = ImageTextPairs.open([folder], captions=False)
    assert set(pairs.captions()) == {""} and pairs.other_captions(0) == [] and len(set(pairs.persons.tolist())) == len(pairs)
    with pytest.raises(UserError, match="has no captions"):
        ImageTextPairs.open([folder])


def test_why_a_picture_cannot_be_read_is_told_without_addresses():
    with pytest.raises(BadImage) as caught:
        decode_image(b"hello")
    assert first_line(caught.value) == "the file is no image of a kind that is read"
    assert first_line(OSError("cannot identify image file <_io.BytesIO object at 0x7f00>")) == "cannot identify image file"
    assert first_line(ValueError("first\nsecond")) == "first" and first_line(KeyError()) == "KeyError"


def test_rows_with_the_captions_of_other_rows_keep_the_rest(folder, tmp_path):
    both = ImageTextPairs.open([folder, (cuhk_list(tmp_path), tmp_path / "images")])
    order = torch.arange(len(both)).roll(3)
    changed = both.with_captions_of(order)
    captions = list(both.captions())
    assert list(changed.captions()) == [captions[at] for at in order.tolist()] and list(both.captions()) == captions
    assert changed.persons.equal(both.persons) and changed.location(2) == both.location(2) and changed.digest(0) != both.digest(0)


def test_a_list_whose_images_are_missing_is_refused_before_any_is_read(tmp_path):
    file = cuhk_list(tmp_path)
    (tmp_path / "images" / "2.jpg").unlink()
    with pytest.raises(UserError, match=r"1 of the 4 images that .*cuhk_train.json names are not in .*images: 2.jpg; put them there, or"):
        ImageTextPairs.open([(file, tmp_path / "images")])


def test_paths_of_windows_and_other_spellings_are_the_same_images(tmp_path, caplog):
    (tmp_path / "cam_a").mkdir()
    (tmp_path / pictures(tmp_path, 1)[0]).write_bytes((tmp_path / "images" / "0.jpg").read_bytes())
    shutil.move(tmp_path / "images" / "0.jpg", tmp_path / "cam_a" / "X.jpg")
    entries = [{"file_path": path, "captions": [path], "id": 1} for path in ("cam_a\\X.jpg", "./cam_a/X.jpg", "cam_a/x.JPG", "0.jpg")]
    pairs = ImageTextPairs.open([written(tmp_path / "list.json", entries)])
    assert pairs.images.tolist() == [0, 0, 0, 1] and pairs.image_id(2) == "cam_a/X.jpg" and pairs.image_bytes(2)
    assert "1 of the 3 images" in caplog.text and "are spelled otherwise in" in caplog.text and "cam_a/X.jpg for cam_a/x.JPG" in caplog.text


def test_an_image_of_two_persons_is_named(tmp_path, caplog):
    pictures(tmp_path, 2)
    entries = [{"file_path": "0.jpg", "captions": ["a"], "id": 1}, {"file_path": "0.jpg", "captions": ["b"], "id": 2}]
    entries.append({"file_path": "1.jpg", "captions": ["c", "d"], "id": 1})
    pairs = ImageTextPairs.open([(written(tmp_path / "list.json", entries), tmp_path / "images")])
    assert pairs.persons.tolist() == [0, 1, 0, 0] and pairs.images.tolist() == [0, 0, 1, 1]
    assert "1 of the 2 images of" in caplog.text and "several persons, such as 0.jpg ('1' and '2'); in a gallery" in caplog.text


def test_a_list_of_several_splits_is_read_whole_and_says_so(tmp_path, caplog):
    pictures(tmp_path, 2)
    entries = [{"file_path": f"{at}.jpg", "captions": ["a"], "id": at, "split": split} for at, split in enumerate(("train", "test"))]
    for listed, names in ((entries, True), (entries[:1], False)):
        caplog.clear()
        pairs = ImageTextPairs.open([(written(tmp_path / "list.json", listed), tmp_path / "images")], "test")
        assert len(pairs) == len(listed) and ("images of all splits that it names ('test', 'train')" in caplog.text) == names


def test_a_compressed_list_is_a_list(tmp_path):
    file = cuhk_list(tmp_path)
    packed_file = tmp_path / "list.json.gz"
    packed_file.write_bytes(gzip.compress(file.read_bytes()))
    assert len(ImageTextPairs.open([f"{packed_file}:{tmp_path / 'images'}"])) == 8
    (tmp_path / "list.jsonl").write_text("{}")
    with pytest.raises(UserError, match=r"list.jsonl is no data set: give a folder that `mals pack` made"):
        ImageTextPairs.open([tmp_path / "list.jsonl"])
    with pytest.raises(UserError, match=r"there is no JSON list lists/none\.json$"):
        ImageTextPairs.open(["lists/none.json"])


def test_columns_of_string_views_are_read(own):
    def viewed(table):
        texts = [name for name in table.column_names if pa.types.is_string(table.schema.field(name).type)]
        for name in texts:
            table = table.set_column(table.schema.get_field_index(name), name, table[name].cast(pa.string_view()))
        return table

    before = ImageTextPairs.open([own], classes=CLASSES, every=True)
    expected = [*before.captions()], before.persons.tolist(), [before.image_id(row) for row in range(3)], before.other_captions(2)
    pairs = ImageTextPairs.open([rewritten(own, viewed)], classes=CLASSES, every=True)
    assert pq.read_schema(sorted((own / "data").iterdir())[0]).field("caption").type == pa.string_view()
    assert ([*pairs.captions()], pairs.persons.tolist(), [pairs.image_id(row) for row in range(3)], pairs.other_captions(2)) == expected


def test_a_caption_that_shows_nothing_is_none(own):
    folder = rewritten(own, lambda table: emptied(table, 0))
    invisible = replaced("caption", lambda texts: pa.array(["\u200b", "男", *texts[2:]]))
    with pytest.raises(UserError, match=r"1 of \d+ rows have no caption \(row 0 is the first\)$"):
        ImageTextPairs.open([rewritten(folder, invisible)])
    assert [ImageTextPairs.open([folder], captions=False).caption(row) for row in range(2)] == ["", "男"]

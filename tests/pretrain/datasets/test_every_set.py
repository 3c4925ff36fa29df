"""What holds for every set that can be imported: faults that any list may have, links, interruptions, and what an import is good for."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.pretrain import training_settings
from mals.errors import UserError
from pretrain.datasets import READERS, open_benchmark
from pretrain.datasets.importing import import_benchmark
from pretrain.datasets.layout import BenchmarkRow
from pretrain.evaluate import evaluate, open_gallery
from pretrain.retrieval_protocol import PROTOCOLS
from pretrain.train import train
from pretrain.trained_method import Trained
from pretrain.zeroshot import markdown, zeroshot
from tests.interruption import Killed, killed_at
from tests.pretrain.datasets import layouts
from tests.pretrain.datasets.test_importing import MADE, files
from tests.pretrain.packs import imported
from tests.pretrain.trainings import PLAIN, SIZES, lines

LISTED = [name for name in MADE if name not in ("market1501", "pa100k")]  # sets in JSON
CAPTIONED = [name for name in MADE if READERS[name].info.caption_source is not None]
PATHS = (  # keys whose value is the path of an image, or a list of them
    *("file_path", "img_path", "image", "aerial_img", "ground_img", "file_paths", "ground_file_paths", "hard_i"),
    *("target_image_path", "reference_image_path"),
)
NAMED = ("luperson-mllm", "ham-pedes", "webperson")  # sets whose keys are paths
ANYWHERE = ("luperson-mllm", "ham-pedes")  # sets that know an image by a part of its path
SPLIT = {"ufine3c": "test", "itcpr": "test"}  # of the sets without a training split
UNLABELLED = [f"aptm.loss_weights.{loss}=0" for loss in ("iac", "iam", "mam")]
LABELLED = [f"aptm.loss_weights.{loss}=0" for loss in ("itc", "itm", "mlm")]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A miniature of each set, imported."""
    return imported(tmp_path_factory.mktemp("every"), MADE)


def rows(name: str, folder: Path) -> dict[str, list[BenchmarkRow]]:
    return {split: list(part) for split, part in open_benchmark(name, folder).splits.items()}


def annotations(folder: Path) -> list[Path]:
    """The JSON files of a set, of which WebPerson's shorter list is not read."""
    return sorted(path for path in folder.rglob("*.json") if path.name != "10w.json")


def rewritten(file: Path, change: Callable[[Any], Any], encoding: str = "utf-8") -> None:
    """A JSON file, or one of JSON Lines, with each of its values changed, in an encoding."""
    text = file.read_text()
    try:
        text = json.dumps(change(json.loads(text)))
    except json.JSONDecodeError:
        text = "\n".join(json.dumps(change(json.loads(line))) for line in text.splitlines() if line)
    file.write_text(text, encoding=encoding)


def with_paths(change: Callable[[str], str], keys: bool) -> Callable[[Any], Any]:
    """A function that changes the paths of images in a JSON value; with `keys`, those that are keys."""

    def changed(value: Any, is_path: bool = False) -> Any:
        if isinstance(value, list):
            return [changed(part, is_path) for part in value]
        if isinstance(value, dict):
            return {change(key) if keys and "." in key else key: changed(part, key in PATHS) for key, part in value.items()}
        return change(value) if is_path and isinstance(value, str) else value

    return changed


def with_null_captions(value: Any) -> Any:
    """A JSON value in which every list of captions has a null more."""
    if isinstance(value, list):
        return [with_null_captions(part) for part in value]
    if isinstance(value, dict) and "caption_pids" not in value:
        names = ("captions", "captions_bt", "prompt_caption")
        return {key: [*part, None] if key in names and isinstance(part, list) else with_null_captions(part) for key, part in value.items()}
    return value


@pytest.mark.parametrize("name", LISTED)
def test_marks_encodings_windows_separators_and_null_captions_change_nothing(name: str, tmp_path: Path) -> None:
    expected = rows(name, MADE[name](tmp_path / "set"))
    for encoding in ("utf-8-sig", "utf-16"):
        for file in annotations(tmp_path / "set"):
            rewritten(file, lambda value: value, encoding)
        assert rows(name, tmp_path / "set") == expected
        shutil.rmtree(tmp_path / "set")
        MADE[name](tmp_path / "set")
    for change in (with_null_captions, with_paths(lambda path: path.replace("/", "\\"), name in NAMED)):
        for file in annotations(tmp_path / "set"):
            rewritten(file, change)
        assert rows(name, tmp_path / "set") == expected


@pytest.mark.parametrize("drive", ["/data/", "D:\\data\\"])
@pytest.mark.parametrize("name", [name for name in LISTED if name != "tbapr"])  # whose paths are lists
def test_absolute_paths_are_refused_where_images_are_not_known_by_a_part(name: str, drive: str, tmp_path: Path) -> None:
    expected = rows(name, MADE[name](tmp_path))
    for file in annotations(tmp_path):
        rewritten(file, with_paths(lambda path: path if path.startswith("/") else drive + path, name in NAMED))
    if name in ANYWHERE:
        assert rows(name, tmp_path) == expected
        return
    with pytest.raises(UserError, match="which is no path") as refused:
        rows(name, tmp_path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", LISTED)
def test_empty_and_torn_annotations_are_refused_in_a_sentence_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    for file in annotations(MADE[name](tmp_path / "set")):
        whole = file.read_bytes()
        for part, words in ((b"", "is empty"), (b" \n", "is empty"), (whole[:-20], "downloaded in part")):
            file.write_bytes(part)
            with pytest.raises(UserError, match=words) as refused:
                import_benchmark(name, tmp_path / "set", str(tmp_path / "out"))
            assert "\n" not in str(refused.value) and not (tmp_path / "out").exists()
        file.write_bytes(whole)


@pytest.mark.parametrize("name", LISTED)
def test_rows_that_are_listed_twice_have_ids_of_their_own(name: str, tmp_path: Path) -> None:
    folder = MADE[name](tmp_path / "set")
    for file in annotations(folder):
        text = file.read_text().strip()
        if text.startswith("["):
            file.write_text(f"{text[:-1]},{text[1:]}")
        elif name == "pab":
            file.write_text(f"{text}\n{text}\n")
    ids = [row.id for part in rows(name, folder).values() for row in part]
    assert len(set(ids)) == len(ids) > 0


def test_a_folder_of_one_set_is_not_taken_for_another(tmp_path: Path) -> None:
    folders = [(name, make(tmp_path / name)) for name, make in MADE.items()]
    folders.append(("tag-pedes", layouts.tag(tmp_path / "beside", ".")))  # its list has the name of SynTBPR's
    for name in MADE:
        for other, folder in folders:
            if other != name:
                with pytest.raises(UserError, match=f"{folder} does not hold {READERS[name].info.name}: looked for ") as refused:
                    open_benchmark(name, folder)
                assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", list(MADE))
def test_images_may_lie_elsewhere_behind_links(name: str, packed: dict[str, str], tmp_path: Path) -> None:
    folder = MADE[name](tmp_path / "set")
    (tmp_path / "elsewhere").mkdir()
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and entry.name not in ("annotation", "data", "caption", "gene_attrs", "anno_dir"):
            shutil.move(entry, tmp_path / "elsewhere" / entry.name)
            entry.symlink_to(tmp_path / "elsewhere" / entry.name)
    import_benchmark(name, folder, str(tmp_path / "out"))
    assert files(tmp_path / "out") == files(Path(packed[name]))


@pytest.mark.parametrize("name", [name for name in MADE if name != "market1501"])  # which has no list of its images
def test_a_missing_image_is_named_and_packed_once_it_is_there(name: str, packed: dict[str, str], tmp_path: Path) -> None:
    folder = MADE[name](tmp_path / "set")
    split, part = next((split, part) for split, part in rows(name, folder).items() if len(part) > 1)
    benchmark = open_benchmark(name, folder)
    there = [row.image for row in part if benchmark.images.find(row.image) is not None]
    file = benchmark.images.path(there[-1])
    data = file.read_bytes()
    before = import_benchmark(name, folder, str(tmp_path / "whole")).contents.splits[split].missing
    file.unlink()
    if name == "luperson-mllm":  # which knows it by its base name then, and looks no further
        there[-1] = Path(there[-1]).name
    report = import_benchmark(name, folder, str(tmp_path / "out"))
    assert there[-1] in report.contents.examples["missing"] and report.contents.splits[split].missing > before
    file.write_bytes(data)
    import_benchmark(name, folder, str(tmp_path / "out"))
    assert files(tmp_path / "out") == files(Path(packed[name]))


@pytest.mark.parametrize("name", list(MADE))
def test_an_import_that_was_killed_goes_on_to_the_same_bytes(
    name: str, packed: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = MADE[name](tmp_path / "set")
    with killed_at(2, monkeypatch), pytest.raises(Killed):
        import_benchmark(name, folder, str(tmp_path / "out"))
    assert not (tmp_path / "out" / "SHA256SUMS").exists()
    import_benchmark(name, folder, str(tmp_path / "out"))
    assert files(tmp_path / "out") == files(Path(packed[name]))


def trained_for_two_steps(name: str, data: str, out: Path) -> Iterator[int]:
    """The steps of a short training by the losses that the set has data for."""
    info = READERS[name].info
    losses = UNLABELLED if info.space is None else [f"aptm.space={info.space}", *([] if info.caption_source else LABELLED)]
    settings = training_settings(
        "tiny", None, [*SIZES, *PLAIN, *losses, "batch=2", "dtype=fp32", "steps=2", "log_every=1", "data.workers=0"]
    )
    train(settings, [data], out, "cpu")
    return (line["step"] for line in lines(out))


@pytest.mark.parametrize("name", list(MADE))
def test_every_set_loads_with_datasets_and_trains_if_it_has_a_training_split(
    name: str, packed: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    split = SPLIT.get(name, "train")
    loaded = datasets.load_dataset(packed[name], cache_dir=str(tmp_path / "cache"), split=split)
    assert loaded[0]["image"].size == (16, 32)
    if name in CAPTIONED:
        assert loaded[0]["captions"][0]["text"] == loaded[0]["caption"]
    assert ("train" in READERS[name].info.sizes) is (split == "train")
    if split == "train":
        assert list(trained_for_two_steps(name, packed[name], tmp_path / "trained")) == [1, 2]


def test_every_set_with_a_test_split_is_measured_and_all_stand_in_one_table(trained: Trained, packed: dict[str, str]) -> None:
    tested = [name for name in MADE if "test" in READERS[name].info.sizes]
    result = zeroshot(trained, [packed[name] for name in tested], rerank="none")
    titles = {protocol.title for protocol in PROTOCOLS.values()} | {"PA-100K", "Market-1501"}
    assert {row.name for row in result.sets} == titles
    assert all(row.evaluation.retrieval for row in result.sets if row.name not in ("PA-100K", "Market-1501"))
    assert len(markdown(result).split("\n\n")[0].splitlines()) == 2 + len(titles)
    by_image = evaluate(trained, open_gallery(trained, [packed["market1501"]], "test", task="reid"), "none", task="reid")
    assert by_image.identification is not None


def test_the_sets_of_the_table_of_all_sets_are_those_of_the_tests() -> None:
    assert set(MADE) == set(READERS)


def test_a_split_whose_images_have_no_caption_says_so(tmp_path: Path) -> None:
    file = layouts.tag(tmp_path / "set") / "anno_dir" / "test_reid.json"
    rewritten(file, lambda objects: [entry | {"captions": [None, " "]} for entry in objects])
    with pytest.raises(UserError, match=r"split test of TAG-PEDES would be empty: 2 of its 2 images have no caption, such as a/9.jpg"):
        import_benchmark("tag-pedes", tmp_path / "set", str(tmp_path / "out"))

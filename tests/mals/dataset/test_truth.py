"""What a packed set says of an image follows from what made the image: rows, bytes, card, tags, Croissant, export, publication."""

import io
import json
import shutil
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from mals.dataset.export import export
from mals.dataset.origins import OriginCounts, synthetic_by_tags
from mals.dataset.pack import pack
from mals.dataset.publish import publish
from mals.dataset.report import report
from mals.errors import UserError
from mals.grid.run import Run, run_stages, save_settings
from mals.origin import SOURCE_TYPES, is_synthetic
from mals.planning.create import create
from mals.stages.filter_preview import preview_run
from mals.world.scene import draw_image
from tests.conftest import Mals
from tests.small import cells, photographs

WHOLE = {"crop": {"backend": "none"}}  # nothing is cropped


def packed_run(folder: Path, generate: str, rows: int = 24, **settings: Any) -> Run:
    """A packed run whose images a stage of tests/small/photographs.py makes, and the stages of mals crop and label."""
    small = {name: f"tests.small.cells:{name}" for name in ("safety", "filter", "caption", "label")}
    stages = {**small, "generate": f"tests.small.photographs:{generate}"}
    run = cells.small_run(folder, rows, stages=stages, sections=WHOLE, **settings)
    pack(run)
    return run


def dataset(run: Run) -> Path:
    assert run.store.folder is not None
    return run.store.folder / "dataset"


def kept(run: Run) -> list[dict[str, Any]]:
    return [row for path in sorted((dataset(run) / "data").iterdir()) for row in pq.read_table(path).to_pylist()]


def card(run: Run) -> str:
    return (dataset(run) / "README.md").read_text(encoding="utf-8")


def tags(run: Run) -> list[str]:
    return yaml.safe_load(card(run).split("---\n")[1])["tags"]


def croissant(run: Run) -> dict[str, Any]:
    return json.loads((dataset(run) / "croissant.json").read_text(encoding="utf-8"))


def marks(image: bytes) -> list[str]:
    """The source types that the bytes of an image hold, wherever they stand."""
    return [part.split(b'"')[0].decode() for part in image.split(b"newscodes/digitalsourcetype/")[1:]]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return packed_run(tmp_path_factory.mktemp("truth") / "original", "original")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return packed_run(tmp_path_factory.mktemp("truth") / "bare", "bare")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return packed_run(tmp_path_factory.mktemp("truth") / "mixed", "mixed")


def test_packed_photographs_carry_no_mark_and_no_sentence_that_they_are_synthetic(original: Run) -> None:
    for row in kept(original):
        assert (row["origin"], row["synthetic"], marks(row["image"]["bytes"])) == ("original", False, [])
    for path in dataset(original).rglob("*"):
        assert not path.is_file() or b"lgorithmicMedia" not in path.read_bytes(), path
    text = card(original).split("---\n")[2].split("## Settings of the run")[0].lower()
    for sentence in ("everything is synthetic", "generative", "generated", "do not exist", "no camera", "the generator", "synthetic data"):
        assert sentence not in text, sentence
    assert tags(original) == ["person-retrieval", "attribute-recognition", "mals", "croissant"]
    tree = croissant(original)
    assert tree["rai:hasSyntheticData"] is False and tree["rai:dataCollectionType"] == "Others"
    assert "synthetic" not in json.dumps({name: value for name, value in tree.items() if name not in ("recordSet", "rai:hasSyntheticData")})


@pytest.mark.parametrize("name", ["original", "bare", "mixed"])
def test_nothing_of_the_metadata_of_a_photograph_is_packed(name: str, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue(name)
    assert photographs.SERIAL in pq.read_table(dataset(run).parent / "generate/00000.parquet")["image"][0].as_py()
    for path in dataset(run).rglob("*.parquet"):
        assert photographs.SERIAL not in path.read_bytes() and b"Exif" not in path.read_bytes()


def test_an_image_of_unknown_origin_is_called_neither_synthetic_nor_original(bare: Run) -> None:
    for row in kept(bare):
        assert (row["origin"], row["synthetic"], marks(row["image"]["bytes"])) == (None, None, [])
    assert "**What made 21 of the images is not known**" in card(bare) and "do not exist" not in card(bare)
    assert "synthetic" not in tags(bare) and "rai:hasSyntheticData" not in croissant(bare)
    assert "generator" not in pq.read_schema(next((dataset(bare) / "data").iterdir())).names
    assert {(row["source_width"], row["source_height"]) for row in kept(bare)} == {(48, 96)}


def test_a_mixed_set_marks_each_row_and_counts_all_kinds(mixed: Run) -> None:
    rows = kept(mixed)
    images = dict.fromkeys(("generated", "image_to_image", "original", None), 0)
    for row in rows:
        origin = ("generated", "image_to_image", "original", None)[cells.number(row["id"]) % 4]
        images[origin] += 1
        assert (row["origin"], row["synthetic"]) == (origin, is_synthetic(origin))
        assert marks(row["image"]["bytes"]) == ([SOURCE_TYPES[origin].rsplit("/", 1)[1]] if origin in SOURCE_TYPES else [])
        assert [entry["source"] for entry in row["captions"]][2:] == (["collection"] if origin == "original" else ["prompt"])
        assert row["generator"]["model"] == ("small/generator" if origin in SOURCE_TYPES else None)
    text = card(mixed)
    for origin, count in images.items():
        assert f"| {origin or 'unknown'} | {count} | " in text
        assert f"{count} {'not known' if origin is None else ''}" in croissant(mixed)["description"]
    assert f"| {images['generated'] + images['image_to_image']} images | |" in text, "only these have a generator"
    assert "partly-synthetic" in tags(mixed) and "synthetic" not in tags(mixed)
    assert croissant(mixed)["rai:hasSyntheticData"] is True
    receipt = json.loads(mixed.store.read("pack.json"))
    assert receipt["origins"] == {origin or "unknown": count for origin, count in images.items()}


def test_a_mixed_set_that_is_taken_up_again_counts_the_same_kinds(mixed: Run, tmp_path: Path) -> None:
    loose = [f"filter.{rule}=null" for rule in ("min_bits_per_pixel", "min_channel_variance", "min_sharpness")]
    create(str(tmp_path), ingest=str(dataset(mixed)), assignments=["crop=none", "caption=none", *loose])
    run = Run.open(str(tmp_path))
    run_stages(run)
    pack(run)
    receipts = [json.loads(packed.store.read("pack.json"))["origins"] for packed in (mixed, run)]
    assert receipts[0] == receipts[1]
    assert [row["image"]["bytes"] for row in kept(run)] == [row["image"]["bytes"] for row in kept(mixed)], "marks and pixels"
    modelled = receipts[0]["generated"] + receipts[0]["image_to_image"]
    assert f"The generator of the {modelled} images that a model made is not recorded." in card(run)


@pytest.mark.parametrize("name", ["original", "bare", "mixed"])
def test_a_card_of_any_origins_is_whole(name: str, request: pytest.FixtureRequest) -> None:
    import mlcroissant as mlc

    run = request.getfixturevalue(name)
    text = card(run)
    assert "None" not in text and "{{" not in text and "\n\n\n\n" not in text
    assert all(line == "" for line, after in zip(text.split("\n"), text.split("\n")[1:], strict=False) if after.startswith("## "))
    assert not mlc.Dataset(jsonld=dataset(run) / "croissant.json").metadata.ctx.issues.errors


def test_an_image_that_is_its_own_crop_keeps_its_pixels_byte_for_byte(original: Run) -> None:
    for row in kept(original):
        with Image.open(io.BytesIO(row["image"]["bytes"])) as image:
            assert image.size == (row["width"], row["height"]) == (48, 96)
        plain = photographs.photograph(row["id"])
        start = plain.index(b"\xff\xdb")  # from the first quantization table on
        assert row["image"]["bytes"][-len(plain[start:]) :] == plain[start:]
        assert (row["persons"], row["keypoints"], row["person_box"], row["heads_blurred"]) == (None,) * 4
        assert row["bbox"] == [0, 0, 48, 96]


@pytest.mark.parametrize(
    "without", ["prompt", "negative_prompt", "seed", "caption", "person", "camera", "wanted", "init_image", "prompt_tokens"]
)
def test_a_plan_without_one_of_its_columns_is_packed_exported_and_described(without: str, tmp_path: Path) -> None:
    run = packed_run(tmp_path / "run", "bare", 8, without=[without])
    assert len(kept(run)) == 7
    assert export(run, str(tmp_path / "tars"), "webdataset").rows == export(run, str(tmp_path / "lists"), "mals-json").rows == 7
    assert report(run).kept == 7


def test_an_origin_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the origin 'photo'; it must be generated"):
        packed_run(tmp_path / "run", "wrong", 4)


def test_exported_rows_say_the_same(mixed: Run, tmp_path: Path) -> None:
    import webdataset

    export(mixed, str(tmp_path), "webdataset")
    rows = {row["id"]: row for row in kept(mixed)}
    for sample in webdataset.WebDataset([str(path) for path in sorted(tmp_path.glob("*.tar"))], shardshuffle=False):
        row, metadata = rows[sample["__key__"]], json.loads(sample["json"])
        assert sample["jpg"] == row["image"]["bytes"]
        assert (metadata["origin"], metadata["synthetic"]) == (row["origin"] or "", row["synthetic"])
    create(str(tmp_path / "again"), ingest=tmp_path)
    again = pq.read_table(tmp_path / "again/plan/00000.parquet").to_pylist()
    assert {Path(row["source_name"]).stem: row["origin"] for row in again} == {id_: row["origin"] for id_, row in rows.items()}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("original", {}),
        ("bare", {}),
        ("mixed", {}),
        ("original", {"source": "a camera"}),
        ("original", {"consent": "they agreed"}),
        ("original", {"source": " ", "consent": "they agreed"}),
    ],
)
def test_photographs_are_not_published_before_source_and_consent_are_filled_in(
    name: str, settings: dict[str, str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run = Run.open(shutil.copytree(dataset(request.getfixturevalue(name)).parent, tmp_path / "run"))
    save_settings(run.store, {**run.user_settings, "pack": {**run.user_settings["pack"], **settings}})
    run = Run.open(tmp_path / "run")
    pack(run)
    for dry_run in (True, False):
        with pytest.raises(UserError, match=r"pack\.source .* pack\.consent .* not both filled in"):
            publish(run, str(tmp_path / "out"), dry_run=dry_run)
    assert not (tmp_path / "out").exists()


def test_publish_says_in_one_sentence_what_lacks_and_goes_on_once_it_is_there(mals: Mals, tmp_path: Path) -> None:
    packed_run(tmp_path / "run", "original", 8)
    refused = mals("publish", "run", "--to", "out")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and not (tmp_path / "out").exists()
    assert "pack.source" in refused.stderr and "pack.consent" in refused.stderr
    filled_in = mals("run", "run", "-q", "--set", "pack.source=Photographs of our yard", "--set", "pack.consent=All persons signed")
    assert filled_in.returncode == 0, filled_in.stderr
    published = mals("publish", "run", "--to", "out")
    assert published.returncode == 0, published.stderr
    text = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert "- Where the images come from: Photographs of our yard" in text
    assert "- On what basis people in them are shown: All persons signed" in text


def test_a_card_says_what_its_owner_has_not_filled_in(original: Run, mixed: Run, tmp_path: Path) -> None:
    for run in (original, mixed):
        assert "**not filled in** (`pack.source`)" in card(run) and "**not filled in** (`pack.consent`)" in card(run)
        assert "- Faces are not blurred." in card(run)
    generated = cells.small_run(tmp_path / "generated", 8)
    pack(generated)
    assert "## Privacy and consent" not in card(generated)
    publish(generated, str(tmp_path / "out"), dry_run=True)


def test_no_unblurred_face_leaves_the_cells(tmp_path: Path) -> None:
    small = {name: f"tests.small.cells:{name}" for name in ("safety", "caption", "label")}
    stages = {**small, "generate": "tests.small.photographs:chequered_face", "crop": "tests.small.photographs:crop_known_person"}
    sections = {
        "privacy": {"blur_faces": True},
        "filter": {"min_bits_per_pixel": None, "min_channel_variance": None, "min_sharpness": None},
    }
    for backend in ("vitpose", "none"):
        crop = {"backend": backend, "min_keypoints": 5}
        run = cells.small_run(tmp_path / backend, 8, stages=stages, sections={**sections, "crop": crop})
        pack(run)
        counts = "Heads are blurred: 8 in 8 images (`heads_blurred`)"
        assert counts in card(run) and "Faces are not blurred" not in card(run)
        export(run, str(tmp_path / backend / "tars"), "webdataset")
        export(run, str(tmp_path / backend / "lists"), "mals-json")
        report(run)
        preview_run(str(tmp_path / backend))
        assert {row["heads_blurred"] for row in kept(run)} == {1}
        images = [row["image"]["bytes"] for row in kept(run)]
        for path in (tmp_path / backend).rglob("*"):
            if path.suffix in (".jpg", ".png"):
                images.append(path.read_bytes())
            elif path.suffix == ".tar":
                with tarfile.open(path) as tar:
                    images += [tar.extractfile(member).read() for member in tar if member.name.endswith(".jpg")]  # type: ignore[union-attr]
        assert len(images) > 24 and not any(map(photographs.shows_a_face, images))
        stored = pq.read_table(tmp_path / backend / "generate/00000.parquet")["image"][0].as_py()
        assert photographs.shows_a_face(stored), "only there the face is as it was"


OWN_STAGE = """
from io import BytesIO

import pyarrow as pa
from PIL import Image

from mals.stages.generate import Generate


class WithPhotographs(Generate):
    needs = (*Generate.needs, "id")

    def __call__(self, batch):
        output = super().__call__(batch)
        rows = output.to_pylist()
        for row, planned in zip(rows, batch.to_pylist(), strict=True):
            if planned["id"].startswith("photo"):
                row.update(dict.fromkeys(row))
                with open(planned["init_image"], "rb") as file:
                    row["image"] = file.read()
                row["width"], row["height"] = Image.open(BytesIO(row["image"])).size
                row["origin"] = "original"
        return pa.RecordBatch.from_pylist(rows, output.schema)


def stage(config):
    return WithPhotographs(config.generate)
"""


@pytest.mark.slow
def test_prompts_initial_images_and_photographs_go_through_the_real_pipelines_in_one_run(
    mals: Mals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "images").mkdir()
    lines = []
    for number in range(4):
        drawn = draw_image(9, number, 0, 128)
        Image.fromarray(drawn.pixels).save(tmp_path / f"images/{number}.jpg", quality=95, subsampling=0)
        lines += [{"id": f"{kind}-{number}", "caption": "a man in a red shirt and blue jeans"} for kind in ("prompt", "from", "photo")]
        for line in lines[-2:]:
            line["init_image"] = f"{number}.jpg"
    (tmp_path / "captions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "photograph_stages.py").write_text(OWN_STAGE)
    sets = ["stages.generate=photograph_stages:stage", "generate.strength=0.3", "privacy.blur_faces=true", "filter.min_sharpness=null"]
    options = [word for setting in (*sets, "crop.min_keypoints=5", "shard_rows=12") for word in ("--set", setting)]
    planned = mals("plan", "run", "--captions", "captions.jsonl", "--images", "images", *options)
    assert planned.returncode == 0, planned.stderr
    made = mals("run", "run", "-q")
    assert made.returncode == 0, made.stderr
    monkeypatch.syspath_prepend(tmp_path)
    run = Run.open(tmp_path / "run")
    rows = kept(run)
    origins = {"prompt": "generated", "from": "image_to_image", "photo": "original"}
    counts = Counter(origins[row["id"].split("-")[0]] for row in rows)
    assert all(counts[origin] for origin in origins.values()), counts
    for row in rows:
        origin = origins[row["id"].split("-")[0]]
        assert (row["origin"], row["synthetic"], row["generator"]["model"] is None) == (origin, origin != "original", origin == "original")
        assert marks(row["image"]["bytes"]) == ([SOURCE_TYPES[origin].rsplit("/", 1)[1]] if origin != "original" else [])
        assert row["heads_blurred"] >= 0
    assert all(f"| {origin} | {count} | " in card(run) for origin, count in counts.items())
    assert mals("publish", "run", "--to", "out").returncode == 2


def test_the_tag_synthetic_is_for_sets_in_which_every_image_is() -> None:
    assert OriginCounts.of({"generated": 2, "image_to_image": 1}).tags() == ["synthetic", "diffusion"]
    assert OriginCounts.of({"drawn": 2}).tags() == ["synthetic"]
    assert OriginCounts.of({"original": 1, "generated": 2}).tags() == ["partly-synthetic", "diffusion"]
    assert OriginCounts.of({"original": 1}).tags() == []
    assert OriginCounts.of({"original": 1, None: 2}).tags() == ["origin-unknown"]


def test_what_a_method_was_trained_on_is_read_from_the_tags() -> None:
    statements = {"generated": True, "image_to_image": True, "drawn": True, "original": False, None: None}
    assert {origin: synthetic_by_tags(OriginCounts.of({origin: 3}).tags()) for origin in statements} == statements
    assert synthetic_by_tags(OriginCounts.of({"original": 3, "generated": 3}).tags()) is None


def test_whether_there_is_synthetic_data_is_not_said_where_it_is_not_known() -> None:
    statements = {name: OriginCounts.of({name: 1}).has_synthetic_data for name in ("generated", "drawn", "original", None)}
    assert statements == {"generated": True, "drawn": True, "original": False, None: None}
    assert OriginCounts.of({None: 1, "original": 1}).has_synthetic_data is None
    assert OriginCounts.of({None: 1, "generated": 1}).has_synthetic_data is True


def test_images_in_which_no_head_was_there_to_blur_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photographs.KnownPerson, "people", lambda self, images: [[] for _ in images])
    small = {name: f"tests.small.cells:{name}" for name in ("safety", "filter", "caption", "label")}
    stages = {**small, "generate": "tests.small.photographs:original", "crop": "tests.small.photographs:crop_known_person"}
    run = cells.small_run(tmp_path / "run", 8, stages=stages, sections={"crop": {"backend": "none"}, "privacy": {"blur_faces": True}})
    assert pack(run).summary() == "7 rows kept, 1 not; in 7 of the kept images no head was there to blur"
    assert "Heads are blurred: 0 in 7 images" in card(run) and "In 7\n  images the model found no head to blur" in card(run)

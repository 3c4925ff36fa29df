"""The stage `label`: the labels of every row from all its captions."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pytest

from mals.labeller.labeller import Labeller
from mals.stages.label import LabelStage

GOLD = Path(__file__).parents[2] / "gold"
LABELLER = Labeller()
NAMES = LABELLER.space.names


def label_batch(captions: list[list[str] | None], caption: list[str | None], planned: list[list[int] | None]) -> pa.RecordBatch:
    """A batch as the stage `caption` leaves it: the captions of each row, the plan's caption and its attributes."""
    kind = pa.list_(pa.struct([("text", pa.string()), ("model", pa.string())]))
    values = [None if texts is None else [{"text": text, "model": "m"} for text in texts] for texts in captions]
    columns = [pa.array(caption, pa.string()), pa.array(values, kind), pa.array(planned, pa.list_(pa.int8()))]
    return pa.record_batch(columns, ["caption", "captions", "wanted"])


@pytest.fixture(scope="module")
def stage() -> Iterator[LabelStage]:
    stage = LabelStage()
    stage.setup()
    yield stage


def test_the_stage_labels_every_row(stage: LabelStage) -> None:
    planned = LABELLER.label(["a man in a red shirt"]).values[0].tolist()
    rows = stage(label_batch([["a man in a blue shirt"], None], ["not used", "a woman"], [planned, None])).to_pylist()
    assert rows[0]["attributes"] == LABELLER.label(["a man in a blue shirt"]).values[0].tolist()
    assert rows[1]["attributes"] == LABELLER.label(["a woman"]).values[0].tolist()
    assert rows[0]["attribute_source"][0] == "explicit" and rows[0]["agreement_captions"] is None
    assert rows[0]["agreement_wanted"] == pytest.approx(12 / 14) and rows[1]["agreement_wanted"] is None


def test_captions_of_one_image_are_merged(stage: LabelStage) -> None:
    texts = ["a person in a red shirt and jeans", "a woman in a green shirt with a hat and black jeans", "a man in a green jacket"]
    row = stage(label_batch([texts], [texts[0]], [None])).to_pylist()[0]
    value = dict(zip(NAMES, row["attributes"], strict=True))
    source = dict(zip(NAMES, row["attribute_source"], strict=True))
    assert (value["hat"], source["hat"]) == (0, "explicit")
    assert value["gender"] == 0  # one against one: the first
    assert value["lower_black"] == 0 and source["lower_black"] == "explicit"
    assert value["upper_red"] == 0 and value["upper_green"] == 0 and value["upper_blue"] == 1
    assert 0 < row["agreement_captions"] < 1


def test_a_caption_that_its_rules_refused_decides_no_label(stage: LabelStage) -> None:
    entries = [{"text": "a man in a red coat with a hat"}, {"text": None, "refused": "slot_caption"}]
    columns = {"caption": [entries[0]["text"]], "wanted": pa.nulls(1, pa.list_(pa.int8()))}
    alone, both = (stage(pa.record_batch({**columns, "captions": [texts]})).to_pylist() for texts in (entries[:1], entries))
    assert alone == both


def test_without_captioners_the_caption_of_the_plan_is_labelled_and_a_row_without_one_is_unknown() -> None:
    import mals.stages.label
    from mals import settings

    stage = mals.stages.label.stage(settings.check({"caption": "none", "source": "ingest"}))
    assert stage.needs == ("caption",)
    captions = ["a woman in a red coat", None, ""]
    known, *unknown = stage(pa.record_batch({"caption": pa.array(captions, pa.string())})).to_pylist()
    assert known["attributes"][NAMES.index("upper_red")] == LABELLER.label(captions[:1]).values[0][NAMES.index("upper_red")] != -1
    assert all(set(row["attributes"]) == {-1} and set(row["attribute_source"]) == {"unknown"} for row in unknown)
    assert mals.stages.label.stage(settings.check({"caption": None})).needs == ("caption", "wanted")
    assert mals.stages.label.stage(settings.check({})).needs == ("caption", "captions", "wanted")


def test_the_fingerprint_follows_the_space_file(tmp_path: Path) -> None:
    from mals.attributes import FOLDER

    file = tmp_path / "mine.yaml"
    text = (FOLDER / "market1501.yaml").read_text()
    file.write_text(text)
    first = LabelStage(str(file)).params()
    file.write_text(text.replace("beanie, ", ""))
    assert LabelStage(str(file)).params()["space_sha256"] != first["space_sha256"]


def test_the_golden_labels_of_this_version() -> None:
    """If this digest changes, raise the version: labels of older runs differ then from labels of new ones."""
    lines = [line for name in ("captions.jsonl", "own.jsonl") for line in (GOLD / name).read_text(encoding="utf-8").splitlines()]
    captions = [json.loads(line)["caption"] for line in lines]
    labels = LABELLER.label(captions)
    digest = sha256(labels.values.tobytes() + labels.source_codes.tobytes()).hexdigest()[:16]
    assert (LabelStage.version, digest) == (3, "613930ceadeaa605")

"""The embedded models are small, the ordinary backends load them, and their scores are as recorded."""

import json
from typing import Any

import pytest

from benchmarks import world
from mals.models import EMBEDDED, WEIGHTS, licence, resolve

SCORES: dict[str, dict[str, Any]] = json.loads((WEIGHTS / "scores.json").read_text(encoding="utf-8"))


def test_all_weights_are_under_40_megabytes_the_swin_under_5_the_scorer_under_1_2_and_all_are_safetensors() -> None:
    files = [path for path in WEIGHTS.rglob("*") if path.is_file()]
    swin, scorer = (sum(path.stat().st_size for path in files if path.parent.name == name) for name in ("swin", "scorer"))
    assert sum(path.stat().st_size for path in files) < 40e6 and swin < 5e6 and scorer < 1.15e6
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".md", ".txt", ".yaml", ".jinja"}


def test_no_file_of_the_embedded_models_is_over_10_megabytes_and_every_shard_is_there() -> None:
    assert max(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()) < 10e6
    for index in WEIGHTS.rglob("*.index.json"):
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        assert shards == {path.name for path in index.parent.glob("*.safetensors")}


@pytest.mark.parametrize("part", EMBEDDED)
def test_every_embedded_model_has_a_licence_and_a_record_of_its_training(part: str) -> None:
    model = resolve("embedded", role=part)
    assert licence(model) == "apache-2.0"
    for record in json.loads((WEIGHTS / part / "training.json").read_text(encoding="utf-8")):
        assert record["steps"] > 0 and record["seconds"] > 0
        assert "mals.world.training" in record["command"] and isinstance(record["seed"], int)


def test_the_filter_refuses_faulty_images_as_often_as_recorded() -> None:
    scores = world.filter_part(40)
    assert scores["sound_refused"] == pytest.approx(SCORES["filter"]["sound_refused"], abs=0.05)
    for fault in world.FILTERED:
        assert scores[fault]["recall"] == pytest.approx(SCORES["filter"][fault]["recall"], abs=0.05)


@pytest.mark.slow
def test_keypoints_and_refusals_are_as_good_as_recorded() -> None:
    scores = world.pose_part(48)
    assert scores["pck"]["all"] == pytest.approx(SCORES["pose"]["pck"]["all"], abs=0.05)
    for fault in ("sound", "no_person", "two_persons"):
        assert scores[fault]["refused"] == pytest.approx(SCORES["pose"][fault]["refused"], abs=0.12)


@pytest.mark.slow
def test_captions_give_as_many_correct_labels_as_recorded() -> None:
    scores = world.captions_part(48)
    assert scores["values"] == pytest.approx(SCORES["captions"]["values"], abs=0.04)
    for group in ("upper_color", "lower_color"):
        assert scores[group] == pytest.approx(SCORES["captions"][group], abs=0.15)


@pytest.mark.slow
def test_instructions_are_followed_as_well_as_recorded() -> None:
    scores = world.instructions_part(48)
    for name in ("trained", "held_out_openings", "held_out", "style"):
        assert scores[name]["followed"] == pytest.approx(SCORES["instructions"][name]["followed"], abs=0.2)
        assert scores[name]["slots"] == pytest.approx(SCORES["instructions"][name]["slots"], abs=0.15)
    for name in ("values", "yes_or_no"):
        assert scores[name]["right"] == pytest.approx(SCORES["instructions"][name]["right"], abs=0.2)


@pytest.mark.slow
def test_the_scorer_tells_right_captions_from_wrong_ones_as_well_as_recorded() -> None:
    scores, recorded = world.scorer_part(200), SCORES["scorer"]
    for name in ("complete", "short", "annotator", "long", "terse"):
        assert scores[name]["best"] == pytest.approx(recorded[name]["best"], abs=0.12)
        assert scores[name]["auc"] == pytest.approx(recorded[name]["auc"], abs=0.03)
    for name in ("kept", "refused"):
        assert scores["persons"][name] == pytest.approx(recorded["persons"][name], abs=0.05)
    assert scores["exchanged"]["right"] == pytest.approx(recorded["exchanged"]["right"], abs=0.08)


@pytest.mark.slow
def test_generated_images_show_as_many_requested_attributes_as_recorded() -> None:
    scores = world.generated_part(48)
    assert scores["kept"] / 48 == pytest.approx(SCORES["generated"]["kept"] / SCORES["generated"]["requested"], abs=0.15)
    assert scores["values"] == pytest.approx(SCORES["generated"]["values"], abs=0.06)

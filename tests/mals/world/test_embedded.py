"""The models that ship: small, loaded by the ordinary backends, and as good as their recorded scores say."""

import json
from typing import Any

import pytest

from benchmarks import world
from mals.models import EMBEDDED, WEIGHTS, find, licence

SCORES: dict[str, dict[str, Any]] = json.loads((WEIGHTS / "scores.json").read_text(encoding="utf-8"))


def test_the_weights_that_make_data_are_under_30_megabytes_the_swin_under_5_and_all_are_safetensors() -> None:
    files = [path for path in WEIGHTS.rglob("*") if path.is_file()]
    swin = sum(path.stat().st_size for path in files if path.parent.name == "swin")
    assert sum(path.stat().st_size for path in files) - swin < 30e6 and swin < 5e6
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".md", ".txt"}


@pytest.mark.parametrize("part", EMBEDDED)
def test_every_embedded_model_has_a_licence_and_the_facts_of_its_training(part: str) -> None:
    found = find("embedded", part=part)
    assert licence(found) == "apache-2.0"
    for facts in json.loads((WEIGHTS / part / "training.json").read_text(encoding="utf-8")):
        assert facts["steps"] > 0 and facts["seconds"] > 0 and "mals.world.training" in facts["command"] and isinstance(facts["seed"], int)


def test_the_filter_refuses_what_it_should_as_often_as_recorded() -> None:
    found = world.filter_part(40)
    assert found["sound_refused"] == pytest.approx(SCORES["filter"]["sound_refused"], abs=0.05)
    for fault in world.FILTERED:
        assert found[fault]["recall"] == pytest.approx(SCORES["filter"][fault]["recall"], abs=0.05)


@pytest.mark.slow
def test_keypoints_and_refusals_are_as_good_as_recorded() -> None:
    found = world.pose_part(48)
    assert found["pck"]["all"] == pytest.approx(SCORES["pose"]["pck"]["all"], abs=0.05)
    for fault in ("sound", "no_person", "two_persons"):
        assert found[fault]["refused"] == pytest.approx(SCORES["pose"][fault]["refused"], abs=0.12)


@pytest.mark.slow
def test_captions_tell_as_many_attributes_as_recorded() -> None:
    found = world.captions_part(48)
    assert found["values"] == pytest.approx(SCORES["captions"]["values"], abs=0.04)
    for group in ("upper_color", "lower_color"):
        assert found[group] == pytest.approx(SCORES["captions"][group], abs=0.15)


@pytest.mark.slow
def test_generated_pictures_show_as_much_of_what_was_asked_for_as_recorded() -> None:
    found = world.generated_part(48)
    assert found["kept"] / 48 == pytest.approx(SCORES["generated"]["kept"] / SCORES["generated"]["asked"], abs=0.15)
    assert found["values"] == pytest.approx(SCORES["generated"]["values"], abs=0.06)

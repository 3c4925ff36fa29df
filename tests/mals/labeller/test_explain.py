"""`mals explain CAPTION`, as a library and as a command."""

import json
from typing import Any

import pytest

from mals.labeller.explain import explain
from tests.conftest import Mals


def attribute(explanation: dict[str, Any], name: str) -> dict[str, Any]:
    return next(row for row in explanation["attributes"] if row["name"] == name)


def test_every_attribute_has_value_source_prompt_and_the_words_that_decided() -> None:
    explanation = explain("A woman in a Red coat")
    assert len(explanation["attributes"]) == 27
    assert attribute(explanation, "upper_red") == {
        "name": "upper_red",
        "value": 0,
        "value_name": "yes",
        "prompt": "the person wears red upper clothes",
        "source": "explicit",
        "evidence": [{"text": "Red", "start": 13, "end": 16}],
    }
    assert attribute(explanation, "hair_length") == {
        "name": "hair_length",
        "value": -1,
        "value_name": "unknown",
        "prompt": None,
        "source": "unknown",
        "evidence": [],
    }


def test_the_command_prints_json_for_machines(mals: Mals) -> None:
    process = mals("explain", "a boy with a cap", "--json")
    assert process.returncode == 0 and attribute(json.loads(process.stdout), "hat")["value"] == 0


def test_the_command_shows_a_table_for_people(mals: Mals) -> None:
    process = mals("explain", "a boy with a cap and no bag")
    lines = {line.split()[0]: line.split()[1:] for line in process.stdout.splitlines() if line.strip()}
    assert lines["hat"] == ["0", "yes", "explicit", "cap"] and lines["bag"] == ["1", "no", "explicit", "no,", "bag"]
    assert "\x1b[" not in process.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.txt"], "there is no captions file missing.txt"),
        (["a man", "--space", "nothing"], "there is no attribute space nothing"),
        (["a man in a shirt", "-o", "out.jsonl"], "-o is for files of captions"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(mals: Mals, arguments: list[str], message: str) -> None:
    process = mals("explain", *arguments)
    assert process.returncode == 2 and message in process.stderr and "Traceback" not in process.stderr

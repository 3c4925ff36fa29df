"""Captions side by side, and the numbers of captioners."""

from pathlib import Path

import pytest

from mals.look.captions import Text, captioners, compare, texts
from mals.look.run_source import RunSource
from tests.small import cells


def test_every_captioner_has_its_numbers(tmp_path: Path) -> None:
    source = RunSource(cells.small_run(tmp_path / "run", 50).store.url)
    lines = {line.name: line for line in captioners(source)}
    assert set(lines) == {"blip", "vlm", "prompt"}
    assert lines["vlm"].captions == 39 and lines["vlm"].words == 2 and lines["vlm"].vocabulary == 2 and lines["vlm"].distinct == 0
    assert lines["blip"].distinct == 1 and lines["blip"].opening == "a man in" and lines["blip"].opening_share == 1


def test_words_in_common_and_repetitions_are_counted() -> None:
    one, other = compare([[Text("a", "a red coat"), Text("b", "a red hat")], [Text("a", "on his hips on his hips")]])
    assert one.agreement == pytest.approx(0.5) and one.repetition == 0.5 and one.distinct == 1 and other.captions == 1


def test_a_packed_rows_prompt_stands_once() -> None:
    row = {"captions": [{"text": "a man", "source": "x/blip", "kind": None}, {"text": "p", "source": "prompt"}], "prompt": "p"}
    assert texts(row) == [Text("blip", "a man"), Text("prompt", "p")]
    assert texts({"caption": "a man"}) == [Text("caption", "a man")]

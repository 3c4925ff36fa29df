"""Faults of captions that are known of RSTPReid: counted, with examples, and nothing left out."""

import json
from pathlib import Path

from pretrain.datasets import open_benchmark
from pretrain.datasets.caption_faults import caption_faults
from pretrain.datasets.layout import BenchmarkRow
from tests.pretrain.datasets import layouts


def row(image: str, person: int, *captions: str) -> BenchmarkRow:
    return BenchmarkRow(id=image, image=image, captions=captions, identity=person)


def test_a_sentence_of_several_persons_is_counted_whatever_its_case() -> None:
    rows = [row("1.jpg", 1, "A man  in red", "He walks"), row("2.jpg", 1, "He walks"), row("3.jpg", 2, "a man in Red", "x")]
    assert caption_faults({"train": rows[:2], "test": rows[2:]}) == [
        "sentences that are captions of several persons: 1, of 2 captions; most often 'a man in red', of 2 persons (1.jpg, 3.jpg)"
    ]


def test_characters_of_chinese_and_code_are_counted_with_their_images() -> None:
    rows = [row("1.jpg", 1, "A man，in red"), row("2.jpg", 2, "A 男 in blue"), row("3.jpg", 3, "print(x)"), row("4.jpg", 4, "a = [1]", "b")]
    assert caption_faults({"train": rows}) == [
        "captions with Chinese, Japanese or Korean characters: 2, of 1.jpg, 2.jpg",
        "captions with what looks like program code: 2, of 3.jpg, 4.jpg",
    ]
    sound = "A man's T-shirt (blue), size 7/8; he's \"fast\" & young: café, 50% – a well-known one."
    assert caption_faults({"train": [row("1.jpg", 1, sound)]}) == []


def test_an_import_of_rstpreid_names_them(tmp_path: Path) -> None:
    entries = json.loads((layouts.rstp(tmp_path) / "data_captions.json").read_text())
    entries[0]["captions"] = entries[-1]["captions"] = ["The same.", "Code {x}"]
    layouts.written(tmp_path / "data_captions.json", entries)
    benchmark = open_benchmark("rstpreid", tmp_path)
    assert len(benchmark.notes) == 2 and "captions with what looks like program code: 2" in benchmark.notes[1]
    assert benchmark.notes[0].startswith("sentences that are captions of several persons: ")
    assert [len(row.captions) for row in benchmark.splits["train"]] == [2] * 4

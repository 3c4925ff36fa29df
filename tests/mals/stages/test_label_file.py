"""Labelling a file of captions, as a library and by `mals explain FILE`."""

import json
import tracemalloc
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mals.errors import UserError
from mals.labeller.labeller import Labeller
from mals.stages.label_file import is_caption_file, label_file, read_captions
from tests.conftest import Mals

LINES = ["a man in a red shirt", "", "Ünïcode 👗 und ein Hut", "a woman with a backpack and no hat", "x" * 100_000]


@pytest.mark.parametrize("kind", [".jsonl", ".parquet"])
def test_a_file_of_captions_is_labelled_line_by_line(tmp_path: Path, kind: str) -> None:
    source, target = tmp_path / "captions.txt", tmp_path / f"labels{kind}"
    source.write_text("\n".join(LINES), encoding="utf-8")
    assert label_file(str(source), str(target)) == len(LINES)
    rows = pq.read_table(target).to_pylist() if kind == ".parquet" else [json.loads(line) for line in target.read_text().splitlines()]
    labels = Labeller().label(LINES)
    assert [row["caption"] for row in rows] == LINES
    assert [row["attributes"] for row in rows] == labels.values.tolist()
    assert [row["attribute_source"] for row in rows] == labels.sources.tolist()


def test_bytes_that_are_not_utf8_are_labelled_too(tmp_path: Path) -> None:
    (tmp_path / "odd.txt").write_bytes(b"a man in a \xff\xfe hat\n\x00\n")
    assert len(list(read_captions(str(tmp_path / "odd.txt")))) == 2
    assert label_file(str(tmp_path / "odd.txt"), str(tmp_path / "out.jsonl")) == 2


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for lines in (8_192, 24_576):
        source = tmp_path / f"{lines}.txt"
        source.write_text("".join(f"a man number {at} in a red shirt and blue jeans\n" for at in range(lines)))
        tracemalloc.start()
        label_file(str(source), str(tmp_path / "out.parquet"))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + 8e6


def test_a_failure_leaves_the_old_output_alone(tmp_path: Path) -> None:
    source, target = tmp_path / "captions.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"caption": "a man"}\nnot JSON\n')
    target.write_text("old")
    with pytest.raises(UserError, match="line 2 is not JSON"):
        label_file(str(source), str(target))
    assert target.read_text() == "old" and sorted(path.name for path in tmp_path.iterdir()) == ["captions.jsonl", "out.jsonl"]


def test_an_unknown_output_or_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is neither \.jsonl nor \.parquet"):
        label_file("-", str(tmp_path / "out.csv"))
    with pytest.raises(UserError, match="there is no folder"):
        label_file("-", str(tmp_path / "nowhere" / "out.jsonl"))


def test_a_caption_is_no_file_and_a_missing_file_is_not_a_caption(tmp_path: Path) -> None:
    assert not is_caption_file("a man in a red shirt") and not is_caption_file("x" * 10_000) and not is_caption_file("a\0b")
    assert is_caption_file("-") and is_caption_file("missing.jsonl") and is_caption_file(str(tmp_path / "missing.parquet"))


def test_the_command_labels_a_file_and_says_how_many(mals: Mals, tmp_path: Path) -> None:
    (tmp_path / "captions.txt").write_text("\n".join(LINES), encoding="utf-8")
    process = mals("explain", "captions.txt", "-o", "out.parquet", "--space", "pa100k")
    assert process.returncode == 0 and process.stdout == "5 captions are labelled in out.parquet\n"
    assert len(pq.read_table(tmp_path / "out.parquet")["attributes"][0]) == 26

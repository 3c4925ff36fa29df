"""Texts in tensors are the texts."""

import pyarrow as pa
import torch

from pretrain.data.strings import SeveralTexts, Strings

TEXTS = ["näh", "", "“a”", "b" * 100]


def all_of(strings: Strings) -> list[str]:
    return [strings[at] for at in range(len(strings))]


def test_texts_in_tensors_are_the_texts() -> None:
    chunks = pa.chunked_array([pa.array(["x", *TEXTS[:2]]).slice(1), pa.array(TEXTS[2:])])
    assert all_of(Strings(chunks)) == all_of(Strings.of(iter(TEXTS))) == TEXTS
    assert len(Strings(pa.chunked_array([], pa.string()))) == len(Strings.of([])) == 0


def test_rows_that_are_taken_keep_their_texts() -> None:
    rows = torch.tensor([3, 0, 0])
    assert all_of(Strings.of(TEXTS).take(rows)) == [TEXTS[3], TEXTS[0], TEXTS[0]]
    taken = SeveralTexts([["a"], ["b", "ü"], ["c"], TEXTS]).take(rows)
    assert [taken[at] for at in range(3)] == [TEXTS, ["a"], ["a"]]

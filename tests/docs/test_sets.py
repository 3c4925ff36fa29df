"""The table of the sets: a line for each reader, with its numbers and its page."""

import re
from pathlib import Path

import pytest

from docs.generate import sets
from pretrain.datasets import READERS
from tests.docs.blocks import ROOT


def test_the_table_has_a_line_for_every_reader_with_a_page_that_is_there():
    lines = [text for text in "".join(sets.page()).splitlines() if text.startswith("| [")]
    assert [re.search(r"\(`(.+?)`\)", text)[1] for text in lines] == list(READERS)
    targets = [re.search(r"\]\((.+?)\)", text)[1] for text in lines]
    assert all((ROOT / "docs" / "sets" / target).resolve().is_file() for target in targets)
    assert {len(text.split(" | ")) for text in lines} == {len(sets.HEAD)}
    pages = {path.stem for path in (ROOT / "docs" / "sets").glob("*.md")}
    assert pages <= set(READERS)


def test_the_numbers_are_those_of_the_readers():
    assert sets.line(READERS["cuhk-pedes"].info)[1:] == ["40,206", "80,440", "2", "34,054", "3,074", "`cuhk-pedes`", "–", "13,003"]
    market = sets.line(READERS["market1501"].info)
    assert market[1:4] == ["32,217", "–", "–"] and market[4:7] == ["12,936", "13,115", "identification, recognition"]
    assert market[7:] == ["space `market1501`; columns `age`", "1,501"]
    assert sets.line(READERS["pab"].info)[3:7] == ["1", "1,013,605", "1,978", "`pab`, `ucc`"]
    assert [sets.captions_each(READERS[name].info) for name in ("ufine3c", "synth-pedes", "luperson-mllm")] == ["5.1", "2.5", "3 or 4"]
    assert sets.number([1, None]) == "?" and sets.number([]) == "?"


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "sets").glob("*.md")), ids=lambda page: page.stem)
def test_a_page_has_all_that_a_reader_looks_for(page: Path):
    text = page.read_text()
    assert all(f"\n## {part}\n" in text for part in ("Layout", "Counts", "Published numbers", "Known faults"))
    assert re.search(r"\| where \||\*\*Where\*\*", text) and re.search(r"\| licence \||\*\*Terms\*\*", text)
    assert READERS[page.stem].info.url in text and f"mals import {page.stem} " in text
    assert "\n## Protocol\n" in text or "no protocol of its own" in text

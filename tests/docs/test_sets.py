"""The table of the sets: a line for each reader, with its numbers and its page."""

import re

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
    assert sets.line(READERS["cuhk-pedes"].info)[1:] == ["40,206", "80,440", "34,054", "3,074", "–", "13,003"]
    market = sets.line(READERS["market1501"].info)
    assert market[1:] == ["32,217", "–", "12,936", "13,115", "space `market1501`; columns `age`", "1,501"]
    assert sets.number([1, None]) == "?" and sets.number([]) == "?"

"""Near-duplicates, pair by pair, over a run by the real stages embed and dedup."""

from pathlib import Path

import pytest

from mals.look import duplicates
from mals.look.run_source import RunSource
from tests.mals.look.person_run import COPIES, person_run
from tests.mals.look.serving import ask, serving
from tests.small import cells


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> RunSource:
    return RunSource(person_run(tmp_path_factory.mktemp("duplicates") / "run").store.url)


def test_every_planted_copy_stands_beside_the_row_that_was_kept(source: RunSource) -> None:
    result = duplicates.listed(source, 0)
    assert (result.total, result.clusters) == (len(COPIES), len(COPIES))
    assert {pair.row: pair.kept for pair in result.pairs} == COPIES
    for pair in result.pairs:
        assert pair.distance == 0 and pair.similarity == pytest.approx(1, abs=1e-3) and (pair.cluster, pair.match) == (2, "")
    assert duplicates.listed(source, 1).pairs == []


def test_the_page_shows_both_images_and_what_is_near(source: RunSource, tmp_path: Path) -> None:
    with serving(source) as address:
        page = ask(f"{address}/duplicates").text
        assert "<strong>2</strong> rows were refused, 2 clusters" in page and "at most 8 bits" in page
        assert page.index("/thumbnail/45.jpg") < page.index("/thumbnail/30.jpg") < page.index("/thumbnail/51.jpg")
        assert "<dd>1.000</dd>" in page
    bare = RunSource(cells.small_run(tmp_path / "run", 20).store.url)
    assert not duplicates.has_duplicates(bare)
    with serving(bare) as address:
        assert "only a run with a section dedup" in ask(f"{address}/duplicates").text

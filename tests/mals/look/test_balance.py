"""The numbers of balance equal those of the data card."""

from pathlib import Path

from mals.dataset.source import attribute_values, planned_columns
from mals.dataset.statistics import gather
from mals.look.balance import balance, pairs
from mals.look.run_source import RunSource
from tests.small import cells


def test_shares_are_those_of_the_card_and_pairs_those_of_a_loop(tmp_path: Path) -> None:
    run = cells.small_run(tmp_path / "run", 100)
    source = RunSource(run.store.url)
    result = balance(source)
    counts = gather(run.grid, list(attribute_values(run)), planned_columns(run.grid), False).counts()
    assert result.rows == counts.kept and result.attributes == counts.attributes and result.requested
    kept = [at for at in range(100) if at % 10 not in (3, 6) and at % 50 != 8]
    for a, v, b, w in ((0, 0, 1, 1), (3, 1, 10, 0), (2, 0, 2, 0)):
        both = sum(cells.attribute_values(at)[a] == v and cells.attribute_values(at)[b] == w for at in kept)
        assert result.together[2 * a + v, 2 * b + w] == both
    often, rarely = pairs(result, source.attributes)
    assert often[0].lift >= often[-1].lift >= rarely[-1].lift >= rarely[0].lift

"""Filters and their order equal a loop over the rows."""

from pathlib import Path
from typing import Any

import pytest

from mals.errors import UserError
from mals.look.query import Filters, ids, page
from mals.look.run_source import RunSource
from tests.small import cells

ROWS = 100


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> RunSource:
    return RunSource(cells.small_run(tmp_path_factory.mktemp("query") / "run", ROWS).store.url)


def state(at: int) -> str:
    return "failed" if at % 50 == 8 else "refused" if at % 10 in (3, 6) else "kept"


@pytest.mark.parametrize(
    ("filters", "fits"),
    [
        (Filters(), lambda at: True),
        (Filters(state="kept"), lambda at: state(at) == "kept"),
        (Filters(state="failed"), lambda at: state(at) == "failed"),
        (Filters(stage="crop"), lambda at: at % 10 == 6 and at % 50 != 8),
        (Filters(reason="grey"), lambda at: at % 20 == 3),
        (Filters(text="NUMBER 7, red"), lambda at: state(at) == "kept" and at % 10 == 7),
        (Filters(id="00009"), lambda at: at in range(90, 100) or at == 9),
        (Filters(person="person 3"), lambda at: at % 2 and at // 6 == 3),
        (Filters(attributes=("hat=yes",), state="kept"), lambda at: state(at) == "kept" and cells.attribute_values(at)[HAT] == 0),
        (Filters(attributes=("hat=unknown",)), lambda at: state(at) == "kept" and cells.attribute_values(at)[HAT] == -1),
        (Filters(number="ref_bytes", least=150, greatest=160.5), lambda at: 50 <= at <= 60 and at != 58),
    ],
)
def test_filters_give_the_rows_of_a_loop(source: RunSource, filters: Filters, fits: Any) -> None:
    expected = [at for at in range(ROWS) if fits(at)]
    result = page(source, filters, 0, 200)
    assert (result.rows, result.total) == (expected, len(expected))
    assert ids(source, filters) == [f"row-{at:06d}" for at in expected]


HAT = 3


def test_the_hat_is_at_its_place(source: RunSource) -> None:
    assert [*source.attributes].index("hat") == HAT


def test_pages_follow_each_other_in_the_order_of_the_number(source: RunSource) -> None:
    filters = Filters(number="ref_bytes", descending=True)
    rows = [row for number in range(10) for row in page(source, filters, number, 13).rows]
    assert rows == [at for at in reversed(range(ROWS)) if at % 50 != 8]


def test_a_filter_by_what_is_not_there_is_refused(source: RunSource) -> None:
    for filters in (Filters(number="caption"), Filters(number='ref_bytes" OR 1=1 --'), Filters(state="x"), Filters(attributes=("hat",))):
        with pytest.raises(UserError, match="there is no"):
            page(source, filters, 0)


def test_values_are_no_sql(source: RunSource) -> None:
    for filters in (Filters(text="' OR 1=1 --"), Filters(reason="x' OR '1'='1"), Filters(person="'; DROP TABLE rows")):
        assert page(source, filters, 0).total == 0


def test_a_query_cannot_read_files(source: RunSource, tmp_path: Path) -> None:
    import duckdb

    from mals.look.query import select

    (tmp_path / "secret.csv").write_text("a\n1\n")
    with pytest.raises(duckdb.Error):
        select(source, f"SELECT * FROM read_csv('{tmp_path}/secret.csv')")

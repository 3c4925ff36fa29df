"""What another threshold would cost equals a loop over the rows."""

import shlex
from pathlib import Path

import pytest

from mals.look import thresholds
from mals.look.rules import THRESHOLDS
from mals.look.run_source import RunSource
from tests.small import cells

ROWS = 100


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> RunSource:
    return RunSource(cells.small_run(tmp_path_factory.mktemp("thresholds") / "run", ROWS).store.url)


MEASURED = [at for at in range(ROWS) if at % 50 != 8]
GREY = next(threshold for threshold in THRESHOLDS if threshold.reason == "grey")  # channel_variance is the number of the row


@pytest.mark.parametrize("least", [0.0, 20.5, 50.0, 99.0, 1e9])
def test_the_effect_of_a_threshold_is_that_of_a_loop(source: RunSource, least: float) -> None:
    effect = thresholds.effect(source, GREY, least, None)
    out = [at for at in MEASURED if at < least]
    assert (effect.rows, effect.refused) == (len(MEASURED), len(out))
    assert effect.newly_refused == sum(at % 10 != 3 for at in out)
    assert effect.newly_kept == 0  # where the rule fires in this run, another one does too
    assert dict(effect.overlap) == ({"small_file": sum(at % 10 == 3 for at in out)} if any(at % 10 == 3 for at in out) else {})
    assert [row for row, _ in effect.refused_nearest] == sorted(out, key=lambda at: (abs(at - least), at))[: thresholds.NEAREST]
    passing = [at for at in MEASURED if at >= least]
    assert [row for row, _ in effect.kept_nearest] == sorted(passing, key=lambda at: (abs(at - least), at))[: thresholds.NEAREST]


def test_rows_that_only_this_rule_refuses_would_be_kept(source: RunSource) -> None:
    small = next(threshold for threshold in THRESHOLDS if threshold.reason == "small_file")
    effect = thresholds.effect(source, small, None, None)
    assert effect.newly_kept == sum(at % 20 == 13 for at in range(ROWS)) and effect.refused == 0


def test_the_histogram_counts_every_row_once(source: RunSource) -> None:
    histogram = thresholds.histogram(source, GREY)
    assert histogram is not None and sum(histogram.counts) == len(MEASURED) == histogram.rows
    assert (histogram.least, histogram.greatest) == (0, 99) and histogram.whole
    sharpness = next(threshold for threshold in THRESHOLDS if threshold.reason == "blurred")  # 9 in every row
    constant = thresholds.histogram(source, sharpness)
    assert constant is not None and sum(constant.counts) == len(MEASURED) and constant.end > constant.start


def test_rules_and_overlaps_are_counted(source: RunSource) -> None:
    lines = {line.threshold.reason: (line.refused, line.alone) for line in thresholds.lines(source)}
    assert lines["small_file"] == (10, 5) and lines["grey"] == (5, 0)
    names, table = thresholds.overlap(source)
    assert table[names.index("small_file")][names.index("grey")] == 5 and table[names.index("no_person")][names.index("no_person")] == 10


def test_the_command_sets_what_changed(source: RunSource) -> None:
    assert (
        thresholds.command("my-run", GREY, 25.5, None, (50.0, None))
        == "mals run my-run --set filter.min_channel_variance=25.5 --rerun filter"
    )
    assert thresholds.command("my-run", GREY, 50.0, None, (50.0, None)) == ""
    odd = thresholds.command("run 'a\" $(x)", GREY, 1234567.0, None, (50.0, None)).removesuffix(" --rerun filter")
    assert shlex.split(odd) == ["mals", "run", "run 'a\" $(x)", "--set", "filter.min_channel_variance=1234567"]
    assert "=0.123456789 " in thresholds.command("my-run", GREY, 0.123456789, None, (50.0, None))


def test_a_run_without_numbers_has_no_threshold(tmp_path: Path) -> None:
    cells.small_run(tmp_path / "run", 20)
    for stage in ("filter", "crop", "caption", "label"):
        for path in (tmp_path / "run" / stage).iterdir():
            path.unlink()
    assert [line.threshold.reason for line in thresholds.lines(RunSource(str(tmp_path / "run")))] == [
        "odd_width",
        "odd_height",
        "odd_aspect",
    ]

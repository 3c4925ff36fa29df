"""The rows of a run as pages get them equal what the grid says."""

from collections import Counter
from pathlib import Path

import pytest

from mals.dataset.pack import pack
from mals.errors import UserError
from mals.grid.run import Run
from mals.look.run_source import SOURCE_CAPTION, RunSource
from mals.look.source import REASON, STAGE, STATE
from tests.mals.look.person_run import person_run
from tests.small import cells


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return cells.small_run(tmp_path_factory.mktemp("source") / "run", 100)


def test_columns_and_states_are_those_of_the_grid(run: Run) -> None:
    source = RunSource(run.store.url)
    names = ["id", "caption", "sharpness", "attributes", "crop_width"]
    loaded = source.load([*names, STATE, STAGE, REASON])
    expected = [row for shard in range(run.grid.shards) for row in run.grid.table(shard, names).to_pylist()]
    for at, row in enumerate(expected):
        assert {name: loaded[name][at].as_py() for name in names} == {name: row[name] for name in names}
        stage = row["refused_by"] or row["failed_in"]
        state = "refused" if row["refused_by"] else "failed" if row["failed_in"] else "kept"
        assert (loaded[STATE][at].as_py(), loaded[STAGE][at].as_py()) == (state, stage)
        assert loaded[REASON][at].as_py() == ((row["reject"] or [row["error"]])[0])
    lines = source.refusals()
    rules = Counter((row, reason) for row, reason in zip(lines.rows.to_pylist(), lines.reasons.to_pylist(), strict=True))
    assert rules == Counter((at, reason) for at, row in enumerate(expected) for reason in row["reject"] or ())
    assert [line["id"] for line in source.take([99, 0, 17], ["id"])] == ["row-000099", "row-000000", "row-000017"]


def test_kept_rows_are_those_of_the_pack(run: Run) -> None:
    source = RunSource(run.store.url)
    counts = Counter(source.load([STATE])[STATE].to_pylist())
    receipt = pack(run).receipt
    assert (counts["kept"], counts["refused"], counts["failed"]) == (receipt.kept, receipt.refused, receipt.failed)


def test_the_image_is_the_crop_or_else_the_whole_image_unless_faces_are_blurred(run: Run, tmp_path: Path) -> None:
    source = RunSource(run.store.url)
    assert source.image(0) == cells.small_jpeg("crop row-000000", 24, 64)
    assert source.image(3) == cells.small_jpeg("row-000003", 48, 96)
    assert source.image(8) is None  # it failed
    blurred = cells.small_run(tmp_path / "run", 20, sections={"privacy": {"blur_faces": True}})
    private = RunSource(blurred.store.url)
    assert private.image(0) is not None and private.image(3) is None


def test_the_plans_caption_is_apart_from_the_captioners(run: Run) -> None:
    (row,) = RunSource(run.store.url).take([0], ["caption", SOURCE_CAPTION])
    assert row == {"caption": "a man in a red shirt, number 0, “näh”", SOURCE_CAPTION: "a man in a red shirt, number 0"}


def test_a_row_that_is_not_there_is_one_sentence(run: Run) -> None:
    with pytest.raises(UserError, match="there is no row 100"):
        RunSource(run.store.url).image(100)


def test_other_settings_change_what_is_made_with_other_settings(tmp_path: Path) -> None:
    run = person_run(tmp_path / "run")
    source = RunSource(run.store.url)
    before = source.fingerprints
    settings = tmp_path / "run/mals.yaml"
    settings.write_text(settings.read_text().replace("min_agreement: 0.7", "min_agreement: 0.75"))
    source.refresh()
    assert source.fingerprints == Run.open(run.store.url).grid.fingerprints != before

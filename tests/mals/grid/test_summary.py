"""Global stages: the summary of all rows, the barrier before it, and what makes it again."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from mals.config import Config
from mals.errors import UserError
from mals.grid.receipt import Receipt
from mals.grid.run import Run, RunFailed, RunOutcome, run_stages
from mals.grid.stage import GlobalStage
from mals.grid.status import lines, status
from mals.grid.verify import verify
from mals.stages.keep import Keep
from tests.conftest import Mals
from tests.mals.grid.one_by_one import OneByOne

Planned = Callable[..., Path]
BEST = "keep.by=sharpness"  # 40 rows in 5 shards


def open_and_run(folder: Path, *sets: str, **options: object) -> RunOutcome:
    return run_stages(Run.open(folder, sets), quiet=True, **options)  # type: ignore[arg-type]


def kept_cells(folder: Path) -> dict[str, bytes]:
    """The files of the stage `keep`, receipts aside."""
    return {path.name: path.read_bytes() for path in sorted((folder / "keep").glob("*.parquet"))}


def test_a_global_stage_makes_the_same_bytes_with_one_worker_two_workers_in_parts_and_by_another_executor(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, parts, other = (planned(name, BEST) for name in ("one", "two", "parts", "other"))
    assert open_and_run(one).new_cells["keep"] == 5
    open_and_run(two, "run.workers=2")
    for part in ((0, 2), (1, 2), (0, 2)):
        open_and_run(parts, part=part)
    monkeypatch.setattr("mals.grid.run.executor_of", lambda run, on=None: OneByOne(run))
    open_and_run(other)
    assert len(kept_cells(one)) == 6
    assert kept_cells(one) == kept_cells(two) == kept_cells(parts) == kept_cells(other)
    assert verify(Run.open(parts)) == []
    assert open_and_run(one).new_cells == {}


def test_a_part_stops_before_a_global_stage_and_goes_on_when_the_others_are_done(planned: Planned, mals: Mals) -> None:
    folder = planned("run", BEST)
    first = mals("run", folder, "--shards", "0/2")
    assert first.returncode == 0 and first.stdout.count("\n") == 1, first.stderr
    assert "the stage keep looks at all rows, and 2 of 5 shards of generate are not done; give the same command again" in first.stdout
    assert not (folder / "keep").exists()
    assert "waits for all shards of the stages before it" in "\n".join(lines(status(Run.open(folder))))
    assert open_and_run(folder, part=(1, 2)).new_cells["keep"] == 2
    again = open_and_run(folder, part=(0, 2))
    assert (again.new_cells, again.waiting) == ({"keep": 3}, "")
    assert not any(stage.waits for stage in status(Run.open(folder)).stages)


def test_a_shard_that_fails_holds_a_global_stage_back_and_no_other(planned: Planned, captions: Path) -> None:
    captions.write_text("".join(f"a {'bad' if i < 8 else 'good'} person {i}\n" for i in range(40)))
    folder = planned("run", "stages.generate=tests.fakes:one_bad_row", BEST)
    with pytest.raises(RunFailed, match="generate: 1 of 5 shards are not done"):
        open_and_run(folder)
    assert [stage.done for stage in status(Run.open(folder)).stages][-2:] == [4, 0]


def test_an_earlier_cell_with_other_bytes_makes_the_cells_of_a_global_stage_again_in_all_shards(planned: Planned) -> None:
    folder = planned("run", BEST)
    open_and_run(folder)
    (summary,) = (folder / "keep").glob("summary-*.parquet")
    blur(folder, 1)
    assert [problem.cell for problem in verify(Run.open(folder)) if problem.cell and problem.cell[0] == "keep"] == [
        ("keep", shard) for shard in range(5)
    ]
    assert open_and_run(folder).new_cells == {"crop": 1, "caption": 1, "label": 1, "keep": 5}
    assert not summary.exists() and len(list((folder / "keep").glob("summary-*"))) == 2
    assert pq.read_table(folder / "keep/00001.parquet")["reject"].to_pylist().count(["not_best"]) == status_of(folder, "label", 1)
    assert open_and_run(folder).new_cells == {}


def blur(folder: Path, shard: int) -> None:
    """Make a cell of the filter again as one whose images are all blurred, with a receipt that says so."""
    cell = folder / f"filter/{shard:05d}.parquet"
    table = pq.read_table(cell)
    at = table.schema.get_field_index("sharpness")
    table = table.set_column(at, table.schema.field(at), pc.multiply(table["sharpness"], pa.scalar(0, pa.float32())))
    sink = io.BytesIO()
    pq.write_table(table, sink)
    cell.write_bytes(sink.getvalue())
    receipt = Receipt.from_bytes(cell.with_suffix(".json").read_bytes())
    assert receipt is not None
    changed = replace(receipt, size=len(sink.getvalue()), sha256=sha256(sink.getvalue()).hexdigest())
    cell.with_suffix(".json").write_bytes(changed.to_bytes())


def status_of(folder: Path, stage: str, shard: int) -> int:
    """Rows that a cell neither refused nor failed."""
    receipt = Run.open(folder).grid.receipt(stage, shard)
    assert receipt is not None
    return receipt.active - receipt.failed - sum(receipt.rejects.values())


def test_a_damaged_summary_is_found_by_verify_and_never_used(planned: Planned) -> None:
    folder = planned("run", BEST)
    open_and_run(folder)
    whole = kept_cells(folder)
    (summary,) = (folder / "keep").glob("summary-*.parquet")
    data = bytearray(summary.read_bytes())
    data[len(data) // 3] ^= 1
    summary.write_bytes(data)
    (problem,) = verify(Run.open(folder), repair=True)
    assert problem.text == f"keep/{summary.name} has changed since it was made"
    assert verify(Run.open(folder)) == []
    for receipt in (folder / "keep").glob("0*.json"):
        receipt.unlink()
    assert open_and_run(folder).new_cells == {"keep": 5}
    assert kept_cells(folder) == whole
    summary.write_bytes(data)  # and without a word from verify
    (folder / "keep/00003.json").unlink()
    assert open_and_run(folder).new_cells == {"keep": 1}
    assert kept_cells(folder) == whole


def test_a_changed_setting_of_a_global_stage_needs_rerun_and_redoes_it_alone(planned: Planned) -> None:
    folder = planned("run", BEST)
    open_and_run(folder)
    with pytest.raises(UserError, match=r"the settings of keep changed \(share: 0\.5 -> 0\.25\).*--rerun keep"):
        open_and_run(folder, "keep.share=0.25")
    assert open_and_run(folder, "keep.share=0.25", rerun="keep").new_cells == {"keep": 5}
    assert len(list((folder / "keep").glob("summary-*.parquet"))) == 1
    receipt = Run.open(folder).grid.receipt("keep", 0)
    assert receipt is not None and set(receipt.inputs) == {"generate", "safety", "filter", "crop", "caption", "label", "summary"}


class Broken(Keep):
    """Fails on the rows."""

    def summarise(self, batches):
        raise ValueError(f"no table of {sum(map(len, batches))} rows")


class Refusing(Keep):
    """Cannot work with these settings."""

    def summarise(self, batches):
        raise UserError("keep.share is not to my liking")


def broken(config: Config) -> Broken:
    assert config.keep is not None
    return Broken(config.keep)


def refusing(config: Config) -> Refusing:
    assert config.keep is not None
    return Refusing(config.keep)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_summary_that_cannot_be_made_is_one_sentence_and_loses_nothing(planned: Planned, workers: int) -> None:
    folder = planned("run", BEST, f"run.workers={workers}")
    with pytest.raises(UserError, match=r"^keep\.share is not to my liking$"):
        open_and_run(folder, "stages.keep=tests.mals.grid.test_summary:refusing")
    with pytest.raises(
        RunFailed, match=r"the summary of all rows could not be made: ValueError: no table of \d+ rows; the events of the run"
    ):
        open_and_run(folder, "stages.keep=tests.mals.grid.test_summary:broken")
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert [event["attempt"] for event in events if event["event"] == "failed"] == [1, 2]
    assert open_and_run(folder, "stages.keep=mals.stages.keep:stage").new_cells == {"keep": 5}


def test_stages_are_local_or_global_by_their_methods(planned: Planned) -> None:
    grid = Run.open(planned("run", BEST)).grid
    assert [name for name in grid.stages if grid.is_global(name)] == ["keep"]
    assert isinstance(grid.stages["keep"], GlobalStage)

"""Verdicts of people, and what a pack makes of them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mals.config import Config
from mals.dataset.pack import check, pack
from mals.dataset.verdicts import VERDICTS, Verdict, add, current, problem, read
from mals.errors import UserError
from mals.grid.run import Run
from mals.grid.store import Store
from tests.conftest import ROOT, environment
from tests.small import cells

STAGES = {name: f"tests.small.cells:{name}" for name in cells.STAGES} | {"agree": "tests.mals.dataset.test_verdicts:agree"}
SECTIONS = {"agree": {"scorer": "embedded"}}


def agree(config: Config) -> cells.Small:
    """Refuses row 5 as of low agreement, and row 7 as of a benchmark."""

    def answer_row(row: dict[str, Any]) -> dict[str, Any]:
        return {"agree_score": 0.5, "reject": {5: ["low_agreement"], 7: ["in_benchmark"]}.get(cells.number(row["id"]))}

    return cells.Small("agree", ("id", "crop"), pa.schema([("agree_score", pa.float32())]), answer_row)


def ids(run: Run, folder: str) -> list[str]:
    assert run.store.folder is not None
    return [
        row for file in sorted((run.store.folder / "dataset" / folder).glob("*.parquet")) for row in pq.read_table(file)["id"].to_pylist()
    ]


def test_verdicts_are_in_the_accounting_of_the_pack(tmp_path: Path) -> None:
    run = cells.small_run(tmp_path / "run", 40, stages=STAGES, sections=SECTIONS)
    before = pack(run).receipt
    kept = ids(run, "data")
    rejected = [Verdict(id=kept[0], keep=False, who="a"), Verdict(id=kept[3], keep=False, who="b"), Verdict(id=kept[3], keep=None)]
    # 5 was refused after its labels; 7 stands in a benchmark, 3 has no crop, 8 failed: a file by hand cannot keep them
    add(run.store, [*rejected, *(Verdict(id=f"row-{at:06d}", keep=True) for at in (5, 7, 3, 8))])
    assert check(run) == ["the pack is older than the run's cells, settings or verdicts"]
    packed = pack(run)
    assert packed.new and not pack(run).new
    receipt = packed.receipt
    assert (receipt.planned, receipt.kept, receipt.failed) == (40, before.kept, before.failed)  # one less, one more
    assert receipt.kept + receipt.refused + receipt.failed == receipt.planned
    assert ids(run, "data") == sorted({*kept, "row-000005"} - {kept[0]})
    assert sorted(ids(run, "data") + ids(run, "rejected")) == [f"row-{at:06d}" for at in range(40)]
    table = pq.read_table(tmp_path / "run/dataset/rejected/train-00000-of-00001.parquet").to_pylist()
    (row,) = [row for row in table if row["id"] == kept[0]]
    assert (row["reject_reason"], row["reject_all"], row["reject_stage"]) == ("person_rejected", ["person_rejected"], "verdict")
    card = (tmp_path / "run/dataset/README.md").read_text()
    assert "| verdict: person_rejected |" in card and "they rejected 1 (`person_rejected`), and kept 1 that a rule had refused" in card
    (tmp_path / "run" / VERDICTS).unlink()
    assert pack(run).receipt == before


def test_two_processes_that_add_at_once_lose_no_verdict(tmp_path: Path) -> None:
    code = """
import sys
from mals.dataset.verdicts import Verdict, add
from mals.grid.store import Store
for at in range(40):
    add(Store(sys.argv[1]), [Verdict(id=f"{sys.argv[2]}-{at}", keep=False)])
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    processes = [subprocess.Popen([*command, name], cwd=ROOT, env=environment()) for name in ("a", "b")]
    assert [process.wait(120) for process in processes] == [0, 0]
    assert set(current(read(Store(str(tmp_path))))) == {f"{name}-{at}" for name in "ab" for at in range(40)}


def test_what_failed_or_is_unsafe_cannot_be_kept() -> None:
    stages = ["generate", "safety", "filter", "crop", "label", "agree"]
    assert "failed in the stage crop" in problem("failed", "crop", [], True, stages)
    assert "is unsafe" in problem("refused", "safety", ["unsafe"], True, stages)
    assert "stands in a benchmark" in problem("refused", "agree", ["in_benchmark"], True, stages)
    assert "before it had a caption" in problem("refused", "filter", ["grey"], True, stages)
    assert problem("refused", "agree", ["low_agreement"], True, stages) == ""
    assert problem("kept", None, [], False, stages) == problem("kept", None, [], True, stages) == ""


def test_ids_with_any_character_are_read_again(tmp_path: Path) -> None:
    store, odd = Store(str(tmp_path)), ["a\nb", "c\r\nd", "e\u2028f\u0085g\x0bh", 'quote " \\ %41', "ü日本", ""]
    for name in odd:
        add(store, [Verdict(id=name, keep=False)])
    assert [verdict.id for verdict in read(store)] == odd


def test_the_last_verdict_counts_and_a_line_that_is_none_is_named(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert read(store) == []
    add(store, [Verdict(id="a", keep=True), Verdict(id="b", keep=False), Verdict(id="a", keep=False), Verdict(id="b", keep=None)])
    assert current(read(store)) == {"a": False}
    line = json.loads((tmp_path / VERDICTS).read_text().splitlines()[0])
    assert set(line) == {"id", "keep", "why", "who", "time"} and line["time"].endswith("+00:00")
    for wrong in ("[]", "{", '{"id": "a"}', '{"id": 1, "keep": true}', '{"id": "a", "keep": "yes"}'):
        (tmp_path / VERDICTS).write_text(wrong + "\n")
        with pytest.raises(UserError, match="line 1 of"):
            read(store)

"""One row of a run, as a library and as `mals explain RUN ROW`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mals.errors import UserError
from mals.grid.row import row_facts
from mals.grid.run import Run, run_stages
from tests.conftest import Mals


def test_a_row_tells_its_numbers_and_what_became_of_it_so_far(planned: Callable[..., Path]) -> None:
    run = Run.open(planned("run"))
    ids = run.grid.plan_rows(1, ["id"])["id"].to_pylist()
    before = row_facts(run, ids[3])
    assert (before.shard, before.next_stage, before.values) == (1, "generate", {}) and before.sentence().endswith(
        "waits for the stage generate"
    )
    run_stages(run, quiet=True)
    facts = [row_facts(run, row_id) for row_id in ids]
    table = run.grid.table(1, ["caption", "sharpness"]).to_pylist()
    for one, row in zip(facts, table, strict=True):
        assert (one.id, one.refused_by, one.reject) == (row["id"], row["refused_by"], row["reject"])
        assert one.values["caption"] == row["caption"] and one.values["sharpness"] == row["sharpness"]
        assert "image" not in one.values and "crop" not in one.values
    assert f"{ids[0]}: kept" in {one.sentence() for one in facts} or any(one.refused_by for one in facts)
    with pytest.raises(UserError, match="has no row 'nothing'"):
        row_facts(run, "nothing")


def test_the_command_names_the_rule_that_refused_a_row(planned: Callable[..., Path], mals: Mals) -> None:
    folder = planned("run")
    run = Run.open(folder)
    run_stages(run, quiet=True)
    row = next(row for shard in range(5) for row in run.grid.table(shard, []).to_pylist() if row["refused_by"] == "crop")
    assert mals("explain", folder, row["id"]).stdout.startswith(f"{row['id']}: refused by the stage crop: no_person\n")
    missing = mals("explain", folder, "nothing")
    assert missing.returncode == 2 and "has no row 'nothing'" in missing.stderr

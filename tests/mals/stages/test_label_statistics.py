"""`mals label RUN --stats`: the labels of a run, counted."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from mals.errors import UserError
from mals.grid.run import Run, run_stages
from mals.stages.label import LabelStage
from mals.stages.label_statistics import label_stats, stats_of
from tests.mals.stages.test_label import label_batch


def test_statistics_count_values_sources_and_planned_attributes() -> None:
    stage = LabelStage()
    planned = [0] + [-1] * 26
    tables = []
    for texts in (["a man", "a woman in a hat"], ["a woman"]):
        rows = stage(label_batch([[text] for text in texts], list(texts), [planned] * len(texts)))
        table = pa.Table.from_batches([rows]).select(["attributes", "attribute_source"])
        tables.append(table.append_column("wanted", pa.array([planned] * len(texts), pa.list_(pa.int8()))))
    empty = tables[0].schema.empty_table()
    refused = pa.table({name: pa.nulls(2, empty.schema.field(name).type) for name in empty.column_names})
    counts = label_stats(iter([*tables, empty, refused]), "market1501")
    gender, hat = counts["attributes"][0], counts["attributes"][3]
    assert counts["rows"] == 3
    assert gender["values"] == {"woman": 2, "man": 1, "unknown": 0} and gender["wanted"] == {"compared": 3, "agree": 2 / 3}
    assert hat["values"] == {"yes": 1, "no": 2, "unknown": 0}
    assert hat["sources"] == {"unknown": 0, "explicit": 1, "implicit": 2} and hat["wanted"] == {"compared": 0, "agree": None}


def test_labels_of_other_settings_or_of_no_shard_are_told_and_not_counted(
    planned: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder = planned("run", "stages.label=mals.stages.label:stage")
    run = Run.open(folder)
    with pytest.raises(UserError, match=r"^no shard of .*run has labels to count \(5 missing\); `mals label .*run` makes them$"):
        stats_of(run)
    run_stages(run, "label", part=(0, 2), quiet=True)
    assert stats_of(run)["rows"] > 0
    assert "of 5 shards 3 are counted (2 missing); `mals label" in caplog.text
    changed = Run.open(folder, ["label.space=pa100k"])
    with pytest.raises(
        UserError, match=r'settings of label changed \(space: "market1501" -> "pa100k".*stale: label 3; put .*--rerun label$'
    ):
        stats_of(changed)

"""`mals label RUN --stats`: the labels of a run, counted."""

import pyarrow as pa

from mals.stages.label import LabelStage
from mals.stages.label_statistics import label_stats
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

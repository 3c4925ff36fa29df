"""What `mals label RUN --stats` prints: the labels of a run, counted."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mals.attributes import load_space
from mals.grid.run import Run
from mals.labeller.decision import SOURCES


def stats_of(run: Run) -> dict[str, Any]:
    """Per attribute the counts, the sources and the agreement with what was asked for, over the shards that are labelled."""
    survey = run.grid.survey()
    done = [shard for shard in range(run.grid.shards) if survey.state("label", shard) == "done"]

    def cells() -> Iterator[pa.Table]:
        for shard in done:
            yield run.grid.table(shard, ["attributes", "attribute_source", "wanted"])

    return label_stats(cells(), run.config.label.space)


def label_stats(tables: Iterator[pa.Table], space: str) -> dict[str, Any]:
    """Per attribute how often each value, each source, and what the plan wanted; `tables` hold attributes, attribute_source and wanted."""
    known = load_space(space)
    count = len(known.names)
    rows, asked_rows = 0, 0
    values, sources = np.zeros((count, 3), np.int64), np.zeros((count, 3), np.int64)
    asked, met = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for table in tables:
        table = table.filter(pc.is_valid(table["attributes"]))
        if not len(table):
            continue
        said = np.array(table["attributes"].to_pylist(), np.int8).reshape(-1, count)
        words = np.array(table["attribute_source"].to_pylist()).reshape(-1, count)
        rows += len(said)
        values += np.stack([(said == value).sum(0) for value in (0, 1, -1)], 1)
        sources += np.stack([(words == source).sum(0) for source in SOURCES], 1)
        if "wanted" in table.column_names:
            given = table["wanted"].is_valid().to_numpy()
            wanted = np.array([row for row in table["wanted"].to_pylist() if row is not None], np.int8).reshape(-1, count)
            both = (wanted >= 0) & (said[given] >= 0)
            asked_rows += len(wanted)
            asked += both.sum(0)
            met += (both & (wanted == said[given])).sum(0)
    attributes = [
        {
            "name": name,
            "values": dict(zip([*known.values[at], "unknown"], values[at].tolist(), strict=True)),
            "sources": dict(zip(SOURCES, sources[at].tolist(), strict=True)),
            "wanted": {"compared": int(asked[at]), "agree": float(met[at] / asked[at]) if asked[at] else None},
        }
        for at, name in enumerate(known.names)
    ]
    return {"space": known.name, "rows": rows, "rows_with_wanted": asked_rows, "attributes": attributes}


def label_table(found: dict[str, Any]) -> str:
    """The counts as a person reads them, a line an attribute."""
    told = [f"{found['rows']:,} labelled rows, {found['rows_with_wanted']:,} of them with attributes that the plan asked for"]
    for line in found["attributes"]:
        values = ", ".join(f"{value} {count:,}" for value, count in line["values"].items())
        sources = ", ".join(f"{source} {count:,}" for source, count in line["sources"].items() if source != "unknown")
        wanted = line["wanted"]
        agreed = f"; as wanted {100 * wanted['agree']:.1f} % of {wanted['compared']:,}" if wanted["compared"] else ""
        told.append(f"{line['name']:16} {values}  ({sources}){agreed}")
    return "\n".join(told)

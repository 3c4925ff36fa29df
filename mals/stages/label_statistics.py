"""Counts of a run's attribute labels, which `mals label RUN --stats` prints."""

import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mals.attributes import load_space
from mals.errors import UserError
from mals.grid.run import Run, refuse_stale
from mals.labeller.decision import SOURCES

log = logging.getLogger(__name__)


def stats_of(run: Run) -> dict[str, Any]:
    """See label_stats; over the shards of a run that are labelled: the others are counted in the log.

    Raises UserError where labels were made with other settings, or where no shard is labelled.
    """
    survey = run.grid.survey()
    states = [survey.state("label", shard) for shard in range(run.grid.shards)]
    if "stale" in states:
        refuse_stale(run, survey, None)
    done = [shard for shard, state in enumerate(states) if state == "done"]
    counts = ", ".join(f"{count:,} {state.replace('_', ' ')}" for state, count in Counter(states).items() if state != "done")
    if not done:
        raise UserError(f"no shard of {run.store.url} has labels to count ({counts}); `mals label {run.store.url}` makes them")
    if counts:
        log.warning("of %s shards %s are counted (%s); `mals label %s` labels the others", len(states), len(done), counts, run.store.url)
    requests = [name for name in run.grid.stages["label"].needs if name == "wanted"]

    def cells() -> Iterator[pa.Table]:
        for shard in done:
            yield run.grid.table(shard, ["attributes", "attribute_source", *requests], sources=survey.sources(None, shard))

    return label_stats(cells(), run.config.label.space)


def label_stats(tables: Iterator[pa.Table], space: str) -> dict[str, Any]:
    """Per attribute the counts of values and of sources, and the agreement with the attributes that the plan requested.

    `tables` have the columns attributes and attribute_source, and those of generated images have wanted.
    """
    attribute_space = load_space(space)
    count = len(attribute_space.names)
    rows, requested_rows = 0, 0
    values, sources = np.zeros((count, 3), np.int64), np.zeros((count, 3), np.int64)
    compared, equal = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for table in tables:
        table = table.filter(pc.is_valid(table["attributes"]))
        if not len(table):
            continue
        labels = np.array(table["attributes"].to_pylist(), np.int8).reshape(-1, count)
        names = np.array(table["attribute_source"].to_pylist()).reshape(-1, count)
        rows += len(labels)
        values += np.stack([(labels == value).sum(0) for value in (0, 1, -1)], 1)
        sources += np.stack([(names == source).sum(0) for source in SOURCES], 1)
        if "wanted" in table.column_names:
            has_request = table["wanted"].is_valid().to_numpy()
            requested = np.array([row for row in table["wanted"].to_pylist() if row is not None], np.int8).reshape(-1, count)
            both = (requested >= 0) & (labels[has_request] >= 0)
            requested_rows += len(requested)
            compared += both.sum(0)
            equal += (both & (requested == labels[has_request])).sum(0)
    attributes = [
        {
            "name": name,
            "values": dict(zip([*attribute_space.values[index], "unknown"], values[index].tolist(), strict=True)),
            "sources": dict(zip(SOURCES, sources[index].tolist(), strict=True)),
            "wanted": {"compared": int(compared[index]), "agree": float(equal[index] / compared[index]) if compared[index] else None},
        }
        for index, name in enumerate(attribute_space.names)
    ]
    return {"space": attribute_space.name, "rows": rows, "rows_with_wanted": requested_rows, "attributes": attributes}


def label_table(stats: dict[str, Any]) -> str:
    """The counts of label_stats as text, one line per attribute."""
    lines = [f"{stats['rows']:,} labelled rows, {stats['rows_with_wanted']:,} of them with attributes that the plan requested"]
    for line in stats["attributes"]:
        values = ", ".join(f"{value} {count:,}" for value, count in line["values"].items())
        sources = ", ".join(f"{source} {count:,}" for source, count in line["sources"].items() if source != "unknown")
        request = line["wanted"]
        agreed = f"; as requested {100 * request['agree']:.1f} % of {request['compared']:,}" if request["compared"] else ""
        lines.append(f"{line['name']:16} {values}  ({sources}){agreed}")
    return "\n".join(lines)

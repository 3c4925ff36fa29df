"""What `mals label RUN --stats` prints: the labels of a run, counted."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from mals.label import label_stats
from mals.run import Run


def stats_of(run: Run) -> dict[str, Any]:
    """Per attribute the counts, the sources and the agreement with what was asked for, over the shards that are labelled."""
    survey = run.grid.survey()
    done = [shard for shard in range(run.grid.shards) if survey.state("label", shard) == "done"]

    def cells() -> Iterator[pa.Table]:
        for shard in done:
            yield run.grid.table(shard, ["attributes", "attribute_source", "wanted"])

    return label_stats(cells(), run.config.label.space)


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

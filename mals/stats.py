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

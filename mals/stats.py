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
    lines = [f"{'attribute':16} {'0':>9} {'1':>9} {'unknown':>9} {'explicit':>9} {'implicit':>9}  as wanted"]
    for name, line in found.items():
        values, sources = line["values"], line["sources"]
        agreed = f"{100 * line['agreed'] / line['compared']:.1f} % of {line['compared']:,}" if line["compared"] else "-"
        numbers = [values["0"], values["1"], values["-1"], sources["explicit"], sources["implicit"]]
        lines.append(f"{name:16} " + " ".join(f"{number:>9,}" for number in numbers) + f"  {agreed}")
    return "\n".join(lines)

"""The README.md of an imported benchmark: its counts beside those that its authors state, its source and terms, and its columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mals.attributes import load_space
from mals.dataset.card import front_matter, load_template, percent
from mals.dataset.features import Columns
from mals.dataset.receipts import FileReceipt
from pretrain.datasets.contents import Contents, table
from pretrain.datasets.layout import BenchmarkInfo

TAGS = ["person-retrieval", "person-re-identification", "attribute-recognition", "mals"]


@dataclass(frozen=True)
class BenchmarkCardFacts:
    """Everything that the card is made from."""

    info: BenchmarkInfo
    columns: Columns
    files: Sequence[FileReceipt]
    contents: Contents

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    def total(self, count: str) -> int:
        """The sum of one count over all files."""
        return sum(file.counts[count] for file in self.files)

    def attributes(self) -> list[dict[str, Any]]:
        """Name, values, and the shares of each value and of unknown in percent, for each attribute."""
        rows = []
        for name, values in load_space(self.info.space).classes.items() if self.info.space else ():
            counts = [sum(file.counts["values"][name][value] for file in self.files) for value in range(3)]
            rows.append({"name": name, "values": values, "shares": [percent(count, self.rows) for count in counts]})
        return rows


def render(facts: BenchmarkCardFacts) -> str:
    """The text of the card."""
    info, contents = facts.info, facts.contents
    creator = "machine-generated" if info.synthetic else "found"
    overrides = {
        "license_name": "research-only",
        "license_link": info.url,
        "annotations_creators": [creator],
        "language_creators": [creator],
        "source_datasets": ["extended"],
    }
    front = front_matter(
        name=info.name,
        license="other",
        language="en",
        rows=facts.rows,
        columns={"default": facts.columns},
        files=facts.files,
        tags=[*(["synthetic"] if info.synthetic else []), *TAGS],
        overrides=overrides,
    )
    return load_template("benchmark.md").render(
        front=front,
        info=info,
        columns=facts.columns.names,
        lines=table(contents),
        splits=list(contents.splits),
        differs=bool(contents.warnings),
        notes=contents.notes,
        words=facts.total("words") / max(1, facts.total("captions")),
        attributes=facts.attributes(),
    )

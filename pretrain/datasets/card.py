"""The README.md of an imported benchmark: what was found beside what is expected, whose it is, and what the columns mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mals.attributes import load_space
from mals.dataset.card import front_matter, load_template, percent
from mals.dataset.features import Columns
from mals.dataset.receipts import FileReceipt
from pretrain.datasets.layout import About

TAGS = ["person-retrieval", "person-re-identification", "attribute-recognition", "mals"]
COUNTED = ("images", "persons", "captions")
LEFT_OUT = ("missing", "unreadable", "without_caption")


@dataclass(frozen=True)
class Facts:
    """What the card is made from."""

    about: About
    columns: Columns
    files: Sequence[FileReceipt]  # receipts of the Parquet files
    table: Mapping[str, Any]  # of `importing.table`

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    def total(self, count: str) -> int:
        return sum(file.counts[count] for file in self.files)

    def attributes(self) -> list[dict[str, Any]]:
        """One line an attribute: its values, and the shares of each and of the unknown in percent."""
        found = []
        for name, values in load_space(self.about.space).classes.items() if self.about.space else ():
            counts = [sum(file.counts["values"][name][at] for file in self.files) for at in range(3)]
            found.append({"name": name, "values": values, "shares": [percent(count, self.rows) for count in counts]})
        return found


def render(facts: Facts) -> str:
    """The card's whole text."""
    about = facts.about
    origin = "machine-generated" if about.synthetic else "found"
    told = {
        "license_name": "research-only",
        "license_link": about.url,
        "annotations_creators": [origin],
        "language_creators": [origin],
        "source_datasets": ["extended"],
    }
    tags = [*(["synthetic"] if about.synthetic else []), *TAGS]
    return load_template("benchmark.md").render(
        front=front_matter(
            name=about.name,
            license="other",
            language="en",
            rows=facts.rows,
            columns={"default": facts.columns},
            files=facts.files,
            tags=tags,
            overrides=told,
        ),
        info=about,
        columns=facts.columns.names,
        lines=[[cell.strip() for cell in line] for line in lines(facts.table)],
        splits=list(facts.table["splits"]),
        differs=bool(facts.table["warnings"]),
        notes=facts.table["notes"],
        words=facts.total("words") / max(1, facts.total("captions")),
        attributes=facts.attributes(),
    )


def lines(table: Mapping[str, Any]) -> list[list[str]]:
    """The table of what was found, as cells: a head, and a line a split."""
    left_out = [reason for reason in LEFT_OUT if any(split[reason] for split in table["splits"].values())]
    head = ["split", *COUNTED, *(reason.replace("_", " ") for reason in left_out)]
    found = [head]
    for name, split in table["splits"].items():
        cells = [_against(**split[what]) for what in COUNTED]
        found.append([name, *cells, *(f"{split[reason]:,}" for reason in left_out)])
    return found


def _against(found: int | None, expected: int | None) -> str:
    """ "34,054", or "34,050 of 34,054" where another number is expected."""
    if found is None:
        return "–"
    return f"{found:,}" if expected in (None, found) else f"{found:,} of {expected:,}"

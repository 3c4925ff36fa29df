"""A summary of a packed data set: where it is, how many rows each stage kept, some captions with their labels, a contact sheet."""

from dataclasses import dataclass
from typing import Any

from mals.dataset.diversity import Diversity, run_diversity
from mals.dataset.receipts import FOLDER, PackReceipt
from mals.dataset.scores import COLUMNS as COLUMNS_OF_SCORES
from mals.dataset.scores import ScoreStatistics, rules
from mals.dataset.sheet import contact_sheet
from mals.dataset.source import attribute_values
from mals.errors import UserError
from mals.grid.run import Run
from mals.grid.status import lines as status_lines
from mals.grid.status import status

SHEET = "report/contact-sheet.jpg"
COLUMNS, ROWS = 12, 4  # images on the sheet
CELL = (96, 192)  # pixels, width and height
CAPTIONS = 8  # captions shown


@dataclass(frozen=True)
class LabelledCaption:
    """A caption, None for an image that has none, with its row's known attributes: attribute -> the name of its value."""

    caption: str | None
    attributes: dict[str, str]


@dataclass(frozen=True)
class Report:
    """The result of `mals report`."""

    dataset: str
    planned: int
    kept: int
    funnel: list[str]
    diversity: Diversity | None  # of the captions; None where no stage writes any
    agreement: str  # scores of images and captions in a sentence; empty if the run has none
    captions: list[LabelledCaption]
    sheet: str

    def text(self) -> str:
        """The report for a terminal; attributes whose value is "no" are left out."""
        output = [f"{self.dataset}: {self.kept:,} of {self.planned:,} pairs kept", *self.funnel]
        output += [f"diversity of {self.diversity.sentence()}"] if self.diversity else []
        output += [self.agreement] if self.agreement else []
        for row in self.captions:
            present = {name.replace("_", " "): value for name, value in row.attributes.items() if value != "no"}
            labels = [name if value == "yes" else f"{name} {value}" for name, value in present.items()]
            output += ["", row.caption or "(no caption)", f"    {', '.join(labels)}"]
        return "\n".join([*output, "", f"contact sheet: {self.sheet}"])


def report(run: Run) -> Report:
    """Describe the packed data set of `run`, and write the contact sheet beside it; UserError if nothing is packed."""
    receipt = PackReceipt.load(run.store)
    if receipt is None:
        raise UserError(f"{run.store.url} is not packed yet; `mals run {run.store.url}` makes the data set")
    rows = _first_rows(run, receipt, COLUMNS * ROWS)
    run.store.commit(SHEET, contact_sheet([row["image"]["bytes"] for row in rows], COLUMNS, CELL))
    values = attribute_values(run)
    captions = []
    for row in rows[:: max(1, len(rows) // CAPTIONS)][:CAPTIONS]:
        known = {name: values[name][value] for name, value in row["attributes"].items() if value is not None}
        captions.append(LabelledCaption(row.get("caption"), known))
    url = run.store.url
    return Report(
        dataset=f"{url}/{FOLDER}",
        planned=receipt.planned,
        kept=receipt.kept,
        funnel=status_lines(status(run)),
        diversity=run_diversity(run),
        agreement=_agreement(run, receipt),
        captions=captions,
        sheet=f"{url}/{SHEET}",
    )


def _agreement(run: Run, receipt: PackReceipt) -> str:
    """The scores of images and captions of the packed rows in a sentence; empty if the run has none."""
    statistics = ScoreStatistics()
    for file in (file for files in receipt.split_files().values() for file in files):
        parquet = run.store.parquet(file.path)
        if set(COLUMNS_OF_SCORES) <= set(parquet.schema_arrow.names):
            statistics.add(parquet.read(columns=list(COLUMNS_OF_SCORES)))
    scored, cell = statistics.counts(), run.grid.receipt("agree", 0)
    if scored is None or cell is None:
        return ""
    least, _, median, _, greatest = scored.scores
    required = f"; required: {rules(cell.params).replace('`', '')}" if rules(cell.params) else ""
    return (
        f"image and caption: cosine {median:.3f} at the median ({least:.3f} to {greatest:.3f}), rank {scored.median_rank:,} at the median "
        f"among {scored.references:,} captions of other rows, by {cell.params['scorer']} ({cell.params['revision']}){required}"
    )


def _first_rows(run: Run, receipt: PackReceipt, count: int) -> list[dict[str, Any]]:
    """The first `count` rows of the data set."""
    rows: list[dict[str, Any]] = []
    for file in (file for files in receipt.split_files().values() for file in files):
        parquet = run.store.parquet(file.path)
        for group in range(parquet.num_row_groups):
            if len(rows) == count:
                return rows
            table = parquet.read_row_group(group, columns=["image", "caption", "attributes"])
            rows += table.slice(0, count - len(rows)).to_pylist()
    return rows

"""What a packed data set looks like, at a glance: where it is, the funnel, some captions with their labels, a contact sheet."""

from dataclasses import dataclass
from typing import Any

from mals.attributes import load_space
from mals.dataset.pack import FOLDER, read_receipt
from mals.dataset.sheet import contact_sheet
from mals.errors import UserError
from mals.grid.run import Run
from mals.grid.status import lines, status

SHEET = "report/contact-sheet.jpg"
COLUMNS, ROWS = 12, 4  # pictures on the sheet
CELL = (96, 192)  # pixels, width and height
SHOWN = 8  # captions


@dataclass
class Report:
    """All that `mals report` tells."""

    dataset: str
    planned: int
    kept: int
    funnel: list[str]
    captions: list[dict[str, Any]]  # caption, and by attribute the value's name for all that are known
    sheet: str

    def text(self) -> str:
        """The report as a person reads it; what a caption's labels deny is left out."""
        told = [f"{self.dataset}: {self.kept:,} of {self.planned:,} pairs kept", *self.funnel]
        for shown in self.captions:
            known = {name.replace("_", " "): value for name, value in shown["labels"].items() if value != "no"}
            labels = [name if value == "yes" else f"{name} {value}" for name, value in known.items()]
            told += ["", shown["caption"], f"    {', '.join(labels)}"]
        return "\n".join([*told, "", f"contact sheet: {self.sheet}"])


def report(run: Run) -> Report:
    """Look at the packed data set of `run`, and write the contact sheet beside it; UserError where nothing is packed."""
    receipt = read_receipt(run)
    if receipt is None:
        raise UserError(f"{run.store.url} is not packed yet; `mals run {run.store.url}` makes the data set")
    rows = _sample(run, receipt, COLUMNS * ROWS)
    run.store.commit(SHEET, contact_sheet([row["image"]["bytes"] for row in rows], COLUMNS, CELL))
    space = load_space(run.config.label.space)
    shown = []
    for row in rows[:: max(1, len(rows) // SHOWN)][:SHOWN]:
        known = {name: space.classes[name][value] for name, value in row["attributes"].items() if value is not None}
        shown.append({"caption": row["caption"], "labels": known})
    url = run.store.url
    return Report(f"{url}/{FOLDER}", receipt["planned"], receipt["kept"], lines(status(run)), shown, f"{url}/{SHEET}")


def _sample(run: Run, receipt: dict[str, Any], most: int) -> list[dict[str, Any]]:
    """The first rows of the first files, `most` at most."""
    found: list[dict[str, Any]] = []
    for file in receipt["files"]:
        if file["path"].startswith(f"{FOLDER}/data/") and len(found) < most:
            opened = run.store.parquet(file["path"])
            for group in range(opened.num_row_groups):
                found += opened.read_row_group(group, columns=["image", "caption", "attributes"]).slice(0, most - len(found)).to_pylist()
                if len(found) >= most:
                    break
    return found

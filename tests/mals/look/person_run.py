"""A finished run of ten persons with planted copies, by the real stages identity, embed and dedup."""

from pathlib import Path
from typing import Any

from mals.config import Config
from mals.grid.run import Run, run_stages
from tests.small import cells
from tests.small.cells import Small, number

ROWS = 60
OUTLIER = 7  # a row whose labels are those of another person
COPIES = {45: 30, 51: 50}  # row -> the row whose crop it shows again


def crop(config: Config) -> Small:
    stage = cells.crop(config)
    before = stage.answer_row

    def answer_row(row: dict[str, Any]) -> dict[str, Any]:
        original = COPIES.get(number(row["id"]), number(row["id"]))
        return before({"id": f"row-{original:06d}"})

    return Small("crop", stage.needs, stage.adds, answer_row)


def label(config: Config) -> Small:
    stage = cells.label(config)
    before = stage.answer_row

    def answer_row(row: dict[str, Any]) -> dict[str, Any]:
        at = number(row["id"])
        values = [(at // 6 + place) % 2 for place in range(27)]
        return before(row) | {"attributes": [1 - value for value in values] if at == OUTLIER else values}

    return Small("label", stage.needs, stage.adds, answer_row)


def person_run(folder: Path) -> Run:
    """Row i shows person i // 6 where i is odd; every row of `COPIES` shows the crop of another."""
    stages = {name: f"tests.small.cells:{name}" for name in cells.STAGES}
    stages |= {name: f"tests.mals.look.person_run:{name}" for name in ("crop", "label")}
    sections = {"identity": {"min_agreement": 0.7}, "dedup": {}}
    run = cells.planned_run(folder, ROWS, stages=stages, sections=sections)
    run_stages(run, quiet=True)
    return run

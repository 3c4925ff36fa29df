"""The command for public benchmarks: pack one."""

import time
from pathlib import Path
from typing import Annotated

import typer

from cli.output import print_json
from cli.stages import Json


def register(app: typer.Typer) -> None:
    app.command("import")(import_)


def import_(
    name: Annotated[str, typer.Argument(help="cuhk-pedes, icfg-pedes, rstpreid, pa100k, market1501 or mals-json.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder in which the benchmark was unpacked.")],
    to: Annotated[str, typer.Option("--to", help="The folder (or URL) to write: new, empty, or one of an interrupted import.")],
    as_json: Json = False,
) -> None:
    """Pack a public benchmark as Parquet, and compare it with the numbers that its authors state; give it again to go on."""
    from mals.grid.progress import log_every_ten_seconds
    from pretrain.datasets import contents, importing

    started = time.monotonic()
    report = importing.import_benchmark(name, folder, to, log_every_ten_seconds("import", "rows"))
    if as_json:
        print_json(report.to_json() | {"seconds": round(time.monotonic() - started, 3)})
        return
    table = contents.table(report.contents)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print("a of b: b is the number that its authors state" if report.contents.warnings else "all numbers are those that its authors state")
    for note in report.contents.notes:
        print(note)
    print(f"{to}: {report.rows:,} images, {report.packed:,} of them packed now")

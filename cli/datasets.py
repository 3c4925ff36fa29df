"""The command for public benchmarks: pack one."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from cli.output import print_json
from cli.stages import Json


class ImportCommand(TyperCommand):
    """A command whose argument NAME says which benchmarks there are; their readers are loaded when it is used, not with the program."""

    def get_params(self, ctx: Any) -> list[Any]:
        from pretrain.datasets import READERS

        params: list[Any] = super().get_params(ctx)
        params[0].help = f"{', '.join(READERS)}."
        return params


def register(app: typer.Typer) -> None:
    app.command("import", cls=ImportCommand)(import_)


def import_(
    name: Annotated[str, typer.Argument()],
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
    print("a of b: b is the number that its authors state" if report.contents.warnings else "all numbers are as its authors state them")
    for note in report.contents.notes:
        print(note)
    print(f"{to}: {report.rows:,} images, {report.packed:,} of them packed now")

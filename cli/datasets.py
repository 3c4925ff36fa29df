"""The command about public benchmarks: pack one."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from cli.stages import Json


def register(app: typer.Typer) -> None:
    app.command("import")(import_)


def import_(
    name: Annotated[str, typer.Argument(help="cuhk-pedes, icfg-pedes, rstpreid, pa100k, market1501 or mals-json.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the data set was unpacked.")],
    to: Annotated[str, typer.Option("--to", help="The folder (or URL) to write, new or empty, or one to finish.")],
    as_json: Json = False,
) -> None:
    """Pack a public benchmark as Parquet, and hold it against the sizes that its authors tell; give it again to go on."""
    from mals.grid.progress import packing
    from pretrain.datasets import card, importing

    began = time.monotonic()
    made = importing.bring(name, folder, to, packing("import", "rows"))
    if as_json:
        print(json.dumps(made | {"seconds": round(time.monotonic() - began, 3)}))
        return
    cells = card.lines(made)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    print("\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells))
    print("a of b: b is what its authors tell" if made["warnings"] else "everything is as its authors tell")
    for note in made["notes"]:
        print(note)
    print(f"{to}: {made['rows']:,} pictures, {made['packed']:,} of them packed now")

"""The commands about the pedestrian world: make a benchmark from it."""

import json
import time
from typing import Annotated

import typer

from cli.stages import Json

group = typer.Typer(no_args_is_help=True, help="The procedural world of pedestrians: benchmarks of which everything is known.")


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="world")


@group.callback()
def world() -> None:
    """The procedural world of pedestrians: benchmarks of which everything is known."""


@group.command()
def make(
    to: Annotated[str, typer.Option("--to", help="The folder (or URL) to write, new or empty, or one to finish.")],
    persons: Annotated[int, typer.Option("--persons", "-n", help="Identities, in all splits together.")] = 1000,
    views: Annotated[int, typer.Option("--views", help="Pictures of each; view v is of camera v mod 6.")] = 4,
    split: Annotated[str, typer.Option("--split", help="Splits and their shares of the persons.")] = "train=0.7,val=0.1,test=0.2",
    seed: Annotated[int, typer.Option("--seed", help="Of the world; the embedded models were trained on the world 1.")] = 2,
    height: Annotated[int, typer.Option("--height", help="Of the pictures, which are half as wide.")] = 256,
    workers: Annotated[int | None, typer.Option("--workers", help="Processes that draw; all cores where not given.")] = None,
    as_json: Json = False,
) -> None:
    """Draw a benchmark for text-based person search, packed as Parquet; the same arguments give the same bytes."""
    from mals.grid.progress import packing
    from mals.world import make as making

    began = time.monotonic()
    asked = making.World.checked(persons, views, split, seed, height)
    made = making.make(to, asked, workers, packing("make", "rows"))
    seconds = time.monotonic() - began
    if as_json:
        print(json.dumps(made | {"seconds": round(seconds, 3), "rows_per_second": round(made["drawn"] / seconds, 1)}))
    else:
        parts = ", ".join(f"{name} {rows:,}" for name, rows in made["splits"].items())
        print(f"{to}: {made['rows']:,} pictures of {persons:,} persons ({parts}), {made['drawn']:,} of them drawn now")

"""The commands about the pedestrian world: `mals world make` draws a data set from it."""

import time
from typing import Annotated

import typer

from cli.output import print_json
from cli.stages import Json

group = typer.Typer(no_args_is_help=True, help="The procedural world of pedestrians: drawn images with their whole ground truth.")


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="world")


@group.callback()
def world() -> None:
    """The procedural world of pedestrians: drawn images with their whole ground truth."""


@group.command()
def make(
    to: Annotated[str, typer.Option("--to", help="The folder (or URL) to write: a new or empty one, or one to finish.")],
    persons: Annotated[int, typer.Option("--persons", "-n", help="Identities in all splits together.")] = 1000,
    views: Annotated[int, typer.Option("--views", help="Images of each person; camera v mod 6 takes view v.")] = 4,
    split: Annotated[str, typer.Option("--split", help="Splits and their shares of the persons.")] = "train=0.7,val=0.1,test=0.2",
    seed: Annotated[int, typer.Option("--seed", help="Seed of the world; the embedded models were trained on seed 1.")] = 2,
    height: Annotated[int, typer.Option("--height", help="Height of the images in pixels; they are half as wide.")] = 256,
    occlude: Annotated[
        bool,
        typer.Option("--occlude", help="Add queries of the persons of test, for re-identification: whole, behind an object, and cut."),
    ] = False,
    workers: Annotated[int | None, typer.Option("--workers", help="Processes that draw; default: one for each core.")] = None,
    as_json: Json = False,
) -> None:
    """Draw a data set for text-based person search, packed as Parquet; the same arguments give the same bytes."""
    from mals.grid.progress import log_every_ten_seconds
    from mals.world.make import make as make_data_set
    from mals.world.settings import WorldSettings

    started = time.monotonic()
    settings = WorldSettings.checked(persons=persons, views=views, split=split, seed=seed, height=height, occlude=occlude)
    summary = make_data_set(to, settings, workers, log_every_ten_seconds("make", "rows"))
    seconds = time.monotonic() - started
    if as_json:
        print_json(summary | {"seconds": round(seconds, 3), "rows_per_second": round(summary["drawn"] / seconds, 1)})
    else:
        splits = ", ".join(f"{name} {rows:,}" for name, rows in summary["splits"].items())
        print(f"{to}: {summary['rows']:,} images of {persons:,} persons ({splits}); this call drew {summary['drawn']:,} of them")

"""`mals compare`: train several methods on the same rows at one budget, and write one table; the same command goes on."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.launch import Data, Gpus, require
from cli.output import print_json
from cli.stages import Json, Sets
from cli.targets import check_folder

if TYPE_CHECKING:
    from pretrain.compare import Commands

CHILD = "from mals.processes import end_with_parent; end_with_parent({parent}); from cli.main import main; main()"


def register(app: typer.Typer) -> None:
    app.command()(compare)


def compare(
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="The folder of the trainings and of the table.")],
    methods: Annotated[
        str | None, typer.Option("--methods", help="Methods, separated by commas, or my_package.my_module:MyMethod.")
    ] = None,
    variants: Annotated[
        list[str] | None,
        typer.Option(
            "--variants", help="A file of variants (name: {method, preset, sets, init}), or the name of one of pretrain/comparisons."
        ),
    ] = None,
    presets: Annotated[
        list[str] | None,
        typer.Option(
            "--presets", metavar="METHOD=PRESET", help="A preset or YAML file for a method; default: of the benchmark, else tiny-METHOD."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Trainings of each method, with the seeds 0, 1, ...")] = 1,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Steps of each training.")] = None,
    images: Annotated[int | None, typer.Option("--images", min=1, help="Images that each training sees, whatever its batch.")] = None,
    hours: Annotated[float | None, typer.Option("--hours", help="Hours of each training, by the speed of its first steps.")] = None,
    test: Annotated[
        list[str] | None, typer.Option("--test", help="The data set to measure on, repeat for several; default: that of --data.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Its split.")] = "test",
    gpus: Gpus = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Train methods on the same data at one budget, measure all, and write OUT/table.md and table.json. Exit code 1 if one failed.

    Where the data have the splits val and test, val chooses a checkpoint of each training. Give the command again to go on.
    """
    from mals.errors import UserError
    from pretrain import compare as comparing
    from pretrain.comparison import Budget, Comparison, can_select, file_variants, method_variants

    check_folder(out, "--out")
    if hours is not None and not hours > 0:
        raise UserError(f"--hours must be above 0, not {hours:g}")
    budget = Budget(steps, images, hours)
    if gpus is not None and gpus > 1:
        require(gpus)
    selects, names = can_select(data, sets or []), [name.strip() for name in (methods or "").split(",") if name.strip()]
    compared = method_variants(names, _choices(presets or []), data, selects)
    compared += [variant for file in variants or () for variant in file_variants(file, data, selects)]
    if not compared:
        raise UserError("there is nothing to compare: give --methods, --variants or both")
    comparison = Comparison(
        tuple(compared), tuple(data), tuple(test or data), split, seeds, budget, tuple(sets or ()), selects=selects, gpus=gpus
    )
    rows = comparing.compare(comparison, out, _commands(), lambda text: print(text, file=sys.stderr, flush=True))
    if as_json:
        print_json(json.loads((out / comparing.TABLE_JSON).read_text(encoding="utf-8")))
    else:
        print((out / comparing.TABLE).read_text(encoding="utf-8"), end="")
    if any(row.failures for row in rows):
        raise typer.Exit(1)


def _choices(presets: list[str]) -> dict[str, str]:
    """METHOD=PRESET ... as method -> preset."""
    from mals.errors import UserError

    if wrong := [choice for choice in presets if "=" not in choice]:
        raise UserError(f"--presets takes METHOD=PRESET, not {wrong[0]}")
    return {choice.rpartition("=")[0]: choice.rpartition("=")[2] for choice in presets}


def _commands() -> "Commands":
    """Commands that end with this process."""
    from pretrain.compare import Commands

    return Commands([sys.executable, "-c", CHILD.format(parent=os.getpid())], [sys.executable])

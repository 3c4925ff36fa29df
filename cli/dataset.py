"""The commands about the results of a run: status, report, verify, models, replay, pack, publish, export."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.output import print_json, show
from cli.stages import Json, RunArgument


def register(app: typer.Typer) -> None:
    for command in (status, report, verify, models, replay, pack, publish, export):
        app.command()(command)


def status(run: RunArgument, as_json: Json = False) -> None:
    """How far each stage is, how many rows it refused by which rule, the commonest errors, and how much captions differ."""
    from dataclasses import asdict

    from mals.dataset.diversity import run_diversity
    from mals.grid import status as run_status
    from mals.grid.run import Run

    opened = Run.open(run)
    status, diversity = run_status.status(opened), run_diversity(opened)
    lines = [*run_status.lines(status), *([f"diversity of {diversity.sentence()}"] if diversity else [])]
    show(status.to_json() | {"diversity": asdict(diversity) if diversity else None}, "\n".join(lines), as_json)


def report(
    places: Annotated[
        list[str],
        typer.Argument(metavar="RUN|TRAINING...", help="A run, or trainings, whose curves are drawn over those of the first one."),
    ],
    data: Annotated[
        list[str] | None,
        typer.Option("--data", help="For a training: data whose captions are queries, so that the best and worst are shown; repeat it."),
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="Which split of --data; default: test, or the only one.")] = None,
    as_json: Json = False,
) -> None:
    """A packed set or a training at a glance: pages as files, and of a set the rows kept by each stage, captions, and a contact sheet."""
    from dataclasses import asdict

    from mals.dataset import report as dataset_report
    from mals.errors import UserError
    from mals.grid.run import Run
    from mals.grid.store import Store
    from mals.look.training import is_training

    if all(is_training(Store(place)) for place in places):
        page = _report_of_trainings(places, data or [], split)
        return show({"pages": page}, f"pages: {page}", as_json)
    if len(places) > 1 or data:
        raise UserError(f"{places[0]} is no training: several places, and --data, are for trainings")
    opened = Run.open(places[0])
    summary = dataset_report.report(opened)
    try:
        from mals.look import report as pages

        page = pages.write(opened)
    except ModuleNotFoundError as error:
        page = f"not written, since {error.name} is not installed (`pip install 'mals[look]'`)"
    show(asdict(summary) | {"pages": page}, f"{summary.text()}\npages: {page}", as_json)


def _report_of_trainings(places: list[str], data: list[str], split: str | None) -> str:
    """Write the pages of the first training; the address of the first page."""
    from mals.errors import UserError
    from mals.look.training import Training

    try:
        from mals.look.training_report import write
    except ModuleNotFoundError as error:
        raise UserError(f"the report of a training needs the package {error.name}; install it with `pip install 'mals[look]'`") from None
    first, *others = [Training(place) for place in places]
    if not data:
        return write(first, None, lambda image: None, others)
    from pretrain import ranks, trained_method
    from pretrain.query_cases import query_cases

    cases, gallery = query_cases(trained_method.read(places[0], device=ranks.start()), data, split)
    return write(first, cases, gallery.dataset.image_bytes, others)


def verify(
    run: RunArgument,
    repair: Annotated[bool, typer.Option("--repair", help="Let `mals run` make broken cells again.")] = False,
    as_json: Json = False,
) -> None:
    """Hash every file of the run again and compare it with its receipt; exit 1 if there is a problem."""
    from mals.grid import verify as verification
    from mals.grid.run import Run

    problems = [problem.text for problem in verification.verify(Run.open(run), repair)]
    show({"problems": problems}, "\n".join(problems) if problems else f"{run}: every file matches its receipt", as_json)
    if problems:
        raise typer.Exit(1)


def models(
    run: RunArgument,
    download: Annotated[bool, typer.Option("--download", help="Fetch them into the cache, for machines without a network.")] = False,
    as_json: Json = False,
) -> None:
    """The models that the run needs: revision, licence, size, where they are."""
    from mals import models as run_models
    from mals.grid.run import load_settings
    from mals.grid.store import Store

    _, config = load_settings(Store(run))
    if download:
        run_models.download(config)
    listing = run_models.list_models(config)
    show([state.to_json() for state in listing], run_models.format_models(listing), as_json)


def replay(
    run: RunArgument,
    row: Annotated[str, typer.Argument(metavar="ID", help="The row's id.")],
    to: Annotated[Path | None, typer.Option("--to", help="A folder for both images.")] = None,
    as_json: Json = False,
) -> None:
    """Generate one image again from its row and compare it with the stored one."""
    from mals.grid.run import Run
    from mals.stages import replay as replays

    comparison = replays.replay(Run.open(run), row, to)
    show(comparison.to_json(), comparison.sentence(), as_json)


def pack(run: RunArgument, as_json: Json = False) -> None:
    """Join the finished shards into RUN/dataset: Parquet, data card, Croissant, checksums."""
    from mals.dataset import pack as packing
    from mals.grid import progress
    from mals.grid.run import Run

    packed = packing.pack(Run.open(run), progress=progress.log_every_ten_seconds("pack", "files"))
    show(packed.to_json(), f"{run}/dataset: {packed.summary()}", as_json)


def publish(
    run: RunArgument,
    to: Annotated[str, typer.Option("--to", help="hf://datasets/OWNER/NAME, a folder, or a URL.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list files and sizes.")] = False,
    as_json: Json = False,
) -> None:
    """Verify the packed data set, then copy or upload it; the same command continues an interrupted upload."""
    from mals.dataset import publish as publishing
    from mals.grid import verify as verification
    from mals.grid.run import Run

    opened = Run.open(run)
    problems = [problem.text for problem in verification.verify(opened)]
    published = publishing.publish(opened, to, dry_run, problems)
    if as_json:
        print_json(published.to_json())
        return
    for file in published.files:
        print(f"{file.bytes:>14,}  {file.path}")
    print(f"{'would go to' if dry_run else 'is at'} {to}", file=sys.stderr)


def export(
    run: RunArgument,
    to: Annotated[str, typer.Option("--to", help="The folder to write.")],
    format: Annotated[Literal["mals-json", "webdataset"], typer.Option("--format", help="The original MALS layout, or tar shards.")],
    as_json: Json = False,
) -> None:
    """Write the packed data set in another format."""
    from mals.dataset import export as exporting
    from mals.grid.run import Run

    exported = exporting.export(Run.open(run), to, format)
    show(exported.to_json(), f"{exported.rows:,} rows are in {to}", as_json)

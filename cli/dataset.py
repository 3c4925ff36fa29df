"""The commands about what a run has made: status, report, verify, models, replay, pack, publish, export."""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.stages import Json, RunArgument


def register(app: typer.Typer) -> None:
    for command in (status, report, verify, models, replay, pack, publish, export):
        app.command()(command)


def status(run: RunArgument, as_json: Json = False) -> None:
    """How far each stage is, what was refused and why, and the commonest errors."""
    from mals.grid import status as statuses
    from mals.grid.run import Run

    found = statuses.status(Run.open(run))
    print(statuses.as_json(found) if as_json else "\n".join(statuses.lines(found)))


def report(run: RunArgument, as_json: Json = False) -> None:
    """The packed data set at a glance: the funnel, some captions with their labels, a contact sheet."""
    from dataclasses import asdict

    from mals.dataset.report import report as look
    from mals.grid.run import Run

    found = look(Run.open(run))
    print(json.dumps(asdict(found), ensure_ascii=False) if as_json else found.text())


def verify(
    run: RunArgument,
    repair: Annotated[bool, typer.Option("--repair", help="Let `mals run` make broken cells again.")] = False,
    as_json: Json = False,
) -> None:
    """Hash every file of the run again and compare it with its receipt; exit 1 where something is off."""
    from mals.grid import verify as verification
    from mals.grid.run import Run

    problems = verification.verify(Run.open(run), repair)
    texts = [problem.text for problem in problems]
    if as_json:
        print(json.dumps({"problems": texts}))
    else:
        print("\n".join(texts) if texts else f"{run}: every file holds what its receipt says")
    if problems:
        raise typer.Exit(1)


def models(
    run: RunArgument,
    download: Annotated[bool, typer.Option("--download", help="Fetch them into the cache, for machines without a network.")] = False,
    as_json: Json = False,
) -> None:
    """The models that the run needs: revision, licence, size, where they are."""
    from mals import models as found
    from mals.planning.create import settings_of

    config = settings_of(run)
    if download:
        found.download(config)
    listing = found.listing(config)
    print(json.dumps(listing, ensure_ascii=False) if as_json else found.table(listing))


def replay(
    run: RunArgument,
    row: Annotated[str, typer.Argument(metavar="ID", help="The row's id.")],
    to: Annotated[Path | None, typer.Option("--to", help="A folder for both pictures.")] = None,
    as_json: Json = False,
) -> None:
    """Generate one picture again from its row and say how near it is to the stored one."""
    from mals.grid.replay import replay as again
    from mals.grid.run import Run

    found = again(Run.open(run), row, to)
    print(json.dumps(found.dump()) if as_json else found.sentence())


def pack(run: RunArgument, as_json: Json = False) -> None:
    """Join the finished shards into RUN/dataset: Parquet, data card, Croissant, checksums."""
    from mals.dataset.pack import pack as make
    from mals.grid.progress import packing
    from mals.grid.run import Run

    summary = make(Run.open(run), progress=packing())
    print(json.dumps(summary) if as_json else f"{run}/dataset: {summary['kept']:,} kept, {summary['refused'] + summary['failed']:,} not")


def publish(
    run: RunArgument,
    to: Annotated[str, typer.Option("--to", help="hf://datasets/OWNER/NAME, a folder, or a URL.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list files and sizes.")] = False,
    as_json: Json = False,
) -> None:
    """Verify the packed data set, then copy or upload it; an upload that broke off goes on where it was."""
    from mals.dataset.publish import publish as send
    from mals.grid.run import Run
    from mals.grid.verify import verify as check

    opened = Run.open(run)
    result = send(opened, to, dry_run, [problem.text for problem in check(opened)])
    if as_json:
        print(json.dumps(result))
        return
    for file in result["files"]:
        print(f"{file['bytes']:>14,}  {file['path']}")
    print(f"{'would go' if dry_run else 'is'} at {to}", file=sys.stderr)


def export(
    run: RunArgument,
    to: Annotated[str, typer.Option("--to", help="The folder to write.")],
    format: Annotated[Literal["mals-json", "webdataset"], typer.Option("--format", help="The original MALS layout, or tar shards.")],
    as_json: Json = False,
) -> None:
    """Write the packed data set in another format."""
    from mals.dataset.export import export as write
    from mals.grid.run import Run

    result = write(Run.open(run), to, format)
    print(json.dumps(result) if as_json else f"{result['rows']:,} rows are in {to}")

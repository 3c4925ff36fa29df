"""`mals release`: publish a trained method for others to load."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.output import print_json
from cli.stages import Json, Sets


def register(app: typer.Typer) -> None:
    app.command()(release)


def release(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The folder of a finished training, or a file of weights.")],
    to: Annotated[str, typer.Option("--to", help="A folder, hf://OWNER/NAME, or a URL.")],
    onnx: Annotated[bool, typer.Option("--onnx", help="Both towers as ONNX too, compared with PyTorch.")] = False,
    checkpoint: Annotated[
        Literal["latest"] | None, typer.Option("--checkpoint", help="For an unfinished training: its last checkpoint.")
    ] = None,
    result: Annotated[
        list[Path] | None, typer.Option("--result", help="A result of mals evaluate or zeroshot for the card; repeat for more.")
    ] = None,
    license: Annotated[str | None, typer.Option("--license", help="As the hub names it; default: from the licences of the data.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="On the card; default: the last part of --to.")] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", "-p", help="For a file of weights: its method; default: of its project.")
    ] = None,
    sets: Sets = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only build, check and list the files.")] = False,
    as_json: Json = False,
) -> None:
    """Publish weights, settings, tokenizer, scores and a model card, complete or not at all; `pretrain.load` reads them."""
    from pretrain.release import release as make

    report = make(
        run,
        to,
        latest=checkpoint is not None,
        onnx=onnx,
        results=result or [],
        license=license,
        name=name,
        dry_run=dry_run,
        preset=preset,
        sets=sets or [],
    )
    if as_json:
        print_json(report.to_json())
        return
    for file in report.files:
        print(f"{file.bytes:>14,}  {file.path}")
    for tower, difference in report.onnx.items():
        print(f"{tower} differs from PyTorch by at most {difference:.1g}", file=sys.stderr)
    print(f"{'would be' if dry_run else 'is'} at {to}", file=sys.stderr)

"""`mals release`: a trained method to where others load it."""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.stages import Json


def register(app: typer.Typer) -> None:
    app.command()(release)


def release(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The folder of a finished training.")],
    to: Annotated[str, typer.Option("--to", help="A folder, hf://OWNER/NAME, or a URL.")],
    onnx: Annotated[bool, typer.Option("--onnx", help="Both towers as ONNX too, held against PyTorch.")] = False,
    checkpoint: Annotated[Literal["latest"] | None, typer.Option("--checkpoint", help="Of a training that is not finished.")] = None,
    result: Annotated[
        list[Path] | None, typer.Option("--result", help="A result of mals evaluate or zeroshot for the card; again.")
    ] = None,
    license: Annotated[str | None, typer.Option("--license", help="As the hub calls it; where not given, what the data's say.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="On the card; where not given, the last part of --to.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only make, check and list the files.")] = False,
    as_json: Json = False,
) -> None:
    """Weights, settings, tokenizer, metrics and a model card, as `pretrain.load` reads them; whole or not at all."""
    from pretrain.release import release as make

    made = make(run, to, latest=checkpoint is not None, onnx=onnx, results=result or [], license=license, name=name, dry_run=dry_run)
    if as_json:
        print(json.dumps(made))
        return
    for file in made["files"]:
        print(f"{file['bytes']:>14,}  {file['path']}")
    for tower, difference in made["onnx"].items():
        print(f"{tower} differs from PyTorch by {difference:.1g} at most", file=sys.stderr)
    print(f"{'would go' if dry_run else 'is'} at {to}", file=sys.stderr)

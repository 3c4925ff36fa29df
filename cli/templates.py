"""`mals templates`: a file of templates for captioners."""

from pathlib import Path
from typing import Annotated

import typer

from cli.output import show
from cli.stages import CaptionColumn, Encoding, Json


def register(app: typer.Typer) -> None:
    app.command()(templates)


def templates(
    to: Annotated[Path, typer.Option("--to", help="The file to write, a template a line.")],
    captions: Annotated[
        str | None,
        typer.Option("--from", help="Real captions (.txt, .csv, .jsonl, .parquet, .json); without it the generator's are written."),
    ] = None,
    clusters: Annotated[int, typer.Option("--clusters", min=1, help="Clusters of templates of one shape.")] = 1000,
    keep: Annotated[int, typer.Option("--keep", min=1, help="Templates that are kept of each cluster.")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="Of the clusters.")] = 0,
    caption_column: CaptionColumn = None,
    encoding: Encoding = None,
    as_json: Json = False,
) -> None:
    """Turn real captions into templates, with slots in place of attributes, and keep one or a few of each shape."""
    from mals.planning.caption_files import CaptionsForm
    from mals.stages.captioning.mining import write_templates

    mined = write_templates(captions, to, clusters, keep, seed, CaptionsForm(encoding, caption_column))
    text = f"{mined.templates:,} templates are in {to}"
    if captions is not None:
        text += f": {mined.usable:,} of {mined.captions:,} captions have one, {mined.distinct:,} are different"
    show(mined.to_json(), text, as_json)

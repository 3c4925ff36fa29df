"""`mals explain`: the attributes of a caption and the words that decided them."""

import json
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    app.command()(explain)


def explain(
    caption: Annotated[
        str, typer.Argument(help="A caption, a file of captions (.txt, .csv, .jsonl, .parquet, .json), or - for standard input.")
    ],
    output: Annotated[str | None, typer.Option("-o", "--output", help="Where the labels of a file go: .jsonl or .parquet.")] = None,
    space: Annotated[str, typer.Option("--space", help="market1501, pa100k, or a YAML file of your own.")] = "market1501",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the attributes of a caption with the words that decided them, or label a file of captions line by line."""
    from mals.errors import UserError
    from mals.labeller import explain as library

    if library.is_file(caption):
        count = library.label_file(caption, output, space)
        if output not in (None, "-"):
            typer.echo(f"{count:,} captions are labelled in {output}")
        return
    if output is not None:
        raise UserError(f"-o is for files of captions, and there is no file {caption[:60]!r}")
    found = library.explain(caption, space)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        _show(found)


STYLES = {"explicit": "bold green", "implicit": "cyan", "unknown": "dim"}


def _show(found: dict[str, Any]) -> None:
    """A line an attribute; the words that decided are underlined in the caption."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    caption = Text(found["caption"])
    table = Table(box=None, pad_edge=False)
    for column in ("attribute", "value", "", "source", "decided by"):
        table.add_column(column)
    for attribute in found["attributes"]:
        style = STYLES[attribute["source"]]
        for word in attribute["evidence"]:
            caption.stylize(f"underline {style}", word["start"], word["end"])
        words = ", ".join(word["text"] for word in attribute["evidence"])
        cells = (attribute["name"], str(attribute["value"]), attribute["says"], attribute["source"], words)
        table.add_row(*(Text(cell, style) for cell in cells))
    console = Console(highlight=False)
    console.print(caption)
    console.print(table)

"""`mals explain`: the labels of a caption and the words that decided them, and what became of one row of a run."""

from typing import Annotated, Any

import typer

from cli.output import print_json
from cli.stages import CaptionColumn, Encoding
from cli.streams import visible


def register(app: typer.Typer) -> None:
    app.command()(explain)


def explain(
    caption: Annotated[
        str,
        typer.Argument(
            help="A caption, a file of captions (.txt, .csv, .jsonl, .parquet, .json), - for standard input, or with ROW a run."
        ),
    ],
    row: Annotated[str | None, typer.Argument(help="The id of a row of the run: its numbers, and what became of it.")] = None,
    output: Annotated[str | None, typer.Option("-o", "--output", help="The file for the labels of a file: .jsonl or .parquet.")] = None,
    space: Annotated[str, typer.Option("--space", help="The attribute space: market1501, pa100k, or your own YAML file.")] = "market1501",
    caption_column: CaptionColumn = None,
    encoding: Encoding = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the attribute labels of a caption and the words that decided them, label a file of captions, or show one row of a run."""
    from mals.errors import UserError
    from mals.labeller import explain as labeller
    from mals.planning.caption_files import CaptionsForm
    from mals.stages import label_file

    if row is not None:
        _explain_row(caption, row, as_json)
        return
    if label_file.is_caption_file(caption):
        count = label_file.label_file(caption, output, space, CaptionsForm(encoding, caption_column))
        if output not in (None, "-"):
            typer.echo(f"{count:,} captions are labelled in {output}")
        return
    if output is not None:
        raise UserError(f"-o is for files of captions, and there is no file {caption[:60]!r}")
    explanation = labeller.explain(caption.encode("utf-8", "surrogateescape").decode("utf-8", "replace"), space)  # bytes of the shell
    if as_json:
        print_json(explanation)
    else:
        _show(explanation)


def _explain_row(url: str, row_id: str, as_json: bool) -> None:
    """What became of a row, its numbers, and the labels of its caption."""
    from mals.grid.row import row_facts
    from mals.grid.run import Run
    from mals.labeller import explain as labeller

    run = Run.open(url)
    facts = row_facts(run, row_id)
    caption = facts.values.get("caption")
    labels = labeller.explain(caption, run.config.label.space) if caption else None
    if as_json:
        print_json(facts.to_json() | {"labels": labels})
        return
    print(visible(facts.sentence()))
    for name, value in facts.values.items():
        if value is not None and not isinstance(value, list | dict):
            print(f"    {name}: {visible(f'{value:.4g}' if isinstance(value, float) else str(value))}")
    if labels is not None:
        _show(labels)


STYLES = {"explicit": "bold green", "implicit": "cyan", "unknown": "dim"}


def _show(explanation: dict[str, Any]) -> None:
    """One line for each attribute; the words that decided are underlined in the caption."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    caption = Text(visible(explanation["caption"]))
    table = Table(box=None, pad_edge=False)
    for column in ("attribute", "value", "", "source", "evidence"):
        table.add_column(column)
    for attribute in explanation["attributes"]:
        style = STYLES[attribute["source"]]
        for word in attribute["evidence"]:
            caption.stylize(f"underline {style}", word["start"], word["end"])
        words = ", ".join(word["text"] for word in attribute["evidence"])
        cells = (attribute["name"], str(attribute["value"]), attribute["value_name"], attribute["source"], words)
        table.add_row(*(Text(cell, style) for cell in cells))
    console = Console(highlight=False)
    console.print(caption)
    console.print(table)

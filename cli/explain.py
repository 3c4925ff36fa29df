"""`mals explain`: the attributes of one caption, with the words that decided."""

import json
from typing import Annotated

import typer

from cli.stages import Json


def register(app: typer.Typer) -> None:
    app.command()(explain)


def explain(
    caption: Annotated[str, typer.Argument(metavar="CAPTION", help="A sentence about a person.")],
    space: Annotated[str, typer.Option("--space", help="An attribute space by name, or a YAML file.")] = "market1501",
    as_json: Json = False,
) -> None:
    """The attributes of a caption, with value, source and the words that decided."""
    from mals.label import explained

    rows = explained(caption, space)
    print(json.dumps(rows) if as_json else "\n".join(f"{r['attribute']:16} {r['value']:8} {r['source']:9} {r['words']}" for r in rows))

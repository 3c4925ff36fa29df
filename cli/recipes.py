"""The command that lists the presets of a run."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import show
from cli.stages import Json

if TYPE_CHECKING:
    from mals.settings import Recipe

WIDTH = 110  # characters of a value that are shown


def register(app: typer.Typer) -> None:
    app.command()(recipes)


def recipes(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A preset, of which the file is printed.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """The presets of a run: what each is, and what it changes in the preset that it is based on."""
    from mals.settings import presets, recipe, recipe_text

    if name is not None:
        show(recipe(name).to_json(), recipe_text(name).rstrip("\n"), as_json)
        return
    listed = [recipe(preset) for preset in presets()]
    listed.sort(key=lambda entry: (entry.base is not None, entry.name))
    show([entry.to_json() for entry in listed], "\n\n".join(map(described, listed)), as_json)


def described(recipe: "Recipe") -> str:
    """A recipe as text: its name, base and summary, then each setting."""
    lines = [f"{recipe.name}{f' (based on {recipe.base})' if recipe.base else ''}: {recipe.summary}"]
    for setting, value in recipe.changes.items():
        text = json.dumps(value, ensure_ascii=False)
        lines.append(f"    {setting}: {text if len(text) <= WIDTH else text[: WIDTH - 1] + '…'}")
    return "\n".join(lines)

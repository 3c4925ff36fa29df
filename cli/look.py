"""The command that shows a run, a packed set, a folder of images or trainings in a browser: look."""

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command()(look)


def look(
    places: Annotated[
        list[str],
        typer.Argument(metavar="PLACE...", help="A run, a packed set or a folder of images, and any trainings; paths or URLs."),
    ],
    port: Annotated[int | None, typer.Option("--port", min=1, max=65535, help="Default: the first from 8710 on that is free.")] = None,
    host: Annotated[
        str, typer.Option("--host", help="The address to listen on; on any but this machine's own a token is needed, which is printed.")
    ] = "127.0.0.1",
    show: Annotated[bool, typer.Option("--open", help="Open a browser.")] = False,
) -> None:
    """Pages to look at it, also while a run goes on: progress, thresholds, images, captions, balance, persons, curves. Ctrl-C ends it."""
    from mals.errors import UserError

    try:
        from mals.look.server import serve
    except ModuleNotFoundError as error:
        raise UserError(f"mals look needs the package {error.name}; install it with `pip install 'mals[look]'`") from None
    serve(places, host, port, show)

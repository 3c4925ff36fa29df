"""The command that shows a run, a packed set, a folder of images or trainings in a browser: look."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mals.look.search import SearchMethod
    from mals.look.source import Source


def register(app: typer.Typer) -> None:
    app.command()(look)


def look(
    places: Annotated[
        list[str],
        typer.Argument(metavar="PLACE...", help="A run, a packed set or a folder of images, and any trainings; paths or URLs."),
    ],
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method", "-m", metavar="CHECKPOINT", help="A trained method to search with, as of `mals search`; repeat it for side by side."
        ),
    ] = None,
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
    serve(places, host, port, show, (lambda source: _open_methods(method, source)) if method else None)


def _open_methods(places: "Sequence[str]", source: "Source") -> "Sequence[SearchMethod]":
    """The trained methods at these places, which search the images of `source`."""
    from mals.look.training import names_of
    from pretrain import ranks, trained_method
    from pretrain.page_search import TrainedSearch

    device = ranks.start()
    opened = [trained_method.read(place, device=device) for place in places]
    return [TrainedSearch(name, trained, source) for name, trained in zip(names_of(places), opened, strict=True)]

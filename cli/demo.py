"""`mals demo`: a small data set, a method trained on it, its scores and three searches; the same command resumes it."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.targets import check_folder

START = """The demo makes a small data set, trains a tiny method on it, evaluates it and searches three sentences.
It takes 15 to 30 minutes on two free CPU cores, and needs no GPU and no network. It can be stopped: the same command resumes it."""
NEXT = """
Next:
  your own captions    mals plan my-set --captions captions.txt, then mals run my-set
  your own images      mals search {run}/pretrain "a man with a hat" --data FOLDER
  another sentence     mals search {run}/pretrain "a child in a hat" --data {run}/demo/test-set
  in Python            pretrain.load("{run}/pretrain"), see docs/python.md
The embedded models and this method only know drawn persons. Real sizes, models and data: docs/own-images.md and docs/pretrain.md."""


def register(app: typer.Typer) -> None:
    app.command()(demo)


def demo(run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of the demo.")] = Path("demo-run")) -> None:
    """Make a small data set with the embedded models, train a tiny method on it, and show its scores and searches. Resumable."""
    from mals.grid.run import RunFailed
    from pretrain import demo as demonstration
    from pretrain.train import Stopped

    check_folder(run, "RUN")
    print(START, flush=True)
    try:
        result = demonstration.demo(run, announce=lambda text: print(f"\n{text}", flush=True))
    except RunFailed as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        raise typer.Exit(128 + stopped.number) from None
    print(f"\n{result.text()}\n{NEXT.format(run=run)}")

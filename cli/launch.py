"""What the commands about methods share: their data, and running on several GPUs."""

import signal
import sys
from typing import Annotated

import typer

from cli import output

PLACES = "A packed data set (folder, Parquet file, hub id) or a JSON list (LIST.json:DIR names its images' folder); again for several."
Data = Annotated[list[str], typer.Option("--data", help=PLACES)]
KILLED = 128  # + the signal: the exit code of a process that it ended, which may have printed nothing
Gpus = Annotated[int | None, typer.Option("--gpus", min=1, help="Processes on this machine, one a GPU.")]


def on_gpus(gpus: int | None) -> None:
    """Run the command that was given in `gpus` processes and end with their exit code; go on where it is one of them, or alone."""
    from pretrain import ranks

    if gpus is None or gpus == 1 or ranks.launched():
        return
    require(gpus)
    code = ranks.launch(gpus, ["-m", "cli.main", *sys.argv[1:]])
    output.printed = code < KILLED or code - KILLED in (signal.SIGINT, signal.SIGTERM)  # which the processes catch
    raise typer.Exit(code)


def require(gpus: int) -> None:
    """UserError where this machine has fewer."""
    import torch

    from mals.errors import UserError

    if not torch.cuda.is_available():
        raise UserError(f"--gpus {gpus}: this machine has no GPU; without --gpus the command runs on the CPU")
    if torch.cuda.device_count() < gpus:
        raise UserError(f"--gpus {gpus}: this machine has {torch.cuda.device_count()}")

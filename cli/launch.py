"""A command on several GPUs: itself, once a GPU."""

import sys


def on_gpus(gpus: int | None) -> None:
    """Run the command that was given in `gpus` processes and end with their exit code; go on where it is one of them, or alone."""
    import typer

    from pretrain import ranks

    if gpus is None or gpus == 1 or ranks.launched():
        return
    require(gpus)
    raise typer.Exit(ranks.launch(gpus, ["-m", "cli.main", *sys.argv[1:]]))


def require(gpus: int) -> None:
    """UserError where this machine has fewer."""
    import torch

    from mals.errors import UserError

    if not torch.cuda.is_available():
        raise UserError(f"--gpus {gpus}: this machine has no GPU; without --gpus the command runs on the CPU")
    if torch.cuda.device_count() < gpus:
        raise UserError(f"--gpus {gpus}: this machine has {torch.cuda.device_count()}")

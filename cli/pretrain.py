"""`mals pretrain`: train a method on packed data sets; the same command goes on."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.launch import Data, Gpus, on_gpus
from cli.stages import Sets
from cli.targets import check_folder


def register(app: typer.Typer) -> None:
    app.command()(pretrain)


def pretrain(
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="The folder of the training.")],
    preset: Annotated[
        str | None, typer.Option("--preset", "-p", help="aptm, irra-pretrain, rde-pretrain, tiny, tiny-METHOD ..., or own for your method.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="A YAML file of settings.")] = None,
    gpus: Gpus = None,
    sets: Sets = None,
) -> None:
    """Train a method on packed data sets; give the command again to go on from the last checkpoint."""
    from pretrain import ranks
    from pretrain.train import Stopped, train

    check_folder(out, "--out")
    settings = training_settings(preset, config, sets or [])
    on_gpus(gpus)
    try:
        last = train(settings, data, out)
    except Stopped as stopped:
        if ranks.is_main():
            print(stopped, file=sys.stderr)
        raise typer.Exit(128 + stopped.number) from None
    if ranks.is_main():
        print(f"{out}/model.safetensors: {last.get('step', 0):,} steps, loss {last.get('loss', float('nan')):.3f}")


def training_settings(preset: str | None, file: Path | None, sets: list[str]) -> Any:
    from pretrain import settings

    tree = settings.read(file)
    if preset is not None:
        tree = {**tree, "preset": preset}
    tree.setdefault("preset", "aptm")
    return settings.check(settings.assign(tree, sets))

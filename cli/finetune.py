"""`mals finetune`: train a pretrained method further on one data set; the same command resumes it."""

import json
import logging
from pathlib import Path
from typing import Annotated

import typer

from cli.launch import Data, Gpus, on_gpus
from cli.output import show
from cli.stages import Json, Sets
from cli.targets import check_folder

log = logging.getLogger("mals.cli")


def register(app: typer.Typer) -> None:
    app.command()(finetune)


def finetune(
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="The folder of the training.")],
    preset: Annotated[
        str, typer.Option("--preset", "-p", help="cuhk (of aptm), irra-cuhk, rde-icfg, uit-rstp ..., dpti-market, tiny-METHOD.")
    ],
    init: Annotated[
        str | None,
        typer.Option("--init", help="Initial weights: a training, release, checkpoint or file, others' included; default: none."),
    ] = None,
    select: Annotated[
        str | None, typer.Option("--select", help="The split that selects the checkpoint: val, or test as papers do.")
    ] = None,
    val_share: Annotated[float | None, typer.Option("--val-share", help="Share of the identities of train to hold out as val.")] = None,
    config: Annotated[Path | None, typer.Option("--config", help="A YAML file of settings.")] = None,
    gpus: Gpus = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Fine-tune on a packed data set: keep the best checkpoint on val, and measure it on test. Give the command again to resume."""
    from pretrain import ranks
    from pretrain.finetune import configure
    from pretrain.finetune import finetune as run
    from pretrain.selection import RESULT, summary
    from pretrain.train import Stopped

    check_folder(out, "--out")
    settings = configure(preset, config, sets or [], init, select, val_share)
    on_gpus(gpus)
    try:
        run(settings, data, out)
    except Stopped as stopped:
        if ranks.is_main():
            log.error("%s", stopped)
        raise typer.Exit(128 + stopped.number) from None
    if ranks.is_main():
        result = json.loads((out / RESULT).read_text(encoding="utf-8"))
        show(result, f"{out}/model.safetensors: {summary(result)}", as_json)

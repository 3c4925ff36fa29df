"""The commands that make a run: plan, each stage, run."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="The run's folder, or a URL such as s3://bucket/run.")]
Sets = Annotated[list[str] | None, typer.Option("--set", "-s", metavar="a.b=c", help="A setting; it is kept in RUN/mals.yaml.")]
Part = Annotated[str | None, typer.Option("--shards", metavar="i/n", help="Only part i of n (i from 0), for job arrays.")]
Rerun = Annotated[
    str | None,
    typer.Option("--rerun", metavar="STAGE", help="Allow this stage, and those after it, to be made again where settings changed."),
]
Retry = Annotated[bool, typer.Option("--retry-errors", help="Make shards again that have failed rows.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Json = Annotated[bool, typer.Option("--json", help="The result as JSON on stdout.")]

STAGES = {
    "generate": "Pictures from prompts, and everything before.",
    "safety": "Score every picture with the safety checker that is configured.",
    "crop": "Keypoints, person boxes and crops, and everything before.",
    "caption": "Captions of the crops, and everything before.",
}


def register(app: typer.Typer) -> None:
    app.command()(init)
    app.command()(plan)
    for name, text in STAGES.items():
        app.command(name, help=text)(_stage_command(name))
    app.command("filter")(filter_)
    app.command()(label)
    app.command()(run)


def plan(
    run: RunArgument,
    captions: Annotated[
        Path | None,
        typer.Option("--captions", "-c", help="One caption a line (.txt), .csv, .jsonl, .parquet, or the JSON of a public data set."),
    ] = None,
    count: Annotated[int | None, typer.Option("--count", "-n", help="Rows in all: captions are repeated in turn with new seeds.")] = None,
    images: Annotated[Path | None, typer.Option("--images", help="The folder of the pictures that the file names: image-to-image.")] = None,
    preset: Annotated[str | None, typer.Option("--preset", "-p", help="tiny, mals or modern.")] = None,
    config: Annotated[Path | None, typer.Option("--config", help="A YAML file of settings.")] = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Fix every sample of a new run, id, prompt and seed, before any model is loaded."""
    from mals.planning.create import create

    receipt = create(run, captions=captions, count=count, images=images, preset=preset, file=config, sets=sets or [])
    if as_json:
        print(json.dumps(receipt))
        return
    cut = receipt.get("prompts_cut")
    print(f"{receipt['rows']:,} rows in {-(-receipt['rows'] // receipt['shard_rows']):,} shards are planned in {run}")
    if cut:
        print(
            f"{cut:,} prompts are longer than the {receipt['token_limit']} tokens of the text encoder; what is beyond has no effect",
            file=sys.stderr,
        )
    elif cut is None:
        print("prompt lengths were not checked, since the generator's tokenizer is not at hand", file=sys.stderr)


def init(
    run: RunArgument,
    preset: Annotated[str, typer.Option("--preset", "-p", help="tiny, mals or modern.")] = "tiny",
    count: Annotated[int, typer.Option("--count", "-n", help="Rows in all.")] = 1200,
    as_json: Json = False,
) -> None:
    """Plan a first run from the captions and the distribution of attributes that ship with mals; then `mals run RUN`."""
    from mals.planning.create import init as start

    receipt = start(run, preset, count)
    print(json.dumps(receipt) if as_json else f"{receipt['rows']:,} rows are planned in {run}, its settings are {run}/mals.yaml")


def _run_stages(
    run: str, upto: str, sets: list[str] | None, part: str | None, rerun: str | None, retry: bool, quiet: bool, as_json: bool
) -> None:
    from mals.grid import run as runs

    opened = runs.Run.open(run, sets or [])
    try:
        outcome = runs.run_stages(opened, upto, part=parse_part(part), rerun=rerun, retry_errors=retry, quiet=quiet)
    except runs.RunFailed as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    if as_json:
        print(json.dumps({"made": outcome.made}))
    elif not outcome.made:
        print(f"{run}: nothing to do up to {upto}")


def parse_part(text: str | None) -> tuple[int, int] | None:
    """ "0/4" as (0, 4); raises UserError for what is not a part."""
    from mals.errors import UserError

    if text is None:
        return None
    i, slash, n = text.partition("/")
    if not (slash and i.isdigit() and n.isdigit() and int(i) < int(n)):
        raise UserError(f"--shards takes i/n with i from 0 to n - 1, such as 0/4, not {text!r}")
    return int(i), int(n)


def _stage_command(name: str):
    def command(
        run: RunArgument,
        sets: Sets = None,
        part: Part = None,
        rerun: Rerun = None,
        retry: Retry = False,
        quiet: Quiet = False,
        as_json: Json = False,
    ) -> None:
        _run_stages(run, name, sets, part, rerun, retry, quiet, as_json)

    return command


def filter_(
    run: RunArgument,
    preview: Annotated[
        bool, typer.Option("--preview", help="Only show what each rule would refuse: RUN/report/filter-preview/index.html.")
    ] = False,
    sets: Sets = None,
    part: Part = None,
    rerun: Rerun = None,
    retry: Retry = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure every picture and refuse the small, grey and blurred, after everything before; --preview shows the thresholds first."""
    if not preview:
        _run_stages(run, "filter", sets, part, rerun, retry, quiet, as_json)
        return
    from mals.stages.filter_preview import preview_run

    counts, place = preview_run(run, sets or [])
    print(
        json.dumps(counts) if as_json else f"{place} shows what each rule would refuse: " + ", ".join(f"{k} {v}" for k, v in counts.items())
    )


def label(
    run: RunArgument,
    stats: Annotated[bool, typer.Option("--stats", help="Only print the labels' counts, sources and agreement.")] = False,
    sets: Sets = None,
    part: Part = None,
    rerun: Rerun = None,
    retry: Retry = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Attributes from the captions, and everything before; --stats counts them."""
    if not stats:
        _run_stages(run, "label", sets, part, rerun, retry, quiet, as_json)
        return
    from mals.grid.run import Run
    from mals.stages.label_statistics import label_table, stats_of

    found = stats_of(Run.open(run, sets or []))
    print(json.dumps(found) if as_json else label_table(found))


def run(
    run: RunArgument,
    sets: Sets = None,
    part: Part = None,
    rerun: Rerun = None,
    retry: Retry = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Everything that is missing, to the packed data set; give it again to resume."""
    from mals.dataset.pack import pack
    from mals.grid import run as runs
    from mals.grid.progress import packing

    opened = runs.Run.open(run, sets or [])
    try:
        outcome = runs.run_stages(opened, "label", part=parse_part(part), rerun=rerun, retry_errors=retry, quiet=quiet)
    except runs.RunFailed as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    if part is not None:
        print(json.dumps({"made": outcome.made}) if as_json else f"part {part} of {run} is done; `mals pack {run}` when all parts are")
        return
    packed = pack(opened, progress=None if quiet else packing())
    print(json.dumps({"made": outcome.made, "pack": packed.to_json()}) if as_json else f"{run}/dataset: {packed.summary()}")

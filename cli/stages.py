"""The commands that make a run: plan, each stage, run."""

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from cli.output import print_json, show

if TYPE_CHECKING:
    from mals.grid.plan import PlanReceipt
    from mals.grid.run import Run, RunOutcome

log = logging.getLogger("mals.cli")

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="The run's folder, or a URL such as s3://bucket/run.")]
Sets = Annotated[list[str] | None, typer.Option("--set", "-s", metavar="a.b=c", help="A setting; it is kept in RUN/mals.yaml.")]
Shards = Annotated[
    str | None,
    typer.Option("--shards", metavar="i/n", help="Only part i of n (i from 0), for job arrays; auto: what SLURM or Kubernetes says."),
]
On = Annotated[
    str | None,
    typer.Option("--on", metavar="PLACE", help="local, ray=HOST:PORT, or ray; for this command, in place of the setting run.on."),
]
Rerun = Annotated[
    str | None,
    typer.Option("--rerun", metavar="STAGE", help="Allow this stage, and those after it, to be made again where settings changed."),
]
Retry = Annotated[bool, typer.Option("--retry-errors", help="Make shards again that have failed rows.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
CaptionColumn = Annotated[
    str | None, typer.Option("--caption-column", metavar="NAME", help="The column, or key, of the captions; caption by default.")
]
IdColumn = Annotated[str | None, typer.Option("--id-column", metavar="NAME", help="The column, or key, of the ids; id by default.")]
ImageColumn = Annotated[
    str | None, typer.Option("--image-column", metavar="NAME", help="The column, or key, of the initial images; init_image by default.")
]
Encoding = Annotated[
    str | None, typer.Option("--encoding", metavar="NAME", help="Of a captions file without a mark that is not UTF-8, such as cp1252.")
]
Json = Annotated[bool, typer.Option("--json", help="The result as JSON on stdout.")]

STAGES = {
    "generate": "Images from prompts.",
    "ingest": "Images that exist, as planned with --ingest: decoded, checked, and stored without their metadata.",
    "safety": "Score every image with the safety checker of the settings.",
    "crop": "Keypoints, person boxes and crops, and everything before.",
    "quality": "Score every crop by the models of quality.watermark and quality.aesthetic, and everything before.",
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


@dataclass
class Work:
    """The options of every command that works on a run; the annotations are what Typer shows."""

    sets: Sets = None
    shards: Shards = None
    on: On = None
    rerun: Rerun = None
    retry: Retry = False
    quiet: Quiet = False
    as_json: Json = False

    def open(self, run: str) -> "Run":
        from mals.grid.run import Run

        return Run.open(run, self.sets or [])

    def run_stages(self, run: "Run", upto: str | None = None) -> "RunOutcome":
        """The outcome of `run_stages` with these options; exits with 1 where shards failed."""
        from mals.grid.run import RunFailed, run_stages

        try:
            part, on = self.part(), self.place()
            return run_stages(run, upto, part=part, rerun=self.rerun, retry_errors=self.retry, on=on, quiet=self.quiet)
        except RunFailed as error:
            log.error("%s", error)
            raise typer.Exit(1) from None

    def part(self) -> tuple[int, int] | None:
        """The part that --shards names; raises UserError."""
        from cli.parts import parse_part

        return parse_part(self.shards)

    def place(self) -> str | None:
        """The place that --on names; raises UserError."""
        if self.on is None:
            return None
        from mals.errors import UserError
        from mals.execution import check_place

        try:
            return check_place(self.on)
        except ValueError as error:
            raise UserError(f"--on {self.on}: {error}") from None

    def refuse_with(self, option: str) -> None:
        """Raise UserError where options for making shards are given together with `option`, which makes none."""
        from mals.errors import UserError

        options = {"--shards": self.shards is not None, "--on": self.on is not None}
        options |= {"--rerun": self.rerun is not None, "--retry-errors": self.retry}
        if names := [name for name, there in options.items() if there]:
            raise UserError(f"{option} looks at the shards that are there and makes none, so {' and '.join(names)} cannot go with it")

    def finish_stage(self, run: str, upto: str) -> None:
        """Run the stages up to `upto` and print what was made."""
        outcome = self.run_stages(self.open(run), upto)
        if self.as_json:
            print_json({"new_cells": outcome.new_cells} | ({"waiting": outcome.waiting} if outcome.waiting else {}))
        elif outcome.waiting or not outcome.new_cells:
            print(f"{run}: {outcome.waiting or f'nothing to do up to {upto}'}")


def with_work_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of `Work` after its own; it gets them as its last argument `work`."""
    own = [parameter for name, parameter in inspect.signature(command).parameters.items() if name != "work"]
    shared = inspect.signature(Work).parameters

    def wrapper(**values: Any) -> None:
        work = Work(**{name: values.pop(name) for name in shared})
        command(**values, work=work)

    hints = get_type_hints(command, include_extras=True) | get_type_hints(Work, include_extras=True)
    wrapper.__annotations__ = {name: hint for name, hint in hints.items() if name != "work"}
    wrapper.__signature__ = inspect.Signature([*own, *shared.values()])  # type: ignore[attr-defined]
    wrapper.__doc__ = command.__doc__
    wrapper.__name__ = command.__name__
    return wrapper


def plan(
    run: RunArgument,
    captions: Annotated[
        Path | None,
        typer.Option("--captions", "-c", help="One caption a line (.txt), .csv, .tsv, .jsonl, .parquet, or the JSON of a public data set."),
    ] = None,
    count: Annotated[int | None, typer.Option("--count", "-n", help="Rows in all: captions are repeated in turn with new seeds.")] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="The folder of the images that the file names, if not its own: image-to-image.")
    ] = None,
    caption_column: CaptionColumn = None,
    id_column: IdColumn = None,
    image_column: ImageColumn = None,
    encoding: Encoding = None,
    ingest: Annotated[
        str | None,
        typer.Option("--ingest", help="Images that exist: a folder, 'a pattern', .parquet, WebDataset .tar, or a packed set; no prompts."),
    ] = None,
    person_from: Annotated[
        str | None,
        typer.Option("--person-from", help="With --ingest: `folder`, a column, or a key of the .json gives each image's person."),
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option("--origin", help="With --ingest: what made all images, such as generated; without it the files say."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", help="With --ingest: this many images at most.")] = None,
    shuffle: Annotated[int | None, typer.Option("--shuffle", metavar="SEED", help="With --ingest: in an order drawn by SEED.")] = None,
    preset: Annotated[str | None, typer.Option("--preset", "-p", help="One of `mals recipes`.")] = None,
    config: Annotated[Path | None, typer.Option("--config", help="A YAML file of settings.")] = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Fix every sample of a new run, from captions or images, before any model is loaded."""
    from mals.planning.caption_files import CaptionsForm
    from mals.planning.create import create

    form = CaptionsForm(encoding, caption_column, id_column, image_column)
    options: dict[str, Any] = {"ingest": ingest, "person_from": person_from, "origin": origin, "limit": limit, "shuffle": shuffle}
    options |= {"preset": preset, "file": config, "assignments": sets or []}
    receipt = create(run, captions=captions, count=count, images=images, form=form, **options)
    if as_json:
        print_json(receipt.to_json())
        return
    print(f"{receipt.rows:,} rows{_persons(receipt)} in {receipt.shards:,} shards are planned in {run}")
    if receipt.left_out:
        log.warning("left out: %s", ", ".join(f"{files:,} {reason}" for reason, files in receipt.left_out.items()))
    if ingest:
        return
    if receipt.prompts_cut:
        cut = f"{receipt.prompts_cut:,} prompts are longer than the {receipt.token_limit} tokens of the text encoder"
        log.warning("%s; tokens beyond have no effect", cut)
    elif receipt.prompts_cut is None:
        log.warning("prompt lengths were not checked: the tokenizer of the generator is not on this machine")


def _persons(receipt: "PlanReceipt") -> str:
    """The persons of a plan and the images of each, where the settings give them several."""
    if receipt.persons is None:
        return ""
    views = receipt.request.settings["plan"]["views"]
    return f" ({receipt.persons:,} persons, {'' if receipt.persons * views == receipt.rows else 'up to '}{views} images each)"


def init(
    run: RunArgument,
    preset: Annotated[str, typer.Option("--preset", "-p", help="One of `mals recipes`.")] = "tiny",
    count: Annotated[int, typer.Option("--count", "-n", help="Rows in all.")] = 1200,
    as_json: Json = False,
) -> None:
    """Plan a first run from the captions and the distribution of attributes that ship with mals; then `mals run RUN`."""
    from mals.planning.create import init as plan_first_run

    receipt = plan_first_run(run, preset, count)
    show(receipt.to_json(), f"{receipt.rows:,} rows are planned in {run}, its settings are {run}/mals.yaml", as_json)


def _stage_command(name: str) -> Callable[..., None]:
    def command(run: RunArgument, work: Work) -> None:
        work.finish_stage(run, name)

    return with_work_options(command)


@with_work_options
def filter_(
    run: RunArgument,
    preview: Annotated[
        bool, typer.Option("--preview", help="Only show what each rule would refuse: RUN/report/filter-preview/index.html.")
    ] = False,
    *,
    work: Work,
) -> None:
    """Measure every image and refuse by the thresholds of the settings, after everything before; --preview shows them first."""
    if not preview:
        work.finish_stage(run, "filter")
        return
    work.refuse_with("--preview")
    from mals.stages.filter_preview import preview_run

    counts, page = preview_run(run, work.sets or [])
    refused = ", ".join(f"{rule} {rows}" for rule, rows in counts.items())
    show(counts, f"{page} shows what each rule would refuse: {refused}", work.as_json)


@with_work_options
def label(
    run: RunArgument,
    stats: Annotated[bool, typer.Option("--stats", help="Only print the labels' counts, sources and agreement.")] = False,
    *,
    work: Work,
) -> None:
    """Attributes from the captions, and everything before; --stats counts them."""
    if not stats:
        work.finish_stage(run, "label")
        return
    work.refuse_with("--stats")
    from mals.stages.label_statistics import label_table, stats_of

    statistics = stats_of(work.open(run))
    show(statistics, label_table(statistics), work.as_json)


@with_work_options
def run(run: RunArgument, *, work: Work) -> None:
    """Everything that is missing, to the packed data set; give it again to resume."""
    from mals.dataset.pack import pack
    from mals.grid.progress import log_every_ten_seconds

    opened = work.open(run)
    outcome = work.run_stages(opened)
    if part := work.part():
        done = f"part {part[0]}/{part[1]} of {run} is done"
        message = f"{done} so far: {outcome.waiting}" if outcome.waiting else f"{done}; `mals pack {run}` when all parts are"
        show({"new_cells": outcome.new_cells, "waiting": outcome.waiting}, message, work.as_json)
        return
    packed = pack(opened, progress=None if work.quiet else log_every_ten_seconds("pack", "files"))
    summary = {"new_cells": outcome.new_cells, "pack": packed.to_json()}
    show(summary, f"{run}/dataset: {packed.summary()}", work.as_json)

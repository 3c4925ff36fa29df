"""The commands that measure a trained method: evaluate, zeroshot; `cli.search` shares their options."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.launch import Data, Gpus, on_gpus
from cli.output import json_text, show
from cli.stages import Json, Sets
from cli.targets import check_file

if TYPE_CHECKING:
    from pretrain.results import Evaluation

Checkpoint = Annotated[
    str,
    typer.Argument(
        metavar="CHECKPOINT", help="The folder of a training or release, one of its checkpoints, hf://OWNER/NAME, or a file of weights."
    ),
]
Split = Annotated[str | None, typer.Option("--split", help="Which split of packed data; default: test, or the only one.")]
Rerank = Annotated[
    str | None,
    typer.Option(
        "--rerank",
        help="How the best images by cosine are re-ranked: itm (matching logit), published (logit + 8 x cosine; attributes by the matching "
        "logit alone), attributes (cosine, and the attributes that the words name) or none; default: that of its training for attributes "
        "and none, else itm if the method has a cross encoder.",
    ),
]
Best = Annotated[int, typer.Option("--k", min=1, help="Images of a caption that are re-ranked.")]
Preset = Annotated[
    str | None, typer.Option("--preset", "-p", help="For a file of weights: its method and sizes; default: those of its project.")
]
PROTOCOL_HELP = "in place of --split: a test as its authors measure it, such as cuhk-pedes, ufine3c, tag-pedes, aeri-pedes, pab or ucc."
Batch = Annotated[int, typer.Option("--batch", min=1, help="Images in a batch.")]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Processes that read images.")]

LABELS: dict[bool | None, Literal["required", "optional", "none"]] = {True: "required", None: "optional", False: "none"}
TASKS = ("retrieval", "attributes", "reid", "search")
RANKING = ("R1", "R5", "R10", "mAP", "mINP")
SIMILARITY = ("mSD", "mSD_as_published")  # where they were measured
MODES = ("itm", "published", "attributes", "none")
ADVICE = "lower --batch, or --workers"  # if memory runs out


def register(app: typer.Typer) -> None:
    app.command()(evaluate)
    app.command()(zeroshot)


def evaluate(
    checkpoint: Checkpoint,
    data: Data,
    split: Split = None,
    task: Annotated[
        str | None,
        typer.Option("--task", help="retrieval (by text), attributes, reid (by image), search; default: all that is possible."),
    ] = None,
    query: Annotated[
        str | None,
        typer.Option("--query", help="For reid: the split of the queries; default: query if there is one, else every image of --split."),
    ] = None,
    rerank: Rerank = None,
    k: Best = 128,
    attributes: Annotated[
        bool | None, typer.Option("--attributes/--no-attributes", help="Attribute recognition; default: if there are labels.")
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain-captions", help="Captions reduced as the set's authors do it, of other sets to a-z and 0-9.")
    ] = False,
    protocol: Annotated[str | None, typer.Option("--protocol", metavar="NAME", help=f"By name, {PROTOCOL_HELP}")] = None,
    msd: Annotated[
        bool | None, typer.Option("--msd/--no-msd", help="Mean similarity distribution too; default: where the set's authors measure it.")
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", help="A file for the result as JSON.")] = None,
    preset: Preset = None,
    batch: Batch = 64,
    workers: Workers = 2,
    gpus: Gpus = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Measure retrieval by text or by image, search for colours, and attribute recognition of a method, with the protocol in words."""
    from pretrain import evaluate as evaluation
    from pretrain import ranks, text_scores, trained_method
    from pretrain.memory import explain_out_of_memory

    requested, one_task = rerank_mode(rerank), _task(task, protocol)
    check_file(to, "--to")
    on_gpus(gpus)
    with ranks.explain_lost_peer(), explain_out_of_memory(ADVICE, "--workers"):
        device = ranks.start()
        with ranks.raise_on_all_ranks():
            trained = trained_method.read(checkpoint, sets or [], preset, device)
            mode = text_scores.resolve_rerank(trained, requested)
            labels = LABELS[attributes]
            split, plain = _split(data, split, plain, protocol)
            options = {"batch": batch, "workers": workers, "plain": plain, "similarity_distribution": msd, "task": one_task, "query": query}
            gallery = evaluation.open_gallery(trained, data, split, labels, **options)
        scores = evaluation.evaluate(trained, gallery, mode, k, one_task)
    named = {} if protocol is None else {"protocol": protocol}
    result = {"checkpoint": checkpoint, "data": data, "split": split, **named, "rerank": mode, "k": k, **scores.to_json()}
    if ranks.is_main():
        if to is not None:
            to.write_text(json_text(result, 2) + "\n", encoding="utf-8")
        show(result, "\n".join(score_lines(scores)), as_json)
    ranks.stop()


def zeroshot(
    checkpoint: Checkpoint,
    data: Annotated[list[str], typer.Option("--data", help="A packed data set, such as from `mals import`; repeat for each.")],
    split: Split = None,
    rerank: Rerank = None,
    k: Best = 128,
    plain: Annotated[
        bool,
        typer.Option(
            "--plain-captions", help="Captions reduced as the set's authors do it (so does --rerank published), or to a-z and 0-9."
        ),
    ] = False,
    protocol: Annotated[
        list[str] | None, typer.Option("--protocol", metavar="NAME", help=f"By name, {PROTOCOL_HELP} Repeat for several.")
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", help="A file for the result as JSON.")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="A file for the table, which is not printed then.")] = None,
    preset: Preset = None,
    batch: Batch = 64,
    workers: Workers = 2,
    gpus: Gpus = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Evaluate on several data sets without fine-tuning, as one table: retrieval with captions, recognition with labels."""
    from pretrain import ranks, text_scores, trained_method
    from pretrain import zeroshot as zero_shot
    from pretrain.memory import explain_out_of_memory

    requested = rerank_mode(rerank)
    check_file(to, "--to")
    check_file(markdown, "--markdown")
    on_gpus(gpus)
    with ranks.explain_lost_peer(), explain_out_of_memory(ADVICE, "--workers"):
        device = ranks.start()
        with ranks.raise_on_all_ranks():
            trained = trained_method.read(checkpoint, sets or [], preset, device)
            mode = text_scores.resolve_rerank(trained, requested)
        names, progress = protocol or (), _print_name
        scores = zero_shot.zeroshot(
            trained, data, split, mode, k, batch=batch, workers=workers, plain=plain, protocols=names, progress=progress
        )
    result = {"checkpoint": checkpoint, **scores.to_json()}
    if ranks.is_main():
        table = zero_shot.markdown(scores)
        for file, text in ((to, json_text(result, 2) + "\n"), (markdown, table)):
            if file is not None:
                file.write_text(text, encoding="utf-8")
        if as_json or markdown is None:
            show(result, table.rstrip("\n"), as_json)
    ranks.stop()


def _print_name(name: str) -> None:
    from pretrain import ranks

    if ranks.is_main():
        print(f"{name} ...", file=sys.stderr, flush=True)


def rerank_mode(rerank: str | None) -> Any:
    from mals.errors import UserError

    if rerank is not None and rerank not in MODES:
        raise UserError(f"--rerank takes {', '.join(MODES[:-1])} or {MODES[-1]}, not {rerank}")
    return rerank


def _split(data: list[str], split: str | None, plain: bool, protocol: str | None) -> tuple[str, bool]:
    """The split that is measured, and whether captions are reduced: as requested, or as a named protocol has it."""
    from pretrain.data.splits import choose_split
    from pretrain.retrieval_protocol import named_protocol

    if protocol is None:
        return choose_split(data, split), plain
    published = named_protocol(protocol, data, split)
    return published.split, plain or published.plain


def _task(task: str | None, protocol: str | None) -> Any:
    """The task; that of a named protocol is retrieval."""
    from mals.errors import UserError

    if protocol is not None and task not in (None, "retrieval"):
        raise UserError(f"--protocol {protocol} measures retrieval, not {task}; leave --task out")
    if protocol is not None:
        return "retrieval"

    if task is not None and task not in TASKS:
        raise UserError(f"--task takes {', '.join(TASKS[:-1])} or {TASKS[-1]}, not {task}")
    return task


def score_lines(scores: "Evaluation") -> list[str]:
    """The scores of a split for a reader, in percent."""
    lines = []
    if retrieval := scores.retrieval:
        measured = [*RANKING, *(name for name in SIMILARITY if getattr(retrieval, name) is not None)]
        lines += ["  ".join(f"{name} {100 * getattr(retrieval, name):.2f}" for name in measured)]
        counts = f"{retrieval.captions:,} captions, {retrieval.images:,} images, {retrieval.identities:,} identities"
        lines += [f"    {counts}; {retrieval.protocol}"]
    if attributes := scores.attributes:
        names = {"mA": "mA", "accuracy": "accuracy", "precision": "precision", "recall": "recall", "F1": "f1"}
        lines += ["  ".join(f"{name} {100 * getattr(attributes, key):.2f}" for name, key in names.items())]
        lines += [f"    {attributes.images:,} images; {attributes.protocol}"]
        lines += [f"    {name:<16} mA {100 * row['mA']:6.2f}" for name, row in attributes.per_attribute.items() if row["mA"] is not None]
    if identification := scores.identification:
        lines += ["  ".join(f"{name} {100 * getattr(identification, name):.2f}" for name in RANKING)]
        counts = f"{identification.queries:,} queries, {identification.images:,} images, {identification.identities:,} identities"
        lines += [f"    {counts}; {identification.protocol}"]
    if search := scores.search:
        lines += [f"attribute precision of search: {search.sentence()}"]
        lines += [f"    {search.images:,} images; {search.protocol}"]
    for protocol, row in scores.more.items():
        lines += [f"{protocol}: {', '.join(f'{name} {value}' for name, value in row.items())}"]
    return [*lines, *scores.left_out]

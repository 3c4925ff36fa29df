"""The commands that ask a trained method: evaluate, zeroshot, search."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.launch import Data, Gpus, on_gpus
from cli.stages import Json, Sets
from cli.targets import check_file

Checkpoint = Annotated[
    str,
    typer.Argument(
        metavar="CHECKPOINT", help="The folder of a training or release, one of its checkpoints, hf://OWNER/NAME, or a file of weights."
    ),
]
Split = Annotated[str, typer.Option("--split", help="Which split of packed data.")]
Rerank = Annotated[
    str | None,
    typer.Option(
        "--rerank",
        help="itm, published or none: how the best by cosine are ordered; published: attributes by matching alone. "
        "Where not given: itm if the method has a cross encoder.",
    ),
]
Best = Annotated[int, typer.Option("--k", min=1, help="Pictures of a text that the cross encoder looks at.")]
Preset = Annotated[str | None, typer.Option("--preset", "-p", help="Whose sizes a file of weights has; aptm-paper where not given.")]
Batch = Annotated[int, typer.Option("--batch", min=1, help="Pictures at a time.")]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Processes that read pictures.")]

MODES = ("itm", "published", "none")
ADVICE = "lower --batch, or --workers"  # where memory runs out


def register(app: typer.Typer) -> None:
    app.command()(evaluate)
    app.command()(zeroshot)
    app.command()(search)


def evaluate(
    checkpoint: Checkpoint,
    data: Data,
    split: Split = "test",
    rerank: Rerank = None,
    k: Best = 128,
    recognise: Annotated[bool | None, typer.Option("--attributes/--no-attributes", help="Where not given: if there are labels.")] = None,
    plain: Annotated[bool, typer.Option("--plain-captions", help="a-z and 0-9 alone, as published for ICFG and RSTP.")] = False,
    to: Annotated[Path | None, typer.Option("--to", help="A file for the result as JSON.")] = None,
    preset: Preset = None,
    batch: Batch = 64,
    workers: Workers = 2,
    gpus: Gpus = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """How well a trained method finds pictures by their captions, and attributes by their prompts, with the protocol in words."""
    from pretrain import evaluate as evaluation
    from pretrain import ranks, trained_method
    from pretrain.memory import explain_out_of_memory

    mode = _mode(rerank)
    check_file(to, "--to")
    on_gpus(gpus)
    with ranks.explain_lost_peer(), explain_out_of_memory(ADVICE, "--workers"):
        here = ranks.start()
        with ranks.raise_on_all_ranks():
            found = trained_method.read(checkpoint, sets or [], preset, here)
            mode = evaluation.ordering(found.method, mode)
            gallery = evaluation.open_gallery(found, data, split, recognise, batch=batch, workers=workers, plain=plain)
        result = evaluation.evaluate(found, gallery, mode, k)
    result = {"checkpoint": checkpoint, "data": data, "split": split, "rerank": mode, "k": k, **result}
    if ranks.is_main():
        if to is not None:
            to.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        print(json.dumps(result) if as_json else "\n".join(_lines(result)))
    ranks.stop()


def zeroshot(
    checkpoint: Checkpoint,
    data: Annotated[list[str], typer.Option("--data", help="A benchmark that is packed, such as by `mals import`; again for each.")],
    split: Split = "test",
    rerank: Rerank = None,
    k: Best = 128,
    plain: Annotated[
        bool, typer.Option("--plain-captions", help="a-z and 0-9 alone; with --rerank published so of ICFG and RSTP.")
    ] = False,
    to: Annotated[Path | None, typer.Option("--to", help="A file for the result as JSON.")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="A file for the table, instead of printing it.")] = None,
    preset: Preset = None,
    batch: Batch = 64,
    workers: Workers = 2,
    gpus: Gpus = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Every benchmark without fine-tuning, as one table: retrieval where there are captions, recognition where there are labels."""
    from pretrain import evaluate as evaluation
    from pretrain import ranks, trained_method
    from pretrain import zeroshot as table
    from pretrain.memory import explain_out_of_memory

    mode = _mode(rerank)
    check_file(to, "--to")
    check_file(markdown, "--markdown")
    on_gpus(gpus)
    with ranks.explain_lost_peer(), explain_out_of_memory(ADVICE, "--workers"):
        here = ranks.start()
        with ranks.raise_on_all_ranks():
            found = trained_method.read(checkpoint, sets or [], preset, here)
            mode = evaluation.ordering(found.method, mode)
        result = table.zeroshot(found, data, split, mode, k, batch=batch, workers=workers, plain=plain, progress=_tell)
    result = {"checkpoint": checkpoint, **result}
    if ranks.is_main():
        text = table.markdown(result)
        for file, written in ((to, json.dumps(result, indent=2) + "\n"), (markdown, text)):
            if file is not None:
                file.write_text(written, encoding="utf-8")
        if as_json or markdown is None:
            print(json.dumps(result) if as_json else text, end="\n" if as_json else "")
    ranks.stop()


def search(
    checkpoint: Checkpoint,
    sentence: Annotated[str, typer.Argument(metavar="SENTENCE", help="Whom to look for.")],
    data: Data,
    split: Split = "test",
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Pictures to show.")] = 10,
    rerank: Rerank = None,
    k: Best = 128,
    to: Annotated[Path, typer.Option("--to", help="The contact sheet.")] = Path("search.jpg"),
    preset: Preset = None,
    batch: Batch = 64,
    workers: Workers = 2,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """The pictures that fit a sentence best: a table of ids and scores, and a contact sheet."""
    from pretrain import evaluate as evaluation
    from pretrain import ranks, trained_method
    from pretrain import search as searching
    from pretrain.memory import explain_out_of_memory

    mode = _mode(rerank)
    check_file(to, "--to")
    with ranks.explain_lost_peer(), explain_out_of_memory(ADVICE, "--workers"):
        here = ranks.start()
        with ranks.raise_on_all_ranks():
            found = trained_method.read(checkpoint, sets or [], preset, here)
            mode = evaluation.ordering(found.method, mode)
            gallery = evaluation.open_gallery(found, data, split, False, batch=batch, workers=workers)
        hits = searching.search(found, gallery, sentence, count, mode, k)
    if ranks.is_main():
        to.write_bytes(searching.sheet(gallery, hits))
        for line in _hits(hits, to, as_json):
            print(line)
    ranks.stop()


def _hits(hits: Sequence[Any], sheet: Path, as_json: bool) -> Iterator[str]:
    """The table of a search."""
    if as_json:
        told = [{"id": hit.id, "score": hit.score, "caption": hit.caption} for hit in hits]
        yield json.dumps({"sheet": str(sheet), "hits": told})
        return
    yield from (f"{place:>3}  {hit.score:>8.4f}  {hit.id}  {hit.caption}".rstrip() for place, hit in enumerate(hits, 1))
    yield f"contact sheet: {sheet}"


def _tell(name: str) -> None:
    from pretrain import ranks

    if ranks.is_main():
        print(f"{name} ...", file=sys.stderr, flush=True)


def _mode(rerank: str | None) -> Any:
    from mals.errors import UserError

    if rerank is not None and rerank not in MODES:
        raise UserError(f"--rerank takes {', '.join(MODES[:-1])} or {MODES[-1]}, not {rerank}")
    return rerank


def _lines(result: dict[str, Any]) -> list[str]:
    """The result as a person reads it."""
    lines = []
    if found := result.get("retrieval"):
        lines += ["  ".join(f"{name} {100 * found[name]:.2f}" for name in ("R1", "R5", "R10", "mAP", "mINP"))]
        lines += [f"    {found['queries']:,} texts, {found['gallery']:,} pictures, {found['persons']:,} persons; {found['protocol']}"]
    if attributes := result.get("attributes"):
        named = [("mA", "mA"), ("accuracy", "accuracy"), ("precision", "precision"), ("recall", "recall"), ("F1", "f1")]
        lines += ["  ".join(f"{name} {100 * attributes[key]:.2f}" for name, key in named)]
        lines += [f"    {attributes['pictures']:,} pictures; {attributes['protocol']}"]
        lines += [f"    {name:<16} mA {100 * row['mA']:6.2f}" for name, row in attributes["each"].items() if row["mA"] is not None]
    if result["unreadable"]:
        lines += [f"{result['unreadable']:,} pictures could not be read and were left out"]
    return lines

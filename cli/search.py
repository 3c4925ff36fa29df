"""The commands that use a trained method: search, embed."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.launch import Data
from cli.output import json_text, print_json, show
from cli.retrieval import ADVICE, Batch, Best, Checkpoint, Preset, Rerank, Split, Workers, rerank_mode
from cli.stages import Json, Sets
from cli.streams import visible
from cli.targets import check_file

if TYPE_CHECKING:
    from pretrain.gallery import Gallery
    from pretrain.search import SearchResult

Cache = Annotated[
    bool, typer.Option("--cache/--no-cache", help="Keep the embeddings of images in .mals beside the data, and use those that fit.")
]

SHEETS = (".jpg", ".jpeg")
RESULTS = (*SHEETS, ".json", ".csv", ".txt")  # the formats of a search


def register(app: typer.Typer) -> None:
    app.command()(search)
    app.command()(embed)


def search(
    checkpoint: Checkpoint,
    data: Data,
    sentence: Annotated[str | None, typer.Argument(metavar="SENTENCE", help="A description of the person to search for.")] = None,
    queries: Annotated[
        Path | None, typer.Option("--queries", help="Sentences: one a line (.txt), the column caption of a table, or PAB's challenge.")
    ] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option("--attribute", metavar="NAME=VALUE", help="An attribute such as hat=yes, alone or beside sentences; repeat for more."),
    ] = None,
    image: Annotated[Path | None, typer.Option("--image", help="Instead of a sentence: an image of the person to search for.")] = None,
    split: Split = None,
    top: Annotated[int, typer.Option("--top", "--count", "-n", min=1, help="Images for each sentence.")] = 10,
    rerank: Rerank = None,
    k: Best = 128,
    to: Annotated[
        list[Path] | None,
        typer.Option("--to", help="A file for the result: .jpg (a contact sheet), .json, .csv, .txt; repeat it. Default: search.jpg."),
    ] = None,
    format: Annotated[Literal["text", "json", "csv"], typer.Option("--format", help="What is printed; --json is --format json.")] = "text",
    cache: Cache = True,
    preset: Preset = None,
    batch: Batch = 64,
    workers: Workers = 2,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Find the images that fit sentences, attributes or an image best: ids and scores, a contact sheet, and how many have what is named."""
    from pretrain import attribute_search, ranks, text_scores, trained_method
    from pretrain import search as searching
    from pretrain.memory import explain_out_of_memory

    requested = rerank_mode(rerank)
    sentences = _sentences(sentence, queries)
    _check_query(sentences, attribute, image)
    files = _result_files(to, several=len(sentences) > 1)
    with ranks.explain_lost_peer(), explain_out_of_memory(ADVICE, "--workers"):
        device = ranks.start()
        with ranks.raise_on_all_ranks():
            trained = trained_method.read(checkpoint, sets or [], preset, device)
            mode = text_scores.resolve_rerank(trained, requested)
            searching.require(trained, "embed" if image is None else "identify")
            attributes = attribute_search.requested_attributes(trained, attribute or [])
            gallery = searching.open_searched(trained, data, split, batch=batch, workers=workers)
            _refuse_sheet_among_images(files, gallery)
        if image is not None:
            results = [searching.search_by_image(trained, gallery, image, top, keep=cache)]
        elif sentences:
            results = [*searching.search_sentences(trained, gallery, sentences, top, mode, k, attributes=attributes, keep=cache)]
        else:
            assert attributes is not None
            results = [searching.search_attributes(trained, gallery, attributes, top, mode, k, keep=cache)]
    if ranks.is_main():
        print_result(gallery, results, files, "json" if as_json else format)
    ranks.stop()


def embed(
    checkpoint: Checkpoint,
    data: Data,
    to: Annotated[Path, typer.Option("--to", help="The file: .parquet (id, embedding), or .npy with the ids in a text file beside it.")],
    what: Annotated[Literal["image", "text"], typer.Option("--what", help="Embed the images, or their captions.")] = "image",
    split: Split = None,
    cache: Cache = True,
    preset: Preset = None,
    batch: Batch = 64,
    workers: Workers = 2,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Write the embeddings of a data set's images or captions for other programs, such as faiss and LanceDB; give it again to go on."""
    from pretrain import embed as embedding
    from pretrain import ranks, trained_method
    from pretrain.memory import explain_out_of_memory

    check_file(to, "--to")
    embedding.check_target(to)
    with explain_out_of_memory(ADVICE, "--workers"):
        trained = trained_method.read(checkpoint, sets or [], preset, ranks.start())
        of: Literal["images", "captions"] = "images" if what == "image" else "captions"
        gallery = embedding.open_embedded(trained, data, split, of, batch=batch, workers=workers)
        report = embedding.embed(trained, gallery, to, of, keep=cache)
    left_out = f"; {report.unreadable:,} could not be read and are left out" if report.unreadable else ""
    show(report.to_json(), f"{to}: {report.rows:,} embeddings of {of} with {report.width} dimensions{left_out}", as_json)


def _check_query(sentences: list[str], attribute: list[str] | None, image: Path | None) -> None:
    """UserError where there is nothing to search for, or an image and something else."""
    from mals.errors import UserError

    if image is not None and (sentences or attribute):
        raise UserError("--image is searched for alone: leave out the sentence, --queries and --attribute")
    if image is None and not sentences and not attribute:
        raise UserError("there is nothing to search for: give a sentence, --queries FILE, --attribute NAME=VALUE or --image FILE")


def _sentences(sentence: str | None, queries: Path | None) -> list[str]:
    """The sentence, and those of a file."""
    from mals.planning import caption_files
    from pretrain.datasets.pab_challenge import challenge_queries

    if queries is not None and queries.expanduser().is_dir():
        return [*([] if sentence is None else [sentence]), *challenge_queries(queries.expanduser())]
    listed = (
        [] if queries is None else [text for block in caption_files.read(queries.expanduser()) for text in block["caption"].to_pylist()]
    )
    return [*([] if sentence is None else [sentence]), *listed]


def _result_files(to: list[Path] | None, several: bool) -> list[Path]:
    """Where the result is written, by default a contact sheet if there is one sentence; UserError for other formats."""
    from mals.errors import UserError

    if not to:
        return [] if several else [Path("search.jpg")]
    for file in to:
        check_file(file, "--to")
        if file.suffix.lower() not in RESULTS:
            raise UserError(f"--to {file}: the name ends in {', '.join(RESULTS)}, which is the format")
    return to


def _refuse_sheet_among_images(files: list[Path], gallery: "Gallery") -> None:
    """UserError where a contact sheet would be one of the images that are searched the next time."""
    from mals.errors import UserError
    from pretrain.data.plain_folder import PlainFolder

    folders = [source.home.resolve() for source in gallery.dataset.sources if isinstance(source, PlainFolder)]
    for file in files:
        if file.suffix.lower() in SHEETS and any(file.resolve().is_relative_to(folder) for folder in folders):
            raise UserError(f"the contact sheet {file} would be among the images that are searched; name a file elsewhere with --to")


def print_result(gallery: "Gallery", results: "Sequence[SearchResult]", files: list[Path], format: str) -> None:
    """Write the files of a search, each in the format of its suffix, and print the result."""
    from mals.files import write_file
    from pretrain import search as searching

    value = {"files": [str(file) for file in files], "unreadable": len(gallery.unreadable), **_json(results)}
    for file in files:
        suffix = file.suffix.lower()
        if suffix in SHEETS:
            write_file(file, searching.contact_sheet_of(gallery, *results))
        elif suffix == ".txt":
            write_file(file, searching.names_of(results))
        else:
            write_file(file, searching.csv_of(results) if suffix == ".csv" else json_text(value, 2) + "\n")
    if format == "json":
        print_json(value)
    elif format == "csv":
        print(searching.csv_of(results), end="")
    else:
        print("\n".join(_hit_lines(results, files, len(gallery.unreadable))))


def _json(results: "Sequence[SearchResult]") -> dict[str, Any]:
    """One result as itself, several as a list."""
    return results[0].to_json() if len(results) == 1 else {"results": [result.to_json() for result in results]}


def _hit_lines(results: "Sequence[SearchResult]", files: list[Path], unreadable: int) -> Iterator[str]:
    """Search results for a reader."""
    for result in results:
        if len(results) > 1:
            yield visible(result.query)
        yield from (visible(f"{rank:>3}  {hit.score:>8.4f}  {hit.id}  {hit.caption}".rstrip()) for rank, hit in enumerate(result.hits, 1))
        if result.by_attributes is not None:
            yield result.by_attributes.sentence()
    if unreadable:
        yield f"{unreadable:,} images could not be read and are left out"
    for file in files:
        yield f"contact sheet: {file}" if file.suffix.lower() in SHEETS else f"result: {file}"

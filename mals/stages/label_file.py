"""`mals explain FILE`: label a file of captions line by line."""

import json
import logging
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from mals.errors import UserError
from mals.files import replacing
from mals.labeller.labeller import Labeller
from mals.planning import caption_files
from mals.planning.caption_files import AS_IT_IS, CaptionsForm
from mals.planning.text_files import open_text, text_suffix

BLOCK = 4096  # captions that are labelled together: bounds the memory for a file of any length
OUTPUT_SUFFIXES = (".jsonl", ".parquet")
SCHEMA = pa.schema([("caption", pa.string()), ("attributes", pa.list_(pa.int8())), ("attribute_source", pa.list_(pa.string()))])

log = logging.getLogger("mals.stages")


def is_caption_file(argument: str) -> bool:
    """Whether an argument of `mals explain` names a file of captions, or "-", and is not itself a caption."""
    try:
        path = Path(argument)
        return argument == "-" or path.is_file() or (" " not in argument.strip() and text_suffix(path) in caption_files.KINDS)
    except (OSError, ValueError):  # too long for a file's name, or with a null character
        return False


def read_captions(source: str, form: CaptionsForm = AS_IT_IS) -> Iterator[str]:
    """The captions of a file of any kind that `mals plan` reads, or the lines of standard input for "-".

    The lines of a text are captions as they are: empty ones are kept, and bytes that are no text become U+FFFD, which is logged.
    """
    if source == "-":
        yield from _whole_lines("standard input", (line.decode("utf-8", "replace") for line in sys.stdin.buffer))
        return
    file = Path(source)
    if text_suffix(file) == ".txt" and file.is_file() and not form.caption_column:
        with open_text(file, form.encoding, errors="replace", newline="\n", binary=True) as lines:
            yield from _whole_lines(source, lines)
        return
    for table in caption_files.read(file, images=False, form=form):
        yield from table["caption"].to_pylist()


def _whole_lines(source: str, lines: Iterable[str]) -> Iterator[str]:
    """Lines without their ends; logs how many hold a character that stands for bytes that are no text."""
    replaced = 0
    for line in lines:
        replaced += "\ufffd" in line
        yield line.rstrip("\r\n")
    if replaced:
        log.warning("%s: %s lines hold bytes that are not UTF-8, which are read as \ufffd", source, f"{replaced:,}")


def label_file(source: str, output: str | None, space: str = "market1501", form: CaptionsForm = AS_IT_IS) -> int:
    """Label the captions of `source` into `output` (.jsonl or .parquet; None or "-" for standard output); returns their number.

    A row has `caption`, `attributes` (values in the order of the space) and `attribute_source`. The file appears whole or not at all.
    """
    labeller = Labeller(space)
    if output is not None and output != "-" and Path(output).suffix.lower() not in OUTPUT_SUFFIXES:
        raise UserError(f"{output} is neither .jsonl nor .parquet")
    blocks = _blocks(read_captions(source, form))
    if output is None or output == "-":
        return sum(_write_lines(sys.stdout, labeller, block) for block in blocks)
    target = Path(output)
    if not target.parent.is_dir():
        raise UserError(f"there is no folder {target.parent} for {target.name}")
    with replacing(target) as path:
        if target.suffix.lower() == ".parquet":
            with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
                count = 0
                for block in blocks:
                    writer.write_table(_table(labeller, block))
                    count += len(block)
                return count
        with path.open("w", encoding="utf-8") as lines:
            return sum(_write_lines(lines, labeller, block) for block in blocks)


def _blocks(captions: Iterable[str]) -> Iterator[list[str]]:
    source = iter(captions)
    while block := list(islice(source, BLOCK)):
        yield block


def _table(labeller: Labeller, block: list[str]) -> pa.Table:
    labels = labeller.label(block)
    return pa.table([block, labels.values.tolist(), labels.sources.tolist()], SCHEMA)


def _write_lines(file: TextIO, labeller: Labeller, block: list[str]) -> int:
    labels, in_ascii = labeller.label(block), "utf" not in (file.encoding or "utf-8").lower()
    for caption, values, sources in zip(block, labels.values.tolist(), labels.sources.tolist(), strict=True):
        row = {"caption": caption, "attributes": values, "attribute_source": sources}
        file.write(json.dumps(row, ensure_ascii=in_ascii) + "\n")
    return len(block)

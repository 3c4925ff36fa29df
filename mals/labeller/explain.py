"""What `mals explain` shows: one caption with the words that decided, or a file of captions labelled line by line."""

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from mals.errors import UserError
from mals.files import replacing
from mals.labeller.labeller import Labeller

BLOCK = 4096  # captions labelled at once: what memory a file of any length takes
KINDS = (".jsonl", ".parquet")


def explain(caption: str, space: str = "market1501") -> dict[str, Any]:
    """The attributes of one caption: name, value as number and in words, prompt, source, and the words that decided with their spans."""
    labeller = Labeller(space)
    labels = labeller.label([caption])
    spans = labels.evidence[0]
    attributes = []
    for at, name in enumerate(labeller.space.names):
        value = int(labels.values[0, at])
        attributes.append(
            {
                "name": name,
                "value": value,
                "says": labeller.space.values[at][value] if value >= 0 else "unknown",
                "prompt": labeller.space.prompts[at][value] if value >= 0 else None,
                "source": str(labels.sources[0, at]),
                "evidence": [{"text": caption[start:end], "start": start, "end": end} for start, end in spans[at]],
            }
        )
    return {"caption": caption, "space": labeller.space.name, "attributes": attributes}


def captions_of(source: str) -> Iterator[str]:
    """The captions of a file of any kind that `mals plan` reads, or the lines of standard input for "-", empty ones too."""
    if source == "-":
        for line in sys.stdin.buffer:
            yield line.decode("utf-8", "replace").rstrip("\r\n")
        return
    file = Path(source)
    if file.suffix.lower() == ".txt" and file.is_file():
        with file.open(encoding="utf-8-sig", errors="replace", newline="\n") as opened:
            for line in opened:
                yield line.rstrip("\r\n")
        return
    from mals.planning.caption_files import read

    for table in read(file, pictures=False):
        yield from table["caption"].to_pylist()


def is_file(text: str) -> bool:
    """Whether an argument of `mals explain` is a file of captions, "-" included, and no caption."""
    try:
        return text == "-" or Path(text).is_file() or (" " not in text.strip() and Path(text).suffix in (".txt", ".csv", *KINDS, ".json"))
    except (OSError, ValueError):  # too long for a file's name, or with a null character
        return False


def label_file(source: str, output: str | None, space: str = "market1501") -> int:
    """Label the captions of `source` into `output` (.jsonl or .parquet; standard output for None or "-"); returns how many there were.

    A row holds caption, attributes (numbers in the order of the space) and sources. A file appears whole or not at all.
    """
    labeller = Labeller(space)
    if output is not None and output != "-" and Path(output).suffix.lower() not in KINDS:
        raise UserError(f"{output} is neither .jsonl nor .parquet")
    rows = blocks(captions_of(source))
    if output is None or output == "-":
        return sum(_write_lines(sys.stdout, labeller, block) for block in rows)
    target = Path(output)
    if not target.parent.is_dir():
        raise UserError(f"there is no folder {target.parent} for {target.name}")
    with replacing(target) as beside:
        if target.suffix.lower() == ".parquet":
            with pq.ParquetWriter(beside, SCHEMA, compression="zstd") as writer:
                count = 0
                for block in rows:
                    writer.write_table(_table(labeller, block))
                    count += len(block)
                return count
        with beside.open("w", encoding="utf-8") as opened:
            return sum(_write_lines(opened, labeller, block) for block in rows)


SCHEMA = pa.schema([("caption", pa.string()), ("attributes", pa.list_(pa.int8())), ("attribute_source", pa.list_(pa.string()))])


def blocks(captions: Iterable[str]) -> Iterator[list[str]]:
    source = iter(captions)
    while block := list(islice(source, BLOCK)):
        yield block


def _table(labeller: Labeller, block: list[str]) -> pa.Table:
    labels = labeller.label(block)
    return pa.table([block, labels.values.tolist(), labels.sources.tolist()], SCHEMA)


def _write_lines(opened: IO[str], labeller: Labeller, block: list[str]) -> int:
    labels = labeller.label(block)
    for caption, values, sources in zip(block, labels.values.tolist(), labels.sources.tolist(), strict=True):
        opened.write(json.dumps({"caption": caption, "attributes": values, "attribute_source": sources}, ensure_ascii=False) + "\n")
    return len(block)

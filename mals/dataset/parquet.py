"""Parquet files as `datasets` and the hub like them: small row groups, JPEG bytes uncompressed, pages that can be found."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mals.grid.parquet import leaf_paths

MAX_IMAGE_BYTES = 96_000_000  # of a row group; `datasets` and the hub's viewer want less than 100 MB
CHUNKING = {
    "min_chunk_size": 262_144,
    "max_chunk_size": 1_048_576,
    "norm_level": 0,
}  # as `datasets` writes it: unchanged pages stay unchanged


def write_parquet(path: Path, tables: Iterator[pa.Table], schema: pa.Schema, rows_per_group: int) -> int:
    """Write tables as one file with row groups of `rows_per_group` rows (fewer if images are large); their size in memory, in bytes."""
    memory_bytes = 0
    with pq.ParquetWriter(path, schema, **writer_options(schema)) as writer:
        for table in _row_groups(tables, schema, rows_per_group):
            writer.write_table(table, row_group_size=max(1, len(table)))
            memory_bytes += table.nbytes
        writer.add_key_value_metadata({"content_defined_chunking": json.dumps(CHUNKING)})
    return memory_bytes


def writer_options(schema: pa.Schema) -> dict[str, Any]:
    """Options of pyarrow's writer: image bytes plain and uncompressed, all other columns snappy with dictionaries, a page index."""
    images = {"image.bytes", "image.path"} if "image" in schema.names else set()
    leaves = leaf_paths(schema)
    return {
        "compression": {leaf: "none" if leaf in images else "snappy" for leaf in leaves},
        "use_dictionary": [leaf for leaf in leaves if leaf not in images],
        "column_encoding": dict.fromkeys(sorted(images), "PLAIN"),
        "write_page_index": True,
        "use_content_defined_chunking": CHUNKING,
    }


def _row_groups(tables: Iterator[pa.Table], schema: pa.Schema, rows_per_group: int) -> Iterator[pa.Table]:
    """The same rows in tables of `rows_per_group` rows, or of at most MAX_IMAGE_BYTES of images."""
    rest = schema.empty_table()
    for table in tables:  # quadratic for many tables that are far smaller than a group; those of a pack are shards
        rest = pa.concat_tables([rest, table])
        while size := _group_size(rest, rows_per_group):
            yield rest.slice(0, size).combine_chunks()
            rest = rest.slice(size)
    while len(rest):
        size = _group_size(rest, len(rest)) or len(rest)
        yield rest.slice(0, size).combine_chunks()
        rest = rest.slice(size)


def _group_size(table: pa.Table, rows_per_group: int) -> int:
    """Rows of the next row group; 0 if it needs more rows than the table has."""
    if "image" in table.column_names and table.nbytes > MAX_IMAGE_BYTES:
        ends = np.cumsum([len(image["bytes"]) for image in table["image"].slice(0, rows_per_group).to_pylist()])
        fitting = int(np.searchsorted(ends, MAX_IMAGE_BYTES, side="right"))
        if fitting < len(ends):
            return max(1, fitting)
    return rows_per_group if len(table) >= rows_per_group else 0

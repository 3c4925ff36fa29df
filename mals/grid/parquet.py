"""Parquet schemas."""

from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq


def leaf_paths(schema: pa.Schema) -> list[str]:
    """The paths of a schema's Parquet columns, such as "captions.list.element.text": what options of single columns are given by."""
    empty = BytesIO()
    pq.write_table(schema.empty_table(), empty)
    leaves = pq.ParquetFile(empty).schema
    return [leaves.column(i).path for i in range(len(leaves))]

"""Hard partners, as PAB names them: for a row's image another one that is near to it and shows something else, with its caption.

Shapes: n rows of one data set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from pretrain.data.strings import STRING, Strings

ID, IMAGE, CAPTION = "id", "hard_image", "hard_caption"  # columns of packed sets: a row, the `id` of its partner, the partner's caption


@dataclass(frozen=True)
class Partners:
    """The hard partners of rows."""

    images: Tensor  # [n] int64: numbers in the source; -1 where a row has none
    captions: Strings

    def take(self, rows: Tensor, images: Tensor) -> "Partners":
        """Those of these rows [m]; a partner that is not among `images`, the images of these rows, is none."""
        own = self.images[rows]
        return Partners(torch.where(torch.isin(own, images), own, -1), self.captions.take(rows))

    def tensors(self) -> list[Tensor]:
        """What is in memory."""
        return [self.images, *self.captions.tensors()]


def read_partners(files: Sequence[Path]) -> Partners:
    """The partners that the columns of packed files name; a row without, or whose partner is in none of the files, has none."""
    tables = []
    for file in files:
        opened = pq.ParquetFile(file, memory_map=True)
        present = [name for name in (ID, IMAGE, CAPTION) if name in opened.schema_arrow.names]
        table, missing = opened.read(columns=present), pa.nulls(opened.metadata.num_rows, STRING)
        tables.append(pa.table({name: table[name].cast(STRING) if name in present else missing for name in (ID, IMAGE, CAPTION)}))
    table = pa.concat_tables(tables)
    places = pc.index_in(table[IMAGE], value_set=table[ID].combine_chunks(), skip_nulls=True)
    captions = pc.fill_null(table[CAPTION], "")
    places = pc.if_else(pc.equal(captions, ""), -1, pc.fill_null(places, -1))
    return Partners(torch.from_numpy(places.to_numpy().astype(np.int64)), Strings(captions))

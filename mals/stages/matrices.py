"""Matrices as columns of a summary: N lists of D values."""

from typing import Any

import pyarrow as pa
from numpy.typing import NDArray


def to_lists(matrix: NDArray[Any]) -> pa.FixedSizeListArray:
    """[N, D] as N lists of D values."""
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])


def to_matrix(column: pa.ChunkedArray) -> NDArray[Any]:
    """N lists of D values as [N, D]."""
    return column.combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)

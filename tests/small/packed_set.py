"""A packed set of a few images, by hand: what `dedup.against` reads of one."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def packed_set(folder: Path, images: Sequence[bytes]) -> Path:
    """Write a set with these images in its test split; the folder."""
    (folder / "data").mkdir(parents=True)
    rows = [{"id": f"test-{number}", "image": {"bytes": image}, "caption": f"number {number}"} for number, image in enumerate(images)]
    file = folder / "data/test-00000-of-00001.parquet"
    pq.write_table(pa.Table.from_pylist(rows), file)
    (folder / "SHA256SUMS").write_text(f"{sha256(file.read_bytes()).hexdigest()}  data/{file.name}\n")
    return folder

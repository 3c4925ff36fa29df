"""The rows that `benchmarks.gpu` lets a loader read: a packed set, or a few drawn persons as many times as rows are wanted."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mals.attributes import load_space
from mals.dataset.parquet import write_parquet
from mals.world.make import make
from mals.world.settings import WorldSettings
from pretrain.data.needs import DataNeeds
from pretrain.data.rows import ImageTextPairs

GROUP = 128  # rows of a row group, as `mals pack` writes


def open_set(folder: Path | None, scratch: Path, rows: int, drawn: int, height: int, needs: DataNeeds) -> ImageTextPairs:
    """The rows of a packed set, or in `scratch` `rows` rows of one shard, with `drawn` different images of some height in pixels."""
    place = folder or repeated(scratch, rows, drawn, height)
    space = load_space(needs.space) if needs.attributes and needs.space else None
    pairs = ImageTextPairs.open([place], "train", space.classes if space else None)
    if needs.renumber_persons:
        pairs.renumber_persons()
    return pairs


def repeated(scratch: Path, rows: int, drawn: int, height: int) -> Path:
    """A packed set whose rows are those of a small world, again and again under other ids."""
    world, to = scratch / "world", scratch / "set"
    make(str(world), WorldSettings.checked(persons=drawn // 2, views=2, split="train=1", seed=2, height=height))
    tables = [pq.read_table(file) for file in sorted((world / "data").glob("train-*.parquet"))]
    table = pa.concat_tables(tables)
    order = [row % len(table) for row in range(rows)]
    table = table.take(order)
    names = pa.array([f"{name}-{row}" for row, name in enumerate(table["id"].to_pylist())], table.schema.field("id").type)
    table = table.set_column(table.schema.get_field_index("id"), table.schema.field("id"), names)
    (to / "data").mkdir(parents=True)
    write_parquet(to / "data" / "train-00000-of-00001.parquet", iter([table]), table.schema, GROUP)
    return to

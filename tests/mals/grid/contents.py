"""What a run holds, to compare runs that were made at different places."""

from mals.grid.run import Run
from mals.grid.store import Store


def cells_and_pack(store: Store) -> dict[str, str]:
    """Name -> hash, of the cells of every stage, of summaries, and of the files of the packed set."""
    run = Run.open(store.url)
    names = [name for stage in run.grid.stages for name in store.list(stage) if name.endswith(".parquet")]
    packed = [f"dataset/{line.partition('  ')[2]}" for line in store.read("dataset/SHA256SUMS").decode().splitlines()]
    return {name: store.sha256(name) for name in [*names, *packed, "dataset/SHA256SUMS"]}

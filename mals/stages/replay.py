"""Makes one image again from its row, by the first stage of the run, and compares it with the stored one."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from mals.errors import UserError
from mals.grid.differences import differences
from mals.grid.row import locate
from mals.grid.run import Run
from mals.grid.stage import GlobalStage
from mals.grid.versions import environment
from mals.grid.worker import limit_threads
from mals.images import Pixels, decode_image


@dataclass(frozen=True)
class Replay:
    """The stored image against the new one; levels are of 255."""

    id: str
    identical: bool  # the same bytes
    largest: int  # levels, of any pixel and channel
    mean: float  # levels, over all of them
    phash: int  # bits of 64 that differ between the perceptual hashes
    batch: int  # rows in the call, as when the stored image was made
    environment: dict[str, list[str | None]] = field(default_factory=dict)  # what differs: then, now

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def sentence(self) -> str:
        if self.identical:
            return f"{self.id}: the same bytes again"
        text = f"{self.id}: similar, but not the same bytes: largest difference {self.largest} of 255, mean {self.mean:.3g}, "
        text += f"perceptual hashes differ in {self.phash} of 64 bits"
        changes = [f"{name} {then or 'none'} then, {now or 'none'} now" for name, (then, now) in self.environment.items()]
        return "; ".join([text, *changes])


def replay(run: Run, row_id: str, to: Path | None = None) -> Replay:
    """Make the image of one row again, in a batch of the recorded size; both images are written to the folder `to`.

    Raises UserError where the row has no image to compare with, or was made with other settings than the run has now.
    """
    shard, position = locate(run, row_id)
    stored, then = _stored(run, row_id, shard, position)
    size = stored.get("batch") or 1
    again = _make_again(run, shard, position, size)
    now = environment()
    first, second = (decode_image(data) for data in (stored["image"], again))
    if first.shape != second.shape:
        raise UserError(
            f"row {row_id} is stored as {first.shape[1]} x {first.shape[0]} pixels and is now {second.shape[1]} x {second.shape[0]}"
        )
    if to is not None:
        to.mkdir(parents=True, exist_ok=True)
        (to / f"{row_id}.stored.jpg").write_bytes(stored["image"])
        (to / f"{row_id}.again.jpg").write_bytes(again)
    difference = np.abs(first.astype(np.int16) - second)
    return Replay(
        id=row_id,
        identical=stored["image"] == again,
        largest=int(difference.max()),
        mean=float(difference.mean()),
        phash=_phash_difference(first, second),
        batch=size,
        environment={name: [then.get(name), now.get(name)] for name in sorted({*then, *now}) if then.get(name) != now.get(name)},
    )


def _stored(run: Run, row_id: str, shard: int, position: int) -> tuple[dict[str, Any], dict[str, str]]:
    """The columns of the first stage for the row, and the environment that they were made in."""
    first = run.grid.first
    receipt = run.grid.receipt(first, shard)
    if receipt is None:
        raise UserError(f"row {row_id} has no image yet: the stage {first} has not made its shard, number {shard}")
    if changed := differences(receipt.params, run.grid.params[first]):
        raise UserError(f"row {row_id} was made with other settings than the run has now: {', '.join(changed)}")
    columns = [name for name in ("image", "batch") if name in run.grid.stages[first].adds.names]
    after = next((name for name in run.grid.stages if run.grid.earlier(name) == [first]), None)
    row = run.grid.table(shard, columns, before=after).slice(position, 1).to_pylist()[0]
    if row["image"] is None:
        raise UserError(f"row {row_id} has no image: {row['error'] or ', '.join(row['reject'] or ['nothing was stored'])}")
    return row, receipt.env


def _make_again(run: Run, shard: int, position: int, size: int) -> bytes:
    """The image of a row, made in a batch of `size` copies of it, at the position in the batch that it had."""
    stage = run.grid.stages[run.grid.first]
    if isinstance(stage, GlobalStage):
        raise UserError(f"the stage {run.grid.first} looks at all rows, so one row cannot be made again alone")
    rows = run.grid.plan_rows(shard, list(stage.needs)).take(pa.array([position] * size, pa.int64())).combine_chunks()
    limit_threads(run.config.run.threads)
    stage.setup()
    limit_threads(run.config.run.threads)  # setup may have loaded a library that was not there before
    output = stage(rows.to_batches()[0]).to_pylist()[position % size]
    if output["image"] is None:
        raise UserError(f"the row has no image this time: {output['error'] or ', '.join(output['reject'] or [])}")
    return output["image"]


def _phash_difference(first: Pixels, second: Pixels) -> int:
    import imagehash

    hashes = [imagehash.phash(Image.fromarray(pixels)) for pixels in (first, second)]
    return int(hashes[0] - hashes[1])

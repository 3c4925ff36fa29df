"""What the overview says of stages equals `mals status`; the end of events.jsonl says what goes on."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mals.grid.events import EVENTS
from mals.grid.status import status
from mals.grid.store import Store
from mals.look.receipts import Receipts, activity
from tests.small import cells


def test_the_lines_of_stages_are_those_of_status(tmp_path: Path) -> None:
    run = cells.small_run(tmp_path / "run", 100)
    for shard in ("00001", "00003"):
        (tmp_path / f"run/label/{shard}.json").unlink()
    receipts = Receipts(run.grid)
    receipts.refresh()
    lines = receipts.lines(run.grid.fingerprints)
    expected = status(run).stages
    assert [(line.stage, line.done, line.rows, line.kept, dict(line.rejects), line.stale) for line in lines] == [
        (line.stage, line.done, line.rows, line.kept, line.rejects, line.stale) for line in expected
    ]
    cells.make_cells(run)
    assert receipts.refresh(every=0) == {"label": {1, 3}}
    assert receipts.refresh(every=0) == {}
    stale = receipts.lines(dict.fromkeys(run.grid.stages, "other"))
    assert all(line.stale == line.shards for line in stale)


def test_damaged_files_of_attempts_and_other_files_are_passed_over(tmp_path: Path) -> None:
    run = cells.small_run(tmp_path / "run", 40)
    for name, text in (("00001.failed.json", '{"errors'), ("00000.failed.json", "[]"), ("notes.failed.json", "{}"), ("x.json", "{}")):
        (tmp_path / "run/label" / name).write_text(text)
    (tmp_path / "run/label/00002.failed.json").write_text(json.dumps({"errors": {"OSError: x": 3}}))
    receipts = Receipts(run.grid)
    receipts.refresh()
    line = receipts.lines(None)[-1]
    assert (line.done, line.errors) == (3, [("OSError: x", 3)])


def test_what_changes_within_a_tick_of_the_clock_of_the_disk_is_seen(tmp_path: Path) -> None:
    run = cells.small_run(tmp_path / "run", 40)
    receipt = tmp_path / "run/label/00001.json"
    data = receipt.read_bytes()
    receipt.unlink()
    receipts = Receipts(run.grid)
    receipts.refresh()
    before = receipt.parent.stat()
    receipt.write_bytes(data)
    os.utime(receipt.parent, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert receipts.refresh(every=0) == {"label": {1}}


def events(folder: Path, *lines: dict[str, object], ago: float = 0) -> None:
    start = datetime.now(UTC) - timedelta(seconds=ago)
    texts = [json.dumps({"time": (start + timedelta(seconds=2 * at)).isoformat(), **line}) for at, line in enumerate(lines)]
    (folder / EVENTS).write_text("\n".join(texts) + '\n{"torn')


def test_activity_is_read_from_the_events(tmp_path: Path) -> None:
    begin = {"event": "begin", "stage": "crop", "shards": 10, "rows": 1000, "done": 0}
    shard = {"event": "shard", "stage": "crop", "rows": 100, "seconds": 4.0}
    assert activity(Store(str(tmp_path))) is None
    events(tmp_path, begin, shard, shard, ago=4)
    now = activity(Store(str(tmp_path)))
    assert now is not None and now.working and (now.stage, now.done, now.shards) == ("crop", 2, 10)
    assert (now.rate, now.left, now.workers) == (50.0, 16.0, 2.0)
    events(tmp_path, begin, shard, {"event": "stopped", "stages": ["crop"], "reason": "UserError: a full disk"}, ago=6)
    stopped = activity(Store(str(tmp_path)))
    assert stopped is not None and not stopped.working and stopped.stopped == "UserError: a full disk"
    events(tmp_path, begin, shard, ago=90_000)
    old = activity(Store(str(tmp_path)))
    assert old is not None and not old.working


def test_of_several_stages_at_work_the_first_is_shown_with_the_others_beside_it(tmp_path: Path) -> None:
    def begin(stage: str) -> dict[str, object]:
        return {"event": "begin", "stage": stage, "shards": 4, "rows": 400, "done": 0}

    def shard(stage: str) -> dict[str, object]:
        return {"event": "shard", "stage": stage, "rows": 100, "seconds": 2.0}

    overlapping = [begin("crop"), shard("crop"), begin("caption"), shard("crop"), shard("caption")]
    events(tmp_path, *overlapping, ago=8)
    now = activity(Store(str(tmp_path)))
    assert now is not None and now.working and (now.stage, now.beside, now.done) == ("crop", ["caption"], 2)
    crop_ended: dict[str, object] = {"event": "end", "stage": "crop", "shards": 4, "seconds": 9.0}
    events(tmp_path, *overlapping, crop_ended, begin("label"), shard("label"), ago=14)
    now = activity(Store(str(tmp_path)))
    assert now is not None and now.working and (now.stage, now.beside, now.done) == ("caption", ["label"], 1)
    events(tmp_path, *overlapping, crop_ended, {"event": "end", "stage": "caption", "shards": 4, "seconds": 9.0}, ago=12)
    finished = activity(Store(str(tmp_path)))
    assert finished is not None and not finished.working and finished.stage == "caption"

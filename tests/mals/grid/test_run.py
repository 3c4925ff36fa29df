"""A run through the coordinator, with stages that need no model."""

import json
import signal
import subprocess
import sys
import time

import pytest

from mals import settings
from mals.config import stage_names
from mals.dataset.pack import pack
from mals.errors import UserError
from mals.grid.run import Run, RunFailed, run_stages
from mals.grid.status import status
from mals.grid.verify import verify
from tests.conftest import environment

STAGES = stage_names(settings.check({}))


def open_and_run(folder, *sets, upto="label", **options):
    run = Run.open(folder, sets)
    return run, run_stages(run, upto, quiet=True, **options)


def cells(folder):
    """Every cell of a run with its bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for stage in STAGES for p in sorted((folder / stage).glob("*.parquet"))}


def test_a_run_goes_to_the_end_and_then_has_nothing_to_do(planned):
    folder = planned()
    run, outcome = open_and_run(folder)
    assert outcome.new_cells == dict.fromkeys(STAGES, 5)
    assert verify(run) == []
    assert open_and_run(folder)[1].new_cells == {}


def test_a_stage_does_the_missing_upstream_work_first(planned):
    _, outcome = open_and_run(planned(), upto="filter")
    assert outcome.new_cells == {"generate": 5, "safety": 5, "filter": 5}


def test_cells_are_the_same_bytes_with_one_worker_two_workers_and_in_parts(planned):
    one = planned("one")
    open_and_run(one)
    two = planned("two")
    open_and_run(two, "run.workers=2")
    parts = planned("parts")
    for part in ((1, 2), (0, 2)):
        open_and_run(parts, "run.workers=2", part=part)
    apart = planned("apart")
    open_and_run(apart, "run.workers=2", "run.overlap=false")
    assert len(cells(one)) == 5 * len(STAGES)
    assert cells(one) == cells(two) == cells(parts) == cells(apart)
    sets = [packed(folder) for folder in (one, two, parts, apart)]
    assert len(sets[0]) > 5 and sets[1:] == sets[:1] * 3


def packed(folder):
    """The files of the packed set with their bytes."""
    pack(Run.open(folder))
    files = [path for path in sorted((folder / "dataset").rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_part_makes_its_own_shards_and_no_others(planned):
    folder = planned()
    open_and_run(folder, part=(1, 2), upto="generate")
    assert sorted(p.name for p in (folder / "generate").glob("*.parquet")) == ["00001.parquet", "00003.parquet"]


def test_a_changed_setting_is_refused_with_what_is_stale_and_how_to_go_on(planned):
    folder = planned()
    open_and_run(folder)
    with pytest.raises(UserError) as refusal:
        open_and_run(folder, "caption.captioners.0.beams=5")
    assert "the settings of caption changed (beams: 1 -> 5)" in str(refusal.value)
    assert "caption 5, label 5" in str(refusal.value)
    assert "--rerun caption" in str(refusal.value)
    assert open_and_run(folder)[1].new_cells == {}, "the refused setting must not have been kept"


def test_rerun_caption_leaves_the_image_files_untouched(planned):
    folder = planned()
    open_and_run(folder)
    before = {p: (p.stat().st_mtime_ns, p.stat().st_ino) for s in ("generate", "crop") for p in (folder / s).iterdir()}
    _, outcome = open_and_run(folder, "caption.captioners.0.beams=5", rerun="caption")
    assert outcome.new_cells == {"caption": 5, "label": 5}
    assert before == {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in before}
    assert open_and_run(folder)[1].new_cells == {}, "the new setting is kept"


def test_rerun_of_a_later_stage_than_the_stale_one_is_refused(planned):
    folder = planned()
    open_and_run(folder)
    with pytest.raises(UserError, match="settings of caption changed"):
        open_and_run(folder, "caption.captioners.0.beams=5", rerun="label")
    with pytest.raises(UserError, match="no stage 'captoin' to rerun"):
        open_and_run(folder, rerun="captoin")


def test_a_setting_that_changes_no_result_is_not_refused(planned):
    folder = planned()
    open_and_run(folder)
    assert open_and_run(folder, "run.max_error_rate=0.5", "crop.batch=2")[1].new_cells == {}


def test_a_changed_plan_setting_is_refused(planned):
    folder = planned()
    with pytest.raises(UserError, match=r'plan\.prefix: "" -> "a photo of "'):
        open_and_run(folder, "plan.prefix='a photo of '")


def test_a_truncated_shard_is_found_by_verify_and_redone_by_run(planned):
    folder = planned()
    run, _ = open_and_run(folder)
    whole = cells(folder)
    cell = folder / "crop/00002.parquet"
    cell.write_bytes(cell.read_bytes()[:-100])
    problems = verify(run)
    assert [problem.cell for problem in problems] == [("crop", 2)]
    assert "crop/00002.parquet has" in problems[0].text
    _, outcome = open_and_run(folder)
    assert outcome.new_cells == {"crop": 1}
    assert cells(folder) == whole


def test_a_flipped_bit_is_found_by_verify_and_redone_after_repair(planned):
    folder = planned()
    run, _ = open_and_run(folder)
    whole = cells(folder)
    cell = folder / "generate/00001.parquet"
    data = bytearray(cell.read_bytes())
    data[len(data) // 2] ^= 1
    cell.write_bytes(data)
    assert [problem.cell for problem in verify(run)] == [("generate", 1)]
    assert [problem.cell for problem in verify(run, repair=True)] == [("generate", 1)]
    assert open_and_run(folder)[1].new_cells == {"generate": 1}
    assert cells(folder) == whole
    assert verify(run) == []


def test_a_missing_cell_and_a_torn_receipt_are_redone(planned):
    folder = planned()
    open_and_run(folder)
    whole = cells(folder)
    (folder / "filter/00000.parquet").unlink()
    (folder / "label/00004.json").write_text('{"stage": "label", "sh')
    assert open_and_run(folder)[1].new_cells == {"filter": 1, "label": 1}
    assert cells(folder) == whole


def test_a_shard_of_which_most_rows_fail_is_not_done_and_status_shows_the_top_error(planned):
    folder = planned("run", "stages.generate=tests.fakes:mostly_failing")
    with pytest.raises(RunFailed, match="ValueError: the brush is dry"):
        open_and_run(folder)
    stage = status(Run.open(folder)).stages[0]
    assert (stage.done, stage.failed) == (0, 5)
    assert next(iter(stage.errors)) == "ValueError: the brush is dry"
    assert stage.errors["ValueError: the brush is dry"] > 20


def test_a_failed_shard_is_made_once_its_cause_is_mended(planned):
    folder = planned("run", "stages.generate=tests.fakes:mostly_failing")
    with pytest.raises(RunFailed):
        open_and_run(folder)
    _, outcome = open_and_run(folder, "stages.generate=tests.fakes:painter")
    assert outcome.new_cells == dict.fromkeys(STAGES, 5)
    assert status(Run.open(folder)).stages[0].failed == 0


def test_other_shards_are_finished_when_one_fails(planned, captions):
    captions.write_text("".join(f"a {'bad' if i < 8 else 'good'} person {i}\n" for i in range(40)))
    folder = planned("run", "stages.generate=tests.fakes:one_bad_row")
    with pytest.raises(RunFailed, match="generate: 1 of 5 shards are not done, for example shard 0"):
        open_and_run(folder)
    assert [stage.done for stage in status(Run.open(folder)).stages] == [4] * len(STAGES)


def test_a_bad_row_passes_through_later_stages_untouched(planned, captions):
    captions.write_text("".join(f"a {'bad' if i == 3 else 'good'} person {i}\n" for i in range(40)))
    folder = planned("run", "stages.generate=tests.fakes:one_bad_row")
    run, _ = open_and_run(folder)
    table = run.grid.table(0, ["crop", "attributes"])
    assert table["failed_in"].to_pylist() == [None] * 3 + ["generate"] + [None] * 4
    assert table["error"].to_pylist()[3] == "ValueError: this row is bad"
    assert table["attributes"].to_pylist()[3] is None
    stages = status(run).stages
    assert [stage.rows for stage in stages[:2]] == [40, 39]
    _, outcome = open_and_run(folder, retry_errors=True)
    assert outcome.new_cells == {"generate": 1}, "the row fails again with the same bytes, so nothing after it changes"


def test_running_out_of_memory_above_four_rows_leaves_the_rows_unchanged(planned):
    easy, hard = planned("easy"), planned("hard", "stages.generate=tests.fakes:short_of_memory")
    open_and_run(easy, upto="generate")
    run, _ = open_and_run(hard, upto="generate")
    assert cells(hard) == cells(easy)
    assert run.grid.receipt("generate", 0).batch == {"size": 8, "smallest": 4, "out_of_memory": 1}
    assert status(run).stages[0].out_of_memory == 1, "the smaller batch is remembered for the next shards"


def test_a_killed_worker_is_replaced_and_its_shard_made_again(planned):
    folder = planned("run", "stages.caption=tests.fakes:slow_captioner", "run.workers=2")
    process = subprocess.Popen([sys.executable, "-m", "cli.main", "run", str(folder)], env=environment(), stderr=subprocess.PIPE, text=True)
    for worker in _children_at_work(process.pid, folder / "caption"):
        worker.kill()
    _, message = process.communicate(timeout=120)
    assert process.returncode == 0, message
    assert "WorkerDied" in message
    calm = planned("calm", "stages.caption=tests.fakes:slow_captioner")
    open_and_run(calm)
    assert cells(folder) == cells(calm)


def _children_at_work(parent: int, folder) -> list:
    """The worker processes, once a cell of `folder` is there; some of them may have nothing to do just now."""
    import psutil

    for _ in range(600):
        workers = [c for c in psutil.Process(parent).children() if "spawn_main" in " ".join(c.cmdline())]
        if folder.exists() and any(folder.glob("*.json")) and workers:
            return workers
        time.sleep(0.05)
    raise AssertionError("no worker was seen at work")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_mistake_that_cannot_be_pickled_comes_back_as_its_sentence(planned, workers):
    folder = planned("run", "stages.generate=tests.fakes:mistaken")
    with pytest.raises(UserError, match=r"^the brush needs 80 GB$"):
        open_and_run(folder, f"run.workers={workers}")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stage_that_exits_fails_its_shards_and_not_the_command(planned, workers):
    folder = planned("run", "stages.generate=tests.fakes:leaver")
    with pytest.raises(RunFailed, match=r"generate: 5 of 5 shards are not done, for example shard .: SystemExit: no brush"):
        open_and_run(folder, f"run.workers={workers}")


def test_a_worker_that_cannot_start_says_why(planned, monkeypatch):
    folder = planned()
    monkeypatch.setattr("mals.grid.run.workers_of", lambda run, stage: 2)
    run = Run.open(folder)
    run.user_settings = run.user_settings | {"stages": run.user_settings["stages"] | {"generate": "tests.fakes:nobody"}}
    with pytest.raises(UserError, match="nobody"):
        run_stages(run, "generate", quiet=True)


def test_workers_end_with_a_killed_coordinator(planned):
    import psutil

    folder = planned("run", "stages.caption=tests.fakes:slow_captioner", "run.workers=2")
    process = subprocess.Popen([sys.executable, "-m", "cli.main", "run", str(folder)], env=environment(), stderr=subprocess.DEVNULL)
    _children_at_work(process.pid, folder / "caption")
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert alive == []


def test_a_second_coordinator_is_turned_away_and_the_first_goes_on(planned, mals):
    folder = planned("run", "stages.caption=tests.fakes:slow_captioner", "shard_rows=1")  # 40 calls of 0.2 s
    first = subprocess.Popen([sys.executable, "-m", "cli.main", "run", str(folder)], env=environment(), stderr=subprocess.DEVNULL)
    while not (folder / "generate").exists():
        assert first.poll() is None, "the first one has ended"
        time.sleep(0.02)
    for words in (("run", folder), ("run", folder, "--shards", "0/2"), ("plan", folder, "--captions", "captions.txt")):
        second = mals(*words)
        assert (second.returncode, second.stderr.count("\n")) == (2, 1), second.stderr
        assert "is being worked on by another mals command" in second.stderr
    assert first.wait(120) == 0


def test_two_parts_of_one_division_may_run_at_once_and_of_two_divisions_not(tmp_path):
    from mals.grid.lock import coordinator
    from mals.grid.store import Store

    store = Store(str(tmp_path))
    with coordinator(store, (0, 2)):
        with coordinator(store, (1, 2)):
            pass
        for part in ((0, 2), (1, 3), None):
            with pytest.raises(UserError, match="--shards 0/2"), coordinator(store, part):
                pass
    with coordinator(store):
        pass


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_a_run_that_resumes(planned, sent):
    folder = planned("run", "stages.caption=tests.fakes:slow_captioner", "run.workers=2")
    process = subprocess.Popen([sys.executable, "-m", "cli.main", "run", str(folder)], env=environment(), stderr=subprocess.PIPE, text=True)
    _children_at_work(process.pid, folder / "caption")
    process.send_signal(sent)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 128 + sent
    assert message.strip().splitlines()[-1] == "stopped; give the same command again to go on"
    assert "Traceback" not in message and "semaphore" not in message
    open_and_run(folder)
    assert verify(Run.open(folder)) == []


def test_events_are_kept_for_people(planned):
    folder = planned()
    open_and_run(folder)
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert [event["stage"] for event in events if event["event"] == "begin"] == list(STAGES)
    assert sum(event["event"] == "shard" for event in events) == 5 * len(STAGES)


def test_a_run_on_an_object_store_makes_the_same_cells(planned, tmp_path, captions):
    from mals.planning.create import create
    from tests.fakes import FAST

    folder = planned()
    open_and_run(folder)
    url = f"memory://{tmp_path.name}/run"
    create(url, captions=captions, assignments=FAST)
    run, _ = open_and_run(url)
    for name, data in cells(folder).items():
        assert run.store.read(name) == data
    assert verify(run) == []
    assert open_and_run(url)[1].new_cells == {}


def test_a_stage_that_cannot_be_imported_is_told(planned):
    for wrong in ("tests.fakes", "tests.fakes:nothing", "no_such_module:f"):
        with pytest.raises(UserError, match=r"stages\.generate"):
            Run.open(planned("run"), [f"stages.generate={wrong}"])
    with pytest.raises(UserError, match="no stage 'genrate' to replace"):
        Run.open(planned("run"), ["stages.genrate=tests.fakes:painter"])


def test_a_folder_that_is_no_run_is_told(tmp_path):
    with pytest.raises(UserError, match=r"is not a run: it has no mals\.yaml"):
        Run.open(tmp_path / "nothing")

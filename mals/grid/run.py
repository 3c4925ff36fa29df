"""A run: its folder, its settings, and the coordinator that brings its shards up to a stage."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from mals import settings
from mals.config import Config, dump
from mals.errors import UserError
from mals.grid.cells import Grid, Survey
from mals.grid.local import Failure, LocalExecutor
from mals.grid.lock import coordinator
from mals.grid.progress import Progress
from mals.grid.receipt import Receipt
from mals.grid.store import Store

SETTINGS = "mals.yaml"
RESOLVED = "run.json"
PLAN = "plan/plan.json"


class RunFailed(Exception):
    """Some shards could not be made; the rest are done and stay so."""


@dataclass
class Run:
    """A run's folder with its settings as given, as resolved, its plan and its grid."""

    store: Store
    given: dict[str, Any]
    config: Config
    plan: dict[str, Any]
    grid: Grid
    new_settings: bool = False

    @classmethod
    def open(cls, url: str | Path, sets: Iterable[str] = ()) -> "Run":
        """The run at `url`, with `sets` ("a.b=c") on top of its settings; they are kept once the run is worked on."""
        store = Store(str(url))
        old = given_settings(store)
        if old is None:
            raise UserError(f"{store.url} is not a run: it has no {SETTINGS}; make one with `mals plan {store.url} --captions FILE`")
        given = settings.assign(old, list(sets))
        config = settings.check(given, f"{store.url}/{SETTINGS}")
        try:
            plan = json.loads(store.read(PLAN))
        except FileNotFoundError:
            raise UserError(f"{store.url} has no finished plan; make it with `mals plan {store.url} --captions FILE`") from None
        _check_plan(store.url, plan, config)
        return cls(store, given, config, plan, Grid(store, config, plan), given != old)

    def save(self) -> None:
        """Keep the settings as given, and as resolved with the versions that ran."""
        if self.new_settings:
            save_settings(self.store, self.given)
            self.new_settings = False
        resolved = {"settings": dump(self.config), "fingerprints": self.grid.fingerprints, "versions": versions()}
        text = json.dumps(resolved, indent=1, sort_keys=True).encode()
        if self.store.size(RESOLVED) != len(text) or self.store.read(RESOLVED) != text:
            self.store.commit(RESOLVED, text)


def given_settings(store: Store) -> dict[str, Any] | None:
    """The settings as a run's owner gave them; None where there is no run."""
    try:
        return settings.parse(store.read(SETTINGS).decode(errors="replace"), f"{store.url}/{SETTINGS}")
    except FileNotFoundError:
        return None


def save_settings(store: Store, given: dict[str, Any]) -> None:
    """Write mals.yaml."""
    store.commit(SETTINGS, yaml.safe_dump(given, sort_keys=False, allow_unicode=True).encode())


def versions() -> dict[str, str]:
    """The versions of mals and of the libraries that its results come from."""
    found = {}
    for name in ("mals", "torch", "diffusers", "transformers", "controlnet-aux", "opencv-python-headless", "pyarrow"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _check_plan(url: str, plan: dict[str, Any], config: Config) -> None:
    """The plan is made once: settings that would have made another one are refused."""
    made = plan.get("settings")
    now = {"seed": config.seed, "shard_rows": config.shard_rows, "plan": dump(config)["plan"]}
    if made is not None and made != now:
        changed = "; ".join(differences(made, now))
        raise UserError(f"the plan of {url} was made with other settings ({changed}); put them back, or plan a new run")


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """What differs between two JSON trees, as "a.b: 3 -> 5"."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in sorted(old.keys() | new.keys()):
            found += differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
        return found
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [line for at, (a, b) in enumerate(zip(old, new, strict=True)) for line in differences(a, b, f"{path}.{at}")]
    return [] if old == new else [f"{path}: {_short(old)} -> {_short(new)}"]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


@dataclass
class Outcome:
    """What one command brought about."""

    made: dict[str, int] = field(default_factory=dict)  # stage -> cells made now
    failed: dict[str, dict[int, Failure]] = field(default_factory=dict)  # stage -> shard -> the last failure


def run_stages(
    run: Run, upto: str, *, part: tuple[int, int] | None = None, rerun: str | None = None, retry_errors: bool = False, quiet: bool = False
) -> Outcome:
    """Bring every shard (of part i of n) up to the stage `upto`, doing what is missing before it; what is done stays.

    Raises UserError where settings changed and `rerun` does not allow to redo what that makes stale, RunFailed where shards could not be
    made.
    """
    with coordinator(run.store, part):
        run.store.sweep()
        survey = run.grid.survey()
        refuse_stale(run, survey, rerun)
        run.save()
        outcome = Outcome()
        with Progress(run.store, quiet) as progress:
            executor = executor_of(run)
            try:
                ready = list(range(run.grid.shards) if part is None else range(part[0], run.grid.shards, part[1]))
                for stage in [*run.grid.earlier(upto), upto]:
                    todo = [shard for shard in ready if needs_work(survey, stage, shard, retry_errors)]
                    if todo:
                        progress.begin(stage, len(todo), sum(run.grid.rows(shard) for shard in todo), len(ready) - len(todo))
                        _make(run, executor, stage, todo, survey, progress, outcome)
                        progress.end()
                    ready = [shard for shard in ready if survey.state(stage, shard) == "done"]
            finally:
                executor.close()
    if outcome.failed:
        raise RunFailed(_failure_sentence(run, outcome))
    return outcome


def needs_work(survey: Survey, stage: str, shard: int, retry_errors: bool) -> bool:
    """Whether a cell is to be made: it is not done, or its failed rows get another try."""
    return survey.state(stage, shard) != "done" or (retry_errors and survey.receipts[stage][shard].failed > 0)


def _make(run: Run, executor: LocalExecutor, stage: str, todo: list[int], survey: Survey, progress: Progress, outcome: Outcome) -> None:
    """Make the cells of one stage for the shards `todo`."""
    failed: dict[int, Failure] = {}
    for result in executor.run(stage, todo, workers_of(run, stage), run.config.run.attempts):
        if isinstance(result, Receipt):
            survey.made(result)
            outcome.made[stage] = outcome.made.get(stage, 0) + 1
            failed.pop(result.shard, None)
            run.store.remove(run.grid.failure_name(stage, result.shard))
            progress.finished(result)
        else:
            failed[result.shard] = result
            survey.receipts[stage].pop(result.shard, None)
            run.store.commit(run.grid.failure_name(stage, result.shard), json.dumps({"stage": stage, **asdict(result)}, indent=1).encode())
            progress.failed(stage, result)
    if failed:
        outcome.failed[stage] = failed


def refuse_stale(run: Run, survey: Survey, rerun: str | None) -> None:
    """Stop where cells were made with other settings, unless `rerun` names the first such stage or one before it."""
    if rerun is not None and rerun not in run.grid.stages:
        raise UserError(f"there is no stage {rerun!r} to rerun; there are {', '.join(run.grid.stages)}")
    _ = run.grid.fingerprints  # a missing model is told before anything else is
    stale = {stage: count for stage in run.grid.stages if (count := survey.count(stage, "stale"))}
    if not stale:
        return
    first = next(iter(stale))
    if rerun is not None and rerun in [*run.grid.earlier(first), first]:
        return
    receipt = next(receipt for shard, receipt in survey.receipts[first].items() if survey.state(first, shard) == "stale")
    changed = differences(receipt.params, run.grid.params[first])
    if receipt.version != run.grid.stages[first].version:
        changed.append(f"version {receipt.version} -> {run.grid.stages[first].version}")
    told = "; ".join(changed) or "an earlier stage or the plan changed"
    counts = ", ".join(f"{stage} {count}" for stage, count in stale.items())
    raise UserError(
        f"the settings of {first} changed ({told}), so these shards are stale: {counts}; "
        f"put the settings back, or allow the work to be done again with --rerun {first}"
    )


def executor_of(run: Run) -> LocalExecutor:
    """The executor that the settings ask for."""
    most = max(workers_of(run, stage) for stage in run.grid.stages)
    return LocalExecutor(run.store.url, run.given, run.grid, most, _gpus())


def workers_of(run: Run, stage: str) -> int:
    """Processes for one stage: as many as set, or one a GPU for models, or one a core for the rest; never more than shards."""
    asked = run.config.run.workers
    if isinstance(asked, int):
        workers = asked
    elif run.grid.stages[stage].resources.gpus > 0:
        workers = max(1, _gpus())
    else:
        workers = (os.cpu_count() or 1) // run.config.run.threads
    return max(1, min(workers, run.grid.shards))


def _gpus() -> int:
    """GPUs of this machine; asking loads torch only where a driver is."""
    if not (Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists()):
        return 0
    import torch

    return torch.cuda.device_count()


def _failure_sentence(run: Run, outcome: Outcome) -> str:
    told = []
    for stage, failures in outcome.failed.items():
        worst = next(iter(failures.values()))
        told.append(f"{stage}: {len(failures)} of {run.grid.shards} shards are not done, first shard {worst.shard} ({worst.top})")
    return "; ".join(told) + f"; see `mals status {run.store.url}`, mend the cause and give the same command again"

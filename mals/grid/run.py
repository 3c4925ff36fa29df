"""A run: its folder, its settings, and the coordinator that makes its missing cells up to a stage."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from mals import settings
from mals.config import Config, dump
from mals.errors import UserError
from mals.grid.cells import Grid, Survey
from mals.grid.differences import differences
from mals.grid.executor import Executor
from mals.grid.local import Machine, local_executor
from mals.grid.lock import coordinator
from mals.grid.pipeline import AHEAD
from mals.grid.plan import PlanReceipt, plan_settings, read_plan
from mals.grid.progress import Progress
from mals.grid.schedule import Rules, RunFailed, RunOutcome, Schedule
from mals.grid.spending import Budget, check_budget
from mals.grid.store import Store
from mals.grid.versions import installed_versions

SETTINGS = "mals.yaml"
RESOLVED = "run.json"


@dataclass
class Run:
    """The folder of a run with its settings and its grid."""

    store: Store
    user_settings: dict[str, Any]  # a preset and what differs from it, as in mals.yaml
    config: Config  # all settings, resolved
    grid: Grid  # and the plan, grid.plan
    settings_changed: bool = False  # user_settings are not yet in mals.yaml

    @classmethod
    def open(cls, url: str | Path, assignments: Iterable[str] = ()) -> "Run":
        """The run at `url`, with `assignments` ("a.b=c") on top of its settings; they are kept once the run is worked on.

        Raises UserError where there is no run or no finished plan, or where settings are wrong or the plan was made with others.
        """
        store = Store(str(url))
        saved, config = load_settings(store)
        user_settings = settings.assign(saved, list(assignments))
        if user_settings != saved:
            config = settings.check(user_settings, f"{store.url}/{SETTINGS}")
        plan = read_plan(store)
        if plan is None:
            raise UserError(f"{store.url} has no finished plan; make it with `mals plan {store.url} --captions FILE`, or --ingest IMAGES")
        _check_plan(store.url, plan, config)
        return cls(store, user_settings, config, Grid(store, config, plan), user_settings != saved)

    def save(self) -> None:
        """Keep the settings of the user, and the resolved ones with fingerprints and versions of libraries."""
        if self.settings_changed:
            save_settings(self.store, self.user_settings)
            self.settings_changed = False
        resolved = {"settings": dump(self.config), "fingerprints": self.grid.fingerprints, "versions": installed_versions()}
        text = json.dumps(resolved, indent=1, sort_keys=True).encode()
        try:
            if self.store.read(RESOLVED) == text:
                return
        except FileNotFoundError:
            pass
        self.store.commit(RESOLVED, text)


def load_settings(store: Store) -> tuple[dict[str, Any], Config]:
    """The settings of a run, planned or not, as its user gave them and as resolved; UserError where there is no run."""
    saved = user_settings(store)
    if saved is None:
        raise UserError(
            f"{store.url} is not a run: it has no {SETTINGS}; make one with `mals plan {store.url} --captions FILE`, or --ingest IMAGES"
        )
    return saved, settings.check(saved, f"{store.url}/{SETTINGS}")


def user_settings(store: Store) -> dict[str, Any] | None:
    """The settings in mals.yaml; None where there is no run."""
    try:
        return settings.parse(store.read(SETTINGS).decode(errors="replace"), f"{store.url}/{SETTINGS}")
    except FileNotFoundError:
        return None


def save_settings(store: Store, tree: dict[str, Any]) -> None:
    """Write mals.yaml."""
    store.commit(SETTINGS, yaml.safe_dump(tree, sort_keys=False, allow_unicode=True).encode())


def _check_plan(url: str, plan: PlanReceipt, config: Config) -> None:
    """Raise UserError for settings that would have made another plan."""
    if changed := differences(plan.request.settings, plan_settings(config)):
        raise UserError(f"the plan of {url} was made with other settings ({'; '.join(changed)}); put them back, or plan a new run")


def run_stages(
    run: Run,
    upto: str | None = None,
    *,
    part: tuple[int, int] | None = None,
    rerun: str | None = None,
    retry_errors: bool = False,
    on: str | None = None,
    quiet: bool = False,
) -> RunOutcome:
    """Make the missing cells of every shard up to and with the stage `upto`, the last one by default; finished cells are kept.

    `part` (i, n) takes every n-th shard from shard i, for job arrays; it stops before a global stage while shards of other parts are not
    done (`RunOutcome.waiting`). `rerun` names a stage that, with those after it, may be made again where settings changed. `retry_errors`
    makes cells again in which rows failed. `on` is where, in place of the setting `run.on`. Raises UserError where settings changed and
    `rerun` does not allow to redo the stale cells, RunFailed where shards could not be made.
    """
    with coordinator(run.store, part):
        run.store.sweep()
        survey = run.grid.survey()
        refuse_stale(run, survey, rerun)
        check_budget(run.grid.stages, run.config.run.max_cost)
        run.save()
        shards = range(run.grid.shards) if part is None else range(part[0], run.grid.shards, part[1])
        rules = Rules(run.config.run.attempts, run.config.run.overlap, retry_errors, part is not None)
        budget = Budget(run.grid.stages, run.config.run.max_cost, lambda stage: workers_of(run, stage))
        with Progress(run.store, quiet) as progress:
            executor = executor_of(run, on)
            try:
                outcome = Schedule(run.grid, survey, executor, progress, budget, rules).make(run.grid.upto(upto), shards)
            finally:
                executor.close()
    if outcome.failures:
        raise RunFailed(_failure_sentence(run, outcome))
    return outcome


def refuse_stale(run: Run, survey: Survey, rerun: str | None) -> None:
    """Raise UserError where cells were made with other settings, unless `rerun` names the first such stage or one before it."""
    if rerun is not None and rerun not in run.grid.stages:
        raise UserError(f"there is no stage {rerun!r} to rerun; there are {', '.join(run.grid.stages)}")
    run.grid.check_models()  # without them no fingerprint is known
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
    reason = "; ".join(changed) or "an earlier stage or the plan changed"
    counts = ", ".join(f"{stage} {count}" for stage, count in stale.items())
    raise UserError(
        f"the settings of {first} changed ({reason}), so these shards are stale: {counts}; "
        f"put the settings back, or allow the work to be done again with --rerun {first}"
    )


def executor_of(run: Run, on: str | None = None) -> Executor:
    """The executor for the settings of a run; `on` in place of `run.on`."""
    place, _, address = (on or run.config.run.on).partition("=")
    if place == "ray":
        from mals.grid.ray import RayExecutor

        return RayExecutor(run.store.url, run.user_settings, run.grid, run.config, address)
    workers = {stage: workers_of(run, stage) for stage in run.grid.stages}
    machine = Machine(workers, _at_once(run, workers), _gpus(), AHEAD if run.config.run.overlap else 0)
    return local_executor(run.store.url, run.user_settings, run.grid, machine)


def _at_once(run: Run, workers: dict[str, int]) -> int:
    """Shards that are worked on at once on this machine, all stages together: as many as it has cores, or more where it has GPUs."""
    most, gpus = max(workers.values()), _gpus()
    if gpus == 0 or run.config.run.workers == 1 or run.grid.shards == 1:
        return most
    models = max((workers[name] for name, stage in run.grid.stages.items() if stage.resources.gpus), default=0)
    others = max((workers[name] for name, stage in run.grid.stages.items() if not stage.resources.gpus), default=0)
    return models + others if run.config.run.workers != "auto" else max(others, models + 1)


def workers_of(run: Run, stage: str) -> int:
    """Processes for one stage: as many as set, or one a GPU for models, or one a core for the rest; never more than it takes or shards."""
    setting = run.config.run.workers
    if isinstance(setting, int):
        workers = setting
    elif run.grid.stages[stage].resources.gpus > 0:
        workers = max(1, _gpus())
    else:
        workers = (os.cpu_count() or 1) // run.config.run.threads
    most = run.grid.stages[stage].resources.workers or workers
    return max(1, min(workers, most, run.grid.shards))


@cache
def _gpus() -> int:
    """GPUs of this machine, counted once; torch is imported only where a driver is installed."""
    if not (Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists()):
        return 0
    import torch

    return torch.cuda.device_count()


def _failure_sentence(run: Run, outcome: RunOutcome) -> str:
    sentences = []
    for stage, failures in outcome.failures.items():
        example = next(iter(failures.values()))
        sentences.append(
            f"{stage}: {len(failures)} of {run.grid.shards} shards are not done, for example shard {example.shard}: {example.commonest}"
        )
    return "; ".join(sentences) + f"; see `mals status {run.store.url}`, correct the cause and give the same command again"

"""A run: its folder, its settings, and the coordinator that makes its missing cells up to a stage."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from mals import settings
from mals.config import Config, dump
from mals.errors import UserError
from mals.grid.cells import Grid, Survey
from mals.grid.executor import Executor, Failure, Lost
from mals.grid.local import LocalExecutor
from mals.grid.lock import coordinator, summary_lock
from mals.grid.plan import PlanReceipt, plan_settings, read_plan
from mals.grid.progress import Progress
from mals.grid.receipt import Receipt
from mals.grid.spending import affordable, check_budget
from mals.grid.store import Store
from mals.grid.summary import SummaryReceipt, is_made
from mals.grid.versions import installed_versions

SETTINGS = "mals.yaml"
RESOLVED = "run.json"


class RunFailed(Exception):
    """Some shards could not be made; finished ones are kept."""


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


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """What differs between two JSON trees, as "a.b: 3 -> 5"."""
    if isinstance(old, dict) and isinstance(new, dict):
        lines = []
        for key in sorted(old.keys() | new.keys()):
            lines += differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
        return lines
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [line for at, (a, b) in enumerate(zip(old, new, strict=True)) for line in differences(a, b, f"{path}.{at}")]
    return [] if old == new else [f"{path}: {_short(old)} -> {_short(new)}"]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


@dataclass
class RunOutcome:
    """The work of one call of `run_stages`."""

    new_cells: dict[str, int] = field(default_factory=dict)  # stage -> cells made by this call
    failures: dict[str, dict[int, Failure]] = field(default_factory=dict)  # stage -> shard -> the last failure
    waiting: str = ""  # why a part stopped before a global stage, a sentence; empty if it did not


def run_stages(
    run: Run,
    upto: str | None = None,
    *,
    part: tuple[int, int] | None = None,
    rerun: str | None = None,
    retry_errors: bool = False,
    quiet: bool = False,
) -> RunOutcome:
    """Make the missing cells of every shard up to and with the stage `upto`, the last one by default; finished cells are kept.

    `part` (i, n) takes every n-th shard from shard i, for job arrays; it stops before a global stage while shards of other parts are not
    done (`RunOutcome.waiting`). `rerun` names a stage that, with those after it, may be made again where settings changed. `retry_errors`
    makes cells again in which rows failed. Raises UserError where settings changed and `rerun` does not allow to redo the stale cells,
    RunFailed where shards could not be made.
    """
    with coordinator(run.store, part):
        run.store.sweep()
        survey = run.grid.survey()
        refuse_stale(run, survey, rerun)
        check_budget(run.grid.stages, run.config.run.max_cost)
        run.save()
        outcome = RunOutcome()
        with Progress(run.store, quiet) as progress:
            executor = executor_of(run)
            try:
                ready = list(range(run.grid.shards) if part is None else range(part[0], run.grid.shards, part[1]))
                for stage in run.grid.upto(upto):
                    if part is not None and run.grid.is_global(stage):
                        survey = run.grid.survey()  # with what the other parts made
                    outcome.waiting = _waiting(run, survey, stage)
                    if outcome.waiting:
                        break
                    todo = [shard for shard in ready if needs_work(survey, stage, shard, retry_errors)]
                    if todo:
                        progress.begin(stage, len(todo), sum(run.grid.row_count(shard) for shard in todo), len(ready) - len(todo))
                        _run_stage(run, executor, stage, todo, survey, progress, outcome)
                        progress.end()
                    ready = [shard for shard in ready if survey.state(stage, shard) == "done"]
            finally:
                executor.close()
    if outcome.failures:
        raise RunFailed(_failure_sentence(run, outcome))
    return outcome


def _waiting(run: Run, survey: Survey, stage: str) -> str:
    """Why a global stage cannot be made yet, a sentence; empty if it can, and for any other stage."""
    if not run.grid.is_global(stage):
        return ""
    for name in run.grid.earlier(stage):
        if left := run.grid.shards - survey.count(name, "done"):
            return (
                f"the stage {stage} looks at all rows, and {left} of {run.grid.shards} shards of {name} are not done; "
                "give the same command again when they are"
            )
    return ""


def needs_work(survey: Survey, stage: str, shard: int, retry_errors: bool) -> bool:
    """Whether a cell is to be made: it is not done, or it has failed rows that are to be tried again."""
    return survey.state(stage, shard) != "done" or (retry_errors and survey.receipts[stage][shard].failed > 0)


def _run_stage(run: Run, executor: Executor, stage: str, todo: list[int], survey: Survey, progress: Progress, outcome: RunOutcome) -> None:
    """Make the cells of one stage for the shards `todo`."""
    failures: dict[int, Failure] = {}
    inputs = _summarise(run, executor, stage, survey, progress) if run.grid.is_global(stage) else None
    attempts, max_cost = run.config.run.attempts, run.config.run.max_cost
    parts = affordable(run.grid.stages, stage, todo, survey, workers_of(run, stage), max_cost)
    shards = (((shard, survey.sources(stage, shard)) for shard in part) for part in parts)
    for result in chain.from_iterable(executor.run(stage, shards_of_part, attempts, inputs) for shards_of_part in shards):
        if isinstance(result, Receipt):
            survey.add(result)
            outcome.new_cells[stage] = outcome.new_cells.get(stage, 0) + 1
            failed = run.grid.failure_name(stage, result.shard)
            if failures.pop(result.shard, None) or failed in survey.sizes[stage]:
                run.store.remove(failed)
            progress.finished(result, executor.place())
        elif isinstance(result, Lost):
            progress.lost(stage, result)
        else:
            failures[result.shard] = result
            survey.remove(stage, result.shard)
            run.store.commit(run.grid.failure_name(stage, result.shard), json.dumps({"stage": stage, **asdict(result)}, indent=1).encode())
            progress.failed(stage, result)
    if failures:
        outcome.failures[stage] = failures


def _summarise(run: Run, executor: Executor, stage: str, survey: Survey, progress: Progress) -> str:
    """Make the summary of a global stage unless it is there; what it is made from. Raises RunFailed where it cannot be made."""
    inputs = survey.summary_inputs(stage)
    with summary_lock(run.store, stage):
        if is_made(run.grid, stage, inputs):
            return inputs
        sources = {shard: survey.sources(stage, shard) for shard in range(run.grid.shards)}
        problem = ""
        for attempt in range(1, run.config.run.attempts + 1):
            result = executor.summarise(stage, sources, inputs)
            if isinstance(result, SummaryReceipt):
                progress.event("summary", stage=stage, rows=result.rows, bytes=result.size, seconds=result.seconds)
                return inputs
            progress.failed(stage, replace(result, attempt=attempt))
            problem = result.commonest
    raise RunFailed(
        f"{stage}: the summary of all rows could not be made: {problem}; events.jsonl has more, "
        "correct the cause and give the same command again"
    )


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


def executor_of(run: Run) -> Executor:
    """The executor for the settings of a run."""
    workers = {stage: workers_of(run, stage) for stage in run.grid.stages}
    return LocalExecutor(run.store.url, run.user_settings, run.grid, workers=workers, gpus=_gpus())


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


def _gpus() -> int:
    """GPUs of this machine; torch is imported only where a driver is installed."""
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

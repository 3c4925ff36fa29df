"""Several methods trained at one budget on the same rows, and their scores as one table: what `mals compare` does.

OUT/table.md, OUT/table.json                   all results so far, after each training
OUT/NAME/seed-0/training/, log.txt             the training, by `mals finetune` or `mals pretrain`, and what it printed
OUT/NAME/seed-0/request.json, result.json      what was asked for, and the result

Every training and every measurement is a command in a process of its own: one that fails is reported in its row, and the others go on.
The same call goes on after an interruption; what is finished is not repeated, what failed is tried again.
"""

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from signal import Signals
from typing import Any

from mals.errors import UserError
from mals.files import write_file
from pretrain import checkpoint, provenance
from pretrain.compare_table import Failure, Outcome, Row, markdown, to_json
from pretrain.comparison import Comparison, Variant, check

TABLE, TABLE_JSON = "table.md", "table.json"
REQUEST, MEASURED, RESULT, LOG, TRAINING = "request.json", "measured.json", "result.json", "log.txt", "training"
TIMED = 20  # steps whose speed decides how many fit into the hours
WARM = 4  # of these, not timed


class CommandFailed(Exception):
    """A command ended with an error; the message is its last line."""


@dataclass(frozen=True)
class Commands:
    """How commands are started."""

    mals: Sequence[str]  # the words before the arguments of `mals`
    python: Sequence[str]  # the words before `-m`

    def run(self, words: Sequence[str], log: Path) -> None:
        """Run a command, what it prints goes to the end of `log`; CommandFailed with its last line where it fails.

        If this process is stopped, so is the command, which is waited for.
        """
        with log.open("ab") as file:
            start = file.tell()
            with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT) as process:
                try:
                    code = process.wait()
                except BaseException:
                    process.terminate()
                    process.wait()
                    raise
        if code:
            raise CommandFailed(_reason(code, log, start))


def _reason(code: int, log: Path, start: int) -> str:
    """Why a command failed: the signal, or the last line that it printed."""
    if code < 0:
        return f"ended by {Signals(-code).name}"
    with log.open("rb") as file:
        file.seek(start)
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else f"exit code {code}"


def compare(comparison: Comparison, out: Path, commands: Commands, announce: Callable[[str], None] = lambda text: None) -> list[Row]:
    """Train, evaluate and measure every variant with every seed; returns the rows of the table. The same call goes on.

    Raises UserError, before anything is trained, where settings are impossible or `out` holds results of others.
    """
    comparison = replace(comparison, variants=tuple(variant.within(out) for variant in comparison.variants))
    check(comparison)
    jobs = [Job(comparison, variant, seed, out, commands) for seed in range(comparison.seeds) for variant in comparison.variants]
    for job in jobs:
        job.refuse_other()
    outcomes: dict[str, list[Outcome | Failure]] = {variant.name: [] for variant in comparison.variants}
    for number, job in enumerate(jobs, 1):
        label = f"{number} of {len(jobs)}: {job.variant.name}, seed {job.seed}"
        outcomes[job.variant.name].append(_run(job, label, announce))
        rows = [Row(variant, tuple(outcomes[variant.name])) for variant in comparison.variants]
        write_file(out / TABLE_JSON, json.dumps(to_json(comparison, rows), indent=2) + "\n")
        write_file(out / TABLE, markdown(comparison, rows))
    return rows


def _run(job: "Job", label: str, announce: Callable[[str], None]) -> Outcome | Failure:
    """The result of one training, which may be that of an earlier call."""
    finished = job.finished()
    if finished is not None:
        announce(f"{label}: finished before")
        return finished
    announce(f"{label} ...")
    began = time.monotonic()
    try:
        outcome = job.run()
    except (CommandFailed, UserError) as error:
        announce(f"    failed: {error} ({job.folder / LOG})")
        return Failure(job.seed, str(error))
    announce(f"    {outcome.sentence()}; {max(1, round((time.monotonic() - began) / 60))} min")
    return outcome


@dataclass(frozen=True)
class Job:
    """One training with its evaluations."""

    comparison: Comparison
    variant: Variant
    seed: int
    out: Path
    commands: Commands

    @property
    def folder(self) -> Path:
        return self.out / self.variant.folder / f"seed-{self.seed}"

    @property
    def training(self) -> Path:
        return self.folder / TRAINING

    def request(self) -> dict[str, Any]:
        return self.comparison.request(self.variant, self.seed)

    def refuse_other(self) -> None:
        """UserError where the folder holds a training of other settings."""
        before = _read(self.folder / REQUEST)
        now = self.request()
        if before is not None and (keys := [key for key in now if before.get(key) != now[key]]):
            changes = ", ".join(f"{key} ({before.get(key)} then, {now[key]} now)" for key in keys)
            raise UserError(f"{self.folder} was made with other settings: {changes}; give those, or another --out")

    def finished(self) -> Outcome | None:
        """The result of an earlier call; None where there is none, or one of another form."""
        try:
            return Outcome(**(_read(self.folder / RESULT) or {}))
        except TypeError:
            return None

    def run(self) -> Outcome:
        """Train and evaluate; CommandFailed where a command fails."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_file(self.folder / REQUEST, json.dumps(self.request(), indent=1) + "\n")
        steps = self.steps()
        self.train(self.training, self.comparison.selects, self.sets(steps))
        last = checkpoint.latest(self.training)
        if last is None:
            raise CommandFailed(f"{self.training} has no checkpoint")
        metrics, measured = _read(self.training / "metrics.json") or {}, self.measure()
        outcome = Outcome(
            seed=self.seed,
            steps=last.step,
            images=last.step * int(last.config["batch"]),
            rows=sum(int(data["rows"]) for data in (provenance.read(self.training) or {"data": []})["data"]),
            images_per_s=metrics.get("images_per_s"),
            best=measured.get("best"),
            last=measured["last"],
            best_step=(metrics.get("selected") or {}).get("step"),
            cost=measured["cost"],
        )
        write_file(self.folder / RESULT, json.dumps(vars(outcome), indent=1) + "\n")
        return outcome

    def sets(self, steps: int | None) -> list[str]:
        """The settings of the training."""
        sets = [*self.variant.sets, *self.comparison.sets, f"seed={self.seed}"]
        if steps is not None:
            sets.append(f"steps={steps}")
        if self.comparison.selects and self.variant.config(self.comparison.sets).optimizer.average:
            sets.append("optimizer.average=0")  # a checkpoint is chosen instead
        return sets

    def train(self, out: Path, selects: bool, sets: Sequence[str]) -> None:
        """The command of a training; the same goes on after an interruption."""
        words = [*self.commands.mals, "finetune" if selects else "pretrain", "--preset", self.variant.preset, "--out", str(out)]
        words += [word for place in self.comparison.data for word in ("--data", place)]
        if self.variant.file is not None:
            words += ["--config", str(self.variant.file)]
        if self.variant.init is not None:
            words += ["--init", self.variant.init] if selects else []
        if self.comparison.gpus is not None:
            words += ["--gpus", str(self.comparison.gpus)]
        self.commands.run([*words, *[word for one in sets for word in ("--set", one)]], self.folder / LOG)

    def steps(self) -> int | None:
        """The steps of the budget, for hours by the speed of the variant's first steps, which all its seeds share."""
        config, budget = self.variant.config(self.comparison.sets), self.comparison.budget
        if budget.hours is None:
            return budget.steps_of(config)
        place = self.out / self.variant.folder / "speed"
        if _read(place / "seconds.json") is None:
            calm = ["optimizer.warmup=0", "optimizer.schedule=constant", "optimizer.average=0"]
            sets = [*self.sets(None), f"steps={TIMED}", "log_every=1", f"save_every={TIMED}", *calm]
            self.train(place / TRAINING, False, sets)
            write_file(place / "seconds.json", json.dumps({"seconds": seconds_per_step(place / TRAINING / "metrics.jsonl", config.batch)}))
        return budget.steps_of(config, (_read(place / "seconds.json") or {})["seconds"])

    def measure(self) -> dict[str, Any]:
        """The scores on the test split and the cost, see `pretrain.measure`."""
        words = ["-m", "pretrain.measure", str(self.folder / MEASURED), str(self.training), self.comparison.split, *self.comparison.test]
        self.commands.run([*self.commands.python, *words], self.folder / LOG)
        return _read(self.folder / MEASURED) or {}


def seconds_per_step(metrics: Path, batch: int) -> float:
    """Seconds a step, the first few left out, by the lines of a training's metrics, one a step."""
    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    ended = [line["step"] * batch / max(line["images_per_s"], 1e-9) for line in lines]  # images a second are those since the start
    first = min(WARM, len(ended) - 1)
    return max(1e-4, (ended[-1] - ended[first]) / max(1, lines[-1]["step"] - lines[first]["step"]))


def _read(file: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None where there is none that can be read."""
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return tree if isinstance(tree, dict) else None

"""The training loop: it knows no method, and what it does at a step is a function of the settings, the data and the step.

A killed training resumes from its last checkpoint and ends with the same weights as one that was never stopped, on a CPU with the same
number of threads to the bit; `pretrain.data.loader` gives every step the same rows for any number of workers and ranks.
"""

import json
import logging
import math
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import yaml
from filelock import FileLock, Timeout
from torch import nn

from mals.errors import CollectiveError, UserError
from mals.files import write_file
from pretrain import average, checkpoint, ranks, settings
from pretrain.build import Prepared, prepare, synonyms_of, wordings_of
from pretrain.checkpoint_writer import CheckpointWriter
from pretrain.config import Training
from pretrain.data.loader import Loader
from pretrain.data.tokenizers import Tokenizer
from pretrain.host import to_device
from pretrain.memory import explain_out_of_memory
from pretrain.method import Batch, Method
from pretrain.precision import autocast, loss_scaler, refuse_missing, set_product_precision, use_deterministic_algorithms
from pretrain.schedule import factor, make_optimizer, set_rate
from pretrain.step_report import ADVICE, StepReport, limit_gradient, update_if
from pretrain.throughput import Throughput, peak_of

log = logging.getLogger(__name__)

METRICS, LOCK = "metrics.jsonl", ".lock"
COMPILED = 64  # versions of a block, which differ in sizes and share of dropped images; beyond, torch runs them uncompiled
ENDING = 3  # seconds that a training whose launcher was killed may need to end
LEAST_SCALE = 2.0**-10  # of the loss in fp16, which begins at 2^16: with less, no gradient of a loss that is a number is too large
LOOK = 0x100C  # sets the random numbers of passes before epochs apart from those of steps


class Stopped(Exception):
    """A signal ended the training, and the checkpoint is written; `number` is the signal's."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(number, message)  # both, so that it can be pickled
        self.number, self.message = number, message

    def __str__(self) -> str:
        return self.message


class Watcher(Protocol):
    """Observes a training, on every rank."""

    def begin(self, method: Any, tokenizer: Tokenizer, here: torch.device, per_epoch: int, start: int, steps: int) -> None:
        """Before the training goes on from step `start` to `steps`, of which an epoch has `per_epoch`."""
        ...

    def after(self, step: int) -> None:
        """After each step and its checkpoint, and once for the step that the training resumes from."""
        ...

    def end(self) -> dict[str, Any]:
        """After all steps, before the weights that the method then has are released; additions to the last metrics."""
        ...


@explain_out_of_memory("set data.micro_batch, or checkpointing=true, or lower batch")
def train(config: Training, data: list[str], out: Path, device: str = "auto", watcher: Watcher | None = None) -> dict[str, Any]:
    """Train to the end, from the last checkpoint in `out` where there is one; returns the last line of metrics and the watcher's additions.

    Raises UserError for what the user can change, Stopped after SIGTERM and SIGINT.
    """
    here = ranks.start(device)
    use_deterministic_algorithms(here)
    refuse_missing(here, config.dtype)
    set_product_precision(here, config.dtype)
    out.mkdir(parents=True, exist_ok=True)
    with ranks.explain_lost_peer(), locked(out):
        return _train(config, data, out, here, watcher)


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Lock the folder of a training, from the main process; UserError where another training has it. The lock ends with this process."""
    lock = FileLock(out / LOCK)
    with ranks.raise_on_all_ranks():
        if ranks.is_main():
            try:
                lock.acquire(timeout=ENDING)
            except Timeout:
                raise UserError(f"{out} is being trained in by another process; wait for it, stop it, or give another --out") from None
    try:
        yield
    finally:
        lock.release()


def _train(config: Training, data: list[str], out: Path, here: torch.device, watcher: Watcher | None) -> dict[str, Any]:
    """`train` on this device, in a locked folder."""
    tree = config.model_dump(mode="json")
    with ranks.raise_on_all_ranks():
        resumed = find_checkpoint(out, tree)
    prepared = prepare(config, data, out, resumed is not None)
    method = prepared.method.to(here)
    start = resumed.step if resumed is not None else 0
    loader = _loader(config, prepared, out, here, start)

    def all_rows(epoch: int) -> Loader:
        rows = _loader(config, prepared, out, here, start, whole_epoch=epoch)
        rows.unreadable = loader.unreadable  # counted, and named, once
        return rows

    steps = config.steps or config.epochs * loader.per_epoch
    loader.stop = steps
    if watcher is not None:
        watcher.begin(method, prepared.tokenizer, here, loader.per_epoch, start, steps)
    with ranks.raise_on_all_ranks():
        optimizer = make_optimizer(config.optimizer, method, method.rules, steps, loader.per_epoch)
        if resumed is not None:
            checkpoint.restore(resumed, method, optimizer)
    loop = Loop(config, method, optimizer, out, steps, loader.per_epoch, here, watcher, all_rows)
    with ranks.raise_on_all_ranks():
        if ranks.is_main():
            loop.last = trim_metrics(out / METRICS, start)
    if resumed is not None and resumed.scaler:
        loop.scaler.load_state_dict(resumed.scaler)
    with catch_signals() as caught, loop.writer:
        loop.run(loader, start, caught)
    if config.optimizer.average:
        average.put(optimizer)
    if watcher is not None:
        loop.last = loop.last | watcher.end()
    with ranks.raise_on_all_ranks():
        if ranks.is_main():
            checkpoint.release(out, method, yaml.safe_dump(tree, sort_keys=False), loop.last)
    last = loop.last
    del loop  # with its wrapped method
    ranks.stop()
    return last


def _loader(config: Training, prepared: Prepared, out: Path, here: torch.device, start: int, whole_epoch: int | None = None) -> Loader:
    """The batches of the steps from `start` on, or all rows for a pass before `whole_epoch`, with random numbers of their own."""
    needs = prepared.method.needs
    synonyms = synonyms_of(config, prepared.pairs, out) if needs.second_caption == "eda" else None
    seed = config.seed if whole_epoch is None else int(np.random.SeedSequence((config.seed, LOOK)).generate_state(1)[0])
    with ranks.raise_on_all_ranks():
        return Loader(
            prepared.pairs,
            prepared.tokenizer,
            needs,
            batch=config.batch,
            seed=seed,
            step=start,
            rank=ranks.rank(),
            world=ranks.world_size(),
            workers=config.data.workers,
            transform=prepared.transform,
            exchange=config.data.exchange_sides,
            synonyms=synonyms,
            device=here,
            whole_epoch=whole_epoch,
            wordings=wordings_of(config),
        )


def find_checkpoint(out: Path, tree: Mapping[str, Any]) -> checkpoint.Checkpoint | None:
    """The last checkpoint in the folder of a training; UserError where its settings differ, or where only released weights are left."""
    last = checkpoint.latest(out)
    if last is not None:
        refuse_other(settings.check(last.config, str(last.folder)).model_dump(mode="json"), tree)
        if last.damaged and ranks.is_main():
            log.warning("%s: the training resumes from step %s", "; ".join(last.damaged), f"{last.step:,}")
    elif (out / checkpoint.MODEL).is_file():
        raise UserError(f"{out} holds a finished method, and none of its checkpoints; give another --out")
    return last


def trim_metrics(file: Path, start: int) -> dict[str, Any]:
    """Remove the lines of metrics after step `start`, whose steps are repeated, and a torn one; returns the last line that stays."""
    lines, rows = file.read_text(encoding="utf-8").splitlines() if file.is_file() else [], []
    for line in lines:
        with suppress(ValueError):
            rows.append(json.loads(line))
    rows = [row for row in rows if row["step"] <= start]
    if len(rows) < len(lines):
        write_file(file, "".join(json.dumps(row) + "\n" for row in rows))
    return rows[-1] if rows else {}


class Loop:
    """Steps, their log and their checkpoints."""

    def __init__(
        self,
        config: Training,
        method: nn.Module,
        optimizer: torch.optim.Optimizer,
        out: Path,
        steps: int,
        per_epoch: int,
        here: torch.device,
        watcher: Watcher | None = None,
        all_rows: Callable[[int], Iterable[Batch]] = lambda epoch: (),
    ) -> None:
        """`all_rows` are the batches that the method may look over before an epoch, see `Method.before_epoch`."""
        self.config, self.method, self.optimizer, self.out, self.here = config, method, optimizer, out, here
        self.steps, self.per_epoch, self.watcher, self.all_rows = steps, per_epoch, watcher, all_rows
        self.wrapped = ranks.wrap(method)
        self.last: dict[str, Any] = {}  # the last line of metrics
        self.open: StepReport | None = None  # of the step before, which is not read yet
        self.speed = Throughput(config.batch, peak_of(here))
        self.scaler, self.writer, self.saved = loss_scaler(here, config.dtype), CheckpointWriter(out), time.monotonic()

    @property
    def compiles(self) -> bool:
        """Whether blocks are compiled, which null leaves to the device."""
        return self.here.type == "cuda" if self.config.compile is None else self.config.compile

    def run(self, loader: Loader, start: int, caught: list[int]) -> None:
        """All steps from `start` on; Stopped once a signal is in `caught`, on any rank."""
        self.watch(start)
        self.method.train()
        if self.compiles and not self.speed.counts:
            compile_blocks(self.method)
        before = time.time()
        for step, batch in enumerate(loader, start):
            self.speed.waited += time.time() - before
            if step % self.per_epoch == 0:
                self.begin_epoch(step, caught)
            counting = self.speed.counts
            with self.speed.step():
                report = self.step(step, batch, len(caught), len(loader.unreadable), self.is_due(), self.writer.failed)
            if counting and self.compiles:  # after the FLOPs of a step were counted, which a compiled one hides
                compile_blocks(self.method)
            done = step + 1
            logs, saves = (done % every == 0 or done == self.steps for every in (self.config.log_every, self.config.save_every))
            watched = self.watcher is not None and done % self.per_epoch == 0  # it may keep the weights of an epoch's end
            losses, (signals, unreadable, due, failed) = self.settle(report, at_once=logs or saves or watched)
            ending = signals > 0 or (ranks.world_size() == 1 and len(caught) > 0)
            if logs:
                self.log(done, losses, unreadable)
            if failed or ranks.world_size() == 1:  # an error of the main process is known to all ranks with the other counts
                with ranks.raise_on_all_ranks():
                    self.writer.check()
            if saves or due or ending:
                self.save(done)
            if ending and done < self.steps:
                raise self.stopped(done, caught)
            self.watch(done)
            before = time.time()
        self.finish_saving()

    def is_due(self) -> bool:
        """Whether it is time for a checkpoint, by the clock of the main process; the ranks add it up with other counts of the step."""
        minutes = self.config.save_minutes
        return minutes is not None and ranks.is_main() and time.monotonic() - self.saved >= 60 * minutes

    def begin_epoch(self, step: int, caught: list[int]) -> None:
        """Let the method look over the data before the epoch that begins with `step`; Stopped as in `run`."""
        assert isinstance(self.method, Method)
        epoch = step // self.per_epoch
        self.method.eval()
        with torch.no_grad(), autocast(self.here, self.config.dtype):
            self.method.before_epoch(epoch, lambda: self.look_over(epoch, step, caught))
        self.method.train()

    def look_over(self, epoch: int, step: int, caught: list[int]) -> Iterator[Batch]:
        """All rows before an epoch; Stopped, with the state after `step` steps saved, once a signal is in `caught`, on any rank."""
        batches = iter(self.all_rows(epoch))
        while True:
            with torch.autocast(self.here.type, enabled=False):
                batch = next(batches, None)
            if batch is None:
                return
            if ranks.mean_over_ranks(torch.tensor(float(len(caught)), device=self.here)) > 0:
                if step:
                    self.save(step)
                raise self.stopped(step, caught)
            yield batch

    def stopped(self, done: int, caught: list[int]) -> Stopped:
        """The end by a signal after some steps, once their checkpoint is written."""
        self.finish_saving()
        number = caught[0] if caught else signal.SIGTERM
        return Stopped(number, f"stopped after step {done:,} of {self.steps:,}; the same command goes on")

    def watch(self, done: int) -> None:
        """Call the watcher; its time is not the training's."""
        if self.watcher is not None:
            before = time.time()
            self.watcher.after(done)
            self.speed.pause(time.time() - before)

    def settle(self, report: StepReport, at_once: bool) -> tuple[dict[str, float], list[int]]:
        """Read the report of the step before, or `at_once` that of this one too; its losses, and its counts as sums over the ranks.

        CollectiveError where an update was not finite. All ranks read the same reports at the same step, so that they end together.
        """
        losses: dict[str, float] = {}
        counts = [0.0] * 4
        for each in (self.open, report if at_once else None):
            if each is not None:
                losses, counts = each.read()
        self.open = None if at_once else report
        return losses, [round(count * ranks.world_size()) for count in counts]

    def step(self, step: int, batch: Batch, *counts: int) -> StepReport:
        """One update, if it is finite: the losses as means over the ranks, and `counts`. The host does not wait for the device."""
        torch.manual_seed(int(np.random.SeedSequence((self.config.seed, step, ranks.rank())).generate_state(1)[0]))  # of dropout
        optimizer = self.config.optimizer
        set_rate(self.optimizer, factor(optimizer, step, self.steps, self.per_epoch))
        self.optimizer.zero_grad(set_to_none=True)  # before the forward pass: in one process that frees the memory for it
        with autocast(self.here, self.config.dtype):
            losses = self.wrapped(batch, step)
        values = torch.stack(list(losses.values()))
        own = torch.cat([values.detach().float(), to_device(torch.tensor(counts, dtype=torch.float32), self.here)])
        means = ranks.mean_over_ranks(own)
        self.scaler.scale(values.sum()).backward()
        self.scaler.unscale_(self.optimizer)
        gradient = limit_gradient(self.method, optimizer.clip).float()[None]
        update_if(torch.cat([means, gradient]).isfinite().all(), self.optimizer)
        self.scaler.update()
        reported = torch.zeros_like(gradient) if self.scaler.is_enabled() else gradient  # fp16 leaves an update out now and then
        if (before := step - average.first(optimizer.average, self.steps)) >= 0:
            average.add(self.optimizer, before)
        return StepReport.send(step, tuple(losses), torch.cat([means, reported]))

    def log(self, done: int, losses: Mapping[str, float], unreadable: int) -> None:
        """A line in metrics.jsonl and one on the terminal, from the main process."""
        values = {name: round(value, 5) for name, value in losses.items()}
        self.last = {
            "step": done,
            "loss": round(sum(values.values()), 5),
            **values,
            "lr": self.optimizer.param_groups[0]["lr"],
            **self.speed.line(),
            "peak_mb": round(peak_memory(self.here)),
            "unreadable": unreadable,  # rows since this start that others have replaced
            **({"loss_scale": self.scaler.get_scale()} if self.scaler.is_enabled() else {}),
        }
        if ranks.is_main():
            try:
                with (self.out / METRICS).open("a", encoding="utf-8") as file:
                    file.write(json.dumps(self.last) + "\n")
            except OSError as error:
                self.writer.keep(error)
            left = self.speed.left(self.steps - done)
            mfu = f", MFU {self.last['mfu']:.0%}" if "mfu" in self.last else ""
            now, waited, peak = (self.last[name] for name in ("images_per_s_now", "waited", "peak_mb"))
            speed = f"{now:.1f} images/s{mfu}, {waited:.0%} waiting for data, {peak:,} MB"
            log.info("step %s/%s  loss %.3f  %s, %s left", f"{done:,}", f"{self.steps:,}", self.last["loss"], speed, clock(left))

    def save(self, done: int) -> None:
        """Begin a checkpoint, in the main process; UserError, before it, where a weight is no number any more, or no loss scale helps."""
        if self.open is not None:
            self.open.read()
            self.open = None
        if not torch.stack([parameter.detach().isfinite().all() for parameter in self.method.parameters()]).all():
            raise CollectiveError(f"the weights are not finite after step {done:,}; they are not kept: {ADVICE}")
        if self.scaler.is_enabled() and self.scaler.get_scale() < LEAST_SCALE:
            raise CollectiveError(
                f"the gradients are not finite after step {done:,} with any scale of the loss; set dtype=fp32, or {ADVICE}"
            )
        with ranks.raise_on_all_ranks():
            if ranks.is_main():
                self.writer.save(done, self.method, self.optimizer, self.config.model_dump(mode="json"), self.scaler.state_dict())
        self.saved = time.monotonic()

    def finish_saving(self) -> None:
        """Wait until the last checkpoint is written: all ranks then end together, also where it cannot be written."""
        with ranks.raise_on_all_ranks():
            self.writer.wait()


def compile_blocks(method: nn.Module, backend: str = "inductor") -> None:
    """Compile, in place, the members of lists of modules, such as the layers of an encoder: equal ones once.

    The number of versions is a setting of the process, which every torch that this runs with has; the argument of torch.compile is new in
    2.14.
    """
    torch._dynamo.config.recompile_limit = max(COMPILED, torch._dynamo.config.recompile_limit)
    lists = [module for module in method.modules() if isinstance(module, nn.ModuleList)]
    blocks = [block for members in lists for block in members if not any(isinstance(part, nn.ModuleList) for part in block.modules())]
    for block in blocks or [method]:
        block.compile(backend=backend)


def refuse_other(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """UserError where a checkpoint was made with other settings, with their keys; settings without results may differ."""
    free = {"data.workers", "data.micro_batch", "save_every", "save_minutes", "log_every", "compile", "checkpointing"}
    then, current = flat(before), flat(now)
    keys = [key for key in sorted({*then, *current}) if then.get(key) != current.get(key) and key not in free]
    if keys:
        differences = ", ".join(f"{key} ({then.get(key)} then, {current.get(key)} now)" for key in keys)
        raise UserError(f"the checkpoint is of other settings: {differences}; give those, or another --out")


def flat(tree: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Settings as "a.b" -> value."""
    values: dict[str, Any] = {}
    for key, value in tree.items():
        values |= flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return values


@contextmanager
def catch_signals() -> Iterator[list[int]]:
    """A list that gets the numbers of SIGTERM and SIGINT, so that the step ends and its checkpoint is written first."""
    caught: list[int] = []
    before = {number: signal.signal(number, lambda got, _frame: caught.append(got)) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def peak_memory(here: torch.device) -> float:
    """Megabytes that this process has used at most, on the GPU where it trains on one."""
    if here.type == "cuda":
        return torch.cuda.max_memory_allocated(here) / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def clock(seconds: float) -> str:
    """1:02:03."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"

"""The training loop: it knows no method, and what it does at a step is a function of the settings, the data and the step.

A killed training goes on from its last checkpoint and ends with the weights of one that was not, on a CPU and with as many
threads to the bit; `pretrain.data.loader` gives every step the same rows whatever the number of workers and processes.
"""

import json
import math
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
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
from mals.settings import check_kind
from pretrain import average, checkpoint, ranks
from pretrain.build import prepare, synonyms_of
from pretrain.config import TRAINING, Training
from pretrain.data.loader import Loader
from pretrain.data.tokenizers.wordpiece import Tokenizer
from pretrain.memory import explain_out_of_memory
from pretrain.method import Batch, ParameterRule
from pretrain.precision import autocast, set_product_precision, use_deterministic_algorithms
from pretrain.schedule import SCHEDULES, groups, set_rate

METRICS, LOCK = "metrics.jsonl", ".lock"
COMPILED = 64  # versions of a block, which differ in sizes and share of dropped pictures; beyond, torch runs them uncompiled
ENDING = 3  # seconds that a training whose launcher was killed may need to end
MILDER = "in another --out, lower optimizer.lr or set optimizer.clip"


class Stopped(Exception):
    """A signal asked for the end, and the checkpoint is written; `number` is the signal's."""

    def __init__(self, number: int, told: str) -> None:
        super().__init__(told)
        self.number = number


class Watcher(Protocol):
    """Looks at a method while it trains, on every rank."""

    def begin(self, method: Any, tokenizer: Tokenizer, here: torch.device, per_epoch: int, start: int, steps: int) -> None:
        """Before the training goes on from `start` to `steps`, of which an epoch has `per_epoch`."""
        ...

    def after(self, step: int) -> None:
        """After each step, what was to be kept of it being kept, and once for the step that the training goes on from."""
        ...

    def end(self) -> dict[str, Any]:
        """After all steps, before the weights that the method then has are released; what to add to the last metrics."""
        ...


@explain_out_of_memory("lower batch, or set checkpointing=true")
def train(config: Training, data: list[str], out: Path, device: str = "auto", watcher: Watcher | None = None) -> dict[str, Any]:
    """Train to the end, from the last checkpoint in `out` where there is one; returns the last line of metrics, and what the watcher adds.

    Raises UserError for what a person can mend, Stopped after SIGTERM and SIGINT.
    """
    here = ranks.start(device)
    use_deterministic_algorithms(here)
    set_product_precision(here, config.dtype)
    out.mkdir(parents=True, exist_ok=True)
    with ranks.explain_lost_peer(), alone(out):
        return _train(config, data, out, here, watcher)


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Hold the folder of a training, from the main process; UserError where another training holds it. It ends with this one."""
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
    """`train` on this device, in a folder of one's own."""
    told = config.model_dump(mode="json")
    with ranks.raise_on_all_ranks():
        found = begun(out, told)
    method, tokenizer, pairs, look = prepare(config, data, out, found is not None)
    method.to(here)
    steps = config.steps or config.epochs * (len(pairs) // config.batch)
    start = found.step if found is not None else 0
    others = synonyms_of(config, pairs, out) if method.needs.second_caption == "eda" else None
    with ranks.raise_on_all_ranks():
        loader = Loader(
            pairs,
            tokenizer,
            method.needs,
            batch=config.batch,
            seed=config.seed,
            step=start,
            stop=steps,
            rank=ranks.rank(),
            world=ranks.world_size(),
            workers=config.data.workers,
            look=look,
            exchange=config.data.exchange_sides,
            synonyms=others,
            device=here,
        )
    if watcher is not None:
        watcher.begin(method, tokenizer, here, loader.per_epoch, start, steps)
    with ranks.raise_on_all_ranks():
        optimizer = optimizer_of(config, method, method.rules, steps)
        if found is not None:
            checkpoint.restore(found, method, optimizer)
    loop = Loop(config, method, optimizer, out, steps, here, watcher)
    if ranks.is_main():
        loop.last = kept(out / METRICS, start)
    with asked_to_stop() as asked:
        loop.run(loader, start, asked)
    if config.optimizer.average:
        average.put(optimizer)
    if watcher is not None:
        loop.last = loop.last | watcher.end()
    if ranks.is_main():
        checkpoint.release(out, method, yaml.safe_dump(told, sort_keys=False), loop.last)
    last = loop.last
    del loop  # with its wrapped method
    ranks.stop()
    return last


def begun(out: Path, config: Mapping[str, Any]) -> checkpoint.Checkpoint | None:
    """The last checkpoint in the folder of a training; UserError where it is of other settings, or where only what came of it is left."""
    found = checkpoint.latest(out)
    if found is not None:
        refuse_other(check_kind(found.config, str(found.folder), TRAINING).model_dump(mode="json"), config)
        if found.damaged and ranks.is_main():
            print(f"{'; '.join(found.damaged)}: the training goes on from step {found.step:,}", file=sys.stderr)
    elif (out / checkpoint.MODEL).is_file():
        raise UserError(f"{out} holds a finished method, and none of the checkpoints that it came from; give another --out")
    return found


def optimizer_of(config: Training, method: nn.Module, rules: Iterable[ParameterRule], steps: int) -> torch.optim.Optimizer:
    """AdamW over the method's parameters; UserError where the warm-up is longer than the training."""
    settings = config.optimizer
    if settings.warmup > steps:
        raise UserError(f"optimizer.warmup is {settings.warmup:g} steps, and the training has {steps:,}; a share below 1 fits any number")
    parameters = groups(method, rules, rate=settings.lr, decay=settings.decay)
    return torch.optim.AdamW(parameters, lr=settings.lr, betas=settings.betas, eps=settings.eps, fused=True)


def kept(file: Path, start: int) -> dict[str, Any]:
    """The last line of metrics up to step `start`; the lines after it, whose steps are made again, and a torn one are taken out."""
    lines, found = file.read_text(encoding="utf-8").splitlines() if file.is_file() else [], []
    for line in lines:
        with suppress(ValueError):
            found.append(json.loads(line))
    found = [one for one in found if one["step"] <= start]
    if len(found) < len(lines):
        write_file(file, "".join(json.dumps(one) + "\n" for one in found))
    return found[-1] if found else {}


class Loop:
    """Steps, their log and their checkpoints."""

    def __init__(
        self,
        config: Training,
        method: nn.Module,
        optimizer: torch.optim.Optimizer,
        out: Path,
        steps: int,
        here: torch.device,
        watcher: Watcher | None = None,
    ) -> None:
        self.config, self.method, self.optimizer, self.out, self.steps, self.here = config, method, optimizer, out, steps, here
        self.watcher = watcher
        if config.compile:
            compile_blocks(method)
        self.wrapped = ranks.wrap(method)
        self.last: dict[str, Any] = {}
        self.began, self.waited, self.rows = time.time(), 0.0, 0

    def run(self, loader: Loader, start: int, asked: list[int]) -> None:
        """All steps from `start` on; Stopped once a signal is in `asked`, on any rank."""
        self.watched(start)
        self.method.train()
        before = time.time()
        for step, batch in enumerate(loader, start):
            self.waited += time.time() - before
            losses, (ending, unreadable) = self.step(step, batch, len(asked), len(loader.unreadable))
            done = step + 1
            if done % self.config.log_every == 0 or done == self.steps:
                self.log(done, losses, unreadable)
            if done % self.config.save_every == 0 or done == self.steps or ending:
                self.save(done)
            if ending and done < self.steps:
                number = asked[0] if asked else signal.SIGTERM
                raise Stopped(number, f"stopped after step {done:,} of {self.steps:,}; the same command goes on")
            self.watched(done)
            before = time.time()

    def watched(self, done: int) -> None:
        """Let the watcher look; its time is not the training's."""
        if self.watcher is not None:
            before = time.time()
            self.watcher.after(done)
            self.began += time.time() - before

    def step(self, step: int, batch: Batch, *told: int) -> tuple[dict[str, float], list[int]]:
        """One update: the losses as means over the ranks, and what each rank told as sums; UserError, before it, where a loss is no number.

        All ranks learn the same at the same point, so that they end together, and the device is waited for once.
        """
        torch.manual_seed(int(np.random.SeedSequence((self.config.seed, step, ranks.rank())).generate_state(1)[0]))  # of dropout
        settings = self.config.optimizer
        set_rate(self.optimizer, SCHEDULES[settings.schedule](step, self.steps, settings.warmup))
        self.optimizer.zero_grad(set_to_none=True)  # before the forward pass, so that in one process what that keeps has their room
        with autocast(self.here, self.config.dtype):
            losses = self.wrapped(batch, step)
        values = torch.stack(list(losses.values()))
        seen = ranks.mean_over_ranks(torch.cat([values.detach().float(), torch.tensor(told, device=self.here).float()])).tolist()
        means = dict(zip(losses, seen, strict=False))
        if bad := [name for name, value in means.items() if not math.isfinite(value)]:
            advice = "look at data.std, at the pictures, and at the weights that it starts from" if not step else MILDER
            raise CollectiveError(f"the loss {', '.join(bad)} is not finite at step {step:,}; nothing was updated: {advice}")
        values.sum().backward()
        if settings.clip is not None:
            nn.utils.clip_grad_norm_(self.method.parameters(), settings.clip)
        self.optimizer.step()
        if (before := step - average.first(settings.average, self.steps)) >= 0:
            average.add(self.optimizer, before)
        self.rows += len(batch.rows) * ranks.world_size()
        return means, [round(value * ranks.world_size()) for value in seen[len(means) :]]

    def log(self, done: int, losses: Mapping[str, float], unreadable: int) -> None:
        """A line in metrics.jsonl and one for a person, from the main process."""
        gone = max(1e-9, time.time() - self.began)
        values = {name: round(value, 5) for name, value in losses.items()}
        self.last = {
            "step": done,
            "loss": round(sum(values.values()), 5),
            **values,
            "lr": self.optimizer.param_groups[0]["lr"],
            "images_per_s": round(self.rows / gone, 2),
            "waited": round(self.waited / gone, 4),  # share of the time without data
            "peak_mb": round(peak_memory(self.here)),
            "unreadable": unreadable,  # rows since this start, in whose place others are shown
        }
        if ranks.is_main():
            with (self.out / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(self.last) + "\n")
            left = gone / max(1, self.rows) * (self.steps - done) * self.config.batch
            speed = f"{self.last['images_per_s']:.1f} images/s, {self.last['waited']:.0%} waiting for data, {self.last['peak_mb']:,} MB"
            told = f"step {done:,}/{self.steps:,}  loss {self.last['loss']:.3f}  {speed}, {clock(left)} left"
            print(told, file=sys.stderr, flush=True)

    def save(self, done: int) -> None:
        """A checkpoint, from the main process, while the others wait; UserError, before it, where the weights are no numbers any more."""
        if not torch.stack([one.detach().isfinite().all() for one in self.method.parameters()]).all():
            raise CollectiveError(f"the weights are not finite after step {done:,}; they are not kept: {MILDER}")
        if ranks.is_main():
            checkpoint.save(self.out, done, self.method, self.optimizer, self.config.model_dump(mode="json"))
        ranks.barrier()


def compile_blocks(method: nn.Module, backend: str = "inductor") -> None:
    """Compile, in place, what stands in lists of modules, such as the layers of an encoder: like ones once."""
    lists = [one for one in method.modules() if isinstance(one, nn.ModuleList)]
    blocks = [block for one in lists for block in one if not any(isinstance(part, nn.ModuleList) for part in block.modules())]
    for block in blocks or [method]:
        block.compile(backend=backend, recompile_limit=COMPILED)


def refuse_other(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """UserError where a checkpoint was made with other settings, with the keys that differ; how work is spread may differ."""
    free = {"data.workers", "save_every", "log_every", "compile", "checkpointing"}
    one, two = flat(before), flat(now)
    keys = [key for key in sorted({*one, *two}) if one.get(key) != two.get(key) and key not in free]
    if keys:
        told = ", ".join(f"{key} ({one.get(key)} then, {two.get(key)} now)" for key in keys)
        raise UserError(f"the checkpoint is of other settings: {told}; give those, or another --out")


def flat(tree: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Settings as "a.b" -> value."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return found


@contextmanager
def asked_to_stop() -> Iterator[list[int]]:
    """A list that fills when SIGTERM or SIGINT comes, so that the step ends and its checkpoint is written first."""
    asked: list[int] = []
    before = {number: signal.signal(number, lambda got, _frame: asked.append(got)) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def peak_memory(here: torch.device) -> float:
    """Megabytes that this process has had at most, on the GPU where it trains on one."""
    if here.type == "cuda":
        return torch.cuda.max_memory_allocated(here) / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def clock(seconds: float) -> str:
    """1:02:03."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"

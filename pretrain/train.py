"""The training loop: it knows no method, and what it does at a step is a function of the settings, the data and the step.

A killed training goes on from its last checkpoint and ends with the weights of one that was not, on a CPU to the bit; `pretrain.data` gives
every step the same rows whatever the number of workers and processes.
"""

import json
import math
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from mals.errors import UserError
from pretrain import checkpoint, ranks
from pretrain.build import NEED, prepare
from pretrain.config import Training
from pretrain.data import Loader
from pretrain.method import Batch
from pretrain.schedule import SCHEDULES, groups, set_rate


class Stopped(Exception):
    """A signal asked for the end, and the checkpoint is written."""


def train(config: Training, data: list[str], out: Path, device: str = "auto") -> dict[str, Any]:
    """Train to the end, from the last checkpoint in `out` where there is one; returns the last line of metrics.

    Raises UserError for what a person can mend, Stopped after SIGTERM and SIGINT.
    """
    here = ranks.start(device)
    out.mkdir(parents=True, exist_ok=True)
    told = config.model_dump(mode="json")
    found = checkpoint.latest(out)
    if found is not None:
        refuse_other(found.config, told)
    method, tokenizer, pairs, look = prepare(config, data, out)
    method.to(here)
    steps = config.steps or config.epochs * (len(pairs) // config.batch)
    settings = config.optimizer
    optimizer = torch.optim.AdamW(
        groups(method, method.rules, rate=settings.lr, decay=settings.decay), lr=settings.lr, betas=settings.betas, eps=settings.eps
    )
    if found is not None:
        checkpoint.restore(found, method, optimizer)
    start = found.step if found is not None else 0
    loader = Loader(
        pairs,
        tokenizer,
        method.wants,
        batch=config.batch,
        seed=config.seed,
        step=start,
        stop=steps,
        rank=ranks.rank(),
        world=ranks.world(),
        workers=config.data.workers,
        look=look,
        exchange=config.data.exchange_sides,
        count_padding=config.aptm.count_padding,
        need=NEED,
    )
    loop = Loop(config, method, optimizer, out, steps, here)
    with asked_to_stop() as asked:
        loop.run(loader, start, asked)
    if ranks.is_main():
        checkpoint.release(out, method, yaml.safe_dump(told, sort_keys=False), loop.last)
    ranks.stop()
    return loop.last


class Loop:
    """Steps, their log and their checkpoints."""

    def __init__(self, config: Training, method: nn.Module, optimizer: torch.optim.Optimizer, out: Path, steps: int, here: torch.device):
        self.config, self.method, self.optimizer, self.out, self.steps, self.here = config, method, optimizer, out, steps, here
        self.wrapped = ranks.wrap(torch.compile(method) if config.compile else method)  # type: ignore[arg-type]
        self.last: dict[str, Any] = {}
        self.began, self.waited, self.rows = time.time(), 0.0, 0

    def run(self, loader: Loader, start: int, asked: list[int]) -> None:
        """All steps from `start` on; Stopped once a signal is in `asked`, on any rank."""
        self.method.train()
        before = time.time()
        for step, batch in enumerate(loader, start):
            self.waited += time.time() - before
            losses = self.step(step, batch.to(self.here))
            done = step + 1
            if done % self.config.log_every == 0 or done == self.steps:
                self.log(done, losses)
            ending = float(ranks.average(torch.tensor(float(len(asked))))) > 0
            if done % self.config.save_every == 0 or done == self.steps or ending:
                self.save(done)
            if ending and done < self.steps:
                raise Stopped(f"stopped after step {done:,} of {self.steps:,}; the same command goes on")
            before = time.time()

    def step(self, step: int, batch: Batch) -> Mapping[str, Tensor]:
        """One update; UserError, before it, where a loss is no number."""
        torch.manual_seed(int(np.random.SeedSequence((self.config.seed, step, ranks.rank())).generate_state(1)[0]))  # of dropout
        settings = self.config.optimizer
        set_rate(self.optimizer, SCHEDULES[settings.schedule](step, self.steps, settings.warmup))
        with torch.autocast(self.here.type, torch.bfloat16, enabled=self.config.dtype == "bf16"):
            losses = self.wrapped(batch, step)
        total = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total):
            bad = [name for name, loss in losses.items() if not torch.isfinite(loss)]
            raise UserError(
                f"the loss {', '.join(bad)} is not finite at step {step:,}; nothing was updated: lower optimizer.lr, or set optimizer.clip"
            )
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        if settings.clip is not None:
            nn.utils.clip_grad_norm_(self.method.parameters(), settings.clip)
        self.optimizer.step()
        self.rows += len(batch.rows) * ranks.world()
        return {name: loss.detach() for name, loss in losses.items()}

    def log(self, done: int, losses: Mapping[str, Tensor]) -> None:
        """A line in metrics.jsonl and one for a person, from the main process."""
        gone = max(1e-9, time.time() - self.began)
        mean = ranks.average(torch.stack(list(losses.values())).float())
        values = {name: round(value, 5) for name, value in zip(losses, mean.tolist(), strict=True)}
        self.last = {
            "step": done,
            "loss": round(sum(values.values()), 5),
            **values,
            "lr": self.optimizer.param_groups[0]["lr"],
            "images_per_s": round(self.rows / gone, 2),
            "waited": round(self.waited / gone, 4),  # share of the time without data
            "peak_mb": round(peak_memory(self.here)),
        }
        if ranks.is_main():
            with (self.out / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(self.last) + "\n")
            left = gone / max(1, self.rows) * (self.steps - done) * self.config.batch
            told = f"loss {self.last['loss']:.3f}  {self.last['images_per_s']:.1f} images/s  {clock(left)} left"
            print(f"step {done:,}/{self.steps:,}  {told}", file=sys.stderr, flush=True)

    def save(self, done: int) -> None:
        """A checkpoint, from the main process, while the others wait."""
        if ranks.is_main():
            checkpoint.save(self.out, done, self.method, self.optimizer, self.config.model_dump(mode="json"))
        ranks.barrier()


def refuse_other(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """UserError where a checkpoint was made with other settings, with the keys that differ; how work is spread may differ."""
    free = {"data.workers", "save_every", "log_every", "compile", "checkpointing"}
    one, two = flat(before), flat(now)
    keys = [key for key in sorted({*one, *two}) if one.get(key) != two.get(key) and key not in free]
    if keys:
        told = ", ".join(f"{key} ({one.get(key)} then, {two.get(key)} now)" for key in keys[:5])
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

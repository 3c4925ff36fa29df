"""Which lever of data and training transfers, in the pedestrian world where the truth is known: `python -m benchmarks.transfer --work DIR`.

    --work DIR         everything lies here; the same command goes on where an earlier one was stopped or killed
    --arms A B ...     mals, ceiling or noisy, and levers joined by +, such as captions+wordings (default: all of docs/transfer.md)
    --images N ...     images that are generated, or drawn (default 1200 4800; at 4800 mals, all and ceiling)
    --seeds N          trainings of each arm (default 3 of mals, all and ceiling, 1 of the others)
    --steps N          of each training (default 1200)
    --wrong SHARE      of the attribute words of noisy captions (default 0.2)
    --persons N        of the test set, 4 images each (default 200)
    --set a.b=c        a setting of all trainings
    --table            only print the tables of the results that are there

Prints a JSON line for each training that was tested, "benchmark": "transfer", which WORK/results.jsonl keeps, and for each part of the
work its time, "transfer.time". What the commands print is in WORK/log.txt. The arms are explained in docs/transfer.md.
"""

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.transfer_arms import ONCE, REPEATED, Arm, parse_arm
from benchmarks.transfer_sets import Workplace, test_set, training_set
from benchmarks.transfer_table import tables
from mals.errors import UserError
from mals.files import write_file
from pretrain.compare import CommandFailed, Commands

PRESET = "tiny-irra"
SEEDS = 3  # of the arms REPEATED
CHILD = "from mals.processes import end_with_parent; end_with_parent({parent}); from cli.main import main; main()"


@dataclass(frozen=True)
class Case:
    """One training of an arm."""

    arm: Arm
    images: int
    seed: int
    steps: int
    wrong: float | None  # share of wrong words that was asked for; None where the arm has none
    sets: tuple[str, ...]

    def key(self) -> dict[str, Any]:
        """What the result depends on, as its line begins."""
        own = {"arm": self.arm.name, "domain": self.arm.domain, "images": self.images, "steps": self.steps, "seed": self.seed}
        return own | ({} if self.wrong is None else {"wrong": self.wrong}) | ({"sets": list(self.sets)} if self.sets else {})

    @property
    def folder(self) -> str:
        """The name of its training."""
        wrong = "" if self.wrong is None else f"-{self.wrong:g}"
        return f"{self.arm.name}{wrong}-{self.images}-{self.steps}-{self.seed}"


def cases(options: argparse.Namespace) -> list[Case]:
    """The trainings in the order in which they are done: few images first, each arm once before any is repeated."""
    ordered = []
    for images in sorted(options.images):
        smallest = images == min(options.images)
        names = options.arms or (*REPEATED[:1], *(ONCE if smallest else ()), *REPEATED[1:])
        for seed in range(options.seeds or SEEDS):
            for name in names:
                if seed == 0 or options.seeds or name in REPEATED:
                    arm = parse_arm(name)
                    wrong = options.wrong if arm.source == "noisy" else None
                    ordered.append(Case(arm, images, seed, options.steps, wrong, tuple(options.set)))
    return ordered


def result(case: Case, work: Workplace, test: Path) -> dict[str, Any]:
    """Train and test, or go on with it; the line of the result."""
    with timed(f"data of {case.folder}"):
        data = training_set(case.arm, case.images, case.wrong or 0.0, work)
    out = work.folder / "trained" / case.folder
    sets = [f"steps={case.steps}", f"seed={case.seed}", "save_every=100", *case.arm.training(), *case.sets]
    with timed(f"training of {case.folder}"):
        if not (out / "model.safetensors").is_file():
            words = [word for setting in sets for word in ("--set", setting)]
            work.mals("pretrain", "--preset", PRESET, "--data", data.place, "--out", out, *words)
    with timed(f"test of {case.folder}"):
        scores = out / "scores.json"
        work.mals("evaluate", out, "--data", test, "--rerank", "none", "--workers", 0, "--to", scores)
    tree = json.loads(scores.read_bytes())
    retrieval, search = tree["retrieval"], tree["search"]
    rows, captions = data.counts("data.every=true" in sets)
    line = {"benchmark": "transfer", **case.key(), "rows": rows, "captions": captions, "captioner": data.captioner}
    line |= {} if data.wrong is None else {"wrong_words": data.wrong}
    line |= {name: retrieval[name] for name in ("R1", "R5", "mAP")} | {"one": search["one"], "two": search["two"]}
    chances = {"R1": 1 / retrieval["identities"], "one": search["chance_one"], "two": search["chance_two"]}
    return line | {f"chance_{name}": chance for name, chance in chances.items()}


@contextmanager
def timed(part: str) -> Iterator[None]:
    """Print how long a part took in this call, where it took more than a moment."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    yield
    after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - began
    if seconds > 1:
        processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        times = {"seconds": round(seconds, 1), "processor_seconds": round(processor, 1)}
        print(json.dumps({"benchmark": "transfer.time", "part": part, **times}), flush=True)


def kept_lines(file: Path) -> list[dict[str, Any]]:
    """The results so far."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []


def run(options: argparse.Namespace) -> None:
    """All cases; those whose line is kept are printed as they are."""
    planned, file = cases(options), options.work / "results.jsonl"
    options.work.mkdir(parents=True, exist_ok=True)
    mals = [sys.executable, "-c", CHILD.format(parent=os.getpid())]  # ends with this process, even where that is killed
    work = Workplace(options.work.absolute(), Commands(mals, [sys.executable]))
    test = test_set(work, options.persons)
    for case in planned:
        lines = kept_lines(file)
        line = next((line for line in lines if case.key().items() <= line.items() and ("sets" in line) == bool(case.sets)), None)
        if line is None:
            line = result(case, work, test)
            write_file(file, "".join(f"{json.dumps(each)}\n" for each in [*lines, line]))
        print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--arms", nargs="+")
    parser.add_argument("--images", nargs="+", type=int, default=[1200, 4800])
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--wrong", type=float, default=0.2)
    parser.add_argument("--persons", type=int, default=200)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        print("\n".join(tables(kept_lines(options.work / "results.jsonl"))))
        return
    try:
        run(options)
    except UserError as error:
        sys.exit(str(error))
    except CommandFailed as error:
        sys.exit(f"{error} ({options.work / 'log.txt'} has the rest)")


if __name__ == "__main__":
    main()

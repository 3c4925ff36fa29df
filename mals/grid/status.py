"""How far a run is, from its receipts."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from mals.grid.receipt import PACK_RECEIPT
from mals.grid.run import Run
from mals.grid.spending import add_used, cost, prices_of
from mals.grid.stage import Used

WORDS = {  # key of Used -> how a reader calls it
    "prompt_tokens": "prompt tokens",
    "completion_tokens": "completion tokens",
    "images": "images",
    "uncounted": "answers that tell no use",
}


@dataclass
class StageStatus:
    """One stage of a run."""

    stage: str
    shards: int
    done: int
    stale: int
    failed: int  # shards whose last attempt failed
    rows: int  # that reached the stage
    kept: int  # of them neither refused nor failed
    rejects: dict[str, int] = field(default_factory=dict)  # reason -> rows, the commonest first
    errors: dict[str, int] = field(default_factory=dict)  # message -> rows, the commonest first
    seconds: float = 0.0  # of all workers together
    waited: float = 0.0  # of these, in which they had nothing to compute
    device_seconds: float | None = None  # of `seconds`, in which the model computed; None for a stage that does not say
    out_of_memory: int = 0  # times
    used: Used = field(default_factory=dict)  # of servers, by the finished cells
    cost: float | None = None  # of it, in the currency of the prices; None where no server has a price
    waits: bool = False  # a global stage: for shards of the stages before it


@dataclass
class Status:
    """A run as a whole."""

    run: str
    preset: str
    planned: int  # rows
    prompts_cut: int | None  # prompts longer than the text encoder takes; None if they were not counted
    packed: bool
    note: str  # a model that is missing; empty where none is
    stages: list[StageStatus]
    nodes: dict[str, int] = field(default_factory=dict)  # machine -> cells that it made, the most first

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def status(run: Run) -> Status:
    """The state of every stage of `run`; models need not be at hand."""
    survey = run.grid.survey()
    stages: list[StageStatus] = []
    nodes: Counter[str] = Counter()
    for name in run.grid.stages:
        states = Counter(survey.state(name, shard) for shard in range(run.grid.shards))
        failures = run.grid.failures(name)
        line = StageStatus(name, run.grid.shards, states["done"], states["stale"], len(failures), 0, 0)
        rejects: Counter[str] = Counter()
        errors: Counter[str] = Counter()
        for receipt in survey.receipts[name].values():
            nodes[receipt.node] += 1
            rejects.update(receipt.rejects)
            errors.update(receipt.errors)
            line.rows += receipt.active
            line.kept += receipt.active - receipt.failed - sum(receipt.rejects.values())
            line.seconds += receipt.seconds
            line.waited += receipt.waited
            if receipt.device_seconds is not None:
                line.device_seconds = (line.device_seconds or 0.0) + receipt.device_seconds
            line.out_of_memory += receipt.batch.get("out_of_memory", 0)
            add_used(line.used, receipt.used)
        for failure in failures.values():
            errors.update(failure["errors"])
        line.waits = run.grid.is_global(name) and any(earlier.done < earlier.shards for earlier in stages)
        if prices := prices_of(run.grid.stages[name]):
            line.cost = cost(line.used, prices)
        line.rejects, line.errors = dict(rejects.most_common()), dict(errors.most_common(5))
        stages.append(line)
    note = _missing_model(run)
    packed = run.store.size(PACK_RECEIPT) is not None
    return Status(
        run.store.url, run.config.preset, run.grid.plan.rows, run.grid.plan.prompts_cut, packed, note, stages, dict(nodes.most_common())
    )


def _missing_model(run: Run) -> str:
    error = run.grid.missing_model()
    return f"{error} (so the settings could not be compared with those of the cells)" if error else ""


def lines(status: Status) -> list[str]:
    """The status as text."""
    cut = f", {status.prompts_cut:,} prompts longer than the text encoder takes" if status.prompts_cut else ""
    output = [f"{status.run}: {status.planned:,} rows planned (preset {status.preset}){cut}{', packed' if status.packed else ''}"]
    for stage in status.stages:
        text = f"{stage.stage:9} {stage.done}/{stage.shards} shards"
        if stage.rows:
            text += f", {stage.rows:,} rows, kept {stage.kept:,} ({100 * stage.kept / stage.rows:.1f} %)"
            text += _speed(stage)
        for count, word in ((stage.stale, "stale"), (stage.failed, "failed"), (stage.out_of_memory, "times out of memory")):
            text += f", {count} {word}" if count else ""
        text += ", waits for all shards of the stages before it" if stage.waits else ""
        output.append(text)
        output += _used_lines(stage)
        output += [f"{'':12}{count:>9,} refused: {reason}" for reason, count in stage.rejects.items()]
        output += [f"{'':12}{count:>9,} errors: {message}" for message, count in stage.errors.items()]
    if len(status.nodes) > 1:
        output.append("made on " + ", ".join(f"{node} ({cells:,} cells)" for node, cells in status.nodes.items()))
    return [*output, status.note] if status.note else output


def _speed(stage: StageStatus) -> str:
    """How fast a worker is, and how much of the time it and its device waited."""
    noun = "images" if stage.stage == "generate" else "rows"
    text = f", {stage.rows / max(stage.seconds, 1e-3):.1f} {noun}/s a worker"
    if stage.seconds:
        text += f", which waited {100 * stage.waited / stage.seconds:.0f} % of the time"
    if stage.seconds and stage.device_seconds is not None:
        text += f" and its device {100 * max(1 - stage.device_seconds / stage.seconds, 0):.0f} %"
    return text


def _used_lines(stage: StageStatus) -> list[str]:
    """What servers did for a stage, a line a model, and what it cost."""
    output = []
    for model, counts in stage.used.items():
        parts = [f"{counts[name]:,} {words}" for name, words in WORDS.items() if counts.get(name)]
        output.append(f"{'':12}{counts.get('requests', 0):>9,} requests to {model}: {', '.join(parts) or 'the server tells no use'}")
    return [*output, f"{'':12}{stage.cost:>9,.2f} is the cost, by the prices of the settings"] if stage.cost is not None else output

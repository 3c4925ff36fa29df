"""The executor on a Ray cluster: actors spread over its nodes, each with one shard at a time (`mals run RUN --on ray=HOST:PORT`).

Only jobs and receipts travel; images go from the nodes to the run, which every node has to see. An actor that is lost is no failure of its
shard, and is never started again by Ray: the executor starts another one where there is room. How many there are follows the cluster.
"""

import logging
import os
import re
import signal
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mals.config import Config
from mals.errors import UserError
from mals.grid.cells import Grid
from mals.grid.executor import Failure, Job, Lost, Outcome, Sources
from mals.grid.member import Admission, Errand, Member
from mals.grid.shipping import own_modules, sent_environment
from mals.grid.stage import Resources
from mals.grid.store import HOST
from mals.grid.summary import SummaryReceipt
from mals.grid.versions import installed_versions

log = logging.getLogger(__name__)

ANSWER = 20.0  # seconds that the head of a cluster may take to accept a connection
BEAT = 10.0  # seconds between two looks at the size of the cluster
PATIENCE = 600.0  # seconds without a node that has room for a worker, with nothing at work
MOST_STILLBORN = 8  # actors that could not be started, one after the other, while none is at work
LOSSES = 5  # workers that a summary may cost
GIGABYTE = 10**9
COLORS = re.compile(r"\x1b\[[0-9;]*m")
ERROR = re.compile(r"[\w.]*(Error|Exception)\b")  # at the start of the last line of a traceback


@dataclass(eq=False)
class Seat:
    """One actor and what it does now."""

    actor: Any
    need: Resources  # what it holds of its node
    future: "Future[Any] | None"  # of its admission, then of its job
    node: str = ""  # its name, once it is admitted
    node_id: str = ""
    job: Job | None = None
    stage: str = ""  # whose model it has loaded

    @property
    def admitted(self) -> bool:
        return bool(self.node)


class RayExecutor:
    """Works on shards in actors of a Ray cluster."""

    def __init__(self, url: str, user_settings: Mapping[str, Any], grid: Grid, config: Config, address: str = ""):
        """`address`: of the cluster, "host:port"; empty: that of RAY_ADDRESS, else one of this run alone on this machine."""
        self.grid, self.config, self.address = grid, config, address or os.environ.get("RAY_ADDRESS") or "local"
        self.url = str(grid.store.folder.absolute()) if grid.store.folder is not None else url
        self.user_settings = user_settings
        self.nonce = f"locks/.ray-{uuid.uuid4().hex}.{HOST}.{os.getpid()}.tmp"  # a name that Store.sweep removes after a kill
        self._ray: Any = None  # the library, once it is connected
        self._actor_class: Any = None
        self._seats: list[Seat] = []
        self._queues: dict[Resources, deque[Job]] = {}  # jobs that wait for an actor that is being started
        self._left: dict[str, int] = {}  # stage -> jobs to come, as the scheduler said last
        self._sized: dict[Resources, float] = {}  # when the number of actors was last looked at
        self._refused: dict[str, str] = {}  # node -> why it was turned away
        self._nodes: list[dict[str, Any]] = []  # of the cluster, those that work
        self._odd: set[str] = set()  # nodes with other versions
        self._stillborn = 0
        self._has_worked = False  # an actor was admitted
        self._has_gpus = False  # the cluster has them, or had
        self._moved = time.monotonic()  # when work was last given out or done

    def room(self, stage: str, left: int) -> bool:
        """See Executor; jobs wait in line for actors that are being started, one for each."""
        self._connect()
        self._left[stage] = left
        need = self._need(stage)
        if time.monotonic() - self._sized.get(need, -BEAT) >= BEAT:
            self._resize(need)
        most = self.grid.stages[stage].resources.workers
        if most is not None and self._at_work(stage) >= most:
            return False
        free = sum(seat.need == need and seat.job is None and self._may_turn_to(stage, seat) for seat in self._seats)
        return free > len(self._queue(need))

    def start(self, job: Job) -> None:
        """See Executor."""
        self._moved = time.monotonic()
        self._left[job.stage] = max(0, self._left.get(job.stage, 0) - 1)
        need = self._need(job.stage)
        if seat := self._idle(need, job.stage):
            self._hand(seat, job)
        else:
            self._queue(need).append(job)

    def wait(self) -> list[tuple[Job, Outcome]]:
        """See Executor; with no outcome where actors came or went."""
        deadline = time.monotonic() + BEAT
        while True:
            self._hand_out()
            futures = {seat.future: seat for seat in self._seats if seat.future is not None}
            if not futures:
                time.sleep(0.05)
            # not ray.wait, which loses what the handlers of signals raise
            finished, _ = wait(futures, max(0.05, min(deadline, self._next_beat()) - time.monotonic()), FIRST_COMPLETED)
            outcomes = [outcome for future in finished for outcome in self._settle(futures[future])]
            for need in list(self._sized):
                if time.monotonic() - self._sized[need] >= BEAT:
                    self._resize(need)
            self._refuse_endless_wait()
            if outcomes or finished or time.monotonic() >= deadline:
                return outcomes

    def summarise(self, stage: str, sources: dict[int, Sources], inputs: str) -> SummaryReceipt | Failure:
        """See Executor."""
        reason = ""
        for _ in range(LOSSES):
            self._moved = time.monotonic()
            seat = self._seat_for_summary(stage)
            seat.stage = stage
            result = self._result(seat, seat.actor.summarise.remote(stage, sources, inputs).future())
            if not isinstance(result, Exception):
                return result
            reason = f"WorkerLost: {_line(result)}"
            self._drop(seat)
        return Failure(0, 1, self.grid.plan.rows, {reason: self.grid.plan.rows})

    def place(self) -> str:
        """See Executor."""
        nodes = len({seat.node_id for seat in self._seats if seat.admitted})
        return f"{nodes} node{'' if nodes == 1 else 's'}" if nodes else "no node yet"

    def close(self) -> None:
        """See Executor; the cluster stays, but for one that was started for this run."""
        if self._ray is None:
            return
        for seat in list(self._seats):
            self._drop(seat)
        self._queues.clear()
        self._ray.shutdown()
        self._ray = None
        try:
            self.grid.store.remove(self.nonce)
        except Exception as error:  # the work is done, or has an error of its own
            log.warning("%s is left: %s", self.nonce, error)

    # What follows is about the cluster.

    def _connect(self) -> None:
        if self._ray is not None:
            return
        ray = _library()
        if self.address != "local":
            _check_address(self.address)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
        environment = {"env_vars": sent_environment(self.config, os.environ), "py_modules": own_modules(self.config)}
        options: dict[str, Any] = {"runtime_env": environment, "log_to_driver": False, "logging_level": logging.ERROR}
        if self.address == "local":
            options["include_dashboard"] = False
        with _kept_signals():
            try:
                ray.init(address=self.address, **options)
            except Exception as error:  # Ray raises all kinds, such as a plain Exception where its processes start too slowly
                raise UserError(f"the Ray cluster at {self.address} cannot be used: {_line(error)}") from None
        self._ray, self._actor_class = ray, ray.remote(RayMember)
        self.grid.store.commit(self.nonce, b"")
        self._look()

    def _look(self) -> None:
        """Take up which nodes there are."""
        self._nodes = [node for node in self._ray.nodes() if node["Alive"]]
        self._has_gpus = self._has_gpus or any(node["Resources"].get("GPU") for node in self._nodes)

    def _need(self, stage: str) -> Resources:
        """What one worker of a stage takes: by the settings, else by the stage; a GPU of a stage's own only where the cluster has any.

        A cluster that has lost its GPUs is waited for: work does not turn to CPUs, which would take very long, in the middle of a run.
        """
        own, settings = self.grid.stages[stage].resources, self.config.run.resources.get(stage)
        gpus = own.gpus if self._has_gpus else 0
        need = Resources(max(own.cpus, self.config.run.threads), gpus, memory=own.memory, accelerator=own.accelerator if gpus else None)
        return replace(need, **settings.model_dump(exclude_none=True)) if settings is not None else need

    def _queue(self, need: Resources) -> deque[Job]:
        return self._queues.setdefault(need, deque())

    def _at_work(self, stage: str) -> int:
        waiting = sum(job.stage == stage for queue in self._queues.values() for job in queue)
        return waiting + sum(seat.job is not None and seat.job.stage == stage for seat in self._seats)

    def _may_turn_to(self, stage: str, seat: Seat) -> bool:
        """Whether a free actor may take a job of `stage`: a model stays loaded while jobs for it are to come, unless earlier ones wait."""
        if seat.stage in ("", stage) or not self.grid.stages[seat.stage].resources.gpus or not self._left.get(seat.stage):
            return True
        names = list(self.grid.stages)
        return names.index(stage) < names.index(seat.stage) or not any(other.job is not None for other in self._seats)

    def _idle(self, need: Resources, stage: str) -> Seat | None:
        """A free actor, one that has the model of `stage` loaded if there is any."""
        idle = [seat for seat in self._seats if seat.need == need and seat.future is None and self._may_turn_to(stage, seat)]
        return max(idle, key=lambda seat: seat.stage == stage, default=None)

    def _hand_out(self) -> None:
        """Give jobs that wait in line to actors that have become free."""
        for need, queue in self._queues.items():
            while queue and (seat := self._idle(need, queue[0].stage)):
                self._hand(seat, queue.popleft())

    def _hand(self, seat: Seat, job: Job) -> None:
        seat.job, seat.stage = job, job.stage
        seat.future = seat.actor.work.remote(job).future()

    # The number of actors.

    def _next_beat(self) -> float:
        return min(self._sized.values(), default=time.monotonic()) + BEAT

    def _resize(self, need: Resources) -> None:
        """Ask for as many actors as there are jobs to come and places for them; let go of those that are too many."""
        self._sized[need] = time.monotonic()
        self._look()
        if not self._has_worked:  # else nodes that work may come back
            self._require_node(need)
        seats = [seat for seat in self._seats if seat.need == need]
        stages = [stage for stage in self._left if self._need(stage) == need]
        jobs = sum(self._left[stage] for stage in stages) + sum(seat.job is not None for seat in seats) + len(self._queue(need))
        target = min(jobs, self._places(need))
        for _ in range(target - len(seats)):
            self._seats.append(self._engage(need))
        free = [seat for seat in seats if seat.job is None][len(self._queue(need)) :]
        for seat in free[: max(0, len(seats) - target)]:
            self._drop(seat)
        if seats and target and not any(seat.admitted for seat in seats):
            self._make_way(need)

    def _require_node(self, need: Resources) -> None:
        """UserError where all nodes for an actor were turned away: also once others, which Ray held for alive, are gone."""
        fitting = [node["NodeID"] for node in self._nodes if _fit(node["Resources"], need, 0.0)]
        if self._refused and all(node in self._refused for node in fitting):
            raise UserError(next(reversed(self._refused.values())))

    def _places(self, need: Resources) -> int:
        """Actors that are asked for at most: `run.workers`, or as many as the nodes have room for, at least one."""
        if isinstance(self.config.run.workers, int):
            return self.config.run.workers
        kept = max((self._need(stage).cpus for stage in self.grid.stages if self._need(stage).gpus), default=0.0) if not need.gpus else 0.0
        return max(1, sum(_fit(node["Resources"], need, kept) for node in self._nodes if node["NodeID"] not in self._refused))

    def _make_way(self, need: Resources) -> None:
        """Let go of idle actors of other kinds, since none of this kind has a place."""
        for seat in [seat for seat in self._seats if seat.need != need and seat.admitted and seat.job is None and seat.future is None]:
            self._drop(seat)

    def _engage(self, need: Resources) -> Seat:
        """Ask the cluster for an actor."""
        options: dict[str, Any] = {"num_cpus": need.cpus, "num_gpus": need.gpus, "max_restarts": 0, "max_task_retries": 0}
        options["scheduling_strategy"] = "SPREAD"
        if need.memory is not None:
            options["memory"] = int(need.memory * GIGABYTE)
        if need.accelerator is not None:
            options["accelerator_type"] = need.accelerator
        if self._refused:
            options["label_selector"] = {"ray.io/node-id": f"!in({','.join(self._refused)})"}
        grid = self.grid
        errand = Errand(
            url=self.url,
            user_settings=self.user_settings,
            folder=str(Path.cwd()),
            nonce=self.nonce,
            fingerprints=grid.fingerprints,
            params=grid.params,
            stage_versions={name: stage.version for name, stage in grid.stages.items()},
            hides_gpus=not need.gpus,
        )
        actor = self._actor_class.options(**options).remote(errand)
        return Seat(actor, need, actor.ready.remote().future())

    def _drop(self, seat: Seat) -> None:
        """End an actor, also one that only seems to be lost, before its shard goes elsewhere."""
        self._seats.remove(seat)
        try:
            self._ray.kill(seat.actor)
        except Exception as error:  # of an actor that is gone
            log.debug("%s", error)

    def _refuse_endless_wait(self) -> None:
        """Raise UserError where no node has had room for the workers that are missing for long, and the others have nothing to do."""
        if any(seat.job is not None for seat in self._seats):
            self._moved = time.monotonic()
        elif time.monotonic() - self._moved > PATIENCE:
            needs = "; ".join(sorted({_words(seat.need) for seat in self._seats if not seat.admitted}))
            raise UserError(
                f"no node of the Ray cluster had room for a worker ({needs}) for {PATIENCE / 60:.0f} minutes; "
                "add nodes, or lower run.resources; finished cells are kept"
            )

    # What comes back.

    def _result(self, seat: Seat, future: "Future[Any]") -> Any:
        """The result of a call, when it is there; the exception where the actor was lost. Raises the UserError of a worker."""
        try:
            result = future.result()
        except self._ray.exceptions.RayTaskError as error:
            raise UserError(f"a worker on {seat.node} failed: {_line(error.cause)}") from error
        except self._ray.exceptions.RayError as error:
            return error
        if isinstance(result, UserError):
            raise result
        return result

    def _settle(self, seat: Seat) -> Iterator[tuple[Job, Outcome]]:
        """Take up what an actor has answered."""
        assert seat.future is not None
        future, job, seat.future, seat.job = seat.future, seat.job, None, None
        result = self._result(seat, future)
        if job is None:
            self._admit(seat, result)
        elif isinstance(result, Exception):
            self._drop(seat)
            self._sized[seat.need] = -BEAT  # look for another place now
            yield job, Lost(job.shard, seat.node, _line(result))
        else:
            yield job, result

    def _admit(self, seat: Seat, answer: "Answer | Exception") -> None:
        """Take an actor into service, or turn its node away."""
        if isinstance(answer, Exception):
            self._drop(seat)
            self._stillborn += 1
            if self._stillborn < MOST_STILLBORN:
                self._sized[seat.need] = -BEAT
            elif self._stillborn > len(self._seats) and not any(other.job is not None for other in self._seats):
                raise UserError(f"no worker could be started on the Ray cluster: {_line(answer)}")
            return
        admission = answer.admission
        if admission.problem:
            self._refused[answer.node_id] = admission.problem
            self._drop(seat)
            self._sized[seat.need] = -BEAT
            self._require_node(seat.need)
            log.warning("%s; it is not used", admission.problem)
            return
        self._stillborn, self._has_worked = 0, True
        seat.node, seat.node_id = admission.node, answer.node_id
        here = installed_versions()
        others = [f"{name} {version}, not {here[name]}" for name, version in admission.versions.items() if here[name] != version]
        if others and seat.node_id not in self._odd:
            self._odd.add(seat.node_id)
            log.warning("node %s has %s, so the last bits of its results may differ", seat.node, "; ".join(others))

    def _seat_for_summary(self, stage: str) -> Seat:
        """An actor that is free, when there is one."""
        while True:
            self.room(stage, self._left.get(stage, 0) or 1)
            if seat := self._idle(self._need(stage), stage):
                return seat
            if lost := self.wait():
                raise AssertionError(f"a summary is made while {len(lost)} jobs were at work")


@dataclass(frozen=True)
class Answer:
    """The admission of an actor, with the id of its node in the cluster."""

    node_id: str
    admission: Admission


class RayMember(Member):
    """The actor as Ray runs it."""

    def ready(self) -> Any:
        import ray

        return Answer(ray.get_runtime_context().get_node_id(), super().ready())


def _library() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise UserError("--on ray needs the package ray; pip install 'mals[ray]'") from None
    return ray


def _check_address(address: str) -> None:
    """Raise UserError where nothing answers at "host:port"; Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "//" in host:
        raise UserError(f"--on ray={address}: give the address of the cluster as HOST:PORT, on a machine that belongs to it")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"no Ray cluster answers at {address} ({error}); `ray start --head` starts one and prints its address") from None


@contextmanager
def _kept_signals() -> Iterator[None]:
    """Put the handlers of signals back, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _fit(resources: Mapping[str, float], need: Resources, kept_cpus: float) -> int:
    """Workers that a node has room for, where each of its GPUs keeps `kept_cpus` for a worker of its own."""
    if need.accelerator is not None and not resources.get(f"accelerator_type:{need.accelerator}"):
        return 0
    shares = [(resources.get("CPU", 0.0) - kept_cpus * resources.get("GPU", 0.0)) / need.cpus]
    if need.gpus:
        shares.append(resources.get("GPU", 0.0) / need.gpus)
    if need.memory is not None:
        shares.append(resources.get("memory", 0.0) / (need.memory * GIGABYTE))
    return max(0, int(min(shares) + 1e-6))


def _words(need: Resources) -> str:
    parts = [f"{need.cpus:g} cpus", f"{need.gpus:g} gpus"]
    parts += [f"{need.memory:g} GB"] if need.memory is not None else []
    return ", ".join([*parts, need.accelerator] if need.accelerator else parts)


def _line(error: BaseException | None) -> str:
    """An error of Ray as one line: of a traceback the last."""
    lines = [line.strip() for line in COLORS.sub("", str(error)).splitlines() if line.strip()] or [type(error).__name__]
    return (lines[-1] if ERROR.match(lines[-1]) else lines[0])[:300]

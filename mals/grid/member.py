"""What one actor of a cluster does: it shows that its node makes the run's cells as the coordinator would, then attempts shards.

It knows no cluster software: `mals/grid/ray.py` starts it on a node.
"""

import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from mals.errors import UserError
from mals.grid.differences import differences
from mals.grid.executor import Failure, Job, Sources
from mals.grid.receipt import Receipt
from mals.grid.store import Store
from mals.grid.summary import SummaryReceipt
from mals.grid.versions import installed_versions
from mals.grid.worker import Worker, make_worker, portable


@dataclass(frozen=True)
class Errand:
    """What an actor has to know of a run."""

    url: str
    user_settings: Mapping[str, Any]
    folder: str  # the coordinator's current one, from which paths in settings start
    nonce: str  # a file of the run that the coordinator has written
    fingerprints: Mapping[str, str]  # of the coordinator
    params: Mapping[str, Mapping[str, Any]]  # stage -> what its results depend on, as the coordinator resolves it
    stage_versions: Mapping[str, int]
    hides_gpus: bool  # the actor has asked for none


@dataclass(frozen=True)
class Admission:
    """How a node answers: it is fit for the run where `problem` is empty."""

    node: str  # its name
    problem: str = ""  # a sentence
    versions: dict[str, str] = field(default_factory=dict)  # of mals and its libraries


class Member:
    """An actor: one worker on a node, which works on one shard at a time."""

    def __init__(self, errand: Errand):
        self.errand = errand
        self._worker: Worker | None = None
        if errand.hides_gpus:  # before a library looks for them: what a worker has not asked for belongs to others
            os.environ["CUDA_VISIBLE_DEVICES"] = ""

    def ready(self) -> Admission:
        """Whether this node sees the run and would make the same cells as the coordinator."""
        node = platform.node()
        with suppress(OSError):  # where the node has no such folder, paths in settings are absolute or do not matter
            os.chdir(self.errand.folder)
        try:
            problem = self._problem(node)
        except UserError as error:
            problem = f"the node {node} cannot work on the run: {error}"
        return Admission(node, problem, installed_versions())

    def _problem(self, node: str) -> str:
        """Why this node is not fit; empty where it is."""
        errand = self.errand
        if Store(errand.url).size(errand.nonce) is None:
            return f"{errand.url} is not visible from node {node}; mount the folder there at the same path, or put the run behind a URL"
        self._worker = make_worker(errand.url, dict(errand.user_settings))
        grid = self._worker.grid
        for stage, fingerprint in errand.fingerprints.items():
            if grid.fingerprints.get(stage) == fingerprint:
                continue
            changed = differences(errand.params[stage], grid.params.get(stage, {}))
            version = grid.stages[stage].version if stage in grid.stages else None
            if version != errand.stage_versions[stage]:
                changed.append(f"version {errand.stage_versions[stage]} -> {version}")
            what = "; ".join(changed) or "the plan"
            return f"the node {node} would make other cells of {stage} than this machine ({what}); give it the same models and versions"
        return ""

    def work(self, job: Job) -> Receipt | Failure | UserError:
        """One attempt; a mistake of the user is data, since an exception would arrive as a traceback."""
        assert self._worker is not None
        try:
            return self._worker.attempt(job.stage, job.shard, job.attempt, job.sources, job.summary_inputs)
        except UserError as error:
            return portable(error)

    def summarise(self, stage: str, sources: dict[int, Sources], inputs: str) -> SummaryReceipt | Failure | UserError:
        """As `Worker.summarise`; see `work`."""
        assert self._worker is not None
        try:
            return self._worker.summarise(stage, sources, inputs)
        except UserError as error:
            return portable(error)

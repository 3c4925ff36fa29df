"""The settings of how and where a run is executed; the comment beside a setting is its meaning in docs/."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from mals.section import Count, Section, Share


def check_place(on: str) -> str:
    """`on`, the setting run.on; ValueError where it is none of its values."""
    if on not in ("local", "ray") and not re.fullmatch(r"ray=\S+", on):
        raise ValueError("a place is local, ray=HOST:PORT or ray")
    return on


class WorkerResources(Section):
    """What one worker of a stage takes of a node of a cluster, in place of what the stage says; none: what the stage says."""

    cpus: Annotated[float, Field(gt=0)] | None = None  # cores; run.threads by default
    gpus: Annotated[float, Field(ge=0)] | None = None  # below 1 several workers share one, 0: the CPU does the work
    memory: Annotated[float, Field(gt=0)] | None = None  # GB
    accelerator: str | None = None  # the kind of GPU, as Ray calls it, such as A100

    @field_validator("gpus")
    @classmethod
    def shares_are_of_one_gpu(cls, gpus: float | None) -> float | None:
        if gpus is not None and gpus > 1 and gpus % 1:
            raise ValueError("a worker takes a share of one GPU, or whole ones")
        return gpus


class Execution(Section):
    """How a run is executed; only `threads` changes a result, by rounding."""

    on: str = "local"  # no results; local: this machine; ray=HOST:PORT: a Ray cluster; ray: that of RAY_ADDRESS, else Ray on this machine
    resources: dict[str, WorkerResources] = {}  # no results; of one worker of a stage on a cluster: "generate: {cpus: 4, memory: 32}"
    workers: Annotated[int, Field(ge=1)] | Literal["auto"] = (
        "auto"  # of each stage; auto: one a GPU; without GPUs one for models and one a core for the rest; 1: all in one process
    )
    overlap: bool = True  # of stages, and in a worker of reading, computing and writing; false: one after the other
    threads: Count = 1  # of each worker
    max_error_rate: Share = 0.02  # of a shard's rows; with more the shard is not done
    attempts: Count = 2  # at a shard that failed
    max_cost: Annotated[float, Field(ge=0)] | None = (
        None  # of the servers that settings name, by their prices: no shard starts that would go over it; none: no limit
    )

    @field_validator("on")
    @classmethod
    def on_is_a_place(cls, on: str) -> str:
        return check_place(on)

"""Stages of which one waits in the middle of its work until a test says so; GATED puts them in place of ours.

Which one does the variable MALS_GATE_AT say, such as "crop", or "keep.summary" for the summary of a global stage. It leaves a file NODE.PID
in the folder MALS_GATE when it comes there, and goes on once the folder holds a file `open`. Without the variables none waits.
"""

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from mals.config import Config
from mals.grid.stage import AnyStage
from tests.fakes import captioner, cropper, ours, painter
from tests.mals.grid.clusters import becomes

STAGES = ("generate", "safety", "filter", "crop", "caption", "label", "keep")
FAKES: dict[str, Callable[[Config], AnyStage]] = {"generate": painter, "crop": cropper, "caption": captioner}


class Gate:
    """The folder, as a test has it."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()

    def waiting(self) -> dict[int, str]:
        """The processes that came to the gate, with the ids of their nodes."""
        return {int(path.suffix[1:]): path.stem for path in self.folder.iterdir() if path.suffix}

    def wait_for(self, processes: int) -> dict[int, str]:
        assert becomes(lambda: len(self.waiting()) >= processes, 240)
        return self.waiting()

    def close(self, at: str) -> None:
        """Let workers that begin from now on wait at a stage."""
        os.environ.update(MALS_GATE=str(self.folder), MALS_GATE_AT=at)

    def open(self) -> None:
        (self.folder / "open").touch()


def _pass(at: str) -> None:
    """Wait if this is where the gate is."""
    if os.environ.get("MALS_GATE_AT") != at:
        return
    import ray

    folder = Path(os.environ["MALS_GATE"])
    (folder / f"{ray.get_runtime_context().get_node_id()}.{os.getpid()}").touch()
    while not (folder / "open").exists():
        time.sleep(0.02)


def _gated(name: str, config: Config) -> AnyStage:
    """The stage, or the fake in its place, with the gate."""
    stage: Any = FAKES[name](config) if name in FAKES else ours(name, config)

    class Gated(type(stage)):  # type: ignore[misc]
        def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
            _pass(name)
            return super().__call__(batch)

    class GatedGlobal(Gated):
        def summarise(self, batches: Iterator[pa.RecordBatch]) -> pa.Table:
            _pass(f"{name}.summary")
            return super().summarise(batches)

    stage.__class__ = GatedGlobal if hasattr(stage, "summarise") else Gated
    return stage


generate, safety, filter_, crop, caption, label, keep = (partial(_gated, name) for name in STAGES)
GATED = [f"stages.{name}=tests.mals.grid.gates:{'filter_' if name == 'filter' else name}" for name in STAGES]

"""Folders of trainings, as `mals pretrain` and `mals finetune` leave them: what they log while they go on."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any

import yaml

from mals.errors import UserError
from mals.grid.store import Store

METRICS, EVALUATIONS = "metrics.jsonl", "evaluations.jsonl"  # of pretrain.train and pretrain.selection
MODEL, CONFIG, CHECKPOINTS = "model.safetensors", "config.yaml", "checkpoints"
TOKENIZER = "tokenizer.json"  # which a training writes before its first step
QUIET = 600.0  # seconds without a new line after which a training seems to have stopped
Line = dict[str, Any]


def is_training(store: Store) -> bool:
    """Whether a folder is that of a training that has begun."""
    if any(store.size(name) is not None for name in (METRICS, EVALUATIONS)):
        return True
    return store.size(TOKENIZER) is not None and store.size(MODEL) is None


class Training:
    """One training, finished or going on; `refresh` takes up new lines."""

    def __init__(self, url: str) -> None:
        self.title, self.store = url, Store(url)
        self.metrics: list[Line] = []  # one for each logged step: step, loss, each loss, lr, images_per_s ...
        self.evaluations: list[Line] = []  # one for each measured checkpoint: step, epoch, split, each score
        self.settings: dict[str, Any] = {}
        self.state = ""  # "finished", "working" or "stopped"
        self._stamps: tuple[Any, ...] = ()
        self._changed, self._lock = time.time(), threading.Lock()
        self.refresh()

    def refresh(self) -> None:
        """Read what has changed; UserError where the training is gone."""
        with self._lock:
            stamps = tuple(self.store.size(name) for name in (METRICS, EVALUATIONS, MODEL))
            if stamps[:2] == (None, None) and not is_training(self.store):
                raise UserError(f"{self.title} is not there any more, or is no training")
            if stamps != self._stamps:
                first = not self._stamps
                self.metrics, self.evaluations = (list(self._lines(name)) for name in (METRICS, EVALUATIONS))
                self.settings = self.settings or self._settings()
                self._stamps, self._changed = stamps, self._time_of_change() if first else time.time()
            is_quiet = time.time() - self._changed > QUIET
            self.state = "finished" if stamps[2] is not None else "stopped" if is_quiet else "working"

    def _time_of_change(self) -> float:
        """When the metrics were written last; on an object store it is not known, and is now."""
        with suppress(OSError):
            if self.store.folder is not None:
                return (self.store.folder / METRICS).stat().st_mtime
        return time.time()

    def _lines(self, name: str) -> Iterator[Line]:
        """The lines with a step; one that is torn is left out. Of a step that was repeated the last one counts."""
        if self.store.size(name) is None:
            return
        lines: dict[int, Line] = {}
        for text in self.store.read(name).decode(errors="replace").splitlines():
            with suppress(ValueError):
                line = json.loads(text)
                if isinstance(line, dict) and isinstance(line.get("step"), int):
                    lines[line["step"]] = line
        yield from (lines[step] for step in sorted(lines))

    def _settings(self) -> dict[str, Any]:
        """The settings of the training, from its release or its last checkpoint; empty where there is none yet, or on an object store."""
        with suppress(OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
            if self.store.size(CONFIG) is not None:
                return dict(yaml.safe_load(self.store.read(CONFIG)))
            states = sorted((self.store.folder / CHECKPOINTS).glob("*/state.json")) if self.store.folder else []
            return dict(json.loads(states[-1].read_text(encoding="utf-8"))["config"]) if states else {}
        return {}


def names_of(places: Sequence[str]) -> list[str]:
    """A short name for each: the last parts of the paths, as many as make them different."""
    parts = [PurePosixPath(place.rstrip("/")).parts for place in places]
    for count in range(1, max(map(len, parts), default=1) + 1):
        names = ["/".join(path[-count:]) for path in parts]
        if len({*names}) == len(names):
            break
    return names

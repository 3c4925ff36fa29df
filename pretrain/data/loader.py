"""Batches as a function of the step: the same on every machine, with any number of workers and processes, after every restart.

The rows of a step follow from (seed, step), what chance does to a row from (seed, epoch, row): the state of a loader is one integer.

Shapes: N rows of the data, B of one process's part of a batch, A attributes, L tokens.
"""

import itertools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, get_worker_info

from mals.errors import UserError
from mals.processes import end_with_parent
from pretrain.data import augment
from pretrain.data.augment import Changes, ImageTransform
from pretrain.data.eda import Synonyms, eda
from pretrain.data.random_numbers import uniform
from pretrain.data.rows import Decoder, ImageTextPairs, first_line
from pretrain.data.tokenizers.wordpiece import Tokenizer, clean_caption, exchange_sides
from pretrain.memory import ran_out
from pretrain.method import Batch, DataNeeds, Text

__all__ = ["ImageTextPairs", "Loader", "order"]

PICTURE, WORDS, INSTEAD, OTHER = range(4)  # what a row's random numbers are for: one use does not move those of another
TRIES = 20  # rows that may take an unreadable one's place
NAMED = 20  # unreadable rows that are named
AHEAD = 2  # batches that a worker makes before they are asked for


def order(seed: int, count: int, step: int, batch: int) -> NDArray[np.int64]:
    """The rows [batch] of a step, of `count` in all: each epoch all rows once by chance, but the few that make no whole batch."""
    epoch, at = divmod(step, count // batch)
    return permutation(seed, epoch, count)[at * batch : (at + 1) * batch]


@lru_cache(2)
def permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """All rows in the order of an epoch; of raw bits, which no version of numpy draws otherwise."""
    bits = np.random.Philox(np.random.SeedSequence((seed, epoch))).random_raw(count)
    return np.argsort(bits, kind="stable")


class Loader:
    """Batches from a step on, the part of one process; `step` is the next one, and all there is to a checkpoint."""

    def __init__(
        self,
        pairs: ImageTextPairs,
        tokenizer: Tokenizer,
        needs: DataNeeds,
        *,
        batch: int,
        seed: int,
        step: int = 0,
        stop: int | None = None,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        look: ImageTransform = ImageTransform(),
        exchange: bool = True,
        synonyms: Synonyms | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """`batch` is the global one; `exchange` swaps left and right in captions of flipped pictures; `stop` is the step after the last.

        `synonyms` are EDA's; batches come to be on `device`.
        """
        _check(pairs, needs, batch, world)
        self.per_epoch = len(pairs) // batch  # steps
        self.unreadable: dict[int, str] = {}  # row -> why; rows of this process so far
        self._look, self._device = look, device
        self._steps = _Steps(step, stop)
        parts = _Parts(pairs, tokenizer, needs, batch, seed, rank, world, look, exchange, synonyms or {})
        self._loader: DataLoader[Any] = DataLoader(
            parts,  # type: ignore[arg-type]
            batch_size=None,
            sampler=self._steps,
            generator=torch.Generator(),  # its seeds for the workers, which nothing uses: the trainer's own stays where it is
            **in_workers(workers),
        )

    @property
    def step(self) -> int:
        """The next batch's."""
        return self._steps.next

    def __iter__(self) -> Iterator[Batch]:
        """Batches from `step` on, up to `stop` or without end."""
        for batch, changes in self.unfinished():
            moved = batch.to(self._device)
            yield replace(moved, images=augment.apply_changes(moved.images, changes, self._look))

    def unfinished(self) -> Iterator[tuple[Batch, Changes]]:
        """What the device gets and finishes: batches whose pictures are bytes [B, H, W, 3], and what chance does to these.

        The next batch may take the pictures' memory.
        """
        for part in self._loader:
            if "fault" in part:
                raise UserError(part["fault"])
            self._tell(part.pop("unreadable"))
            changes = part.pop("changes")
            self._steps.next += 1
            fields: dict[str, Any] = {name: Text(**value) if isinstance(value, dict) else value for name, value in part.items()}
            yield Batch(**fields), changes

    def _tell(self, unreadable: dict[str, str]) -> None:
        """Count rows that could not be read, and name each once."""
        for row, told in unreadable.items():
            if int(row) in self.unreadable:
                continue
            self.unreadable[int(row)] = told
            if len(self.unreadable) <= NAMED:
                more = "; further ones are counted, not named" if len(self.unreadable) == NAMED else ""
                print(f"{told}; another row takes its place{more}", file=sys.stderr, flush=True)


def _check(pairs: ImageTextPairs, needs: DataNeeds, batch: int, world: int) -> None:
    """UserError where the data cannot give what is wanted."""
    if needs.group != (1, 1):
        raise UserError("batches with several rows of a person come with fine-tuning")
    if needs.attributes and pairs.labels is None:
        raise UserError(f"the data have no attribute labels, which {needs.need}")
    if batch > len(pairs):
        raise UserError(f"a batch of {batch:,} rows is more than the {len(pairs):,} rows of the data")
    if batch < 1 or batch % world:
        raise UserError(f"a batch of {batch} rows cannot be divided among {world} processes")


@dataclass
class _Steps:
    """The steps that are still to come."""

    next: int
    stop: int | None

    def __iter__(self) -> Iterator[int]:
        return iter(itertools.count(self.next) if self.stop is None else range(self.next, self.stop))


@dataclass
class _Parts:
    """Step -> one process's part of its batch, as what goes from worker to trainer: tensors by the names of `Batch`."""

    pairs: ImageTextPairs
    tokenizer: Tokenizer
    needs: DataNeeds
    batch: int
    seed: int
    rank: int
    world: int
    look: ImageTransform
    exchange: bool
    synonyms: Synonyms

    def __post_init__(self) -> None:
        size = self.batch // self.world
        self.decode = Decoder()
        self.room: NDArray[np.uint8] | None = None
        self.mine = slice(size * self.rank, size * (self.rank + 1))
        if self.needs.second_caption == "same_person":
            self.by_person = self.pairs.persons.argsort(stable=True)
            self.ends = self.pairs.persons.bincount().cumsum(0)

    def __getitem__(self, step: int) -> dict[str, Any]:
        try:
            return self._part(step)
        except UserError as error:  # raised anew where a person sees it, without the worker's traceback
            return {"fault": str(error)}

    def _part(self, step: int) -> dict[str, Any]:
        epoch = step // (len(self.pairs) // self.batch)
        asked = order(self.seed, len(self.pairs), step, self.batch)[self.mine].tolist()
        unreadable: dict[str, str] = {}
        changes = augment.draw_changes(self.look, uniform((self.seed, epoch, PICTURE), asked, augment.NUMBERS))
        images, rows = self._room(len(asked)), []
        for row, image, shrink in zip(asked, images, changes.shrunk, strict=True):
            taken, pixels = self._readable(row, epoch, unreadable)
            image[:] = augment.fit(pixels, self.look, shrink)
            rows.append(taken)
        numbers = torch.tensor(rows)
        part: dict[str, Any] = {"rows": numbers, "persons": self.pairs.persons[numbers], "unreadable": unreadable}
        part |= {"images": torch.from_numpy(images), "changes": changes}
        flips = (changes.flipped & self.exchange).tolist()
        part |= self._texts(rows, flips, epoch, asked) if self.needs.captions else {"text": _none(len(rows))}
        if self.needs.attributes:
            assert self.pairs.labels is not None
            part["labels"] = self.pairs.labels[numbers].long()
        return part

    def _room(self, rows: int) -> NDArray[np.uint8]:
        """Memory for the pictures of a batch [B, H, W, 3]: in the trainer's process always the same, which takes an eighth less time."""
        if self.room is None or get_worker_info() is not None:  # a worker sends a batch while it makes the next
            self.room = np.empty((rows, self.look.height, self.look.width, 3), np.uint8)
        return self.room

    def _texts(self, rows: list[int], flips: list[bool], epoch: int, asked: list[int]) -> dict[str, Any]:
        """What is said of rows, as the batch holds it; random numbers follow from the rows that were asked for."""
        said = _mirrored([self.pairs.caption(row) for row in rows], flips)
        text = self._encode(said)
        found: dict[str, Any] = {"text": vars(text)}
        if self.needs.masked:
            chance = uniform((self.seed, epoch, WORDS), asked, self.tokenizer.numbers)
            masked, found["targets"] = self.tokenizer.mask(text, chance, self.needs.padding)
            found["masked"] = vars(masked)
        if self.needs.second_caption != "none":
            draws = [self._draws(epoch, row, OTHER) for row in asked]
            if self.needs.second_caption == "eda":
                others = [eda(one, draw, self.synonyms) for one, draw in zip(said, draws, strict=True)]
            else:
                others = _mirrored([self._other(row, draw) for row, draw in zip(rows, draws, strict=True)], flips)
            found["second_text"] = vars(self._encode(others))
        return found

    def _draws(self, epoch: int, row: int, use: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, epoch, row, use))

    def _encode(self, captions: list[str]) -> Text:
        return self.tokenizer.encode([clean_caption(text) for text in captions], self.tokenizer.max_tokens if self.needs.padding else None)

    def _readable(self, row: int, epoch: int, unreadable: dict[str, str]) -> tuple[int, NDArray[np.uint8]]:
        """The row and its pixels, or those of the first readable one that chance puts in its place."""
        others = None
        for _ in range(TRIES):
            try:
                return row, self.decode(self.pairs.image_bytes(row))
            except Exception as error:  # each kind of picture fails in its own way
                if ran_out(error):
                    raise
                unreadable[str(row)] = f"{self.pairs.location(row)}: the picture cannot be read ({first_line(error)})"
                others = others or self._draws(epoch, row, INSTEAD)
                row = int(others.integers(len(self.pairs)))
        raise UserError(f"none of {TRIES} pictures can be read, the last because {next(reversed(unreadable.values()))}")

    def _other(self, row: int, draw: np.random.Generator) -> str:
        """A caption of another row of the person; of this row by another captioner where there is none; its own as a last resort."""
        person = int(self.pairs.persons[row])
        end = int(self.ends[person])
        rows = self.by_person[int(self.ends[person - 1]) if person else 0 : end]
        others = rows[rows != row]
        if len(others):
            return self.pairs.caption(int(others[draw.integers(len(others))]))
        said = self.pairs.other_captions(row)
        return said[draw.integers(len(said))] if said else self.pairs.caption(row)


def _mirrored(captions: list[str], flips: list[bool]) -> list[str]:
    return [exchange_sides(text) if flip else text for text, flip in zip(captions, flips, strict=True)]


def _none(rows: int) -> dict[str, torch.Tensor]:
    return {"ids": torch.zeros(rows, 0, dtype=torch.int64), "mask": torch.zeros(rows, 0, dtype=torch.bool)}


def in_workers(workers: int) -> dict[str, Any]:
    """What a DataLoader is told about its worker processes, none for 0."""
    told: dict[str, Any] = {"num_workers": workers, "pin_memory": torch.cuda.is_available()}
    if workers:
        context = multiprocessing.get_context("forkserver")  # pyarrow has threads, which fork does not copy
        context.set_forkserver_preload([__name__])
        told |= {
            "multiprocessing_context": context,
            "persistent_workers": True,
            "prefetch_factor": AHEAD,
            "worker_init_fn": _alone,
        }
    return told


def _alone(worker: int) -> None:
    """A worker is one thread, since there are as many of them as there are to be; it ends with the trainer, and not before.

    A signal to end comes to all processes of a terminal or a job, and the trainer needs its data until it has written its checkpoint.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_when_told, daemon=True).start()
    cv2.setNumThreads(1)
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    end_with_parent()  # torch watches the fork server, which waits for this process


def _end_when_told() -> None:
    """End this worker when the trainer, and nobody else, says so."""
    trainer = multiprocessing.parent_process()
    while trainer is not None and signal.sigwaitinfo({signal.SIGTERM}).si_pid != trainer.pid:
        pass
    os._exit(128 + signal.SIGTERM)

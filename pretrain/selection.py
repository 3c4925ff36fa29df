"""Which checkpoint of a fine-tuning is the best: measured every few epochs on one split, kept, and measured once more on test.

OUT/evaluations.jsonl     what was measured of each        OUT/best/N     the weights that were best, after N steps
OUT/result.json           the best ones on test, with the protocol and the split that selected them

A killed fine-tuning measures again what it trains again, and comes to the same choice.
"""

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mals.attributes import load_space
from mals.errors import UserError
from mals.files import write_file
from pretrain import checkpoint, provenance, ranks
from pretrain.config import Training
from pretrain.data.augment import ImageTransform
from pretrain.data.holdout import parted
from pretrain.data.rows import ImageTextPairs, NoSplit, Place
from pretrain.data.sources import local_path
from pretrain.data.tokenizers.wordpiece import Tokenizer
from pretrain.evaluate import labelled, searched
from pretrain.gallery import Gallery
from pretrain.method import Method
from pretrain.methods import find
from pretrain.trained_method import Trained

EVALUATIONS, RESULT = "evaluations.jsonl", "result.json"
RETRIEVAL, ATTRIBUTES = ("R1", "R5", "R10", "mAP"), ("mA", "accuracy", "f1")  # the first decides
BATCH = 64  # pictures at a time
OPTIMISTIC = "selected on test: optimistic"
HELD = "val (held out of train)"
WAYS = "--val-share 0.1 holds a tenth of the persons of train out to choose by, --select test compares with papers, which choose by test"


@dataclass
class _Begun:
    """What a training has told."""

    trained: Trained
    chosen_by: Gallery
    per_epoch: int
    steps: int


class Selecting:
    """A watcher of a training, see `pretrain.train.Watcher`."""

    def __init__(self, config: Training, data: Sequence[Place], out: Path) -> None:
        """Raises UserError where a split is not there, before anything is trained."""
        self.config, self.data, self.out, self.needs = config, list(data), out, find(config.method).data_needs(config)
        if config.optimizer.average:
            raise UserError("optimizer.average is for pretraining: a fine-tuning releases its best checkpoint; leave it at 0")
        if config.selection.held_out and config.selection.on == "test":
            raise UserError("--select test needs nobody held out: leave one of --select test and --val-share out")
        whole = [place for place in data if local_path(place)[0].suffix in (".json", ".parquet")]
        if whole:
            raise UserError(
                f"{whole[0]} has no splits, and fine-tuning needs a train and a test; `mals import` packs a data set with its own"
            )
        if not self.needs.captions and self.needs.space is None:
            raise UserError(f"the method {config.method} wants neither captions nor attributes: there is nothing to choose a checkpoint by")
        self.test = self._pairs("test")
        self.seen = self.test if config.selection.on == "test" else self._val()
        self.begun: _Begun | None = None
        self.told: list[dict[str, Any]] = []  # of the steps up to now

    def begin(self, method: Method, tokenizer: Tokenizer, here: torch.device, per_epoch: int, start: int, steps: int) -> None:
        shown = self.config.data
        trained = Trained(self.config, method, tokenizer, ImageTransform(shown.height, shown.width, shown.mean, shown.std), here)
        self.begun = _Begun(trained, self._gallery(self.seen, trained), per_epoch, steps)
        self.told = [line for line in _lines(self.out / EVALUATIONS) if line["step"] <= start]
        ranks.barrier()
        if ranks.is_main():
            if not start:  # what was the best of another beginning
                shutil.rmtree(self.out / checkpoint.BEST, ignore_errors=True)
            write_file(self.out / EVALUATIONS, "".join(json.dumps(line) + "\n" for line in self.told))

    def after(self, step: int) -> None:
        assert self.begun is not None
        due = step == self.begun.steps or step % (self.config.selection.every * self.begun.per_epoch) == 0
        if not due or not step or any(line["step"] == step for line in self.told):
            return
        scores = self._measured(self.begun.chosen_by)
        name, score = next(iter(scores.items()))
        best = checkpoint.best(self.out)
        line = {"step": step, "epoch": round(step / self.begun.per_epoch, 3), "split": self.split, **scores}
        self.told.append(line)
        ranks.barrier()  # all have looked at the best before it changes
        if ranks.is_main():
            if best is None or score > best[2]:
                checkpoint.save_best(self.out, step, self.begun.trained.method, self.config.model_dump(mode="json"), score)
            with (self.out / EVALUATIONS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            beaten = best is not None and score <= best[2]
            told = f"the best was {100 * best[2]:.2f} after step {best[1]:,}" if best is not None and beaten else "the best so far"
            print(f"epoch {line['epoch']:g}: {name} {100 * score:.2f} on {self.split}, {told}", file=sys.stderr, flush=True)
        ranks.barrier()

    def end(self) -> dict[str, Any]:
        assert self.begun is not None
        best = checkpoint.best(self.out)
        if best is None:
            raise UserError(f"{self.out / checkpoint.BEST} is gone, and the weights that were best with it; begin anew in another --out")
        folder, step, _ = best
        checkpoint.load_weights(folder, self.begun.trained.method)
        optimistic = self.config.selection.on == "test"
        selected = next((line for line in self.told if line["step"] == step), {"step": step})
        gallery = self.begun.chosen_by if optimistic else self._gallery(self.test, self.begun.trained)
        found = self._told(gallery)
        part = found["retrieval" if self.needs.captions else "attributes"]
        part["protocol"] += f"; {OPTIMISTIC if optimistic else f'the checkpoint was selected on {self.split}'}"
        result = {
            "name": " + ".join(provenance.about(place)["name"] for place in self.data),
            "data": [str(place) for place in self.data],
            "split": "test",
            "selected_on": OPTIMISTIC if optimistic else self.split,
            "selected": selected,
            "start": self.config.start,
            **found,
        }
        if ranks.is_main():
            write_file(self.out / RESULT, json.dumps(result, indent=2) + "\n")
        ranks.barrier()
        return {"selected": selected, "selected_on": result["selected_on"]}

    @property
    def split(self) -> str:
        """By which the choice is made."""
        return HELD if self.config.selection.held_out else self.config.selection.on

    def _val(self) -> ImageTextPairs:
        share = self.config.selection.held_out
        if share:
            return parted(self._pairs("train"), share, self.config.seed)[1]
        try:
            return self._pairs("val")
        except NoSplit as error:
            raise UserError(f"{error}: no val to choose a checkpoint by; {WAYS}") from None

    def _pairs(self, split: str) -> ImageTextPairs:
        """A row a caption for retrieval; a row a picture, with labels, for recognition."""
        if self.needs.captions or self.needs.space is None:
            return ImageTextPairs.open(self.data, split, every=True, need_captions=self.needs.need_captions)
        return ImageTextPairs.open(self.data, split, load_space(self.needs.space).classes, self.needs.need, captions=False)

    def _gallery(self, pairs: ImageTextPairs, trained: Trained) -> Gallery:
        space = None if self.needs.captions else self.needs.space
        plain = self.config.selection.plain
        return Gallery(pairs, trained.tokenizer, trained.look, trained.device, BATCH, self.config.data.workers, plain, space)

    def _told(self, gallery: Gallery) -> dict[str, Any]:
        """Everything that is measured, by the method as it is now."""
        assert self.begun is not None
        trained, settings = self.begun.trained, self.config.selection
        before = trained.method.training
        trained.method.eval()
        try:
            if self.needs.captions:
                return searched(trained, gallery, settings.rerank, settings.k)
            return labelled(trained, gallery, settings.rerank)
        finally:
            trained.method.train(before)

    def _measured(self, gallery: Gallery) -> dict[str, float]:
        """The score that decides, first, and others that go with it."""
        found = self._told(gallery)
        names, part = (RETRIEVAL, "retrieval") if self.needs.captions else (ATTRIBUTES, "attributes")
        return {name: found[part][name] for name in names}


def line(result: dict[str, Any]) -> str:
    """A result as a person reads it."""
    found = result.get("retrieval") or result["attributes"]
    scores = "  ".join(f"{name} {100 * found[name]:.2f}" for name in (*RETRIEVAL, *ATTRIBUTES) if name in found)
    return f"{scores} on test; step {result['selected']['step']:,}, {result['selected_on'].removeprefix('selected on ')}"


def _lines(file: Path) -> list[dict[str, Any]]:
    """What was measured before; a torn last line is left out."""
    found = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found

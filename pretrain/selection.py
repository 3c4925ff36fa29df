"""Selection of the best checkpoint of a fine-tuning: measured every few epochs on one split, kept, and measured once more on test.

OUT/evaluations.jsonl     the scores of each measured checkpoint        OUT/best/N     the best weights, after N steps
OUT/result.json           the scores of the best on test, with the protocol and the split that selected it

After an interruption, the repeated steps are measured again, and the same checkpoint is selected.
"""

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mals.attributes import load_space
from mals.errors import UserError
from mals.files import write_file
from pretrain import checkpoint, provenance, ranks
from pretrain.build import explain_missing_data
from pretrain.config import Training
from pretrain.data.augment import ImageTransform
from pretrain.data.errors import NoSplit
from pretrain.data.holdout import split_identities
from pretrain.data.rows import ImageTextPairs
from pretrain.data.sources import DatasetAddress
from pretrain.data.splits import may_have_splits
from pretrain.data.tokenizers import Tokenizer
from pretrain.evaluate import (
    Task,
    count_unreadable,
    evaluate_attributes,
    evaluate_identification,
    evaluate_own_protocols,
    evaluate_retrieval,
)
from pretrain.gallery import Gallery, open_persons, open_rows
from pretrain.method import Method
from pretrain.methods import find
from pretrain.results import Evaluation, Measurement, SelectionResult
from pretrain.retrieval_protocol import retrieval_protocol
from pretrain.trained_method import Trained

log = logging.getLogger(__name__)

EVALUATIONS, RESULT = "evaluations.jsonl", "result.json"
SCORES: dict[Task, tuple[str, ...]] = {  # the first one selects
    "retrieval": ("R1", "R5", "R10", "mAP"),
    "attributes": ("mA", "accuracy", "f1"),
    "reid": ("mAP", "R1", "R5", "R10"),
}
PARTS: dict[Task, str] = {"retrieval": "retrieval", "attributes": "attributes", "reid": "identification"}  # of an Evaluation
BATCH = 64  # images
OPTIMISTIC = "selected on test: optimistic"
HELD_OUT = "val (held out of train)"
ALTERNATIVES = (
    "--val-share 0.1 holds out a tenth of the identities of train to select by, --select test compares with papers, which select on test"
)


Rows = tuple[ImageTextPairs, tuple[str, ...]]  # the rows of a gallery, and the splits of an identification


@dataclass
class _Running:
    """A training that has begun."""

    trained: Trained
    selected_by: Gallery
    steps_per_epoch: int
    steps: int


class Selection:
    """A watcher of a training, see `pretrain.train.Watcher`."""

    def __init__(self, config: Training, data: Sequence[DatasetAddress], out: Path) -> None:
        """Raises UserError if a split is missing, before anything is trained."""
        self.config, self.data, self.out, self.needs = config, list(data), out, find(config.method).data_needs(config)
        if config.optimizer.average:
            raise UserError("optimizer.average is for pretraining: a fine-tuning releases its best checkpoint; leave it at 0")
        if config.selection.held_out and config.selection.on == "test":
            raise UserError("--select test needs no held-out identities: leave one of --select test and --val-share out")
        if without_splits := [place for place in data if not may_have_splits(place)]:
            raise UserError(
                f"{without_splits[0]} has no splits, and fine-tuning needs a train and a test split; "
                "`mals import` packs a data set with its own"
            )
        self.task = task_of(config)
        self.test = self._open("test")
        self.selected_by = self.test if config.selection.on == "test" else self._open_val()
        self.running: _Running | None = None
        self.measurements: list[Measurement] = []  # up to the current step

    def begin(self, method: Method, tokenizer: Tokenizer, here: torch.device, per_epoch: int, start: int, steps: int) -> None:
        preprocessing = ImageTransform.for_test(self.config.data)
        trained = Trained(self.config, method, tokenizer, preprocessing, here)
        self.running = _Running(trained, self._gallery(self.selected_by, trained), per_epoch, steps)
        self.measurements = [measurement for measurement in read_measurements(self.out / EVALUATIONS) if measurement.step <= start]
        ranks.barrier()
        with ranks.raise_on_all_ranks():
            if ranks.is_main():
                if not start:  # the folder may hold the best checkpoint of an earlier training
                    shutil.rmtree(self.out / checkpoint.BEST, ignore_errors=True)
                write_file(self.out / EVALUATIONS, "".join(json.dumps(measurement.to_json()) + "\n" for measurement in self.measurements))

    def after(self, step: int) -> None:
        assert self.running is not None
        is_due = step == self.running.steps or step % (self.config.selection.every * self.running.steps_per_epoch) == 0
        if not is_due or not step or any(measurement.step == step for measurement in self.measurements):
            return
        scores = self._scores(self.running.selected_by)
        name, score = next(iter(scores.items()))
        best = checkpoint.best(self.out)
        measurement = Measurement(step, round(step / self.running.steps_per_epoch, 3), self.split, scores)
        self.measurements.append(measurement)
        ranks.barrier()  # every rank has read the best score before it changes
        with ranks.raise_on_all_ranks():
            if ranks.is_main():
                is_best = best is None or score > best[2]
                if is_best:
                    checkpoint.save_best(self.out, step, self.running.trained.method, self.config.model_dump(mode="json"), score)
                with (self.out / EVALUATIONS).open("a", encoding="utf-8") as file:
                    file.write(json.dumps(measurement.to_json()) + "\n")
                rank = "the best so far" if best is None or is_best else f"the best was {100 * best[2]:.2f} after step {best[1]:,}"
                log.info("epoch %g: %s %.2f on %s, %s", measurement.epoch, name, 100 * score, self.split, rank)

    def end(self) -> dict[str, Any]:
        assert self.running is not None
        best = checkpoint.best(self.out)
        if best is None:
            raise UserError(f"{self.out / checkpoint.BEST} is gone, and the best weights with it; start again with another --out")
        folder, step, _ = best
        checkpoint.load_weights(folder, self.running.trained.method)
        is_optimistic = self.config.selection.on == "test"
        gallery = self.running.selected_by if is_optimistic else self._gallery(self.test, self.running.trained)
        note = OPTIMISTIC if is_optimistic else f"the checkpoint was selected on {self.split}"
        result = SelectionResult(
            name=" + ".join(provenance.about(place)["name"] for place in self.data),
            data=tuple(str(place) for place in self.data),
            selected_on=OPTIMISTIC if is_optimistic else self.split,
            selected=self._measurement(step),
            start=self.config.start,
            evaluation=_with_note(self._evaluate(gallery, own_protocols=True), note),
        )
        with ranks.raise_on_all_ranks():
            if ranks.is_main():
                write_file(self.out / RESULT, json.dumps(result.to_json(), indent=2) + "\n")
        return {"selected": result.selected.to_json(), "selected_on": result.selected_on}

    def _measurement(self, step: int) -> Measurement:
        """The measurement after a step; without scores if evaluations.jsonl has lost it."""
        assert self.running is not None
        lost = Measurement(step, round(step / self.running.steps_per_epoch, 3), self.split, {})
        return next((measurement for measurement in self.measurements if measurement.step == step), lost)

    @property
    def split(self) -> str:
        """The split that selects."""
        return HELD_OUT if self.config.selection.held_out else self.config.selection.on

    def _open_val(self) -> Rows:
        share = self.config.selection.held_out
        if share:
            rows, splits = self._open("train")
            return split_identities(rows, share, self.config.seed)[1], splits
        try:
            return self._open("val")
        except NoSplit as error:
            raise UserError(f"{error}: no val to select a checkpoint by; {ALTERNATIVES}") from None

    def _open(self, split: str) -> Rows:
        """A row for each caption for retrieval; a row for each image, for recognition with labels, for identification with queries."""
        with explain_missing_data(self.config):
            if self.task == "reid":
                return open_persons(self.data, split)
            if self.task == "retrieval":
                dataset, _ = open_rows(self.data, split, None)
                return (dataset if any(dataset.captions()) else ImageTextPairs.open(self.data, split, every=True)), ()
            assert self.needs.space is not None
            return ImageTextPairs.open(self.data, split, load_space(self.needs.space).classes, captions=False), ()

    def _gallery(self, rows: Rows, trained: Trained) -> Gallery:
        dataset, splits = rows
        return Gallery(
            dataset,
            trained.tokenizer,
            trained.preprocessing,
            trained.device,
            batch=BATCH,
            workers=self.config.data.workers,
            protocol=retrieval_protocol(self.data, "test", plain=self.config.selection.plain),
            space=None if self.needs.captions else self.needs.space,
            splits=splits,
        )

    def _evaluate(self, gallery: Gallery, own_protocols: bool = False) -> Evaluation:
        """The scores of the method as it is now, by the task that selects; and of its own protocols."""
        assert self.running is not None
        trained, settings = self.running.trained, self.config.selection
        was_training = trained.method.training
        trained.method.eval()
        try:
            return Evaluation(
                retrieval=evaluate_retrieval(trained, gallery, settings.rerank, settings.k) if self.task == "retrieval" else None,
                attributes=evaluate_attributes(trained, gallery, settings.rerank) if self.task == "attributes" else None,
                identification=evaluate_identification(trained, gallery) if self.task == "reid" else None,
                more=evaluate_own_protocols(trained, gallery) if own_protocols else {},
                unreadable=count_unreadable(gallery),
            )
        finally:
            trained.method.train(was_training)

    def _scores(self, gallery: Gallery) -> dict[str, float]:
        """The score that selects, first, and others beside it."""
        part = getattr(self._evaluate(gallery), PARTS[self.task])
        return {name: getattr(part, name) for name in SCORES[self.task]}


def summary(result: dict[str, Any]) -> str:
    """A result file as one line for a reader."""
    task = next(task for task, part in PARTS.items() if part in result)
    scores = "  ".join(f"{name} {100 * result[PARTS[task]][name]:.2f}" for name in SCORES[task])
    return f"{scores} on test; step {result['selected']['step']:,}, {result['selected_on'].removeprefix('selected on ')}"


def read_measurements(file: Path) -> list[Measurement]:
    """The measurements of an earlier start; a torn last line is left out."""
    measurements = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        try:
            measurements.append(Measurement.from_json(json.loads(line)))
        except (ValueError, KeyError):
            break
    return measurements


def _with_note(evaluation: Evaluation, note: str) -> Evaluation:
    """The evaluation with a note behind its protocol."""
    parts = {name: getattr(evaluation, name) for name in PARTS.values()}
    noted = {name: replace(part, protocol=f"{part.protocol}; {note}") for name, part in parts.items() if part is not None}
    return replace(evaluation, **noted)


def task_of(config: Training) -> Task:
    """What selects a checkpoint: retrieval if the method is trained on captions, else recognition, else identification.

    Raises UserError if the method does none of them.
    """
    kind = find(config.method)
    needs = kind.data_needs(config)
    if needs.captions:
        return "retrieval"
    if needs.space is not None:
        return "attributes"
    if "identify" in kind.abilities:
        return "reid"
    raise UserError(
        f"the method {config.method} is trained on neither captions nor attributes nor persons: no score can select a checkpoint"
    )

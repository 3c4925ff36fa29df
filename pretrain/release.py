"""`mals release`: publish a trained method for others to load, complete or not at all, in a folder, on the hub or at a URL.

model.safetensors, config.yaml, tokenizer.json     read by `pretrain.load`
metrics.json, result.json, origins.json            last metrics of the training, scores, training data
image.onnx, text.onnx                              with --onnx
README.md, SHA256SUMS                              the model card, and the hashes of all files
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mals.attributes import FOLDER as SPACES
from mals.dataset.card import without_paths
from mals.dataset.publish import MODEL, PublishReport, hub_repository, send
from mals.dataset.receipts import CHECKSUMS, FileRecord, checksums, record_of_file
from mals.errors import UserError
from mals.files import replacing_folder
from mals.grid.store import Store
from mals.settings import parse
from pretrain import checkpoint, methods, model_card, provenance, published, towers_onnx, trained_method
from pretrain.build import TOKENIZER
from pretrain.datasets.layout import folder_contents
from pretrain.results import DatasetScores
from pretrain.trained_method import Trained

CONFIG, METRICS, RESULT, CARD = "config.yaml", "metrics.json", "result.json", "README.md"
FINISHED = (checkpoint.MODEL, CONFIG, TOKENIZER, METRICS)  # the files of a finished training


@dataclass(frozen=True)
class Source:
    """The training that is released, or the file of weights of another project that is converted."""

    run: Path
    weights: Path
    config: dict[str, Any]
    metrics: dict[str, Any]
    result: Path | None = None  # the scores of these weights
    unfinished: bool = False
    converted: Trained | None = None  # None: a training


@dataclass(frozen=True, kw_only=True)
class ReleaseReport(PublishReport):
    """The files that were released, or with `dry_run` would be."""

    onnx: Mapping[str, float]  # ONNX file -> largest difference to PyTorch


def release(
    run: str,
    to: str,
    *,
    latest: bool = False,
    onnx: bool = False,
    results: Sequence[Path] = (),
    license: str | None = None,
    name: str | None = None,
    dry_run: bool = False,
    preset: str | None = None,
    sets: Sequence[str] = (),
) -> ReleaseReport:
    """Release the training in the folder `run` to `to`, a folder, hf://OWNER/NAME or a URL.

    `run` may be a file of weights alone, such as another project's checkpoint; `preset` and `sets` are for it, see `trained_method.read`.
    `latest` releases the last checkpoint of an unfinished training, `onnx` adds both towers as ONNX, `results` are files of scores for the
    card, `license` and `name` override what the card derives. With `dry_run` everything is made and checked in a temporary folder.
    Raises UserError if the training is not finished, or if `to` holds something else.
    """
    place = Path(run).expanduser()
    if not place.is_file() and (preset is not None or sets):
        raise UserError(f"{run} is no file of weights: --preset and --set are for these")
    source = _weights_alone(run, preset, sets) if place.is_file() else _source(place, latest)
    scores = [row for file in (source.result, *results) if file is not None for row in _scores(file)]
    repo = hub_repository(to, MODEL)
    target = None if repo else Store(to).folder
    if target is not None:
        _refuse_other(target, source.run)
    if onnx:
        towers_onnx.require()
    with _building(None if dry_run else target) as folder:
        if source.converted is None:
            _copy(source, folder)
        else:
            _convert(source.converted, source.metrics, folder)
        method = trained_method.read(str(folder))
        differences = towers_onnx.export(method, folder) if onnx else {}
        title = name or (repo or to.rstrip("/")).rsplit("/", 1)[-1]
        facts = model_card.ModelCardFacts(
            name=title,
            place=to if repo else title,
            trained=method,
            metrics=source.metrics,
            unfinished=source.unfinished,
            rows=scores,
            onnx=differences,
            license=license,
        )
        (folder / CARD).write_text(model_card.render(facts), encoding="utf-8")
        files = _hash_files(folder)
        if target is None:
            report = send(Store(str(folder)), to, files, MODEL, dry_run)
            return ReleaseReport(**vars(report), onnx=differences)
    files = sorted(files, key=lambda file: (file.path == CHECKSUMS, file.path))
    size, sent = sum(file.bytes for file in files), 0 if dry_run else len(files)
    return ReleaseReport(url=to, files=files, bytes=size, dry_run=dry_run, sent=sent, onnx=differences)


def _source(run: Path, latest: bool) -> Source:
    """The training in a folder; UserError if there is none, or it is not finished."""
    missing = [name for name in FINISHED if not (run / name).is_file()]
    started = run.is_dir() and ((run / checkpoint.FOLDER).is_dir() or (run / TOKENIZER).is_file())
    if missing and not started:
        saw = f"saw {folder_contents(run)}" if run.is_dir() else "it is not a folder"
        raise UserError(f"{run} holds no training: looked for {', '.join(FINISHED)} and {checkpoint.FOLDER}/, and {saw}")
    if latest:
        last = checkpoint.latest(run)
        if last is None:
            raise UserError(f"the training in {run} has no checkpoint yet")
        return Source(run, last.folder / checkpoint.MODEL, last.config, {"step": last.step}, unfinished=bool(missing))
    if missing:
        raise UserError(
            f"the training in {run} is not finished: it has no {', '.join(missing)}; give the training's command again to finish "
            "it, or release its last checkpoint with --checkpoint latest"
        )
    metrics = _json(run / METRICS)
    if not isinstance(metrics, dict):
        raise UserError(f"{run / METRICS} holds no metrics")
    config = parse((run / CONFIG).read_text(encoding="utf-8"), str(run / CONFIG))
    return Source(run, run / checkpoint.MODEL, config, metrics, run / RESULT if (run / RESULT).is_file() else None)


def _weights_alone(file: str, preset: str | None, sets: Sequence[str]) -> Source:
    """A file of weights alone with the settings that it is used with."""
    trained = trained_method.read(file, sets, preset)
    project = published.read(file).project
    metrics = {"converted": {"file": Path(file).name, "project": None if project is None else project.name}}
    return Source(Path(file), Path(file), trained.config.model_dump(mode="json"), metrics, converted=trained)


def _convert(trained: Trained, metrics: Mapping[str, Any], folder: Path) -> None:
    """Write the files of a training that ended with the weights of a method."""
    config = without_paths(trained.config.model_dump(mode="json"))
    checkpoint.release(folder, trained.method, yaml.safe_dump(config, sort_keys=False), metrics)
    trained.tokenizer.save(folder / TOKENIZER)


def _copy(source: Source, folder: Path) -> None:
    """Copy the files of a training without the paths of this machine, and its attribute space if that does not ship with mals."""
    checkpoint.copy_weights(source.weights, folder / checkpoint.MODEL, methods.find(str(source.config["method"])))
    shutil.copyfile(source.run / TOKENIZER, folder / TOKENIZER)
    config, space = source.config, trained_method.space_of(source.config)
    own = next((file for file in (source.run / trained_method.SPACE, Path(str(space))) if file.is_file()), None)
    if space is not None and not (SPACES / f"{space}.yaml").is_file() and own is not None:
        shutil.copyfile(own, folder / trained_method.SPACE)
        config = trained_method.with_space(config, trained_method.SPACE)
    (folder / CONFIG).write_text(yaml.safe_dump(without_paths(config), sort_keys=False), encoding="utf-8")
    (folder / METRICS).write_text(json.dumps(source.metrics, indent=2) + "\n", encoding="utf-8")
    for file in (source.result, source.run / provenance.FILE):
        if file is not None and file.is_file():
            (folder / file.name).write_text(json.dumps(without_paths(_json(file)), indent=1) + "\n", encoding="utf-8")


def _scores(file: Path) -> list[DatasetScores]:
    """The evaluations in a result; UserError if there is none."""
    rows = list(model_card.scores_in(_json(file)))
    if not rows:
        raise UserError(f"{file} holds no result of mals evaluate, zeroshot or finetune")
    return rows


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError:
        raise UserError(f"{file} is not JSON") from None


def _hash_files(folder: Path) -> list[FileRecord]:
    """Write SHA256SUMS; returns the record of every file, it included."""
    files = [record_of_file(path, path.name) for path in sorted(folder.iterdir())]
    (folder / CHECKSUMS).write_bytes(checksums(files))
    return [*files, record_of_file(folder / CHECKSUMS, CHECKSUMS)]


@contextmanager
def _building(target: Path | None) -> Iterator[Path]:
    """A folder to build a release in, which replaces `target` on a clean exit; None: a temporary folder."""
    if target is not None:
        with replacing_folder(target) as folder:
            yield folder
        return
    with tempfile.TemporaryDirectory(prefix="mals-") as scratch:
        yield Path(scratch)


def _refuse_other(target: Path, run: Path) -> None:
    """UserError if a folder holds anything but an earlier release."""
    if target.exists() and not target.is_dir():
        raise UserError(f"{target} is a file; give a folder to release to")
    if run.resolve() != target.resolve() and run.resolve().is_relative_to(target.resolve()):
        raise UserError(f"{target} holds the training itself; give another folder to release to")
    present = {path.name for path in target.iterdir()} if target.is_dir() else set()
    released = {CHECKSUMS}
    if (target / CHECKSUMS).is_file():
        released |= {line.partition("  ")[2] for line in (target / CHECKSUMS).read_text(encoding="utf-8").splitlines()}
    if present and (present - released or checkpoint.MODEL not in released):
        names = ", ".join(sorted(present - released or present)[:3])
        raise UserError(f"{target} holds something else already ({names}); give a new or empty folder")

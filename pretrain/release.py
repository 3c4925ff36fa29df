"""`mals release`: a trained method as others load it, whole or not at all, in a folder, at the hub or at a URL.

model.safetensors, config.yaml, tokenizer.json     what `pretrain.load` reads
metrics.json, result.json, origins.json            how the training ended, what was measured, what it learnt from
image.onnx, text.onnx                              with --onnx
README.md, SHA256SUMS                              the card, and the hashes of all
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mals.attributes import FOLDER as SPACES
from mals.dataset.card import without_paths
from mals.dataset.publish import MODEL, PublishReport, hub_repository, send
from mals.dataset.receipts import CHECKSUMS, FileRecord, checksums
from mals.errors import UserError
from mals.files import replacing_folder
from mals.grid.store import Store
from mals.settings import merge, parse
from pretrain import checkpoint, model_card, provenance, towers_onnx, trained_method
from pretrain.build import TOKENIZER
from pretrain.datasets.layout import seen

CONFIG, METRICS, RESULT, CARD = "config.yaml", "metrics.json", "result.json", "README.md"
FINISHED = (checkpoint.MODEL, CONFIG, TOKENIZER, METRICS)  # what a finished training has


@dataclass(frozen=True)
class Source:
    """What is released."""

    run: Path
    weights: Path
    config: dict[str, Any]
    metrics: dict[str, Any]
    result: Path | None = None  # what was measured of these weights
    unfinished: bool = False


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
) -> dict[str, Any]:
    """Release the training in the folder `run` to `to`; the files with their bytes, and with `onnx` how near its towers are.

    UserError where the training is not finished, unless `latest` asks for its last checkpoint, or where `to` holds something else.
    With `dry_run` all is made and checked in a folder that vanishes.
    """
    source = _source(Path(run).expanduser(), latest)
    measured = [row for file in (source.result, *results) if file is not None for row in _measured(file)]
    repo = hub_repository(to, MODEL)
    target = None if repo else Store(to).folder
    if target is not None:
        _refuse_other(target, source.run)
    if onnx:
        towers_onnx.require()
    with _beside(None if dry_run else target) as folder:
        _copy(source, folder)
        method = trained_method.read(str(folder))
        near = towers_onnx.export(method, folder) if onnx else {}
        called = name or (repo or to.rstrip("/")).rsplit("/", 1)[-1]
        facts = model_card.Facts(called, to if repo else called, method, source.metrics, source.unfinished, measured, near, license)
        (folder / CARD).write_text(model_card.render(facts), encoding="utf-8")
        files = _summed(folder)
        if target is None:
            return send(Store(str(folder)), to, files, MODEL, dry_run).to_json() | {"onnx": near}
    listed = sorted(files, key=lambda file: (file.path == CHECKSUMS, file.path))
    size, sent = sum(file.bytes for file in files), 0 if dry_run else len(files)
    return PublishReport(to=to, files=listed, bytes=size, dry_run=dry_run, sent=sent).to_json() | {"onnx": near}


def _source(run: Path, latest: bool) -> Source:
    """What a folder holds; UserError where that is not a finished training."""
    lacks = [name for name in FINISHED if not (run / name).is_file()]
    begun = run.is_dir() and ((run / checkpoint.FOLDER).is_dir() or (run / TOKENIZER).is_file())
    if lacks and not begun:
        saw = f"saw {seen(run)}" if run.is_dir() else "it is no folder"
        raise UserError(f"{run} holds no training: looked for {', '.join(FINISHED)} and {checkpoint.FOLDER}/, and {saw}")
    if latest:
        last = checkpoint.latest(run)
        if last is None:
            raise UserError(f"the training in {run} has no checkpoint yet")
        return Source(run, last.folder / checkpoint.MODEL, last.config, {"step": last.step}, unfinished=bool(lacks))
    if lacks:
        raise UserError(
            f"the training in {run} is not finished: it has no {', '.join(lacks)}; the same command of the training goes on, "
            "or --checkpoint latest releases what there is"
        )
    metrics = _json(run / METRICS)
    if not isinstance(metrics, dict):
        raise UserError(f"{run / METRICS} holds no metrics")
    config = parse((run / CONFIG).read_text(encoding="utf-8"), str(run / CONFIG))
    return Source(run, run / checkpoint.MODEL, config, metrics, run / RESULT if (run / RESULT).is_file() else None)


def _copy(source: Source, folder: Path) -> None:
    """The files of a training, without the paths of the machine that trained; an attribute space of one's own comes along."""
    shutil.copyfile(source.weights, folder / checkpoint.MODEL)
    shutil.copyfile(source.run / TOKENIZER, folder / TOKENIZER)
    config, space = source.config, (source.config.get("aptm") or {}).get("space")
    own = next((one for one in (source.run / trained_method.SPACE, Path(str(space))) if one.is_file()), None)
    if space is not None and not (SPACES / f"{space}.yaml").is_file() and own is not None:
        shutil.copyfile(own, folder / trained_method.SPACE)
        config = merge(config, {"aptm": {"space": trained_method.SPACE}})
    (folder / CONFIG).write_text(yaml.safe_dump(without_paths(config), sort_keys=False), encoding="utf-8")
    (folder / METRICS).write_text(json.dumps(source.metrics, indent=2) + "\n", encoding="utf-8")
    for file in (source.result, source.run / provenance.FILE):
        if file is not None and file.is_file():
            (folder / file.name).write_text(json.dumps(without_paths(_json(file)), indent=1) + "\n", encoding="utf-8")


def _measured(file: Path) -> list[model_card.Row]:
    """The evaluations in a result; UserError where there is none."""
    found = list(model_card.measured(_json(file)))
    if not found:
        raise UserError(f"{file} holds no result of mals evaluate, zeroshot or finetune")
    return found


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError:
        raise UserError(f"{file} is not JSON") from None


def _summed(folder: Path) -> list[FileRecord]:
    """Every file with its bytes and hash, SHA256SUMS written and among them."""
    found = [_file(path) for path in sorted(folder.iterdir())]
    (folder / CHECKSUMS).write_bytes(checksums(found))
    return [*found, _file(folder / CHECKSUMS)]


def _file(path: Path) -> FileRecord:
    with path.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    return FileRecord(path=path.name, bytes=path.stat().st_size, sha256=sha256)


@contextmanager
def _beside(target: Path | None) -> Iterator[Path]:
    """A folder to build a release in: it becomes `target` on a clean exit, or vanishes where there is no target."""
    if target is None:
        with tempfile.TemporaryDirectory(prefix="mals-") as scratch:
            yield Path(scratch)
        return
    with replacing_folder(target) as folder:
        yield folder


def _refuse_other(target: Path, run: Path) -> None:
    """UserError where a folder holds anything but an earlier release."""
    if target.exists() and not target.is_dir():
        raise UserError(f"{target} is a file; give a folder to release to")
    if run.resolve() != target.resolve() and run.resolve().is_relative_to(target.resolve()):
        raise UserError(f"{target} holds the training itself; give a folder of its own to release to")
    there = {path.name for path in target.iterdir()} if target.is_dir() else set()
    known = {CHECKSUMS}
    if (target / CHECKSUMS).is_file():
        known |= {line.partition("  ")[2] for line in (target / CHECKSUMS).read_text(encoding="utf-8").splitlines()}
    if there and (there - known or checkpoint.MODEL not in known):
        some = ", ".join(sorted(there - known or there)[:3])
        raise UserError(f"{target} holds something else already ({some}); give a new or empty folder")

"""What was made to where others find it: the Hugging Face hub, a folder, or any fsspec URL. `publish` is for packs, `send` for any files.

No pack leaves before it is re-hashed and found to belong to the run's cells. An upload that broke off goes on with the same command.
"""

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from mals.dataset.folder import SUMS
from mals.dataset.pack import FOLDER, check, read_receipt
from mals.errors import UserError
from mals.grid.run import Run
from mals.grid.store import Store

BLOCK = 1 << 22
Progress = Callable[[int, int], None]  # files done, files in all


@dataclass(frozen=True)
class Kind:
    """What is sent, as the hub knows it."""

    type: str  # the hub's
    name: str  # for people
    prefix: str  # of an address
    message: str  # of the commit
    old: tuple[str, ...]  # patterns of files that an earlier one may have left: they go where the new one has none of that name


DATASET = Kind("dataset", "data set", "hf://datasets/", "Data set packed by mals", ("data/*.parquet", "rejected/*.parquet"))
MODEL = Kind("model", "model", "hf://", "Method trained by mals", ("*.onnx", "result.json", "origins.json", "space.yaml"))


def publish(
    run: Run, to: str, dry_run: bool = False, problems: list[str] | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Send `dataset/` to `to`; the files with their bytes. `problems`, where given, are what `verify` found when it re-hashed all.

    Raises UserError where anything is off, in the pack or on the way. With `dry_run` the pack is checked and nothing is sent or asked.
    """
    _outside(run, to)
    off = [*(problems or []), *check(run, deep=problems is None)]
    if off:
        more = f" (and {len(off) - 1} more)" if len(off) > 1 else ""
        url = run.store.url
        raise UserError(f"{url} is not published: {off[0]}{more}; `mals verify {url} --repair` and `mals run {url}` mend it")
    receipt = read_receipt(run)
    assert receipt is not None
    listed = [
        {"path": file["path"].removeprefix(f"{FOLDER}/"), "bytes": file["bytes"], "sha256": file["sha256"]} for file in receipt["files"]
    ]
    return send(Store(f"{run.store.url.rstrip('/')}/{FOLDER}"), to, listed, DATASET, dry_run, progress)


def send(
    source: Store, to: str, files: list[dict[str, Any]], kind: Kind, dry_run: bool = False, progress: Progress | None = None
) -> dict[str, Any]:
    """Send `files` (path, bytes, sha256; among them SHA256SUMS) of `source`; the report of what went, or with `dry_run` would go."""
    # SHA256SUMS goes last: where it is, everything it names is
    listed = sorted(files, key=lambda file: (file["path"] == SUMS, file["path"]))
    report = {"to": to, "files": listed, "bytes": sum(file["bytes"] for file in listed), "dry_run": dry_run}
    repo = address(to, kind)
    target = Store(to) if repo is None else None
    if target is not None and target.folder is not None and target.folder.exists() and not target.folder.is_dir():
        raise UserError(f"{to} is a file; give a folder to publish to")
    if dry_run:
        return report | {"sent": 0}
    if target is None:
        assert repo is not None
        return report | {"sent": _to_hub(source, repo, listed, kind)}
    return report | {"sent": _to_store(source, target, to, listed, kind, progress)}


def address(to: str, kind: Kind) -> str | None:
    """OWNER/NAME of a hub address; None for any other place."""
    if not to.startswith("hf://"):
        return None
    repo = to.removeprefix(kind.prefix).strip("/")
    if not to.startswith(kind.prefix) or repo.count("/") != 1 or not all(repo.split("/")):
        raise UserError(f"{to} is not of the form {kind.prefix}OWNER/NAME")
    return repo


def _outside(run: Run, to: str) -> None:
    """UserError where a place cannot be published to, or is in the run itself."""
    target = None if address(to, DATASET) else Store(to)
    folder, own = target.folder if target else None, run.store.folder
    if folder is not None and own is not None and folder.resolve().is_relative_to(own.resolve()):
        raise UserError(f"{to} is inside the run; give a folder of its own to publish to")


def _to_store(source: Store, target: Store, to: str, files: list[dict[str, Any]], kind: Kind, progress: Progress | None) -> int:
    """Copy what is not there yet, and hold the sizes against the list; how many files were sent."""
    try:
        target.sweep()
        _forget(target, files, kind)
        sent = 0
        for at, file in enumerate(files):
            if progress:
                progress(at, len(files))
            sent += _copy(source, target, file)
        wrong = [file["path"] for file in files if target.size(file["path"]) != file["bytes"]]
    except UserError:
        raise
    except Exception as error:  # each file system behind fsspec has errors of its own
        told = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise UserError(f"{to} cannot be written ({type(error).__name__}: {told}); the same command goes on") from None
    if wrong:
        raise UserError(f"{to} does not hold what was sent: {wrong[0]} has another size; give the same command again")
    return sent


def _forget(target: Store, files: list[dict[str, Any]], kind: Kind) -> None:
    """Take away what an earlier publication has and this one has not, then its SHA256SUMS: from here to the end the place has none."""
    try:
        old = target.read(SUMS).decode()
    except FileNotFoundError:
        return
    wanted = {file["path"]: file["sha256"] for file in files}
    if hashlib.sha256(old.encode()).hexdigest() == wanted[SUMS]:
        return
    for line in old.splitlines():
        name = line.partition("  ")[2]
        if name not in wanted and ".." not in name and any(fnmatch(name, pattern) for pattern in kind.old):
            target.remove(name)
    target.remove(SUMS)


def _copy(source: Store, target: Store, file: dict[str, Any]) -> int:
    """One file, unless it is there with these bytes; 1 where it was sent."""
    name = file["path"]
    if target.size(name) == file["bytes"] and target.sha256(name) == file["sha256"]:
        return 0
    with source.fs.open(source.path(name), "rb") as read, target.writer(name) as path, path.open("wb") as out:
        while block := read.read(BLOCK):
            out.write(block)
    return 1


def _to_hub(source: Store, repo: str, files: list[dict[str, Any]], kind: Kind) -> int:
    """Upload to the hub, and hold its list of files against ours; how many files are there."""
    if source.folder is not None:
        return _upload(source.folder, repo, files, kind)
    with tempfile.TemporaryDirectory(prefix="mals-") as scratch:
        _to_store(source, Store(scratch), scratch, files, kind, None)
        return _upload(Path(scratch), repo, files, kind)


def _upload(folder: Path, repo: str, files: list[dict[str, Any]], kind: Kind) -> int:
    from huggingface_hub import HfApi

    api = HfApi()
    names = [file["path"] for file in files]
    try:
        api.create_repo(repo, repo_type=kind.type, exist_ok=True)
        # upload_folder skips what an earlier, broken upload has sent; delete_patterns takes away what another one left
        api.upload_folder(
            repo_id=repo,
            repo_type=kind.type,
            folder_path=folder,
            allow_patterns=names,
            delete_patterns=list(kind.old),
            commit_message=kind.message,
        )
        there = {entry.path: getattr(entry, "size", None) for entry in api.list_repo_tree(repo, repo_type=kind.type, recursive=True)}
    except Exception as error:  # the HTTP library below huggingface_hub raises errors of its own
        raise UserError(_trouble(repo, error, kind)) from None
    wrong = [file["path"] for file in files if there.get(file["path"]) != file["bytes"]]
    if wrong:
        raise UserError(
            f"the hub does not hold what was sent to {repo}: {wrong[0]} is missing or has another size; give the same command again"
        )
    return len(files)


def _trouble(repo: str, error: Exception, kind: Kind) -> str:
    """Why an upload came to nothing, and what to do."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403) or type(error).__name__ == "LocalTokenNotFoundError":
        return f"the hub does not let you write to {repo}; log in with `hf auth login`, and see that the token may write there"
    told = (str(error).strip().splitlines() or ["no reason given"])[0]
    if type(error).__name__ == "HFValidationError":
        return f"{repo} is no name for a {kind.name}: {told}"
    return f"{repo} could not be uploaded ({type(error).__name__}: {told}); the same command goes on where it stopped"

"""A packed data set to where others find it: the Hugging Face hub, a folder, or any fsspec URL.

Nothing leaves before the pack is re-hashed and found to belong to the run's cells. An upload that broke off goes on with the same command.
"""

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mals.errors import UserError
from mals.pack import FOLDER, SUMS, check, read_receipt
from mals.run import Run
from mals.store import Store

HUB = "hf://datasets/"
BLOCK = 1 << 22
Progress = Callable[[int, int], None]  # files done, files in all


def publish(
    run: Run, to: str, dry_run: bool = False, problems: list[str] | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Send `dataset/` to `to`; the files with their bytes. `problems`, where given, are what `verify` found when it re-hashed all.

    Raises UserError where anything is off, in the pack or on the way. With `dry_run` the pack is checked and nothing is sent or asked.
    """
    repo = _repo(to)
    off = [*(problems or []), *check(run, deep=problems is None)]
    if off:
        more = f" (and {len(off) - 1} more)" if len(off) > 1 else ""
        url = run.store.url
        raise UserError(f"{url} is not published: {off[0]}{more}; `mals verify {url} --repair` and `mals run {url}` mend it")
    receipt = read_receipt(run)
    assert receipt is not None
    # SHA256SUMS goes last: where it is, everything it names is
    files = sorted(receipt["files"], key=lambda file: (file["path"] == SUMS, file["path"]))
    listed = [{"path": file["path"].removeprefix(f"{FOLDER}/"), "bytes": file["bytes"], "sha256": file["sha256"]} for file in files]
    report = {"to": to, "files": listed, "bytes": sum(file["bytes"] for file in listed), "dry_run": dry_run}
    target = None if repo else _target(run, to)
    if dry_run:
        return report | {"sent": 0}
    if target is None:
        assert repo is not None
        return report | {"sent": _to_hub(run, repo, listed)}
    return report | {"sent": _to_store(run.store, target, to, listed, progress)}


def _repo(to: str) -> str | None:
    """OWNER/NAME of a hub address; None for any other place."""
    if not to.startswith("hf://"):
        return None
    repo = to.removeprefix(HUB).strip("/")
    if not to.startswith(HUB) or repo.count("/") != 1 or not all(repo.split("/")):
        raise UserError(f"{to} is not of the form {HUB}OWNER/NAME")
    return repo


def _target(run: Run, to: str) -> Store:
    target = Store(to)
    if target.folder is not None:
        if target.folder.exists() and not target.folder.is_dir():
            raise UserError(f"{to} is a file; give a folder to publish to")
        if run.store.folder is not None and target.folder.resolve().is_relative_to(run.store.folder.resolve()):
            raise UserError(f"{to} is inside the run; give a folder of its own to publish to")
    return target


def _to_store(source: Store, target: Store, to: str, files: list[dict[str, Any]], progress: Progress | None) -> int:
    """Copy what is not there yet, and hold the sizes against the list; how many files were sent."""
    try:
        target.sweep()
        _forget(target, files)
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


def _forget(target: Store, files: list[dict[str, Any]]) -> None:
    """Take away what an earlier publication has and this one has not, then its SHA256SUMS: from here to the end the place has none."""
    try:
        old = target.read("SHA256SUMS").decode()
    except FileNotFoundError:
        return
    wanted = {file["path"]: file["sha256"] for file in files}
    if hashlib.sha256(old.encode()).hexdigest() == wanted["SHA256SUMS"]:
        return
    for line in old.splitlines():
        name = line.partition("  ")[2]
        if name.startswith(("data/", "rejected/")) and ".." not in name and name not in wanted:
            target.remove(name)
    target.remove("SHA256SUMS")


def _copy(source: Store, target: Store, file: dict[str, Any]) -> int:
    """One file, unless it is there with these bytes; 1 where it was sent."""
    name = file["path"]
    if target.size(name) == file["bytes"] and target.sha256(name) == file["sha256"]:
        return 0
    with source.fs.open(source.path(f"{FOLDER}/{name}"), "rb") as read, target.writer(name) as path, path.open("wb") as out:
        while block := read.read(BLOCK):
            out.write(block)
    return 1


def _to_hub(run: Run, repo: str, files: list[dict[str, Any]]) -> int:
    """Upload to the hub, and hold its list of files against ours; how many files the data set has there."""
    if run.store.folder is not None:
        return _upload(run.store.folder / FOLDER, repo, files)
    with tempfile.TemporaryDirectory(prefix="mals-") as scratch:
        _to_store(run.store, Store(scratch), scratch, files, None)
        return _upload(Path(scratch), repo, files)


def _upload(folder: Path, repo: str, files: list[dict[str, Any]]) -> int:
    from huggingface_hub import HfApi

    api = HfApi()
    names = [file["path"] for file in files]
    try:
        api.create_repo(repo, repo_type="dataset", exist_ok=True)
        # upload_folder skips what an earlier, broken upload has sent; delete_patterns takes away what another pack left
        api.upload_folder(
            repo_id=repo,
            repo_type="dataset",
            folder_path=folder,
            allow_patterns=names,
            delete_patterns=["data/*.parquet", "rejected/*.parquet"],
            commit_message="Data set packed by mals",
        )
        there = {entry.path: getattr(entry, "size", None) for entry in api.list_repo_tree(repo, repo_type="dataset", recursive=True)}
    except Exception as error:  # the HTTP library below huggingface_hub raises errors of its own
        raise UserError(_trouble(repo, error)) from None
    wrong = [file["path"] for file in files if there.get(file["path"]) != file["bytes"]]
    if wrong:
        raise UserError(
            f"the hub does not hold what was sent to {repo}: {wrong[0]} is missing or has another size; give the same command again"
        )
    return len(files)


def _trouble(repo: str, error: Exception) -> str:
    """Why an upload came to nothing, and what to do."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403) or type(error).__name__ == "LocalTokenNotFoundError":
        return f"the hub does not let you write to {repo}; log in with `hf auth login`, and see that the token may write there"
    told = (str(error).strip().splitlines() or ["no reason given"])[0]
    if type(error).__name__ == "HFValidationError":
        return f"{repo} is no name for a data set: {told}"
    return f"{repo} could not be uploaded ({type(error).__name__}: {told}); the same command goes on where it stopped"

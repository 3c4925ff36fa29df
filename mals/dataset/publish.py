"""Copies of data sets and models to where others find them: the Hugging Face hub, a folder, or any fsspec URL.

`publish` is for packed runs, `send` for any files. A pack is hashed again and compared with the run's cells before it leaves. The same
command continues an interrupted upload.
"""

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from mals.dataset.origins import OriginCounts
from mals.dataset.pack import check
from mals.dataset.receipts import CHECKSUMS, FOLDER, FileRecord, PackReceipt
from mals.errors import UserError
from mals.grid.run import Run
from mals.grid.store import Store

REPEAT = "give the same command again: it continues where it stopped"
Progress = Callable[[int, int], None]  # files done, files in all


@dataclass(frozen=True)
class RepositoryKind:
    """What is sent, and how the hub knows it."""

    type: str  # the hub's name for it
    name: str  # the name in error sentences
    prefix: str  # of an address
    message: str  # of the commit
    obsolete: tuple[str, ...]  # patterns of files of an earlier version that are removed if the new one has no file of that name


DATASET = RepositoryKind("dataset", "data set", "hf://datasets/", "Data set packed by mals", ("data/*.parquet", "rejected/*.parquet"))
MODEL = RepositoryKind("model", "model", "hf://", "Method trained by mals", ("*.onnx", "result.json", "origins.json", "space.yaml"))


@dataclass(frozen=True, kw_only=True)
class PublishReport:
    """The files that were sent, or with `dry_run` would be."""

    url: str  # where the files are or, with `dry_run`, would be
    files: list[FileRecord]
    bytes: int
    dry_run: bool
    sent: int  # files; those that were there already are not sent to a folder or URL

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"files": [file.to_json() for file in self.files]}


def publish(
    run: Run, to: str, dry_run: bool = False, verify_problems: list[str] | None = None, progress: Progress | None = None
) -> PublishReport:
    """Send `dataset/` to `to`.

    `verify_problems` are those that `mals.grid.verify` reported, if it has hashed all files of the run already; if None, the pack is hashed
    here. With `dry_run` the pack is checked, but nothing is sent and no server is contacted.

    Raises UserError for a problem in the pack or on the way, and for images that may show real people without the settings pack.source and
    pack.consent.
    """
    _check_outside(run, to)
    problems = [*(verify_problems or []), *check(run, deep=verify_problems is None)]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        url = run.store.url
        raise UserError(f"{url} is not published: {problems[0]}{more}; `mals verify {url} --repair`, then `mals run {url}`, make it again")
    receipt = PackReceipt.load(run.store)
    assert receipt is not None
    _check_consent(run, OriginCounts(receipt.origins))
    files = [FileRecord(path=file.path.removeprefix(f"{FOLDER}/"), bytes=file.bytes, sha256=file.sha256) for file in receipt.files]
    return send(Store(f"{run.store.url.rstrip('/')}/{FOLDER}"), to, files, DATASET, dry_run, progress)


def _check_consent(run: Run, origins: OriginCounts) -> None:
    """UserError if images may show real people and the settings do not say where they are from and why they may be shown."""
    pack, url = run.config.pack, run.store.url
    if origins.may_show_people and not (pack.source.strip() and pack.consent.strip()):
        raise UserError(
            f"{url} is not published: {origins.may_show_people:,} of its images may be photographs of people, and the settings pack.source "
            "(where they come from) and pack.consent (the basis on which people in them are shown) are not both filled in; "
            f"`mals run {url} --set pack.source=... --set pack.consent=...` puts them into the card"
        )


def send(
    source: Store, to: str, files: Sequence[FileRecord], kind: RepositoryKind, dry_run: bool = False, progress: Progress | None = None
) -> PublishReport:
    """Send `files` of `source`, SHA256SUMS among them."""
    # SHA256SUMS goes last: if it is there, every file that it names is
    files = sorted(files, key=lambda file: (file.path == CHECKSUMS, file.path))
    repository = hub_repository(to, kind)
    target = Store(to) if repository is None else None
    if target is not None and target.folder is not None and target.folder.exists() and not target.folder.is_dir():
        raise UserError(f"{to} is a file; give a folder to publish to")
    if dry_run:
        sent = 0
    elif target is not None:
        sent = _send_to_store(source, target, to, files, kind, progress)
    else:
        assert repository is not None
        sent = _send_to_hub(source, repository, files, kind)
    return PublishReport(url=to, files=files, bytes=sum(file.bytes for file in files), dry_run=dry_run, sent=sent)


def hub_repository(to: str, kind: RepositoryKind) -> str | None:
    """OWNER/NAME of a hub address; None for any other place."""
    if not to.startswith("hf://"):
        return None
    repository = to.removeprefix(kind.prefix).strip("/")
    if not to.startswith(kind.prefix) or repository.count("/") != 1 or not all(repository.split("/")):
        raise UserError(f"{to} is not of the form {kind.prefix}OWNER/NAME")
    return repository


def _check_outside(run: Run, to: str) -> None:
    """UserError if `to` is no address or is inside the run."""
    target = None if hub_repository(to, DATASET) else Store(to)
    folder, own = target.folder if target else None, run.store.folder
    if folder is not None and own is not None and folder.resolve().is_relative_to(own.resolve()):
        raise UserError(f"{to} is inside the run; give a folder of its own to publish to")


def _send_to_store(
    source: Store, target: Store, to: str, files: Sequence[FileRecord], kind: RepositoryKind, progress: Progress | None
) -> int:
    """Copy the files that are not there yet, and check the sizes of all; how many files were sent."""
    try:
        target.sweep()
        _remove_earlier(target, files, kind)
        sent = 0
        for number, file in enumerate(files):
            if progress:
                progress(number, len(files))
            sent += _copy(source, target, file)
        wrong = [file.path for file in files if target.size(file.path) != file.bytes]
    except UserError:
        raise
    except Exception as error:  # each file system behind fsspec has its own errors
        raise UserError(f"{to} cannot be written ({type(error).__name__}: {_first_line(error)}); {REPEAT}") from None
    if wrong:
        raise UserError(f"{to} does not hold what was sent: {wrong[0]} has another size; give the same command again")
    return sent


def _remove_earlier(target: Store, files: Sequence[FileRecord], kind: RepositoryKind) -> None:
    """Remove files that only an earlier version has, then its SHA256SUMS: until the new one is written, the place has none."""
    try:
        earlier = target.read(CHECKSUMS)
    except FileNotFoundError:
        return
    hashes = {file.path: file.sha256 for file in files}
    if hashlib.sha256(earlier).hexdigest() == hashes[CHECKSUMS]:
        return
    for line in earlier.decode().splitlines():
        name = line.partition("  ")[2]
        if name not in hashes and ".." not in name and any(fnmatch(name, pattern) for pattern in kind.obsolete):
            target.remove(name)
    target.remove(CHECKSUMS)


def _copy(source: Store, target: Store, file: FileRecord) -> bool:
    """Copy one file unless it is there with these bytes; whether it was copied."""
    if target.size(file.path) == file.bytes and target.sha256(file.path) == file.sha256:
        return False
    with target.writer(file.path) as path, path.open("wb") as copy:
        for block in source.blocks(file.path):
            copy.write(block)
    return True


def _send_to_hub(source: Store, repository: str, files: Sequence[FileRecord], kind: RepositoryKind) -> int:
    """Upload to the hub, and compare the sizes there; how many files are there."""
    if source.folder is not None:
        return _upload(source.folder, repository, files, kind)
    with tempfile.TemporaryDirectory(prefix="mals-") as scratch:
        _send_to_store(source, Store(scratch), scratch, files, kind, None)
        return _upload(Path(scratch), repository, files, kind)


def _upload(folder: Path, repository: str, files: Sequence[FileRecord], kind: RepositoryKind) -> int:
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        api.create_repo(repository, repo_type=kind.type, exist_ok=True)
        # upload_folder skips files that an interrupted upload has sent; delete_patterns removes files of an earlier version
        api.upload_folder(
            repo_id=repository,
            repo_type=kind.type,
            folder_path=folder,
            allow_patterns=[file.path for file in files],
            delete_patterns=list(kind.obsolete),
            commit_message=kind.message,
        )
        sizes = {entry.path: getattr(entry, "size", None) for entry in api.list_repo_tree(repository, repo_type=kind.type, recursive=True)}
    except Exception as error:  # the HTTP library below huggingface_hub raises its own errors
        raise UserError(_upload_error(repository, error, kind)) from None
    wrong = [file.path for file in files if sizes.get(file.path) != file.bytes]
    if wrong:
        raise UserError(
            f"the hub does not hold what was sent to {repository}: {wrong[0]} is missing or has another size; give the same command again"
        )
    return len(files)


def _upload_error(repository: str, error: Exception, kind: RepositoryKind) -> str:
    """The error sentence for a failed upload."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403) or type(error).__name__ == "LocalTokenNotFoundError":
        return f"the hub does not let you write to {repository}; log in with `hf auth login`, and check that the token may write there"
    if type(error).__name__ == "HFValidationError":
        return f"{repository} is no name for a {kind.name}: {_first_line(error)}"
    return f"{repository} could not be uploaded ({type(error).__name__}: {_first_line(error)}); {REPEAT}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0]

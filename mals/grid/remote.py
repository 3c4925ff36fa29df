"""A file system behind a URL, of any kind that fsspec knows: what fails in passing is tried again, what fails for good is one sentence.

Objects are put and read whole or in ranges, with as few requests as can be: no question whether a folder or a bucket is there, and no
listing that is kept, since other machines write too. A bucket is never made.
"""

import errno
import random
import time
from collections.abc import Callable
from typing import Any

import fsspec

from mals.errors import UserError

OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "obs", "cos", "tos", "oci"}  # without real folders
ATTEMPTS = 8  # at one request
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 8.0  # seconds between them, doubled each time
PATIENCE = 30.0  # seconds; no attempt starts later
EXISTS = {"PreconditionFailed", "BlobAlreadyExists"}  # codes of the answer to an exclusive put
REFUSED = {400, 401, 403}  # states of HTTP that another attempt would not change


class StoreFailed(UserError):
    """A store that does not answer, refuses, or is not there; what was finished before is kept."""


class Remote:
    """Calls of one fsspec file system. Paths are those of the file system. Raises FileNotFoundError, or StoreFailed with a sentence."""

    def __init__(self, url: str):
        self.url = url
        protocol = fsspec.core.split_protocol(url)[0]
        self.is_object_store = protocol in OBJECT_STORES
        options: dict[str, Any] = {"use_listings_cache": False} if self.is_object_store else {}
        if protocol in ("s3", "s3a"):
            options["config_kwargs"] = {"retries": {"total_max_attempts": 1}}  # botocore's own would multiply ours
        self.root = ""
        try:
            self.fs, self.root = self._call(fsspec.url_to_fs, url, **options)  # some kinds connect here
        except ImportError as error:
            raise missing_package(url, error) from None
        if protocol in ("s3", "s3a"):
            self.fs.retries = 1  # s3fs's own
        self._folders: set[str] = set()  # that are there

    def read(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        """The bytes of `path` from `start` to before `end`."""
        return self._call(self._cat_file, path, start, end)

    def _cat_file(self, path: str, start: int, end: int | None) -> bytes:
        """A range always, since s3fs asks for the size before it reads an object as a whole."""
        try:
            return self.fs.cat_file(path, start=start, end=end)
        except Exception as error:
            if start == 0 and end is None and _code(error) == "InvalidRange":  # of an empty object
                return b""
            raise

    def read_all(self, paths: list[str]) -> dict[str, bytes]:
        """Path -> bytes of those of `paths` that exist, fetched at once where the file system can."""
        answers = self._call(self.fs.cat, paths, on_error="return", start=0) if paths else {}
        objects = {}
        for path, data in answers.items():
            if isinstance(data, FileNotFoundError):
                continue
            try:
                objects[path] = self.read(path) if isinstance(data, Exception) else data
            except FileNotFoundError:
                continue
        return objects

    def write(self, path: str, data: bytes) -> None:
        """Make `path` hold `data`."""
        self._write(path, self.fs.pipe_file, path, data)

    def create(self, path: str, data: bytes) -> bool:
        """Make `path` hold `data` unless there is an object already; whether it was made."""
        try:
            self._write(path, self.fs.pipe_file, path, data, mode="create")
        except FileExistsError:
            return False
        return True

    def upload(self, local: str, path: str) -> None:
        """Make `path` hold the bytes of the local file `local`."""
        self._write(path, self.fs.put_file, local, path)

    def size(self, path: str) -> int:
        return int(self._call(self.fs.info, path)["size"])

    def remove(self, path: str) -> None:
        """Take `path` away; nothing happens where there is none."""
        try:
            self._call(self.fs.rm_file, path)
        except FileNotFoundError:
            return

    def list(self, folder: str) -> list[dict[str, Any]]:
        """The entries of `folder`, as fsspec describes them; none where there is no such folder."""
        try:
            if not self.is_object_store:
                self.fs.invalidate_cache()
            return self._call(self.fs.ls, folder, detail=True)
        except FileNotFoundError:
            return []

    def _write(self, path: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        folder = path.rsplit("/", 1)[0]
        if not self.is_object_store and folder not in self._folders:
            self._call(self.fs.makedirs, folder, exist_ok=True)
            self._folders.add(folder)
        try:
            self._call(function, *arguments, **options)
        except FileNotFoundError as error:
            raise self._not_there(error) from None

    def _call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        began, pause = time.monotonic(), FIRST_PAUSE
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return function(*arguments, **options)
            except FileNotFoundError as error:
                if _code(error) in ("NoSuchBucket", "ContainerNotFound"):
                    raise self._not_there(error) from None
                raise
            except (ImportError, AttributeError, TypeError, NotImplementedError, MemoryError):
                raise
            except Exception as error:  # each file system behind fsspec has its own errors
                if options.get("mode") == "create" and (isinstance(error, FileExistsError) or _code(error) in EXISTS):
                    raise FileExistsError(error) from None
                reason = f"{type(error).__name__}: {first_sentence(error)}"
                if _refuses(error):
                    raise StoreFailed(
                        f"{self.url} cannot be used ({reason}); check the URL, the keys and what they allow, and give the same command "
                        "again, finished work is kept"
                    ) from None
                if attempt == ATTEMPTS or time.monotonic() - began > PATIENCE:
                    raise StoreFailed(
                        f"{self.url} does not answer as it should, {attempt} times ({reason}); give the same command again when it does, "
                        "finished work is kept"
                    ) from None
            time.sleep(pause * random.uniform(0.5, 1))  # so that the workers do not all come back at once
            pause = min(2 * pause, LONGEST_PAUSE)
        raise AssertionError("the last attempt returns or raises")

    def _not_there(self, error: Exception) -> StoreFailed:
        bucket = self.root.strip("/").split("/")[0]
        what = f"there is no bucket {bucket}" if self.is_object_store else f"there is no folder to write to ({first_sentence(error)})"
        return StoreFailed(f"{self.url}: {what}; make it first, or correct the URL")


def missing_package(url: str, error: ImportError) -> UserError:
    """The error of a URL for whose kind fsspec needs a package that is not installed; fsspec's own error names it."""
    cause = error.__cause__
    name = cause.name.partition(".")[0] if isinstance(cause, ImportError) and cause.name else ""
    way_on = f"`pip install {name}`" if name in str(error).split() or f'"{name}"' in str(error) else "install it"
    return UserError(f"{url} needs a package that is not installed here ({first_sentence(error)}); {way_on}, and repeat the command")


def first_sentence(error: BaseException) -> str:
    """The first line of an error's text, without its full stop."""
    return (str(error).strip().splitlines() or [""])[0].rstrip(".")


def _code(error: BaseException | None) -> str:
    """The code of the service's answer that an error comes from, such as NoSuchBucket; empty where there is none."""
    while error is not None:
        response, own = getattr(error, "response", None), getattr(error, "error_code", None)
        if isinstance(response, dict) and "Error" in response:
            return str(response["Error"].get("Code", ""))
        if own:
            return str(getattr(own, "value", own))
        error = error.__cause__
    return ""


def _refuses(error: Exception) -> bool:
    """Whether another attempt would fail alike: a wrong name, keys that are wrong or missing, something that is not allowed."""
    state = next((s for name in ("status", "status_code", "code") if isinstance(s := getattr(error, name, None), int)), None)
    name = type(error).__name__
    return (
        isinstance(error, PermissionError | ValueError | FileExistsError | IsADirectoryError | NotADirectoryError)
        or (isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS))
        or state in REFUSED
        or "Credential" in name
        or "Auth" in name
    )

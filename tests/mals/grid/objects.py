"""An object store in memory that counts its requests, and may fail: buckets, objects and no folders, as S3 has them."""

import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from fsspec.spec import AbstractFileSystem


@dataclass
class Requests:
    """What was asked of the store."""

    kinds: list[str] = field(default_factory=list)
    bytes: int = 0  # read


class NoSuchBucket(Exception):
    """The cause of the error, as botocore tells it."""

    response: ClassVar = {"Error": {"Code": "NoSuchBucket"}}


FAULTS: dict[str, Exception] = {  # what a store may answer, or its library do
    "denied": PermissionError("Access Denied"),
    "throttled": OSError(errno.EBUSY, "Please reduce your request rate"),
    "cut": ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    "slow": TimeoutError(),
    "confused": AttributeError("'NoneType' object has no attribute 'send'"),
}


class Objects(AbstractFileSystem):
    """Every call of its interface is one request."""

    protocol = "s3"
    cachable = False
    buckets: ClassVar[dict[str, dict[str, bytes]]] = {}
    requests: ClassVar[Requests] = Requests()
    fault: ClassVar[Callable[[str, str], None]] = lambda kind, path: None  # may raise

    @classmethod
    def reset(cls) -> None:
        cls.buckets, cls.requests, cls.fault = {"bucket": {}}, Requests(), lambda kind, path: None

    def _bucket(self, kind: str, path: str) -> tuple[dict[str, bytes], str]:
        bucket, _, key = self._strip_protocol(path).partition("/")
        type(self).requests.kinds.append(kind)
        type(self).fault(kind, key)
        if bucket not in self.buckets:
            raise FileNotFoundError(errno.ENOENT, "The specified bucket does not exist") from NoSuchBucket()
        return self.buckets[bucket], key

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        objects, key = self._bucket("GET", path)
        if key not in objects:
            raise FileNotFoundError(path)
        data = objects[key][start:end]
        type(self).requests.bytes += len(data)
        return data

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        objects, key = self._bucket("PUT", path)
        if mode == "create" and key in objects:
            raise FileExistsError(path)
        objects[key] = bytes(value)

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        with Path(lpath).open("rb") as file:
            self.pipe_file(rpath, file.read())

    def rm_file(self, path: str) -> None:
        objects, key = self._bucket("DELETE", path)
        objects.pop(key, None)

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        objects, key = self._bucket("HEAD", path)
        if key not in objects:
            raise FileNotFoundError(path)
        return {"name": self._strip_protocol(path), "size": len(objects[key]), "type": "file"}

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        objects, key = self._bucket("LIST", path)
        prefix = f"{key.rstrip('/')}/" if key else ""
        bucket = self._strip_protocol(path).split("/")[0]
        entries = [
            {"name": f"{bucket}/{name}", "size": len(data), "type": "file"}
            for name, data in objects.items()
            if name.startswith(prefix) and "/" not in name[len(prefix) :]
        ]
        if not entries:
            raise FileNotFoundError(path)
        return entries if detail else [entry["name"] for entry in entries]

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        bucket = self._strip_protocol(path).split("/")[0]
        type(self).requests.kinds.append("MAKE")
        self.buckets.setdefault(bucket, {})

"""Kills the whole process group at the n-th file operation that a commit is made of, counted over all its processes.

Python imports this at start when its folder is on PYTHONPATH. One letter an operation goes to MALS_TEST_COUNT: t before a temporary file is
written, f before an fsync, r before and again after a replace, u before an unlink.
"""

import os
import signal
from pathlib import Path

COUNT = os.environ.get("MALS_TEST_COUNT")
KILL_AT = int(os.environ.get("MALS_TEST_KILL_AT", "0"))


def point(kind: bytes) -> None:
    handle = os.open(COUNT, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, kind)
    reached = os.fstat(handle).st_size
    os.close(handle)
    if reached == KILL_AT:
        os.killpg(0, signal.SIGKILL)


def before(owner: object, name: str, kind: bytes, after: bool = False) -> None:
    real = getattr(owner, name)

    def wrapped(*arguments, **options):
        point(kind)
        result = real(*arguments, **options)
        if after:
            point(kind)
        return result

    setattr(owner, name, wrapped)


if COUNT:
    before(os, "fsync", b"f")
    before(Path, "replace", b"r", after=True)
    before(Path, "unlink", b"u")
    before(Path, "write_bytes", b"t")

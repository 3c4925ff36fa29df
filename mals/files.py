"""Local files and folders that appear whole or not at all: written beside their place, forced to the disk, and renamed."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
TEMPORARY = ".{name}.part"  # one name for all attempts, so that the next one replaces what a killed process left


@contextmanager
def replacing(target: Path, temporary: Path | None = None) -> Iterator[Path]:
    """A path beside the file `target` to write to: it replaces `target` on a clean exit, and is removed on any other.

    `temporary` is that path where several processes may write the same file at once; the default has a fixed name.
    """
    path = temporary or target.with_name(TEMPORARY.format(name=target.name))
    try:
        yield path
        sync(path)
        path.replace(target)
        sync(target.parent)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def write_file(target: Path, content: bytes | str | Callable[[Path], object]) -> None:
    """Make the file `target` hold `content`: bytes, text in UTF-8, or what a function writes to the path that it gets."""
    with replacing(target) as path:
        if callable(content):
            content(path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """A new, empty folder beside `target` to fill: it replaces `target` with all its files on a clean exit, and is removed on any other."""
    folder, old = target.with_name(TEMPORARY.format(name=target.name)), target.with_name(f".{target.name}.old")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
        for path in folder.rglob("*"):
            if path.is_file():
                sync(path)
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            target.rename(old)
        folder.rename(target)
        sync(target.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sync(path: Path) -> None:
    """Force a file or folder to the disk; some network file systems refuse this for folders, which is no error."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if not path.is_dir() or error.errno in DISK_FULL:
            raise
    finally:
        os.close(handle)

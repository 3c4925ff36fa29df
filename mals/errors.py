"""Mistakes that the user can correct: the command line prints them as one sentence and ends with exit code 2, without a traceback."""

import errno
import os
from pathlib import Path

LONGEST = 1000  # characters of a message


class UserError(Exception):
    """A mistake that the user can correct; its text is the whole message, one line without characters that cannot be printed."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message if message.isprintable() and len(message) <= LONGEST else _one_line(message))


class CollectiveError(UserError):
    """A mistake that all processes of a distributed training know of; the main process reports it."""


class ModelMissing(UserError):
    """A model, or a file that settings name, that is neither on this machine nor reachable; a run can be looked at without it."""


def _one_line(message: str) -> str:
    """A message that holds what a file or a person gave, as one printable line that is not endless."""
    words = " ".join(message.split())
    text = "".join(character if character.isprintable() else repr(character)[1:-1] for character in words)
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 4 :]}"


def quoted(value: object, longest: int = 60) -> str:
    """A value that a person gave, in quotes for a message: one printable line with at most `longest` characters of it."""
    text = str(value)
    return repr(text if len(text) <= longest else text[: longest - 3] + "...")  # repr escapes what cannot be printed


def system_error_sentence(error: OSError) -> str | None:
    """A sentence for an error of the system that the user can correct, such as a full disk or a wrong path; None for one without number."""
    path, other = (os.fsdecode(name) if isinstance(name, str | bytes) else None for name in (error.filename, error.filename2))
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space is left for {path or 'a file'}; free some and give the same command again, finished work is kept"
    if error.errno is None:
        return None
    reason = os.strerror(error.errno).lower()
    if path is None:
        text = (error.strerror or "").split(". Detail:")[0]  # Arrow has the path in its text
        return f"{'a file cannot be read or written' if text.lower() in ('', reason) else text}: {reason}"
    folder = Path(path).parent
    sentences = {
        errno.ENOENT: f"there is no folder {folder}" if not folder.is_dir() else f"there is no file or folder {path}",
        errno.EEXIST: f"{other or path} is there already",
        errno.EISDIR: f"{other or path} is a folder, not a file",
        errno.ENOTDIR: f"{path}: a part of this path is a file, not a folder",
        errno.EACCES: f"you may not read or write {path}",
        errno.EPERM: f"you may not read or write {path}",
        errno.EROFS: f"{other or path} cannot be written: its file system can only be read",
        errno.ENAMETOOLONG: f"a name is too long for the file system: {path[:60]}...",
    }
    return sentences.get(error.errno, f"{other or path} cannot be read or written: {reason}")

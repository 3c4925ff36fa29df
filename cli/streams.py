"""stdout and stderr as commands find them: of any encoding, closed, or closed by a reader that has seen enough."""

import io
import os
import sys
from contextlib import suppress


def prepare() -> None:
    r"""Let characters that a stream's encoding lacks be printed as escapes such as \u2026, and open streams that are closed on nothing."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115  # for the life of the process
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def visible(text: str) -> str:
    """A text with a mark of one character in place of each that a terminal would obey or end a line at."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def flush_or_give_up() -> None:
    """Write what is left of stdout, or else send it to nowhere: the interpreter would complain when it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        give_up()


def give_up() -> None:
    """Send what is left of stdout to nowhere."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

"""Mistakes that the user can correct: the command line prints them as one sentence and ends with exit code 2, without a traceback."""

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

"""Mistakes that the user can correct: the command line prints them as one sentence and ends with exit code 2, without a traceback."""


class UserError(Exception):
    """A mistake that the user can correct; its text is the whole message."""


class CollectiveError(UserError):
    """A mistake that all processes of a distributed training know of; the main process reports it."""


class ModelMissing(UserError):
    """A model that is neither in the cache nor reachable."""


def quoted(value: object, longest: int = 60) -> str:
    """A value that a person gave, in quotes for a message: one printable line with at most `longest` characters of it."""
    text = str(value)
    return repr(text if len(text) <= longest else text[: longest - 3] + "...")  # repr escapes what cannot be printed

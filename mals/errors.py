"""Mistakes that a person can mend: one sentence on stderr, exit code 2, no traceback."""


class UserError(Exception):
    """Something that the person at the keyboard can put right; its text is the whole message."""


class EveryonesError(UserError):
    """A mistake that all processes of a training have met; one of them tells it."""


class ModelMissing(UserError):
    """A model is neither in the cache nor reachable."""

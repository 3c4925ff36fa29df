"""What a data set lacks. The code that knows the method adds who needs it: see `pretrain.build.explain_missing_data`."""

import re

from mals.errors import UserError


class MissingData(UserError):
    """The data have no captions, no attribute labels or no hard partners; the message is the first clause of a sentence."""


class NoCaptions(MissingData):
    """No row of a data set, or not every row, has a caption."""

    def __init__(self, message: str, all_rows: bool = True) -> None:
        super().__init__(message)
        self.all_rows = all_rows  # False where some rows have one


class NoLabels(MissingData):
    """The data have none of the attributes that were requested."""


class NoPartners(MissingData):
    """No row of the data has a hard partner among the rows."""


class NoSplit(UserError):
    """A data set has other splits."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without the memory addresses of objects."""
    line = re.sub(r"\s*<\S+ object at 0x[0-9a-f]+>", "", (str(error).splitlines() or [""])[0]).strip()
    return line or type(error).__name__

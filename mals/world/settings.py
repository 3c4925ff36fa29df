"""The settings of a data set that is drawn from the world: everything that its bytes depend on, library versions aside."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mals.dataset.folder import ROWS_PER_FILE, PlannedFile, folder_files
from mals.dataset.splits import quotas
from mals.errors import UserError

VERSION = 1  # raised by hand when the bytes change
HEIGHTS = (32, 1024)  # smallest and largest height of an image, in pixels


@dataclass(frozen=True, kw_only=True)
class WorldSettings:
    """Equal settings give equal bytes. Row r of the data set is view r % views of person r // views."""

    persons: int
    views: int  # images of each person
    split: dict[str, int]  # split -> persons
    seed: int
    height: int  # of an image, in pixels; it is half as wide
    rows_per_file: int = ROWS_PER_FILE
    version: int = VERSION

    @classmethod
    def checked(
        cls, *, persons: int, views: int, split: str, seed: int, height: int, rows_per_file: int = ROWS_PER_FILE
    ) -> "WorldSettings":
        """The settings for the options of `mals world make`; raises UserError for values that cannot be drawn."""
        if views < 1:
            raise UserError(f"--views must be 1 or more, not {views}")
        if not 0 <= seed < 2**63:
            raise UserError(f"--seed must be a number from 0 to 2^63 - 1, not {seed}")
        if not HEIGHTS[0] <= height <= HEIGHTS[1] or height % 2:
            raise UserError(f"--height must be an even number from {HEIGHTS[0]} to {HEIGHTS[1]}, not {height}")
        shares = parse_shares(split)
        if persons < len(shares):
            raise UserError(f"--persons must be {len(shares)} or more, one for each split, not {persons}")
        counts = persons_per_split(persons, shares)
        return cls(persons=persons, views=views, split=counts, seed=seed, height=height, rows_per_file=rows_per_file)

    @property
    def rows(self) -> int:
        return self.persons * self.views

    def files(self) -> list[PlannedFile]:
        """The Parquet files of the data set, in the order of their rows."""
        return folder_files({split: persons * self.views for split, persons in self.split.items()}, self.rows_per_file)


def parse_shares(text: str) -> dict[str, float]:
    """Split -> share of the persons, from text such as "train=0.7,test=0.3"; raises UserError for any other text."""
    shares: dict[str, float] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\w+)\s*=\s*(\d*\.?\d+)\s*", part, re.ASCII)
        if not match or match[1] in shares or float(match[2]) <= 0:
            raise UserError(f"--split takes different names with shares above 0, such as train=0.7,val=0.1,test=0.2, not {text!r}")
        shares[match[1]] = float(match[2])
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise UserError(f"the shares of --split must sum to 1, not {sum(shares.values()):g}")
    return shares


def persons_per_split(persons: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Split -> number of persons: whole numbers as near to the shares as possible, at least 1 each, that sum to `persons`."""
    counts = quotas(persons, list(shares.values()))
    while not all(counts):
        counts[counts.index(0)] += 1
        counts[counts.index(max(counts))] -= 1
    return dict(zip(shares, counts, strict=True))

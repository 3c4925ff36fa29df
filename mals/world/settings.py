"""The settings of a data set that is drawn from the world: everything that its bytes depend on, library versions aside."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mals.dataset.folder import ROWS_PER_FILE, PlannedFile, folder_files
from mals.dataset.splits import quotas
from mals.errors import UserError
from mals.world.scene import Hiding

VERSION = 1  # raised by hand when the bytes change
HEIGHTS = (32, 1024)  # smallest and largest height of an image, in pixels
QUERIES = 2  # further views of a person of the split TEST with --occlude, one by each of the next cameras
TEST = "test"
QUERY_SPLITS: dict[str, Hiding | None] = {"query": None, "query_occluded": "occluded", "query_partial": "partial"}


@dataclass(frozen=True, kw_only=True)
class WorldSettings:
    """Equal settings give equal bytes. Row r of the splits in `split` is view r % views of person r // views; `queries` come after them."""

    persons: int
    views: int  # images of each person
    split: dict[str, int]  # split -> persons
    seed: int
    height: int  # of an image, in pixels; it is half as wide
    rows_per_file: int = ROWS_PER_FILE
    version: int = VERSION
    queries: int = 0  # views of each person of the split TEST in each of QUERY_SPLITS

    @classmethod
    def checked(
        cls,
        *,
        persons: int,
        views: int,
        split: str,
        seed: int,
        height: int,
        rows_per_file: int = ROWS_PER_FILE,
        occlude: bool = False,
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
        if occlude and TEST not in shares:
            raise UserError(f"--occlude draws queries of the persons of {TEST}, and --split has none")
        if occlude and (taken := sorted(QUERY_SPLITS.keys() & shares)):
            raise UserError(f"--occlude makes the split {taken[0]}, which --split has too")
        counts = persons_per_split(persons, shares)
        sizes = {"views": views, "height": height, "rows_per_file": rows_per_file, "queries": QUERIES if occlude else 0}
        return cls(persons=persons, split=counts, seed=seed, **sizes)

    @property
    def rows(self) -> int:
        return sum(self.rows_per_split().values())

    def rows_per_split(self) -> dict[str, int]:
        """Split -> images, in the order of the rows."""
        queries = dict.fromkeys(QUERY_SPLITS, self.split[TEST] * self.queries) if self.queries else {}
        return {split: persons * self.views for split, persons in self.split.items()} | queries

    def persons_per_split(self) -> dict[str, int]:
        """Split -> persons; those of the queries are those of the split TEST."""
        return self.split | (dict.fromkeys(QUERY_SPLITS, self.split[TEST]) if self.queries else {})

    def shown(self, row: int) -> tuple[int, int, Hiding | None]:
        """What a row shows: a person's number, the number of the view, and what hides the person."""
        if row < self.persons * self.views:
            return *divmod(row, self.views), None
        kind, at = divmod(row - self.persons * self.views, self.split[TEST] * self.queries)
        number, view = divmod(at, self.queries)
        before = sum(list(self.split.values())[: list(self.split).index(TEST)])
        return before + number, self.views + view, list(QUERY_SPLITS.values())[kind]

    def files(self) -> list[PlannedFile]:
        """The Parquet files of the data set, in the order of their rows."""
        return folder_files(self.rows_per_split(), self.rows_per_file)

    def to_json(self) -> dict[str, Any]:
        """The settings as they are written; those of a data set without queries as before there were queries."""
        tree = asdict(self)
        if not self.queries:
            del tree["queries"]
        return tree


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

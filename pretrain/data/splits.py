"""The split of data sets that a command works on where none is named."""

from collections.abc import Sequence

from mals.errors import UserError
from pretrain.data.packed import split_names
from pretrain.data.sources import DatasetAddress, local_path


def choose_split(data: Sequence[DatasetAddress], requested: str | None = None, usual: str = "test") -> str:
    """The requested split; otherwise `usual` where all data sets have it, or their only split.

    JSON lists and single Parquet files have no splits and fit any. Raises UserError, which names the splits, where there are others.
    """
    if requested is not None:
        return requested
    by_place = {str(place): names for place in data if (names := split_names(local_path(place)[0]))}
    if all(usual in names for names in by_place.values()):
        return usual
    common = sorted(set.intersection(*map(set, by_place.values())))
    if all(len(names) == 1 for names in by_place.values()) and len(common) == 1:
        return common[0]
    place, names = next((place, names) for place, names in by_place.items() if usual not in names)
    raise UserError(f"{place} has no split {usual}, only {', '.join(names)}; say which one with --split")

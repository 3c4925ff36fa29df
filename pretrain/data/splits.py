"""The split of data sets that a command works on where none is named."""

from collections.abc import Sequence

from mals.errors import UserError
from mals.planning.json_lists import is_list
from pretrain.data.packed import split_names
from pretrain.data.plain_folder import is_plain_folder
from pretrain.data.sources import DatasetAddress, local_path


def may_have_splits(place: DatasetAddress) -> bool:
    """Whether the rows of a data set may belong to splits: those of JSON lists, single Parquet files and folders of images do not."""
    path = local_path(place)[0]
    return not (is_list(path) or path.suffix == ".parquet" or is_plain_folder(path))


def choose_split(data: Sequence[DatasetAddress], requested: str | None = None, usual: str = "test") -> str:
    """The requested split; otherwise `usual` where all data sets have it, or their only split.

    What `may_have_splits` is false of fits any. Raises UserError, which names the splits, where there are others.
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

"""The addresses of data sets that the commands accept.

my-set, my-set/dataset      a folder that `mals pack` wrote
hf://datasets/OWNER/NAME    such a folder on the Hugging Face hub, downloaded to its cache; @REVISION may follow
OWNER/NAME                  the same, if there is no folder of that name
s3://bucket/my-set, ...     such a folder behind any URL of fsspec, fetched to a cache as a whole
list.json, list.json.gz     a JSON list of a public data set, or of your own in such a form, with its images beside it
list.json:DIR               the same, with its images in DIR
photos                      a folder of image files, perhaps with captions beside them (1.jpg, 1.txt)
"""

import re
from pathlib import Path

from mals.errors import UserError
from mals.models import HubUnreachable, hub_cache, hub_snapshot
from mals.planning.image_source import is_url
from mals.planning.json_lists import is_list
from pretrain.data.stored import from_store

HUB = "hf://datasets/"
ID = re.compile(r"[\w.-]+/[\w.-]+")
HUB_FILES = ["data/*.parquet", "README.md"]  # the files of a packed data set that a training needs
DatasetAddress = str | Path | tuple[str | Path, str | Path]  # one of the above, or (list, folder of its images)


def local_path(address: DatasetAddress) -> tuple[Path, Path | None]:
    """The data set's path on this machine, and the folder of a list's images, None if the address does not name it.

    Raises UserError for a data set of the hub that is neither in the cache nor can be downloaded, and for a URL without a packed set.
    """
    if isinstance(address, tuple):
        path, images = address
        return Path(path).expanduser(), Path(images).expanduser()
    text = str(address)
    if is_url(text) and not text.startswith(HUB):
        return from_store(text), None
    list_file, _, folder = text.rpartition(":")
    if is_list(Path(list_file)):
        return Path(list_file).expanduser(), Path(folder).expanduser()
    path = Path(text).expanduser()
    if text.startswith(HUB) or (ID.fullmatch(text) and not is_list(path) and not path.exists()):
        return from_hub(text.removeprefix(HUB).strip("/")), None
    return path, None


def from_hub(name: str) -> Path:
    """The folder of a packed data set in the hub's cache, downloaded if it is not there; NAME may end in @REVISION."""
    repo, _, revision = name.partition("@")
    try:
        return hub_snapshot(repo, kind="dataset", revision=revision or None, files=HUB_FILES)
    except ValueError:
        raise UserError(f"{HUB}{name} is not of the form {HUB}OWNER/NAME") from None
    except HubUnreachable as error:
        raise UserError(
            f"there is no folder {name}, and the data set of that name cannot be downloaded from the hub ({error}) "
            f"and is not in its cache {hub_cache()}"
        ) from None

"""Where data sets are: folders and files, lists with the folder of their pictures, and data sets of the Hugging Face hub.

my-set, my-set/dataset       what `mals run` packed         hf://datasets/OWNER/NAME, OWNER/NAME     the same at the hub, in its cache
list.json, list.json:DIR     a public list; its pictures are beside it, or in DIR
"""

import re
from pathlib import Path

from mals.errors import UserError
from mals.models import HubUnreachable, hub_cache, hub_snapshot

HUB = "hf://datasets/"
ID = re.compile(r"[\w.-]+/[\w.-]+")
WANTED = ["data/*.parquet", "README.md"]  # of a packed set
Place = str | Path | tuple[str | Path, str | Path]  # one of the above, or a list and the folder of its pictures


def local_path(place: Place) -> tuple[Path, Path | None]:
    """A path on this machine, and the folder of a list's pictures where it is told; UserError for a hub id that cannot be had."""
    if isinstance(place, tuple):
        path, images = place
        return Path(path).expanduser(), Path(images).expanduser()
    text = str(place)
    listed, _, folder = text.rpartition(":")
    if listed.endswith(".json"):
        return Path(listed).expanduser(), Path(folder).expanduser()
    path = Path(text).expanduser()
    if text.startswith(HUB) or (ID.fullmatch(text) and not path.exists()):
        return from_hub(text.removeprefix(HUB).strip("/")), None
    return path, None


def from_hub(name: str) -> Path:
    """The folder of a packed set in the hub's cache, fetched where it is not there; NAME may end in @REVISION."""
    repo, _, revision = name.partition("@")
    try:
        return hub_snapshot(repo, kind="dataset", revision=revision or None, files=WANTED)
    except ValueError:
        raise UserError(f"{HUB}{name} is not of the form {HUB}OWNER/NAME") from None
    except HubUnreachable as error:
        raise UserError(
            f"there is no folder {name}, and the data set of that name cannot be had from the hub ({error}) "
            f"nor from its cache {hub_cache()}"
        ) from None

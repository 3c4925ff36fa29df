"""The public benchmarks, each read from the layout in which its authors ship it."""

import re
from collections.abc import Callable
from pathlib import Path

from mals.errors import UserError
from pretrain.datasets import lists, mals_json, market, pa100k
from pretrain.datasets.layout import About, Benchmark, seen

READERS: dict[str, tuple[About, Callable[[Path], Benchmark | None]]] = {
    **lists.READERS,
    **pa100k.READERS,
    **market.READERS,
    **mals_json.READERS,
}


def find(name: str, folder: str | Path) -> Benchmark:
    """The data set of this name in a folder; UserError where it is not there, or not whole enough to be read."""
    if name not in READERS:
        raise UserError(f"there is no benchmark {name!r}; there are {', '.join(READERS)}")
    place = Path(folder).expanduser()
    if not place.is_dir():
        raise UserError(f"{place} is a file; unpack it and give the folder" if place.exists() else f"there is no folder {place}")
    about, read = READERS[name]
    found = read(place)
    if found is None:
        looked = " or ".join(about.looked)
        raise UserError(f"{place} does not hold {about.name}: looked for {looked}, and saw {seen(place)}{_hint(place)}")
    return found


def _hint(folder: Path) -> str:
    """Which other data set a folder looks like."""
    for about, _ in READERS.values():
        if any(any(folder.glob(name.strip("/"))) for looked in about.looked for name in re.split(", | and ", looked)):
            return f"; it looks like {about.key}"
    return ""

"""The public benchmarks, each read from the layout in which its authors ship it."""

import re
from pathlib import Path

from mals.errors import UserError
from pretrain.datasets import (
    aeri,
    ham_pedes,
    itcpr,
    lists,
    luperson_mllm,
    mals_json,
    market,
    pa100k,
    pab,
    syncpr,
    syntbpr,
    synth_pedes,
    tag,
    tbapr,
    ufine,
    webperson,
)
from pretrain.datasets.layout import Benchmark, Reader, folder_contents

_ALL = (
    *lists.READERS,
    *ufine.READERS,
    tag.READER,
    aeri.READER,
    tbapr.READER,
    pa100k.READER,
    market.READER,
    mals_json.READER,
    synth_pedes.READER,
    luperson_mllm.READER,
    ham_pedes.READER,
    webperson.READER,
    pab.READER,
    syntbpr.READER,
    syncpr.READER,
    itcpr.READER,
)
READERS: dict[str, Reader] = {reader.info.key: reader for reader in _ALL}  # by the name for `mals import`


def open_benchmark(name: str, folder: str | Path) -> Benchmark:
    """The benchmark `name` in `folder`; UserError if it is not there, or too incomplete to be read."""
    if name not in READERS:
        raise UserError(f"there is no benchmark {name!r}; there are {', '.join(READERS)}")
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise UserError(f"{path} is a file; unpack it and give the folder" if path.exists() else f"there is no folder {path}")
    info, read = READERS[name]
    benchmark = read(path)
    if benchmark is None:
        expected = " or ".join(info.annotation_files)
        raise UserError(f"{path} does not hold {info.name}: looked for {expected}, and saw {folder_contents(path)}{_suggestion(path)}")
    return benchmark


def _suggestion(folder: Path) -> str:
    """The benchmark whose files are in the folder, as the end of a sentence."""
    for info, _ in READERS.values():
        names = [name for files in info.annotation_files for name in re.split(", | and ", files)]
        if any(any(folder.glob(name.strip("/"))) for name in names):
            return f"; it looks like {info.key}"
    return ""

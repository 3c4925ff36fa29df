"""Synthetic person data sets: captions to packed, labelled images.

    import mals
    from pathlib import Path

    mals.plan("my-run", captions=Path("captions.txt"))  # fixes every sample
    run = mals.Run.open("my-run")
    mals.run_stages(run)  # generate, safety, filter, crop, caption, label
    mals.pack(run)  # my-run/dataset: Parquet, data card, checksums

Names are imported when they are first used, so that `import mals` is quick and loads no model library.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mals.attributes import Space, load_space
    from mals.dataset.pack import pack
    from mals.errors import UserError
    from mals.grid.run import Run, run_stages
    from mals.labeller.labeller import Labeller, Labels
    from mals.planning.create import create as plan
    from mals.scorer import Scorer, load_scorer

_EXPORTS = {  # name -> where it is defined
    "Labeller": "mals.labeller.labeller:Labeller",
    "Labels": "mals.labeller.labeller:Labels",
    "Run": "mals.grid.run:Run",
    "Scorer": "mals.scorer:Scorer",
    "Space": "mals.attributes:Space",
    "UserError": "mals.errors:UserError",
    "load_scorer": "mals.scorer:load_scorer",
    "load_space": "mals.attributes:load_space",
    "pack": "mals.dataset.pack:pack",
    "plan": "mals.planning.create:create",
    "run_stages": "mals.grid.run:run_stages",
}

__all__ = [
    "Labeller",
    "Labels",
    "Run",
    "Scorer",
    "Space",
    "UserError",
    "__version__",
    "load_scorer",
    "load_space",
    "pack",
    "plan",
    "run_stages",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        try:
            return version("mals")
        except PackageNotFoundError:  # a checkout that is not installed
            return "0+unknown"
    if name not in _EXPORTS:
        raise AttributeError(f"module 'mals' has no attribute {name!r}")
    module, _, attribute = _EXPORTS[name].partition(":")
    return getattr(import_module(module), attribute)

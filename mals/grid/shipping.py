"""What a coordinator sends to the nodes of a cluster beside the settings: a few variables of its environment, and modules of one's own.

Secrets are never sent: a node has the keys that its work needs in its own environment.
"""

import re
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mals.config import Config, dump

SENT = ("HF_HOME", "HF_HUB_OFFLINE", "OMP_NUM_THREADS")
SENT_PREFIX = "MALS_"
SECRET = re.compile("KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")  # "my_package.my_module:my_function"
SETTINGS_OF_TARGETS = ("loader",)  # beside those in `stages`


def sent_environment(config: Config, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of `environment` that workers get: where models are, and those of mals; none that holds a key."""
    keys = {value for name, value in _leaves(dump(config)) if name == "key_env"}
    names = [name for name in environment if name in SENT or name.startswith(SENT_PREFIX)]
    return {name: environment[name] for name in names if name not in keys and not SECRET.search(name)}


def own_modules(config: Config) -> list[str]:
    """The folders of packages, and the files of modules, in which the settings name objects and which are no installed package."""
    targets = [*config.stages.values(), *(str(value) for name, value in _leaves(dump(config)) if name in SETTINGS_OF_TARGETS)]
    names = dict.fromkeys(target.partition(".")[0].partition(":")[0] for target in targets if TARGET.fullmatch(target))
    places = (_place(name) for name in names if name not in ("mals", "pretrain"))
    return [str(place) for place in places if place is not None]


def _place(name: str) -> Path | None:
    """Where a module that was imported lies; None where it is built in or installed."""
    module = sys.modules.get(name)
    parts = [*getattr(module, "__path__", [])] or [getattr(module, "__file__", None)]
    if parts[0] is None:
        return None
    place = Path(parts[0]).resolve()
    installed = {Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib", "stdlib")}
    return None if any(place.is_relative_to(folder) for folder in installed) else place


def _leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a JSON tree with the key that each stands under."""
    if isinstance(tree, dict):
        for key, part in tree.items():
            yield from _leaves(part, key)
    elif isinstance(tree, list):
        for part in tree:
            yield from _leaves(part, name)
    else:
        yield name, tree

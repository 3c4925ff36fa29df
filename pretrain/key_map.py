"""Weights of other projects for one part of a method, by a map of names that the user gives.

A map is a YAML or JSON file {pattern: name}: a pattern is a regular expression for a whole name, its groups are \\1, \\2 ... in the new
name, and null leaves a tensor out. The first pattern that fits holds; a name that none fits stays.
"""

import logging
import re
from collections.abc import Mapping
from pathlib import Path

import yaml
from torch import Tensor, nn

from mals.errors import UserError
from pretrain import weights

log = logging.getLogger(__name__)

KeyMap = Mapping[str, str | None]


def read_map(file: str | None) -> KeyMap:
    """The map in a file, empty for None; UserError where the file is no such map."""
    if file is None:
        return {}
    try:
        tree = yaml.safe_load(Path(file).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"the map of names {file} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise UserError(f"the map of names {file} is neither YAML nor JSON") from None
    pairs = tree.items() if isinstance(tree, dict) else [(None, None)]
    if not all(isinstance(old, str) and (new is None or isinstance(new, str)) for old, new in pairs):
        raise UserError(f"the map of names {file} is no object of patterns and new names")
    for pattern in tree:
        try:
            re.compile(pattern)
        except re.error as error:
            raise UserError(f"the map of names {file}: {pattern!r} is no regular expression ({error})") from None
    return dict(tree)


def apply_map(state: Mapping[str, Tensor], names: KeyMap) -> dict[str, Tensor]:
    """The tensors under their new names; UserError where a new name has a group that its pattern lacks."""
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        match = next((match for pattern in names if (match := re.fullmatch(pattern, name))), None)
        new: str | None = name
        if match is not None:
            template = names[match.re.pattern]
            try:
                new = None if template is None else match.expand(template)
            except (re.error, IndexError):
                raise UserError(f"the map of names: {match.re.pattern!r} has no group for {template!r}") from None
        if new is not None:
            renamed[new] = value
    return renamed


def load_part(part: nn.Module, state: Mapping[str, Tensor], source: str, title: str) -> None:
    """Load what a part of a method has of a checkpoint and log how much that is; the other tensors of `state` are left out.

    UserError where it is under `weights.MIN_MATCHED` of the part's tensors, or where a shape differs.
    """
    own = list(part.state_dict())
    known = set(own)
    matched = weights.rename(state, lambda name: name if name in known else None, own, source)
    missing = [name for name in own if name not in matched]
    weights.load_state(part, matched, source, "|".join(f"{re.escape(name)}$" for name in missing) or None)
    rest = f"; new are {weights.first_names(missing)}" if missing else ""
    log.info("%s starts from %s: %d of its %d tensors matched, %d others are left out%s",
             title, source, len(matched), len(own), len(state) - len(matched), rest)  # fmt: skip

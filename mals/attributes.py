"""Attribute spaces: what is told about a person, in which words, and what silence says; read from YAML and checked on load.

`market1501` (27 attributes, of MALS) and `pa100k` (26) ship in `spaces/`; any other name is the path of a file of the same form, which
is described at the top of `spaces/market1501.yaml`. Every mistake in a file is refused with file, line and reason.
"""

import difflib
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NoReturn

import yaml

from mals.errors import UserError

FOLDER = Path(__file__).parent / "spaces"
ROLES = ("person", "adjective", "pronoun", "hair", "sleeves", "upper", "lower", "whole", "worn", "thing", "on_upper", "on_lower")
HALVES = ("upper", "lower")
IRREGULAR = {"child": "children", "foot": "feet", "knife": "knives", "scarf": "scarves", "wolf": "wolves"}


@dataclass(frozen=True)
class Said:
    """One entry of a lexicon: `words` in this role, with `quality` said of them where it is not empty, say `value` of `attribute`."""

    attribute: int
    value: int
    role: str
    words: str
    quality: str = ""


@dataclass(frozen=True)
class Group:
    """One-of-k colours of the upper or lower half of the body: colour -> attribute name."""

    half: str
    colors: Mapping[str, str]


@dataclass(frozen=True)
class Rule:
    """Where every attribute of `when` has its value, those of `then` that nothing else says have theirs; (attribute, value) numbers."""

    when: tuple[tuple[int, int], ...]
    then: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Space:
    """An attribute space with A attributes of two values each; all sequences in the order of the file."""

    name: str
    sha256: str  # of the file
    names: tuple[str, ...]
    values: tuple[tuple[str, str], ...]
    prompts: tuple[tuple[str, str], ...]
    silent: Mapping[str, str]  # attribute -> the value that its not being mentioned, or being denied, says
    prefer: Mapping[str, str]  # attribute -> the value that wins where a caption says both
    groups: Mapping[str, Group]
    says: tuple[Said, ...]
    default_colors: Mapping[str, str]  # garment -> the colour that it has where none is said
    colors: Mapping[str, str] = field(default_factory=dict)  # colour words of this space alone -> their colour
    implicit: tuple[Rule, ...] = ()

    @property
    def classes(self) -> dict[str, tuple[str, str]]:
        """Attribute -> the names of its two values."""
        return dict(zip(self.names, self.values, strict=True))

    def silence(self, attribute: int) -> int:
        """The value that silence says, or -1."""
        name = self.names[attribute]
        return self.values[attribute].index(self.silent[name]) if name in self.silent else -1


def load_space(name_or_path: str | Path) -> Space:
    """The space that ships under this name, or that of a YAML file; raises UserError with file, line and reason."""
    shipped = FOLDER / f"{name_or_path}.yaml"
    path = shipped if "/" not in str(name_or_path) and shipped.is_file() else Path(name_or_path)
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yaml")))
        raise UserError(f"there is no attribute space {name_or_path}: it is neither one of {known} nor a YAML file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    label = str(path) if path != shipped else f"spaces/{path.name}"
    return _parsed(label, data)


@lru_cache(16)
def _parsed(label: str, data: bytes) -> Space:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        root = yaml.compose(data.decode("utf-8-sig"), Loader=loader)
    except UnicodeDecodeError:
        raise UserError(f"{label} is not UTF-8 text") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{label}, line {line}: not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{label} is not YAML: {str(error).splitlines()[0]}") from None
    if root is None:
        raise UserError(f"{label}, line 1: the file is empty")
    return _Reader(label).space(root, hashlib.sha256(data).hexdigest())


def normal(words: str) -> str:
    """Lower case, with spaces for hyphens: the form in which words are compared."""
    return " ".join(words.lower().replace("-", " ").replace("’", "'").split())


def plural(words: str) -> str:
    """The plural of a noun phrase, on its last word."""
    head, _, last = words.rpartition(" ")
    if last in IRREGULAR:
        last = IRREGULAR[last]
    elif last.endswith("man"):
        last = last[:-3] + "men"
    elif last.endswith(("s", "x", "ch", "sh")):
        last += "es"
    elif last.endswith("y") and last[-2:-1] not in ("a", "e", "i", "o", "u", ""):
        last = last[:-1] + "ies"
    else:
        last += "s"
    return f"{head} {last}".strip()


class _Reader:
    """From YAML nodes, which know their lines, to a Space."""

    def __init__(self, file: str):
        self.file = file

    def refuse(self, node: yaml.Node, reason: str) -> NoReturn:
        raise UserError(f"{self.file}, line {node.start_mark.line + 1}: {reason}")

    def mapping(self, node: yaml.Node, what: str, known: Iterable[str] = ()) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Key -> (its node, its value's node); every key once, and one of `known` where that is given."""
        if not isinstance(node, yaml.MappingNode):
            self.refuse(node, f"{what} is not a mapping of keys to values")
        found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        allowed = list(known)
        for key, value in node.value:
            name = self.text(key, f"a key of {what}")
            if name in found:
                self.refuse(key, f"{what} has {name} twice, first on line {found[name][0].start_mark.line + 1}")
            if allowed and name not in allowed:
                near = difflib.get_close_matches(name, allowed, 1, 0.5)
                self.refuse(key, f"{what} has no key {name}; " + (f"did you mean {near[0]}?" if near else f"it has {', '.join(allowed)}"))
            found[name] = (key, value)
        return found

    def text(self, node: yaml.Node, what: str) -> str:
        if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
            self.refuse(node, f"{what} is not a text")
        return str(node.value).strip()

    def texts(self, node: yaml.Node, what: str) -> list[tuple[yaml.Node, str]]:
        """A list of texts, or one text, with their nodes."""
        if isinstance(node, yaml.SequenceNode):
            return [(item, self.text(item, f"an entry of {what}")) for item in node.value]
        return [(node, self.text(node, what))]

    def space(self, root: yaml.Node, digest: str) -> Space:
        keys = ("name", "attributes", "groups", "colors", "default_colors", "implicit")
        top = self.mapping(root, "an attribute space", keys)
        for needed in ("name", "attributes"):
            if needed not in top:
                self.refuse(root, f"the attribute space has no {needed}")
        nodes = self.mapping(top["attributes"][1], "attributes")
        if not nodes:
            self.refuse(top["attributes"][1], "there is no attribute")
        values: dict[str, tuple[str, str]] = {}
        prompts: list[tuple[str, str]] = []
        chosen: dict[str, dict[str, str]] = {"silent": {}, "prefer": {}}
        says: list[Said] = []
        for number, (name, (key, node)) in enumerate(nodes.items()):
            parts = self.mapping(node, name, ("values", "prompts", "silent", "prefer", "says"))
            values[name] = self.pair(key, parts, name, "values")
            prompts.append(self.pair(key, parts, name, "prompts"))
            for option in chosen.keys() & parts.keys():
                chosen[option][name] = self.value(parts[option][1], values[name], name)
            if "says" in parts:
                says += self.lexicon(parts["says"][1], number, name, values[name])
        return Space(
            name=self.text(top["name"][1], "name"),
            sha256=digest,
            names=tuple(values),
            values=tuple(values.values()),
            prompts=tuple(prompts),
            silent=chosen["silent"],
            prefer=chosen["prefer"],
            groups=self.groups(top["groups"][1], nodes) if "groups" in top else {},
            says=tuple(says),
            default_colors=self.word_lists(top["default_colors"][1], "default_colors") if "default_colors" in top else {},
            colors=self.word_lists(top["colors"][1], "colors") if "colors" in top else {},
            implicit=tuple(self.rules(top["implicit"][1], values)) if "implicit" in top else (),
        )

    def pair(self, key: yaml.Node, parts: Mapping[str, tuple[yaml.Node, yaml.Node]], name: str, what: str) -> tuple[str, str]:
        """The two values or prompts of an attribute."""
        if what not in parts:
            self.refuse(key, f"{name} has no {what}")
        node = parts[what][1]
        found = [text for _, text in self.texts(node, f"{what} of {name}")]
        if len(found) != 2 or found[0] == found[1]:
            self.refuse(node, f"{name} needs two different {what}, and has {len(set(found))}")
        return found[0], found[1]

    def value(self, node: yaml.Node, values: Sequence[str], name: str) -> str:
        text = self.text(node, f"a value of {name}")
        if text not in values:
            self.refuse(node, f"{name} has no value {text}, only {' and '.join(values)}")
        return text

    def lexicon(self, node: yaml.Node, number: int, name: str, values: tuple[str, str]) -> Iterator[Said]:
        claimed: dict[tuple[str, str, str], tuple[str, int]] = {}
        for value, (key, roles) in self.mapping(node, f"says of {name}").items():
            self.value(key, values, name)
            for role, (_, entries) in self.mapping(roles, f"{name}: {value}", ROLES).items():
                for entry, text in self.texts(entries, f"{role} of {name}: {value}"):
                    quality, plus, words = (normal(part) for part in text.rpartition("+"))
                    if not words or (plus and not quality):
                        self.refuse(entry, f"{text!r} is no entry: it is a word, a phrase, or a quality + a word")
                    line = entry.start_mark.line + 1
                    owner, before = claimed.setdefault((role, quality, words), (value, line))
                    if owner != value:
                        self.refuse(entry, f"{text!r} is claimed by two values of {name}: {owner} (line {before}) and {value}")
                    yield Said(number, values.index(value), role, words, quality)

    def groups(self, node: yaml.Node, attributes: Mapping[str, object]) -> dict[str, Group]:
        found = {}
        owners: dict[str, str] = {}
        for name, (key, body) in self.mapping(node, "groups").items():
            if name in attributes:
                self.refuse(key, f"{name} is both a group and an attribute")
            parts = self.mapping(body, name, ("half", "colors"))
            for what in ("half", "colors"):
                if what not in parts:
                    self.refuse(key, f"{name} has no {what}")
            half = self.text(parts["half"][1], f"half of {name}")
            if half not in HALVES:
                self.refuse(parts["half"][1], f"half of {name} is {half}, neither upper nor lower")
            colors = {}
            for color, (_, member) in self.mapping(parts["colors"][1], f"colors of {name}").items():
                attribute = self.text(member, f"{color} of {name}")
                if attribute not in attributes:
                    self.refuse(member, f"{color} of {name} is {attribute}, which is no attribute")
                if owners.setdefault(attribute, f"{color} of {name}") != f"{color} of {name}":
                    self.refuse(member, f"{attribute} is both {owners[attribute]} and {color} of {name}")
                colors[normal(color)] = attribute
            found[name] = Group(half, colors)
        return found

    def word_lists(self, node: yaml.Node, what: str) -> dict[str, str]:
        """Colour -> words, turned round: word -> colour."""
        found: dict[str, str] = {}
        for color, (_, entries) in self.mapping(node, what).items():
            for entry, text in self.texts(entries, f"{color} of {what}"):
                if found.setdefault(normal(text), normal(color)) != normal(color):
                    self.refuse(entry, f"{text!r} is claimed by two colours of {what}: {found[normal(text)]} and {color}")
        return found

    def rules(self, node: yaml.Node, values: Mapping[str, tuple[str, str]]) -> Iterator[Rule]:
        if not isinstance(node, yaml.SequenceNode):
            self.refuse(node, "implicit is not a list of rules")
        names = list(values)
        for item in node.value:
            parts = self.mapping(item, "an implicit rule", ("when", "then"))
            sides = []
            for side in ("when", "then"):
                if side not in parts:
                    self.refuse(item, f"the implicit rule has no {side}")
                pairs = []
                for name, (_, value) in self.mapping(parts[side][1], side, names).items():
                    pairs.append((names.index(name), values[name].index(self.value(value, values[name], name))))
                if not pairs:
                    self.refuse(item, f"the implicit rule's {side} is empty")
                sides.append(tuple(pairs))
            yield Rule(*sides)

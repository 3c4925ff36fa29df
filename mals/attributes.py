"""Attribute spaces: the attributes of a person, their values and prompts, and the words by which the labeller recognises them.

A space is a YAML file that is checked when it is loaded. `market1501` (27 attributes, those of MALS) and `pa100k` (26) ship in `spaces/`;
any other name is the path of a YAML file of the same form, which docs/labelling.md describes. Every mistake in a file raises UserError with
the file, the line and the reason.
"""

import difflib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NoReturn

import yaml

from mals.errors import UserError

FOLDER = Path(__file__).parent / "spaces"
ROLES = (
    *("person", "adjective", "pronoun", "hair", "sleeves"),
    *("upper", "lower", "full_body", "accessory", "item", "upper_detail", "lower_detail"),
)
HALVES = ("upper", "lower")
IRREGULAR_PLURALS = {"child": "children", "foot": "feet", "knife": "knives", "scarf": "scarves", "wolf": "wolves"}
Fields = dict[str, tuple[yaml.Node, yaml.Node]]  # key of a YAML mapping -> the nodes of the key and of its value


@dataclass(frozen=True)
class LexiconEntry:
    """`words` in this role mean `value` of `attribute`; if `quality` is not empty, only where that adjective describes them."""

    attribute: int  # index into Space.names
    value: int  # 0 or 1
    role: str  # one of ROLES
    words: str  # singular, lower case, without hyphens
    quality: str = ""


@dataclass(frozen=True)
class ColorGroup:
    """The attributes that name the colours of one half of the body."""

    half: str  # upper or lower
    colors: Mapping[str, str]  # colour -> attribute name


@dataclass(frozen=True)
class ImplicitRule:
    """If all attributes of `when` have these values, those of `then` that are still unknown get theirs; pairs (attribute, value)."""

    when: tuple[tuple[int, int], ...]
    then: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Space:
    """An attribute space with A attributes of two values each.

    An attribute is identified by its index 0..A-1 and a value by 0 or 1; both follow the order of the YAML file, which is also the order of
    label vectors. In market1501 the value 0 of a yes-or-no attribute is "yes"; in pa100k it is "no".

    Examples:
        >>> from mals import load_space
        >>> space = load_space("market1501")
        >>> len(space.names), space.names[0], space.values[0]
        (27, 'gender', ('woman', 'man'))
        >>> space.prompts[3]
        ('the person with a hat', 'the person without a hat')
    """

    name: str
    sha256: str  # of the file, in hex
    names: tuple[str, ...]  # [A]
    values: tuple[tuple[str, str], ...]  # [A] names of the two values
    prompts: tuple[tuple[str, str], ...]  # [A] sentences that describe the two values
    not_mentioned: Mapping[str, str]  # attribute -> its value where a caption does not mention it, or negates it
    preferred: Mapping[str, str]  # attribute -> the value that wins where a caption says both
    color_groups: Mapping[str, ColorGroup]
    lexicon: tuple[LexiconEntry, ...]
    default_colors: Mapping[str, str]  # garment -> its colour where the caption names none: jeans are blue
    colors: Mapping[str, str] = field(default_factory=dict)  # additional colour words of this space -> their colour
    implicit_rules: tuple[ImplicitRule, ...] = ()

    @property
    def classes(self) -> dict[str, tuple[str, str]]:
        """Attribute name -> the names of its two values, in the order of the space."""
        return dict(zip(self.names, self.values, strict=True))

    @property
    def body_attributes(self) -> tuple[int, ...]:
        """The attributes that stay when a person changes clothes: those with words for the person or the hair."""
        return tuple(sorted({entry.attribute for entry in self.lexicon if entry.role in ("person", "pronoun", "hair")}))

    def value_if_not_mentioned(self, attribute: int) -> int:
        """The value of the attribute with this index where a caption does not mention it; -1 if it is unknown then."""
        name = self.names[attribute]
        return self.values[attribute].index(self.not_mentioned[name]) if name in self.not_mentioned else -1


def load_space(name_or_path: str | Path) -> Space:
    """Load an attribute space: "market1501", "pa100k", or the path of a YAML file.

    Raises:
        UserError: there is no such space or file, or the file has a mistake; the message names the file, the line and the reason.

    Examples:
        >>> from mals import load_space
        >>> load_space("pa100k").classes["glasses"]
        ('no', 'yes')
    """
    shipped = FOLDER / f"{name_or_path}.yaml"
    path = shipped if "/" not in str(name_or_path) and shipped.is_file() else Path(name_or_path)
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yaml")))
        raise UserError(f"there is no attribute space {name_or_path}: it is neither one of {names} nor a YAML file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    label = str(path) if path != shipped else f"spaces/{path.name}"
    return _parse(label, data)


@lru_cache(16)
def _parse(label: str, data: bytes) -> Space:
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
    return _Parser(label).space(root, hashlib.sha256(data).hexdigest())


def normalize(words: str) -> str:
    """Lower case, with spaces for hyphens: the form in which words are compared."""
    return " ".join(words.lower().replace("-", " ").replace("’", "'").split())


def plural(words: str) -> str:
    """The plural of a noun phrase: its last word changes."""
    beginning, _, last = words.rpartition(" ")
    if last in IRREGULAR_PLURALS:
        last = IRREGULAR_PLURALS[last]
    elif last.endswith("man"):
        last = last[:-3] + "men"
    elif last.endswith(("s", "x", "ch", "sh")):
        last += "es"
    elif last.endswith("y") and last[-2:-1] not in ("a", "e", "i", "o", "u", ""):
        last = last[:-1] + "ies"
    else:
        last += "s"
    return f"{beginning} {last}".strip()


class _Parser:
    """Turns YAML nodes, which know their lines, into a Space."""

    def __init__(self, file: str):
        self.file = file

    def refuse(self, node: yaml.Node, reason: str) -> NoReturn:
        raise UserError(f"{self.file}, line {node.start_mark.line + 1}: {reason}")

    def mapping(self, node: yaml.Node, context: str, allowed: Sequence[str] = ()) -> Fields:
        """The fields of a mapping; refuses a repeated key, and one that is not in `allowed` unless that is empty."""
        if not isinstance(node, yaml.MappingNode):
            self.refuse(node, f"{context} is not a mapping of keys to values")
        fields: Fields = {}
        for key, value in node.value:
            name = self.text(key, f"a key of {context}")
            if name in fields:
                self.refuse(key, f"{context} has {name} twice, first on line {fields[name][0].start_mark.line + 1}")
            if allowed and name not in allowed:
                near = difflib.get_close_matches(name, allowed, 1, 0.5)
                self.refuse(
                    key, f"{context} has no key {name}; " + (f"did you mean {near[0]}?" if near else f"it has {', '.join(allowed)}")
                )
            fields[name] = (key, value)
        return fields

    def text(self, node: yaml.Node, context: str) -> str:
        if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
            self.refuse(node, f"{context} is not a text")
        return str(node.value).strip()

    def texts(self, node: yaml.Node, context: str) -> list[tuple[yaml.Node, str]]:
        """The texts of a list, or one text, with their nodes."""
        if isinstance(node, yaml.SequenceNode):
            return [(item, self.text(item, f"an entry of {context}")) for item in node.value]
        return [(node, self.text(node, context))]

    def space(self, root: yaml.Node, sha256: str) -> Space:
        keys = ("name", "attributes", "color_groups", "colors", "default_colors", "implicit")
        top = self.mapping(root, "an attribute space", keys)
        for required in ("name", "attributes"):
            if required not in top:
                self.refuse(root, f"the attribute space has no {required}")
        nodes = self.mapping(top["attributes"][1], "attributes")
        if not nodes:
            self.refuse(top["attributes"][1], "there is no attribute")
        values: dict[str, tuple[str, str]] = {}
        prompts: list[tuple[str, str]] = []
        options: dict[str, dict[str, str]] = {"not_mentioned": {}, "prefer": {}}
        lexicon: list[LexiconEntry] = []
        for number, (name, (key, node)) in enumerate(nodes.items()):
            fields = self.mapping(node, name, ("values", "prompts", "not_mentioned", "prefer", "words"))
            values[name] = self.pair(key, fields, name, "values")
            prompts.append(self.pair(key, fields, name, "prompts"))
            for option in options.keys() & fields.keys():
                options[option][name] = self.value(fields[option][1], values[name], name)
            if "words" in fields:
                lexicon += self.lexicon(fields["words"][1], number, name, values[name])
        return Space(
            name=self.text(top["name"][1], "name"),
            sha256=sha256,
            names=tuple(values),
            values=tuple(values.values()),
            prompts=tuple(prompts),
            not_mentioned=options["not_mentioned"],
            preferred=options["prefer"],
            color_groups=self.color_groups(top["color_groups"][1], nodes) if "color_groups" in top else {},
            lexicon=tuple(lexicon),
            default_colors=self.word_lists(top["default_colors"][1], "default_colors") if "default_colors" in top else {},
            colors=self.word_lists(top["colors"][1], "colors") if "colors" in top else {},
            implicit_rules=tuple(self.implicit_rules(top["implicit"][1], values)) if "implicit" in top else (),
        )

    def pair(self, key: yaml.Node, fields: Fields, name: str, field_name: str) -> tuple[str, str]:
        """The two values or prompts of an attribute."""
        if field_name not in fields:
            self.refuse(key, f"{name} has no {field_name}")
        node = fields[field_name][1]
        texts = [text for _, text in self.texts(node, f"{field_name} of {name}")]
        if len(texts) != 2 or texts[0] == texts[1]:
            self.refuse(node, f"{name} needs two different {field_name}, and has {len(set(texts))}")
        return texts[0], texts[1]

    def value(self, node: yaml.Node, values: Sequence[str], name: str) -> str:
        text = self.text(node, f"a value of {name}")
        if text not in values:
            self.refuse(node, f"{name} has no value {text}, only {' and '.join(values)}")
        return text

    def lexicon(self, node: yaml.Node, number: int, name: str, values: tuple[str, str]) -> Iterator[LexiconEntry]:
        owners: dict[tuple[str, str, str], tuple[str, int]] = {}  # entry -> the value that lists it, and on which line
        for value, (key, roles) in self.mapping(node, f"words of {name}").items():
            self.value(key, values, name)
            for role, (_, entries) in self.mapping(roles, f"{name}: {value}", ROLES).items():
                for entry, text in self.texts(entries, f"{role} of {name}: {value}"):
                    quality, plus, words = (normalize(part) for part in text.rpartition("+"))
                    if not words or (plus and not quality):
                        self.refuse(entry, f"{text!r} is no entry: write a word, a phrase, or a quality + a word")
                    line = entry.start_mark.line + 1
                    owner, owner_line = owners.setdefault((role, quality, words), (value, line))
                    if owner != value:
                        self.refuse(entry, f"{text!r} is listed for two values of {name}: {owner} (line {owner_line}) and {value}")
                    yield LexiconEntry(number, values.index(value), role, words, quality)

    def color_groups(self, node: yaml.Node, attributes: Mapping[str, object]) -> dict[str, ColorGroup]:
        groups = {}
        owners: dict[str, str] = {}  # attribute -> the colour and group that it belongs to
        for name, (key, body) in self.mapping(node, "color_groups").items():
            if name in attributes:
                self.refuse(key, f"{name} is both a group and an attribute")
            fields = self.mapping(body, name, ("half", "colors"))
            for required in ("half", "colors"):
                if required not in fields:
                    self.refuse(key, f"{name} has no {required}")
            half = self.text(fields["half"][1], f"half of {name}")
            if half not in HALVES:
                self.refuse(fields["half"][1], f"half of {name} is {half}, neither upper nor lower")
            colors = {}
            for color, (_, member) in self.mapping(fields["colors"][1], f"colors of {name}").items():
                attribute = self.text(member, f"{color} of {name}")
                if attribute not in attributes:
                    self.refuse(member, f"{color} of {name} is {attribute}, which is no attribute")
                if owners.setdefault(attribute, f"{color} of {name}") != f"{color} of {name}":
                    self.refuse(member, f"{attribute} is both {owners[attribute]} and {color} of {name}")
                colors[normalize(color)] = attribute
            groups[name] = ColorGroup(half, colors)
        return groups

    def word_lists(self, node: yaml.Node, context: str) -> dict[str, str]:
        """Word -> colour, from a mapping of colours to lists of words."""
        color_of: dict[str, str] = {}
        for color, (_, entries) in self.mapping(node, context).items():
            for entry, text in self.texts(entries, f"{color} of {context}"):
                if color_of.setdefault(normalize(text), normalize(color)) != normalize(color):
                    self.refuse(entry, f"{text!r} is listed for two colours of {context}: {color_of[normalize(text)]} and {color}")
        return color_of

    def implicit_rules(self, node: yaml.Node, values: Mapping[str, tuple[str, str]]) -> Iterator[ImplicitRule]:
        if not isinstance(node, yaml.SequenceNode):
            self.refuse(node, "implicit is not a list of rules")
        names = list(values)
        for item in node.value:
            fields = self.mapping(item, "an implicit rule", ("when", "then"))
            sides = []
            for side in ("when", "then"):
                if side not in fields:
                    self.refuse(item, f"the implicit rule has no {side}")
                pairs = []
                for name, (_, value) in self.mapping(fields[side][1], side, names).items():
                    pairs.append((names.index(name), values[name].index(self.value(value, values[name], name))))
                if not pairs:
                    self.refuse(item, f"the implicit rule's {side} is empty")
                sides.append(tuple(pairs))
            yield ImplicitRule(*sides)

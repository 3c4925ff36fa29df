"""Tags: what a word can be in a sentence about a person, one letter each.

The tags of a caption form a string in which regular expressions find noun phrases, so a tag has to be one character. `NAMES` maps each
letter to its name; `compile_pattern` writes regular expressions with the names instead of the letters.
"""

import re

# Words of noun phrases.
DETERMINER = "D"  # a, the, a pair of
POSSESSIVE = "S"  # his, the woman's
PARTITIVE = "q"  # a pair of: between the adjectives and the noun
COLOR = "C"
COLOR_NOUN = "c"  # the word "colour" itself
QUALIFIER = "Q"  # dark, plain, shades of
MODIFIER = "M"  # striped, young
ADVERB = "Y"
ING_FORM = "I"  # running (shoes), walking
CLOTHING = "G"  # anything that is worn or carried: shirt, hat, backpack
GARMENT_PART = "T"  # sleeve, stripe, pocket
HAIR = "H"
PERSON = "P"
NON_PERSON = "A"  # what can wear something and is no person: dog, mannequin
OTHER_NOUN = "N"  # street, arm, phone
UNKNOWN_WORD = "U"

# Verbs.
VERB = "V"  # any that none of the following is
WEARING = "W"  # wears, dressed in
HOLDING = "K"  # holds, carrying
LOOKING = "k"  # looks at, sells: their object is not worn
BEING = "B"  # is, looks, seems
HAVING = "F"  # has

# Function words and punctuation.
IN = "E"
WITH = "w"  # with, paired with
PATH = "o"  # on, over, under, from, to
BESIDE = "R"  # next to, behind, in front of
OF = "O"
AND = "&"  # and, or
NOT = "X"  # no, without, isn't
ONLY = "!"  # only, but
RELATIVE = "L"  # who, which
SUBORDINATOR = "J"  # while, when
PRONOUN = "p"  # she, him
COMMA = ","
STOP = "."  # ends a sentence

# Ambiguous words; the tags beside them decide (grammar.resolve_ambiguity).
NOUN_OR_VERB = "v"  # stands
THAT = "t"  # determiner or relative pronoun
MODIFIER_OR_WEARING = "z"  # sports (shoes), she sports
COLON = ":"  # "Hair: short", "He wears: a hat"
MODIFIER_OR_CLOTHING = "b"  # short (hair), a black short

NAMES = {letter: name.lower() for name, letter in list(globals().items()) if name.isupper()}


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A regular expression over tags, in which `<color modifier>` is one tag of these names; spaces and line breaks are ignored."""
    letters = {name: re.escape(letter) for letter, name in NAMES.items()}

    def tag_class(names: re.Match[str]) -> str:
        tags = [letters[name] for name in names[1].split()]
        return tags[0] if len(tags) == 1 else f"[{''.join(tags)}]"

    return re.compile(re.sub(r"<([a-z][a-z_ ]*)>", tag_class, "".join(pattern.split("\n"))).replace(" ", ""))

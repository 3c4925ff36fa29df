"""From a caption to what it says about its subject: a shallow grammar over tags, which reads a caption once from left to right.

The vocabulary gives every word a tag. A regular expression over the tags finds noun phrases, and `noun_phrases` finds their heads and what
their other words say. Prepositions, verbs, conjunctions and stops between the phrases decide what the next phrase means:

- Persons (`people`). The first person is the subject. Any other person is a bystander, unless "the man" or "he" can only mean the subject.
  What follows is the bystander's until a clause returns to the subject: after a full stop, "and she …", "while", a finite verb after "and"
  or a comma. A dog or a mannequin owns what it directly wears. What stands after "next to", on a rack or in a shop is not worn.
- Clothing (`clothing`, `objects`). What is held, slung over an arm or tied around the waist is not worn; "no", "without" and "not" negate
  what follows, through "or".
- Colours (`descriptions`). They belong to the head of their phrase, to both nouns of "a black shirt and pants", to the subject of "is", and
  to a person "in red".
- Clauses (`clauses`). Verbs, prepositions, negations and stops.
"""

import re
from collections.abc import Callable

from mals.labeller import clauses, clothing, descriptions, objects, people, tags
from mals.labeller.lexicon import adjectives
from mals.labeller.lexicon.nouns import BARE_NOUNS, HALVES, LETTERS_OF_PERSONS
from mals.labeller.noun_phrases import QUALITY, NounPhrase, PhraseAnalyser
from mals.labeller.reading import Reading
from mals.labeller.slips import ARTICLE_BETWEEN_COLORS, Slips
from mals.labeller.state import NON_PERSON, CaptionState
from mals.labeller.tags import (
    BEING,
    BESIDE,
    CLOTHING,
    COLOR,
    COMMA,
    DETERMINER,
    HAVING,
    HOLDING,
    MODIFIER,
    OTHER_NOUN,
    PERSON,
    RELATIVE,
    STOP,
    VERB,
    WEARING,
)
from mals.labeller.vocabulary import Vocabulary

# A noun phrase over tags. Every repetition is bounded, so that reading takes linear time on any input.
_REFINING = "<qualifier modifier adverb color_noun>"
_DESCRIBING = "<qualifier modifier adverb color_noun color>"
_BEFORE_NOUN = "<qualifier modifier adverb color color_noun garment_part ing_form unknown_word>"
_COLORS = (  # black; black and white; red, white and dark blue
    f"<color> (?: (?: <comma> {_REFINING}{{0,4}} <color>){{0,4}} <comma>? <and>{{1,2}} {_REFINING}{{0,4}} <color>)?"
)
# Every alternative begins with the tag that it takes, and looks back after it: the regular expression engine is fast where it can tell
# by the first tag that an alternative does not match.
_AFTER_AND = (  # long and flowing; short and black (hair); blue and striped (shirt)
    "<and> (?:"
    f"(?<=<modifier qualifier unknown_word><and>) (?={_REFINING}{{0,9}} <modifier qualifier> {_DESCRIBING}{{0,9}} <clothing hair>)"
    f"| (?<=<modifier qualifier adverb><and>)(?<!<hair>..) (?={_DESCRIBING}{{1,9}} <hair>)"
    f"| (?<=<color><and>) (?=<modifier qualifier>{{1,9}} <clothing hair>))"
)
_AFTER_COMMA = (  # long, straight, dark (hair); black, curly (hair); gray, print (pants); long, black (skirt)
    "<comma> (?:"
    f"(?<=<modifier qualifier adverb><comma>) <and>? (?={_DESCRIBING}{{1,9}} (?:<comma and>{{1,2}} {_DESCRIBING}{{1,9}}){{0,3}} <hair>)"
    "| (?<=<color><comma>)(?<!<in><color><comma>)(?<!<in><qualifier adverb><color><comma>)(?<!<in><color><and><color><comma>) (?:"
    f"(?<!<wearing><color><comma>)(?<!<wearing><qualifier adverb><color><comma>) <and>?"
    f" (?={_REFINING}{{1,9}} (?:<comma and>{{1,2}} {_REFINING}{{1,9}}){{0,3}} <hair>)"
    "| (?=<qualifier modifier garment_part>{1,9} <clothing> | <clothing>{2}))"
    f"| (?<=<wearing in with><modifier><comma>) (?={_DESCRIBING}{{1,9}} <clothing>))"
)
_VERB_FORM = (  # running (shoes); a tucked (shirt)
    "<ing_form> (?=<qualifier modifier color partitive>{0,9} <clothing garment_part>)"
    "| <verb> (?<=<determiner possessive color modifier qualifier><verb>)"
    " (?=<qualifier modifier color>{0,9} <clothing garment_part other_noun>)"
    "| <verb wearing> (?<=<determiner><adverb><verb wearing>) (?=<modifier>{0,3} <person>)"
)
_NOUN_FORM = (  # a black pair of (jeans); an adult asian (man); a floral long sleeve (shirt)
    "<partitive> (?<=<color modifier qualifier unknown_word ing_form><partitive>)"
    "| <person> (?=<modifier qualifier unknown_word adverb color>{1,3} <person>)"
    "| <garment_part> (?<=<determiner color modifier qualifier comma><garment_part>) (?=<modifier qualifier adverb>{1,3} <clothing>)"
)
_QUALITY = f"<qualifier modifier adverb unknown_word color_noun> | {_COLORS} | {_AFTER_AND} | {_AFTER_COMMA} | {_VERB_FORM} | {_NOUN_FORM}"
_MORE_ADJECTIVES = f"(?={_BEFORE_NOUN}{{1,9}} (?:<comma> <and>? {_BEFORE_NOUN}{{1,9}}){{0,2}} <clothing hair garment_part>)"
_COMMA = (  # a soft, green (sweater): where an article holds the phrase together
    f"<comma> (?<=<modifier color qualifier><comma>) (?: (?=<clothing>) | <and>? {_MORE_ADJECTIVES})"
    f"| <garment_part> (?<=<modifier color qualifier><garment_part>) <comma> (?: (?=<clothing>) | <and>? {_MORE_ADJECTIVES})"
)
_HEAD = (
    "(?: <other_noun unknown_word> | <garment_part> (?=<clothing garment_part other_noun>)"
    "| <non_person> (?=<other_noun clothing garment_part>) | <person> (?=<person clothing>)"
    "| <clothing> (?=<clothing garment_part other_noun>) | <hair> (?=<clothing other_noun>)){0,12}"
    "<clothing hair garment_part person non_person other_noun unknown_word> (?: (?<=<clothing hair>) <color_noun>)?"
)
_OPENING = "<determiner possessive adverb partitive>{0,9}+"
_HELD = "(?: (?<=<determiner possessive partitive>) | (?<=<determiner possessive><adverb>))"  # by an article
PHRASE = tags.compile_pattern(
    f"{_OPENING} {_HELD} (?:{_QUALITY}|{_COMMA}){{0,20}} {_HEAD} | {_OPENING} (?:{_QUALITY}){{0,20}} {_HEAD}"
    f"| {_OPENING} <adverb qualifier modifier>{{0,9}}+ {_COLORS} {_DESCRIBING}*"  # colours alone
    f"| <determiner possessive>{{0,9}} {_REFINING}+ (?:<comma>? <and> {_REFINING}+)*"  # adjectives alone
    f"| <determiner possessive adverb>{{0,9}} {_REFINING}+"
    "| (.)"  # any other word
)
OTHER_WORD = 1  # the group of PHRASE for a word outside all phrases
AMBIGUOUS = tags.compile_pattern("(?<=(.)) <noun_or_verb that modifier_or_wearing colon modifier_or_clothing> (?=(.?))")
AMBIGUOUS_TAGS = frozenset((tags.NOUN_OR_VERB, tags.THAT, tags.MODIFIER_OR_WEARING, tags.COLON, tags.MODIFIER_OR_CLOTHING))
BARE_GARMENT = tags.compile_pattern(  # a black short; a blue denim short; wearing short and a t-shirt; the man's upper is
    "(?: (?<=<color clothing>)(?<!<being><color>) | (?<=<color clothing modifier wearing in determiner><modifier>)"
    "| (?<=<wearing>) (?=<and comma with><determiner clothing>)"
    "| (?: (?<=<stop comma and>) | (?<=<stop comma and><determiner possessive>)"
    "| (?<=<stop comma and><determiner><possessive>)) (?=<modifier_or_clothing><being colon>)"
    "| (?<=<with wearing in and comma>) (?=<modifier_or_clothing><of><determiner>?<qualifier>?<color>))"
    " <modifier_or_clothing> (?! <comma and>{0,2} <qualifier modifier adverb color color_noun modifier_or_clothing>{0,6} <hair>)"
    " (?=<stop and comma with in path verb ing_form holding having being colon wearing beside adverb of>|$)"
)
FIELD_NAME = tags.compile_pattern(  # upper black, lower dark blue
    "(?<=<stop comma and>) <modifier_or_clothing> (?=<qualifier>{0,2} <color> (?: <and> <color>)?"
    " (?: <stop comma> | <and> (?!<qualifier modifier color>{0,4} <clothing hair>) | $))"
)
BEFORE_VERB = people.PERSON_TAGS + CLOTHING + tags.HAIR + tags.GARMENT_PART + tags.COMMA + tags.AND + STOP
BEFORE_VERB += tags.ADVERB + RELATIVE + OTHER_NOUN + tags.THAT
CONTRACTION = tags.compile_pattern("<possessive> (?=<wearing holding having determiner in with being not>)")
DRESSED = frozenset(["dressed", "dressed in", "clad", "clad in", "dressed all in", "all in"])
SPELLED_OUT = BARE_NOUNS | LETTERS_OF_PERSONS
SPELLED_OUT_TAGS = CLOTHING + PERSON
COMPOUND_ENDINGS = frozenset(adjectives.COMPOUND_ENDINGS.split())
COMPOUND_BEGINNINGS = OTHER_NOUN + tags.NOUN_OR_VERB + tags.UNKNOWN_WORD + tags.PERSON + tags.NON_PERSON
CLAUSE_VERBS = VERB + WEARING + HOLDING + HAVING + BEING
AFTER_RELATIVE = CLAUSE_VERBS + tags.LOOKING + tags.PRONOUN + tags.NOT + tags.NOUN_OR_VERB
LIST_CONTINUATIONS = tags.AND + tags.COMMA + tags.ONLY


class Grammar:
    """Reads captions with the words of one attribute space."""

    def __init__(self, vocabulary: Vocabulary):
        self.vocabulary = vocabulary
        self.analyser = PhraseAnalyser(vocabulary)
        self.slips = Slips(color for color in adjectives.OFTEN_MISSPELLED.split() if color in vocabulary.color_of)

    def tag(self, words: list[str]) -> str:
        """The tags of `words`, one character each, with ambiguous ones resolved."""
        word_tags = self.vocabulary.tag(words)
        if not COMPOUND_ENDINGS.isdisjoint(words):
            word_tags = _join_compounds(words, word_tags)
        if not AMBIGUOUS_TAGS.isdisjoint(word_tags):
            if tags.MODIFIER_OR_CLOTHING in word_tags:
                if not HALVES.isdisjoint(words):
                    word_tags = FIELD_NAME.sub(
                        lambda match: CLOTHING if words[match.start() - 1] in HALVES else match[0], STOP + word_tags
                    )[1:]
                word_tags = BARE_GARMENT.sub(CLOTHING, STOP + word_tags)[1:]
            return AMBIGUOUS.sub(resolve_ambiguity, STOP + word_tags)[1:]
        return word_tags

    def read(self, words: list[str]) -> Reading:
        """What a caption says about its subject; `words` come from `Vocabulary.split`."""
        word_tags = self.tag(words)
        if tags.POSSESSIVE in word_tags and CONTRACTION.search(word_tags):
            words, word_tags = _split_contractions(words, word_tags)
        if not self.slips.words.isdisjoint(words) or ARTICLE_BETWEEN_COLORS in word_tags:
            words, word_tags = self.slips.mend(words, word_tags)
        if not SPELLED_OUT.keys().isdisjoint(words):
            words = [SPELLED_OUT.get(word, word) if tag in SPELLED_OUT_TAGS else word for word, tag in zip(words, word_tags, strict=True)]
        state = CaptionState(self.analyser, words, word_tags)
        for match in PHRASE.finditer(state.tags):
            read_next(state, match)
        if state.owner == NON_PERSON:
            people.leave_non_person(state)
        return state.reading


def read_next(state: CaptionState, match: re.Match[str]) -> None:
    """Read the next match of PHRASE: a noun phrase, colours or adjectives alone, or any other word."""
    start, end = match.span()
    if match.lastindex == OTHER_WORD:
        kind = state.tags[start]
        if kind in WORD_READERS:
            WORD_READERS[kind](state, start)
    else:
        phrase = state.analyser.analyse(state.words[start:end], state.tags[start:end])
        if phrase.parts[0]:
            _read_both_parts(state, start, phrase.parts, end)
            return
        kind = _read_phrase(state, phrase, start, end)
    state.before_previous, state.previous = state.previous, kind


def _split_contractions(words: list[str], word_tags: str) -> tuple[list[str], str]:
    """The words and tags where "'s" is a verb: "the woman's wearing a coat", not "the woman's coat"."""
    new_words, new_tags = list(words), list(word_tags)
    for match in CONTRACTION.finditer(word_tags):
        at = match.start()
        word, after = words[at], words[at + 1]
        if word.endswith("'s") and (word_tags[at + 1] not in WEARING + HOLDING or after.endswith("ing") or after in DRESSED):
            new_words[at], new_tags[at] = word[:-2], tags.PERSON
    return new_words, "".join(new_tags)


def _join_compounds(words: list[str], word_tags: str) -> str:
    """The tags where nouns before "style", "protective" and the like are parts of an adjective: "a wedding-style gown"."""
    new_tags = list(word_tags)
    for at in range(1, len(words)):
        if words[at] in COMPOUND_ENDINGS and word_tags[at - 1] in COMPOUND_BEGINNINGS:
            new_tags[at - 1] = new_tags[at] = MODIFIER
    return "".join(new_tags)


def _read_both_parts(state: CaptionState, start: int, parts: tuple[int, int], end: int) -> None:
    """Read the two garments of "a black long sleeve, faded jeans"."""
    for first, last in ((start, start + parts[0]), (start + parts[1], end)):
        phrase = state.analyser.analyse(state.words[first:last], state.tags[first:last])
        kind = _read_phrase(state, phrase, first, last)
        state.before_previous, state.previous = state.previous, kind
        if first == start:
            state.before_previous, state.previous = state.previous, COMMA


def resolve_ambiguity(match: re.Match[str]) -> str:
    """The tag of an ambiguous word, by the tags before and after it."""
    tag, before, after = match[0], match[1], match[2]
    if tag == tags.THAT:
        return RELATIVE if after and after in AFTER_RELATIVE else DETERMINER
    if tag == tags.MODIFIER_OR_WEARING:
        return WEARING if before in people.PERSON_TAGS + STOP else MODIFIER
    if tag == tags.COLON:  # "Hair: short", "He wears: a hat"
        return BEING if before in CLOTHING + tags.HAIR + tags.COLOR_NOUN else STOP
    if tag == tags.MODIFIER_OR_CLOTHING:
        return MODIFIER
    return VERB if before in BEFORE_VERB else OTHER_NOUN


def _read_phrase(state: CaptionState, phrase: NounPhrase, start: int, end: int) -> str:
    """Read a phrase; returns its kind, which is that of clothing where it was read as a garment without its noun."""
    kind = phrase.kind
    if state.previous in LIST_CONTINUATIONS and not state.governor:
        _continue_list(state, kind, end)
    if state.owner == NON_PERSON:
        is_clothing = kind in (CLOTHING, COLOR)
        if not is_clothing or (state.previous in clothing.LIST_SEPARATORS and not state.non_person_items):
            people.leave_non_person(state)
    PHRASE_READERS[kind](state, phrase, start, end)
    if phrase.lacks_noun and state.last_item is not None and state.last_item.start == start:
        kind = CLOTHING
    state.list_governor, state.list_kind, state.governor = state.governor, kind, ""
    state.clause_is_empty = False
    return kind


def _continue_list(state: CaptionState, kind: str, end: int) -> None:
    """A list has the governor of its first phrase, unless a clause begins here: "… at her phone and a bag hangs"."""
    verb = state.tags[end : end + 1]
    lists_subjects = (  # "his shirt and pants are", but not "she has a top and her pants are"
        state.topic is state.group and bool(state.group) and not state.verb_seen and not state.list_governor
    )
    if (
        verb
        and kind not in (COLOR, QUALITY)
        and verb in CLAUSE_VERBS
        and (verb == BEING or state.words[end].endswith("s"))
        and not lists_subjects
    ):
        state.start_clause()
    elif state.list_governor != BESIDE or state.list_kind == CLOTHING:
        state.governor = state.list_governor


WORD_READERS: dict[str, Callable[[CaptionState, int], None]] = {
    **dict.fromkeys((VERB, WEARING, HOLDING, tags.LOOKING, tags.ING_FORM), clauses.read_verb),
    HAVING: clauses.read_having,
    **dict.fromkeys((tags.IN, tags.WITH, tags.PATH, BESIDE, tags.OF), clauses.read_preposition),
    BEING: clauses.read_being,
    tags.NOT: clauses.read_negation,
    tags.ONLY: clauses.read_restriction,
    RELATIVE: clauses.read_relative,
    tags.SUBORDINATOR: clauses.read_subordinator,
    STOP: clauses.read_stop,
    tags.PRONOUN: people.read_pronoun,
    tags.POSSESSIVE: clauses.read_lone_possessive,
}
PHRASE_READERS: dict[str, Callable[[CaptionState, NounPhrase, int, int], None]] = {
    CLOTHING: clothing.read_clothing,
    tags.HAIR: clothing.read_hair,
    tags.GARMENT_PART: clothing.read_part,
    tags.PERSON: people.read_person,
    tags.NON_PERSON: people.read_non_person,
    OTHER_NOUN: objects.read_object,
    COLOR: descriptions.read_color,
    QUALITY: descriptions.read_quality,
}

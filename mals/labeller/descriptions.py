"""Colours and adjectives without a noun: which person, garment or hair they describe."""

from dataclasses import replace

from mals.labeller.clothing import is_headwear, read_clothing
from mals.labeller.lexicon import nouns
from mals.labeller.noun_phrases import QUALITY, ColorAt, NounPhrase
from mals.labeller.objects import LONG_HAIR
from mals.labeller.reading import ClothingItem, ValueAt, WordAt
from mals.labeller.state import SUBJECT, CaptionState
from mals.labeller.tags import (
    AND,
    BEING,
    CLOTHING,
    COLOR_NOUN,
    COMMA,
    GARMENT_PART,
    HAIR,
    HAVING,
    HOLDING,
    IN,
    ING_FORM,
    OF,
    OTHER_NOUN,
    PATH,
    PERSON,
    PRONOUN,
    STOP,
    VERB,
    WEARING,
    WITH,
)
from mals.labeller.vocabulary import split_list

PLACES = frozenset(split_list(nouns.PLACES))
PHRASE_ENDS = ("", COMMA, STOP, AND)
AFTER_APPOSITION = ("", COMMA, STOP, WITH)
AFTER_PERSON = PERSON + COMMA + PRONOUN
AFTER_HAIR = VERB + HOLDING + WEARING + HAIR + ING_FORM + COMMA + AND + PATH


def read_color(state: CaptionState, phrase: NounPhrase, start: int, end: int) -> None:
    """Colours alone: of the subject of "is", of a garment, or of a person "in" them."""
    if phrase.lacks_noun and read_garment_without_noun(state, phrase, start, end):
        return
    if state.negation >= 0:
        state.negation = -1
        return
    governor, previous, last = state.governor, state.previous, state.last_item
    half = _half_after(state, phrase, end)
    if half and state.owner == SUBJECT and (governor in (WEARING, IN, WITH) or previous == AND):
        garment = replace(phrase, kind=CLOTHING, coverage=half, head_position=0)
        read_clothing(state, garment, start, end)
        return
    colors = [ColorAt(color, start + at) for color, at in phrase.colors]
    lacks_color = last is not None and not last.colors and (not phrase.article or last.phrase.article == "his")
    after = state.tags[end : end + 1]
    if lacks_color and previous == CLOTHING and after in PHRASE_ENDS:
        _add_colors([last], colors)  # "his trousers gray, …"
    elif previous == COMMA and state.words[start] in ("both", "all"):  # "a top and a skirt, both red"
        _add_colors(state.group, colors)
    elif lacks_color and previous == COMMA and _is_apposition(state, last, start) and after in AFTER_APPOSITION:
        _add_colors([last], colors)  # "a shirt, white with black stripes"
    elif lacks_color and governor == previous == IN and state.before_previous == COMMA and _is_apposition(state, last, start - 1):
        _add_colors([last], colors)  # "a sleeveless top, in black"
    elif governor == OF and state.before_previous == CLOTHING:  # "a jacket of blue denim", "jeans of a light grey colour"
        _add_colors(state.group[-1:], colors)
    elif governor == BEING or (governor == OF and state.before_previous == BEING):  # "is black", "is of a black colour"
        _add_colors(state.predicate_target if isinstance(state.predicate_target, list) else [], colors)
    elif governor == HAVING and state.tags[end - 1] == COLOR_NOUN:  # "his trousers have a brown hue"
        _add_colors(state.topic, colors)
    elif governor == IN and state.before_previous == QUALITY and isinstance(state.predicate_target, list):  # "is striped in black"
        _add_colors(state.predicate_target, colors)
    elif (governor == WITH and state.tags[end - 1] == COLOR_NOUN) or (previous == PATH and state.before_previous == GARMENT_PART):
        _add_colors(state.group[-1:], colors)  # "a shirt with a white colour", "black lines on white"
    elif governor == IN and previous == IN and state.before_previous == CLOTHING:
        _add_colors([item for item in state.group if item is last or not (item is None or item.has_color)], colors)
    elif governor in (IN, WEARING) and phrase.article not in ("a", "the") and state.owner == SUBJECT:
        in_place = state.last_object is not None and state.last_object.head in PLACES  # "on a street in red", not "a wall in red"
        is_of_other = state.before_previous == OTHER_NOUN or state.words[start - 2 : start - 1] == ["it"]
        if governor == WEARING or not is_of_other or in_place:
            state.reading.colors += colors


def _is_apposition(state: CaptionState, item: ClothingItem | None, start: int) -> bool:
    """Whether only a comma stands between a garment and what begins here: "a hoodie, gray", "a hoodie on, also gray"."""
    return item is not None and state.words[item.end : start - 1] in ([], ["on"])


def _half_after(state: CaptionState, phrase: NounPhrase, end: int) -> str:
    """The half of the body that words after a colour name: "black on top and white on the bottom", "a black over a white shirt"."""
    words = [word for word in state.words[end : end + 3] if word != "the"]
    if words[:1] == ["over"] and phrase.article == "a":
        return "upper"
    if len(words) < 2 or words[0] != "on":
        return ""
    return {"top": "upper", "bottom": "lower", "bottoms": "lower"}.get(words[1], "")


def read_garment_without_noun(state: CaptionState, phrase: NounPhrase, start: int, end: int) -> bool:
    """Whether adjectives are a garment that lacks its noun, which is read then: "a red long sleeve and jeans"."""
    governor, before = state.governor, state.group[-1] if state.group else None
    of_garment = before is not None and before.phrase.coverage in ("upper", "full_body") and before.sleeves is None
    is_worn = governor in (WEARING, IN) or phrase.article == "a" or bool(phrase.colors)
    if governor == BEING or not (is_worn or (phrase.sleeves and governor in ("", WITH, HAVING))):
        return False
    if of_garment and phrase.sleeves and (governor in (WITH, HAVING) or not phrase.colors) and phrase.article != "a":
        words = [WordAt(state.words[at], at) for at in range(start, end)]
        assert before is not None
        _describe_item(state, before, words)  # "a shirt, long sleeved"
        return True
    garment = replace(phrase, kind=CLOTHING, head=state.words[end - 1], head_position=end - start - 1)
    read_clothing(state, garment, start, end)
    return True


def _add_colors(items: list[ClothingItem | None], colors: list[ColorAt]) -> None:
    for item in items:
        if item is not None:
            item.colors += colors


def read_quality(state: CaptionState, phrase: NounPhrase, start: int, end: int) -> None:
    """Adjectives alone: of the subject of "is", of the person just named, or of hair."""
    if phrase.lacks_noun and read_garment_without_noun(state, phrase, start, end):
        return
    last = state.last_item
    if state.words[end - 1] == "back" and state.previous == PATH and phrase.article:
        if is_headwear(last):
            assert last is not None
            last.ignored = True  # "a hat hanging down her back"
        elif state.group == [None] and state.owner == SUBJECT and "back" in LONG_HAIR.get(state.words[start - 1], ()):
            state.reading.hair.append(WordAt("long", start))  # "hair down to the middle of her back"
    if phrase.bystander and phrase.article and state.previous == IN and last is not None and not last.phrase.counts_if_held:
        last.ignored = True  # "a coat in the other"
    if state.negation >= 0:
        state.negation = -1 if state.governor == BEING else state.negation
        return
    target = state.predicate_target if state.governor == BEING else None
    adjectives = [WordAt(state.words[at], at) for at in range(start, end)]
    if isinstance(target, list):
        for item in target:
            if item is not None:
                _describe_item(state, item, adjectives)
            elif state.owner == SUBJECT:
                state.reading.hair += adjectives
    elif state.owner == SUBJECT:
        if isinstance(target, NounPhrase) or state.previous in AFTER_PERSON or (state.previous == STOP and not phrase.article):
            _describe_person(state, adjectives)
        in_ponytail = state.words[start].startswith("in ")
        if state.group == [None] and (state.previous in AFTER_HAIR or in_ponytail):
            state.reading.hair += adjectives


def _describe_item(state: CaptionState, item: ClothingItem, adjectives: list[WordAt]) -> None:
    sleeves = state.analyser.vocabulary.sleeves
    if not any(word == "too" for word, _ in adjectives):  # trousers that are too short are long ones
        item.later_words += adjectives
    item.sleeves = next((WordAt(sleeves[word], at) for word, at in adjectives if word in sleeves), item.sleeves)


def _describe_person(state: CaptionState, adjectives: list[WordAt]) -> None:
    meanings = state.analyser.vocabulary.adjectives
    known = {entry.attribute for entry in state.reading.values}
    state.reading.values += [
        ValueAt(attribute, value, at) for word, at in adjectives for _, attribute, value in meanings.get(word, ()) if attribute not in known
    ]

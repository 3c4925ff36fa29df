"""Noun phrases for clothing, hair and parts of garments: whose they are, whether they are worn or negated, and which colours they share."""

from dataclasses import replace

from mals.labeller import tags
from mals.labeller.lexicon import nouns
from mals.labeller.noun_phrases import COLORED_PARTS, ColorAt, NounPhrase
from mals.labeller.people import name_subject, read_possessor
from mals.labeller.reading import ClothingItem, WordAt
from mals.labeller.state import NON_PERSON, SUBJECT, CaptionState, Items
from mals.labeller.tags import AND, BEING, BESIDE, CLOTHING, COMMA, HAVING, HOLDING, IN, LOOKING, OF, PATH, WEARING, WITH
from mals.labeller.vocabulary import split_list

MAX_LIST = 60  # items or words of a list that are looked at together: reading takes linear time on any input
LIST_SEPARATORS = AND + COMMA
ELSEWHERE = (BESIDE, LOOKING)  # what follows "next to" or "looks at" is not worn
LIST_TAGS = (
    LIST_SEPARATORS
    + tags.DETERMINER
    + tags.POSSESSIVE
    + tags.COLOR
    + tags.QUALIFIER
    + tags.MODIFIER
    + tags.ADVERB
    + tags.GARMENT_PART
    + tags.OTHER_NOUN
    + CLOTHING
    + tags.HAIR
    + tags.UNKNOWN_WORD
)
PLAIN_LIST = tags.compile_pattern("<clothing> (?:<comma><clothing>){0,8} <comma>? <and> <clothing>")
CARRIED_OFTEN = frozenset(split_list(nouns.CARRIED_OFTEN))
FIELD_BOUNDARIES = (tags.STOP, COMMA)
STORAGE = frozenset(split_list(nouns.STORAGE))
PRINTS = (tags.GARMENT_PART, tags.DETERMINER)  # "letters in white", "the number 23 in white"
BEFORE_OWN_COLOR = (CLOTHING, *PRINTS)
WORN = ("", WEARING, IN, WITH)  # governors of what is worn
SUBJECT_NOUNS = frozenset(["man", "woman", "boy", "girl", "lady", "male", "female", "guy", "gentleman"])
PATTERNS = frozenset(["floral", "plaid", "print", "check", "polka dot", "stripe", "checker"])  # that can stand for a garment
PRINTED = frozenset(["printed", "chest", "front", "back", "middle", "center", "centre"])  # where a pattern is a print
FOOTWEAR = frozenset(split_list(nouns.FOOTWEAR))
HEADWEAR = frozenset(["hat", "sunhat", "cap", "helmet", "beanie", "visor", "bonnet", "hardhat"])
HOOD_UP = frozenset(["up", "raised", "over", "head", "covering"])
HOOD_DOWN = frozenset(["down", "back", "off", "lowered", ",", ".", ";"])


def read_clothing(state: CaptionState, phrase: NounPhrase, start: int, end: int) -> None:
    """A noun phrase for something that is worn or carried."""
    if phrase.possessor:
        read_possessor(state, phrase.possessor, start, phrase.article)
    if phrase.article == "the" and (meant := _mentioned_before(state, phrase)) is not None:
        phrase = replace(phrase, coverage=meant.coverage, meanings=meant.meanings)
    if state.previous == PATH and (phrase.counts_if_held or phrase.head == "belt") and is_headwear(state.last_item):
        assert state.last_item is not None
        state.last_item.ignored = True  # "a cap on her backpack"
    if state.subject is None and tags.PERSON in state.tags[start : end - 1]:
        _name_subject_in_compound(state, start, end)
    item = ClothingItem(phrase, start, end, [ColorAt(color, start + at) for color, at in phrase.colors])
    if state.governor == state.previous == IN and (state.before_previous in BEFORE_OWN_COLOR or _is_after_comma(state, start)):
        _split_colors(state, item, [state.last_item])
    elif state.governor == BEING and state.previous == BEING and isinstance(state.predicate_target, list):
        _split_colors(state, item, state.predicate_target)
        if state.words[start - 1] in (":", "=") and not phrase.article:
            _leave_out_field_names(state, state.predicate_target)
    if phrase.sleeves:
        item.sleeves = WordAt(phrase.sleeves, start)
    joined = state.previous in LIST_SEPARATORS and bool(state.group) and not state.verb_seen
    if state.negation >= 0:
        _negate(state, item)
    if not item.colors and item.negation < 0:
        before = state.group[-1] if joined else state.last_item if phrase.matching else None
        if before is not None and (phrase.matching or _shares_color(state, phrase, start)):
            item.colors = list(before.colors)
    governor = state.governor
    held = governor == HOLDING and not phrase.counts_if_held and not (joined and _is_worn_in_list(state, phrase))
    item.ignored = held or _is_stored(state, phrase, joined) or governor in ELSEWHERE
    if state.owner == SUBJECT:
        state.reading.items.append(item)
    elif state.owner == NON_PERSON:
        state.non_person_items.append(item)
    is_topic = (
        (state.clause_is_empty and not governor)
        or (joined and state.topic is state.group)
        or (not joined and state.previous in LIST_SEPARATORS and phrase.article in ("his", "the"))
    )
    state.group = [*state.group[-MAX_LIST:], item] if joined else [item]
    if is_topic:
        state.topic = state.group
    state.last_item, state.last_object, state.verb_seen, state.hanging_verb_seen = item, None, False, False


def _name_subject_in_compound(state: CaptionState, start: int, end: int) -> None:
    """Name the subject where a comma or a verb was left out: "older man flat cap, brown coat"."""
    person = state.tags.rindex(tags.PERSON, start, end) + 1
    phrase = state.analyser.analyse(state.words[start:person], state.tags[start:person])
    if phrase.head in SUBJECT_NOUNS:
        name_subject(state, phrase, start)


def _is_after_comma(state: CaptionState, start: int) -> bool:
    """Whether a comma and "in" stand between the last garment and this phrase: "a shirt, in navy and grey trousers"."""
    return state.before_previous == COMMA and state.last_item is not None and state.last_item.end == start - 2


def _leave_out_field_names(state: CaptionState, items: Items) -> None:
    """The names of a form decide nothing: "bag: backpack", "shoes = brown boots", but not "a girl with pigtails: red coat"."""
    for item in items:
        if item is not None and not item.colors and state.tags[item.start - 1 : item.start] in ("", *FIELD_BOUNDARIES):
            item.ignored = True


def _split_colors(state: CaptionState, item: ClothingItem, owners: Items) -> None:
    """Give the first colour to what stands before it: "a shirt in navy and grey trousers", "letters in white and blue shorts"."""
    first_and, phrase = state.tags.find(AND, item.start, item.end), item.phrase
    if first_and < 0 or phrase.article or state.tags[item.start] not in tags.COLOR + tags.QUALIFIER:
        return
    first = [color for color in item.colors if color.position < first_and]
    if state.before_previous not in PRINTS:
        receivers = [owner for owner in owners if owner is not None and not owner.colors and owner.phrase.coverage != phrase.coverage]
        if not receivers:
            return
        for owner in receivers:
            owner.colors += first
    item.colors = item.colors[len(first) :]


def is_headwear(item: ClothingItem | None) -> bool:
    return item is not None and item.phrase.head.rpartition(" ")[2] in HEADWEAR


def _is_worn_in_list(state: CaptionState, phrase: NounPhrase) -> bool:
    """Whether a garment is worn although it is listed with what is held: "carrying a backpack and dark jeans"."""
    if phrase.article == "a" or any(item is not None and item.ignored for item in state.group):
        return False
    return phrase.coverage == "lower" or phrase.head not in CARRIED_OFTEN


def _mentioned_before(state: CaptionState, phrase: NounPhrase) -> NounPhrase | None:
    """The garment that a more general word takes up: "a jumpsuit … the suit", "a backpack … the bag"."""
    for item in reversed(state.reading.items[-MAX_LIST:]):
        before = item.phrase
        if before.head != phrase.head and (before.head.endswith(phrase.head) or (phrase.head == "bag" and before.counts_if_held)):
            return before if item.negation < 0 else None
    return None


def _is_stored(state: CaptionState, phrase: NounPhrase, joined: bool) -> bool:
    """Whether clothes are on a rack or in a shop: "a rack of coats", "a window with dresses and hats"."""
    place, governor = state.last_object, state.governor
    if place is not None and place.head in STORAGE and (governor == OF or (governor == WITH and phrase.plural and not phrase.article)):
        return True
    if not joined or phrase.article or governor not in (OF, WITH):
        return False
    before = state.group[-1]
    return before is not None and before.ignored


def _shares_color(state: CaptionState, phrase: NounPhrase, start: int) -> bool:
    """Whether a garment has the colours of the one before it: "a black shirt and pants", but not "a black shirt, pants"."""
    before = state.group[-1] if state.group else None
    if phrase.article or phrase.has_adjective or phrase.default_color:
        return False
    if before is not None and before.colors and before.colors[0].position >= before.end:  # "shirt black and skirt white"
        return False
    if before is not None and (before.phrase.counts_if_held or before.phrase.head.rpartition(" ")[2] in FOOTWEAR):
        return phrase.coverage == "accessory"  # "brown boots and trousers" may be trousers of any colour
    after_and = state.words[start - 1] == "and"
    if not phrase.plural or (after_and and state.before_previous != COMMA):
        return True
    if after_and and before is not None and not before.phrase.article and not before.phrase.colors:
        return True
    return bool(PLAIN_LIST.match(state.tags, start))


def _negate(state: CaptionState, item: ClothingItem) -> None:
    """Negate an item after "no", "without" or "not": the first one and the list that it begins ("no hat or bag")."""
    phrase, start = item.phrase, item.start
    if state.negation_used:
        bare_accessory = not item.colors and phrase.coverage == "accessory"
        if state.previous == AND:
            continues = state.words[start - 1] in ("or", "nor") or bare_accessory or not (phrase.article or item.colors)
        else:
            continues = state.previous == COMMA and ((bare_accessory and not phrase.article) or _list_reaches_or(state, item.end))
        if not continues:
            state.negation = -1
            return
    item.negation = state.negation
    state.negation_used = True


def _list_reaches_or(state: CaptionState, at: int) -> bool:
    """Whether the list that goes on here has an "or"."""
    end = min(len(state.tags), at + MAX_LIST)
    while at < end and state.tags[at] in LIST_TAGS:
        if state.words[at] in ("or", "nor"):
            return True
        at += 1
    return False


def read_hair(state: CaptionState, phrase: NounPhrase, start: int, end: int) -> None:
    if phrase.possessor:
        read_possessor(state, phrase.possessor, start, phrase.article)
    if state.owner == SUBJECT and state.governor not in ELSEWHERE:
        if state.negation >= 0:
            state.reading.hair.append(WordAt("no", start))
        else:
            state.reading.hair += [WordAt(state.words[at], at) for at in range(start, end)]
    state.negation_used = True
    is_topic = state.clause_is_empty or (state.previous in LIST_SEPARATORS and phrase.article in ("his", "the"))
    state.group = [None]
    if is_topic:
        state.topic = state.group
    state.last_item, state.last_object, state.verb_seen = None, None, False


def read_part(state: CaptionState, phrase: NounPhrase, start: int, end: int) -> None:
    """A part of a garment: sleeves have a length, a hood can be up, and stripes add their colours."""
    if phrase.possessor:
        read_possessor(state, phrase.possessor, start, phrase.article)
    item = state.group[-1] if state.group else None
    of_subject = state.owner == SUBJECT and state.governor not in ELSEWHERE
    in_apposition = state.previous == COMMA and state.before_previous == CLOTHING and not phrase.article and not state.governor
    is_part = state.governor in (WITH, HAVING) or in_apposition  # "a shirt with white stripes", "a shirt (white stripes)"
    of_item = item if is_part and state.negation < 0 else None
    if phrase.article == "a" and phrase.colors and phrase.head in PATTERNS and of_subject and state.governor in (WEARING, IN):
        garment = replace(phrase, kind=CLOTHING, coverage="upper")  # "in a blue floral and jeans"
        read_clothing(state, garment, start, end)
        return
    is_sleeve = phrase.head == "sleeve" or bool(phrase.sleeves)
    if is_sleeve and phrase.colors and of_subject and state.governor in WORN and not _has_upper(item):
        sleeves = ClothingItem(replace(phrase, kind=CLOTHING, coverage="upper"), start, end, [])
        sleeves.sleeves = WordAt(phrase.sleeves, start) if phrase.sleeves else None
        sleeves.colors = [ColorAt(color, start + at) for color, at in phrase.colors]
        state.reading.items.append(sleeves)  # "in black long sleeves and jeans"
        state.group = [sleeves]
    elif is_sleeve:
        length = "no" if state.negation >= 0 else phrase.sleeves or _predicate(state, end)
        if length and item is not None and _has_upper(item):
            item.sleeves = WordAt(length, start)
        elif length and of_subject:
            state.reading.sleeves.append(WordAt(length, start))
    elif phrase.head == "hood" and of_subject and _hood_is_up(state, end):
        hood = state.analyser.analyse(["hood up"], CLOTHING)
        state.reading.items.append(ClothingItem(hood, start, end, []))
    is_print = phrase.head == "pattern" and not PRINTED.isdisjoint(state.words[end : end + 6])  # "a black pattern on the chest"
    if phrase.colors and phrase.head in COLORED_PARTS and of_item is not None and not is_print:
        colors = [ColorAt(color, start + at) for color, at in phrase.colors]
        if phrase.head == "sleeve" and of_item.phrase.coverage == "full_body" and of_subject:  # sleeves do not colour the skirt
            state.reading.items.append(ClothingItem(NounPhrase(CLOTHING, coverage="upper"), start, end, colors))
        else:
            of_item.colors += colors
    elif phrase.colors and phrase.head in COLORED_PARTS and state.governor == BEING and isinstance(state.predicate_target, list):
        for described in state.predicate_target:  # "his shirt is a red check"
            if described is not None:
                described.colors += [ColorAt(color, start + at) for color, at in phrase.colors]
    last = state.last_item
    in_pocket = phrase.head == "pocket" and state.governor == IN
    on_strap = phrase.head in ("strap", "string", "cord", "loop") and state.hanging_verb_seen
    if (in_pocket or on_strap) and last is not None and last.phrase.coverage == "accessory":
        last.ignored = last.ignored or not last.phrase.counts_if_held  # a cap in a pocket, a hat hanging on its strap
    if of_item is not None:
        of_item.later_words.append(WordAt(phrase.head, start + phrase.head_position))
    state.negation_used = True
    state.last_object = None


def _predicate(state: CaptionState, at: int) -> str:
    """The word that says how long sleeves are after their noun: "his sleeves are long"; empty if none does."""
    if state.tags[at : at + 1] == tags.RELATIVE:
        at += 1
    lengths = state.analyser.vocabulary.meanings.get("sleeves", {})
    if state.tags[at : at + 1] == tags.MODIFIER and state.tags[at + 1 : at + 2] in ("", COMMA, AND, tags.STOP):  # "with the sleeves long"
        return state.words[at] if state.words[at] in lengths else ""
    if state.tags[at : at + 1] != tags.BEING:
        return ""
    return next((word for word in state.words[at + 1 : at + 3] if word in lengths), "")


def _has_upper(item: ClothingItem | None) -> bool:
    return item is not None and item.phrase.coverage in ("upper", "full_body")


def _hood_is_up(state: CaptionState, at: int) -> bool:
    """Whether the next words say that a hood is up."""
    for word in state.words[at : at + 8]:
        if word in HOOD_DOWN:
            return False
        if word in HOOD_UP:
            return True
    return False

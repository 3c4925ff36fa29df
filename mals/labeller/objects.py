"""Noun phrases for objects, places and parts of the body: they tell how the garment before them is carried, and how long hair is."""

from mals.labeller import tags
from mals.labeller.clothing import LIST_SEPARATORS, is_headwear, read_clothing
from mals.labeller.lexicon import nouns
from mals.labeller.lexicon.slips import FOR_CLOTHES, NEVER_AROUND
from mals.labeller.noun_phrases import NounPhrase
from mals.labeller.people import read_possessor
from mals.labeller.reading import ClothingItem, WordAt
from mals.labeller.state import BYSTANDER, SUBJECT, CaptionState
from mals.labeller.tags import BESIDE, CLOTHING, IN, PATH, VERB, WEARING, WITH
from mals.labeller.vocabulary import split_list

BODY_PARTS = frozenset(split_list(nouns.BODY_PARTS))
BACKGROUND = frozenset(split_list("background, backdrop, foreground, scenery, setting, surroundings, distance, scene behind"))
HANGERS = frozenset(
    split_list(
        "hanger, coat hanger, hook, rack, clothes rack, clothing rack, coat rack, clothesline, clothes line, washing line, hat stand"
    )
)
ACTIVE_TAGS = VERB + tags.ING_FORM + tags.HOLDING + tags.LOOKING
HANGING = frozenset(split_list(nouns.HANGING))
ARMS = frozenset(["arm", "forearm", "hand", "elbow", "lap"])
TIED = frozenset(["tied", "knotted", "wrapped"])
TIED_AROUND = frozenset(["waist", "hip", "neck", "shoulder"])
AROUND = ("around", "round", "about")
LONG_HAIR = {  # preposition -> the body parts that make hair long: "past her shoulders"
    "past": ("shoulder", "back", "waist", "chest"),
    "below": ("shoulder", "back", "waist"),
    "beyond": ("shoulder",),
    "down": ("back", "waist"),
    "to": ("waist", "hip", "back"),
}
GROUND = frozenset(["ankle", "floor", "ground", "foot"])
ENDING = frozenset(["ends", "ending", "stops", "stopping", "falls", "falling", "finishes", "hits"])
REACHING = frozenset(["to", "reaches", "reaching", "sweeps", "sweeping", "brushes", "brushing", "touches"])
PLACE_GOVERNORS = PATH + IN + BESIDE
CARRYING_TAGS = (  # of words that can stand between a garment and the body part or hanger that carries it
    VERB + tags.ING_FORM + tags.MODIFIER + tags.ADVERB + tags.HOLDING + tags.LOOKING + tags.WEARING
    + tags.QUALIFIER + PATH + IN + BESIDE + tags.BEING + tags.HAVING
)  # fmt: skip


def read_object(state: CaptionState, phrase: NounPhrase, start: int, end: int) -> None:
    if phrase.possessor:
        read_possessor(state, phrase.possessor, start, phrase.article)
    if (garment := FOR_CLOTHES.get(phrase.head) or FOR_CLOTHES.get(state.words[end - 1])) and _is_worn_noun(state, phrase):
        words = [*state.words[start : end - 1], garment]
        read_clothing(state, state.analyser.analyse(words, state.tags[start : end - 1] + CLOTHING), start, end)
        return
    state.negation_used = True
    head, is_body_part, word_before = phrase.head, phrase.head in BODY_PARTS, state.words[start - 1]
    last = state.last_item
    if head in BACKGROUND and state.clause_is_empty and (state.subject is not None or state.reading.items):
        describe_background(state)
    if state.previous in PLACE_GOVERNORS:
        if last is not None and not last.ignored and (is_body_part or head in HANGERS or state.hanging_verb_seen):
            last.ignored = _is_not_worn(state, last, phrase, start)
        for item in () if is_body_part else state.possibly_unworn:
            item.ignored = item.ignored or not item.phrase.counts_if_held
        if is_body_part and state.group == [None] and state.owner == SUBJECT and head in LONG_HAIR.get(word_before, ()):
            state.reading.hair.append(WordAt("long", start))
    elif state.previous == VERB and state.group == [None] and word_before in REACHING and head in ("waist", "hip"):
        state.reading.hair.append(WordAt("long", start))
    ends_at = word_before == "at" and state.words[start - 2] in ENDING
    if last is not None and head in GROUND and (word_before in REACHING or ends_at):  # a skirt that reaches the ankles
        last.later_words.append(WordAt("long", start))
    if not is_body_part:
        state.group = []
    state.last_item, state.last_object = None, phrase


def _is_worn_noun(state: CaptionState, phrase: NounPhrase) -> bool:
    """Whether a noun stands where only a garment makes sense: "wearing a white skit", "a shirt and blue plants"."""
    if state.owner != SUBJECT:
        return False
    listed = state.previous in LIST_SEPARATORS and bool(state.group) and state.group != [None] and not state.verb_seen
    is_inside = state.governor == IN and state.previous == IN and bool(phrase.colors) and phrase.head in NEVER_AROUND
    return (
        is_inside
        or (state.governor == WEARING and state.previous == WEARING)
        or (listed and bool(phrase.colors) and state.governor in (WEARING, IN, WITH, ""))
    )


def describe_background(state: CaptionState) -> None:
    """The rest of the sentence does not describe the subject."""
    state.owner, state.bystander, state.owns_clause = BYSTANDER, None, True


def _is_not_worn(state: CaptionState, item: ClothingItem, phrase: NounPhrase, start: int) -> bool:
    """Whether a garment is over an arm, around the waist or on a hook."""
    words_between = state.words[item.end : start]
    if any(tag not in CARRYING_TAGS for tag in state.tags[item.end : start]):
        return False
    for word, tag in zip(words_between, state.tags[item.end : start], strict=True):
        if tag in ACTIVE_TAGS and word.endswith(("ing", "s")) and word not in HANGING:  # the wearer walks or holds
            return False
    head, is_accessory, counts_if_held = phrase.head, item.phrase.coverage == "accessory", item.phrase.counts_if_held
    if head not in BODY_PARTS:
        return head in HANGERS or (state.hanging_verb_seen and not counts_if_held)
    if counts_if_held:
        return False
    if is_headwear(item) and head not in ("head", "face", "ear", "eye", "brow", "forehead", "chin"):  # hanging on her back
        return True
    if head in ARMS or (head == "shoulder" and not is_accessory and not phrase.plural):
        return True
    return head in TIED_AROUND and words_between[-1] != "at" and (not TIED.isdisjoint(words_between) or words_between[-1] in AROUND)

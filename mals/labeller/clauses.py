"""Verbs, prepositions, conjunctions, negations and stops: what they say about the phrases that follow."""

from mals.labeller import tags
from mals.labeller.noun_phrases import NounPhrase
from mals.labeller.objects import describe_background
from mals.labeller.people import PERSON_TAGS, leave_non_person, read_pronoun
from mals.labeller.reading import WordAt
from mals.labeller.state import BYSTANDER, NON_PERSON, SUBJECT, CaptionState
from mals.labeller.tags import AND, BEING, BESIDE, CLOTHING, COMMA, HAVING, IN, OTHER_NOUN, PERSON, RELATIVE, STOP, VERB, WEARING, WITH

HANGING = frozenset(["hanging", "hang", "hangs", "hung", "draped", "displayed", "drying", "folded", "lies", "laid"])
WEARING_VERBS = WEARING + BEING + HAVING
WEARING_PREPOSITIONS = IN + WITH
AFTER_NON_PERSON = tags.NON_PERSON + RELATIVE + BEING + HAVING  # where "wearing" is what a dog wears
PHRASE_ENDS = ("", COMMA, STOP, AND)
RELATIVE_CONTRACTIONS = frozenset(["that's", "which's", "who's"])
FINITE_FORMS = ("wore", "had", "was", "were")


def read_being(state: CaptionState, at: int) -> None:
    """A verb like "is": the next adjectives and colours describe what stands before it."""
    if state.words[at] in RELATIVE_CONTRACTIONS and state.previous != STOP:  # "a top that's red"
        read_relative(state, at)
        state.before_previous, state.previous = state.previous, RELATIVE
    after_relative = state.previous == RELATIVE
    previous = state.list_kind if after_relative else state.previous
    if not after_relative and state.topic:
        state.predicate_target = state.topic
    elif after_relative and previous == CLOTHING:  # "a red top and a skirt that is black"
        is_plural = state.words[at] in ("are", "were")
        state.predicate_target = [
            item for item in state.group if item is state.last_item or (is_plural and item is not None and not item.has_color)
        ]
    elif previous in CLOTHING + tags.HAIR:
        state.predicate_target = state.group
    else:  # "he is", "a man in red, and is bald", "his head is bald"
        is_person = previous in PERSON_TAGS or (previous in (AND, COMMA) and state.owner == SUBJECT)
        is_head = state.last_object is not None and state.last_object.head == "head"
        state.predicate_target = state.subject if is_person or is_head else None
    read_verb(state, at)
    state.governor = BEING


def read_having(state: CaptionState, at: int) -> None:
    """A verb like "has": the clause is about the garment before a relative pronoun in "trousers that have a brown hue"."""
    if state.previous == RELATIVE and state.list_kind == CLOTHING:
        state.topic = [state.last_item]
    read_verb(state, at)


def read_verb(state: CaptionState, at: int) -> None:
    word, tag = state.words[at], state.tags[at]
    _end_negation(state)
    if tag == VERB and state.previous == BEING and state.before_previous == tags.NOT:  # "his hair cannot be seen"
        state.negation = -1
    is_of_hair = state.previous == tags.HAIR or (state.governor == BEING and state.predicate_target == [None])
    if is_of_hair and state.owner == SUBJECT:  # "her hair braided", "his hair is shaved"
        state.reading.hair.append(WordAt(word, at))
    if state.owner == NON_PERSON and not (tag in WEARING_VERBS and state.previous in AFTER_NON_PERSON):
        leave_non_person(state)
    is_finite = word.endswith("s") or word in FINITE_FORMS
    if tag == BEING and state.previous == COMMA and state.in_relative_clause and not state.subject_acted:
        state.in_relative_clause = False  # "a woman beside a child, who wears red, is in black"
    if state.owner == BYSTANDER and not state.owns_clause and not state.in_relative_clause:
        if _returns_to_subject(state, word, tag, is_finite):
            state.owner = SUBJECT
        else:
            state.bystander_acted = True
    if state.owner == SUBJECT and is_finite:
        state.subject_acted = True
    if word in HANGING:
        state.hanging_verb_seen = True
        items = state.topic or [state.last_item]
        state.possibly_unworn = [item for item in items if item is not None] if word.endswith("s") else []
    state.verb_seen = True
    state.governor = VERB if tag == tags.ING_FORM else tag


def _returns_to_subject(state: CaptionState, word: str, tag: str, is_finite: bool) -> bool:
    """Whether the subject of this verb is the caption's subject and not the bystander that was just named."""
    is_participle = word.endswith(("ing", "ed")) or word.startswith(("dressed", "clad"))
    if is_finite and not state.subject_acted:  # "a girl beside a boy in red wears …"
        return True
    if tag == WEARING and is_participle and state.previous == OTHER_NOUN and not state.group:  # "… a child in a park wearing"
        return True
    return state.previous == COMMA or (state.previous == AND and not (is_participle and state.bystander_acted))


def read_preposition(state: CaptionState, at: int) -> None:
    tag, last = state.tags[at], state.last_item
    _end_negation(state)
    if state.owner == NON_PERSON and not (tag in WEARING_PREPOSITIONS and state.previous in tags.NON_PERSON + WEARING):
        leave_non_person(state)
    is_aside = state.owner == BYSTANDER and not state.owns_clause and not state.in_relative_clause
    if is_aside and state.previous == COMMA and tag in WEARING_PREPOSITIONS:
        state.owner = SUBJECT
    if state.words[at] == "off" and state.previous == CLOTHING and state.tags[at + 1 : at + 2] in PHRASE_ENDS and last is not None:
        last.ignored = True  # "with his hat off"
    if tag == BESIDE and state.previous == STOP and state.words[at].startswith("in the ") and state.subject is not None:
        describe_background(state)  # "in the background"
    if state.words[at] == "on" and state.tags[at + 1 : at + 2] in PHRASE_ENDS:  # "has a black top on, …"
        return
    state.governor = tag


def _end_negation(state: CaptionState) -> None:
    """A negation that has negated something ends at the next verb or preposition."""
    if state.negation_used:
        state.negation, state.negation_used = -1, False


def read_negation(state: CaptionState, at: int) -> None:
    if state.words[at].startswith(("is", "are", "was", "were")):
        read_being(state, at)
    elif state.previous == BEING and isinstance(state.predicate_target, list) and state.tags[at + 1 : at + 2] in PHRASE_ENDS:
        for item in state.predicate_target:  # "bag: none"
            if item is not None:
                item.negation = at
    state.negation, state.negation_used = at, False


def read_restriction(state: CaptionState, at: int) -> None:
    """A restriction ("only", "but") ends a negation."""
    state.negation = -1


def read_relative(state: CaptionState, at: int) -> None:
    """A relative pronoun ("who"): the next verbs belong to the person just named."""
    state.in_relative_clause = state.owner == BYSTANDER
    state.governor = ""


def read_subordinator(state: CaptionState, at: int) -> None:
    """A subordinator ("while", "as") starts a clause, which describes the subject unless it names someone else."""
    if state.owner == NON_PERSON:
        leave_non_person(state)
    state.owner = SUBJECT
    state.start_clause()


def read_stop(state: CaptionState, at: int) -> None:
    """The end of a sentence."""
    if state.subject is None and any(item.negation < 0 and not item.ignored for item in state.reading.items):
        state.subject = NounPhrase(PERSON)
    mentioned_last = state.last_item if state.owner == SUBJECT else None
    read_subordinator(state, at)
    state.owns_clause = state.in_relative_clause = False
    state.mentioned_last = mentioned_last
    state.list_governor = ""
    state.subject_acted = False


def read_lone_possessive(state: CaptionState, at: int) -> None:
    """A possessive without a noun: "her" is an object pronoun."""
    if state.words[at] == "her":
        read_pronoun(state, at)

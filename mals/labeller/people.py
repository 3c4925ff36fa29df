"""Whom a caption describes: its subject, bystanders, and non-persons (animals, mannequins, posters) with clothes of their own."""

from mals.labeller.lexicon import function_words
from mals.labeller.noun_phrases import ANIMALS, COLLECTIVE_PERSONS, NounPhrase
from mals.labeller.reading import ClothingItem, Reading, ValueAt
from mals.labeller.state import BYSTANDER, NON_PERSON, SUBJECT, CaptionState
from mals.labeller.tags import (
    AND,
    BEING,
    CLOTHING,
    COLOR,
    COMMA,
    DETERMINER,
    HAVING,
    HOLDING,
    LOOKING,
    OF,
    PATH,
    PERSON,
    PRONOUN,
    STOP,
    SUBORDINATOR,
    VERB,
    WITH,
)
from mals.labeller.vocabulary import split_list

SUBJECT_PRONOUNS = frozenset(split_list(function_words.SUBJECT_PRONOUNS))
ANIMAL_CLOTHES = frozenset(
    split_list("sweater, coat, jacket, vest, hat, shirt, t shirt, costume, outfit, hoodie, raincoat, cap, life vest, jersey")
)
PERSON_TAGS = PERSON + PRONOUN
CLAUSE_BOUNDARIES = SUBORDINATOR + STOP
NAME_BOUNDARIES = STOP + AND + COMMA + SUBORDINATOR  # after which "the woman's" can begin a statement about the subject
INVERTED_VERBS = BEING + VERB + HAVING  # before the pronoun in "nor is he", "nor does he", "nor has he"
COMPANY = (WITH, LOOKING, HOLDING)
SUBJECT_GOVERNORS = ("", BEING, SUBORDINATOR, OF, PATH)  # after which "the man" can be the subject


def read_person(state: CaptionState, phrase: NounPhrase, start: int, end: int) -> None:
    """A noun phrase for a person: the subject, the subject again, or a bystander."""
    if phrase.possessor:
        read_possessor(state, phrase.possessor, start, phrase.article)
    if state.negation >= 0 and not state.negation_used:  # "no other people"
        state.negation_used = True
        return
    state.negation = -1
    subject = state.subject
    if subject is None:
        name_subject(state, phrase, start)
    elif state.previous == OF and state.before_previous == PERSON:  # "a group of women"
        if state.owner == SUBJECT:
            state.subject = phrase
            name_subject(state, phrase, start)
    elif _is_one_of_several(state, phrase, subject):
        state.reading = Reading()
        state.subject = None
        name_subject(state, phrase, start)
    elif _is_subject(state, phrase, subject, end):
        state.owner = SUBJECT
        name_subject(state, phrase, start)
    elif not (state.owner == BYSTANDER and state.previous == COMMA and state.before_previous == PERSON):  # "his mother, a woman …"
        state.owns_clause = (
            state.clause_is_empty
            or phrase.possessor == "whose"
            or state.previous in CLAUSE_BOUNDARIES
            or (state.previous == COMMA and not state.verb_seen and not state.group)
        )
        state.owner, state.bystander = BYSTANDER, phrase
        state.bystander_names.add(phrase.head)
        state.in_relative_clause = state.bystander_acted = False
    of_garment = state.previous == CLOTHING or (state.previous == OF and state.before_previous == CLOTHING)
    if state.owner == SUBJECT and of_garment and state.topic:  # "the top that the man wears is black", "the top of the man is black"
        return
    state.group, state.topic, state.predicate_target, state.last_item, state.last_object = [], [], None, None, None


def name_subject(state: CaptionState, phrase: NounPhrase, start: int) -> None:
    """Take over what this phrase says about the subject; earlier phrases have priority."""
    if state.subject is None or not state.subject.head:
        state.subject = phrase
    known = {entry.attribute for entry in state.reading.values}
    position = start + phrase.head_position
    state.reading.values += [ValueAt(attribute, value, position) for attribute, value in phrase.meanings if attribute not in known]
    if phrase.gender and not state.subject.gender:
        state.reading.pronoun_gender = state.reading.pronoun_gender or phrase.gender


def subject_gender(state: CaptionState) -> str:
    """woman, man, or empty if it is not known yet."""
    return (state.subject.gender if state.subject is not None else "") or state.reading.pronoun_gender


def _is_one_of_several(state: CaptionState, phrase: NounPhrase, subject: NounPhrase) -> bool:
    """Whether the subject was a group of which the caption now describes one person: "people watch a man"."""
    return (
        subject.head in COLLECTIVE_PERSONS
        and state.owner == SUBJECT
        and not phrase.plural
        and phrase.head not in COLLECTIVE_PERSONS
        and not phrase.possessor
    )


def _is_subject(state: CaptionState, phrase: NounPhrase, subject: NounPhrase, end: int) -> bool:
    """Whether another mention of a person can only be the subject."""
    gender = subject_gender(state)
    is_company = state.governor == state.previous and state.previous in COMPANY  # "talking with the woman"
    if phrase.bystander or is_company or (phrase.gender and gender and phrase.gender != gender):
        return False
    if not phrase.article and state.previous == STOP and not state.bystander_names and not phrase.plural:
        return not subject.plural  # "Male in a coat. Male carries a bag."
    if not subject.head and not state.bystander_names and _is_lone_entry(state, phrase, end):
        return not phrase.plural
    if phrase.article in ("a", ""):  # "he is a tall man", "the subject, a man in …"
        after_being = state.previous == BEING or (state.previous == PRONOUN and state.governor == BEING)  # "she's a tall woman"
        linked = after_being or (state.previous == COMMA and state.before_previous in PERSON_TAGS)
        return state.owner == SUBJECT and linked and not phrase.plural
    if phrase.article != "the" or phrase.plural != subject.plural:
        return False
    if phrase.head in state.bystander_names and phrase.head != subject.head:
        return False
    return phrase.head == subject.head or state.governor in SUBJECT_GOVERNORS


def _is_lone_entry(state: CaptionState, phrase: NounPhrase, end: int) -> bool:
    """Whether a person is a sentence or an entry of a list: "A red coat. A young man.", "gender: f (female)"."""
    after = state.tags[end : end + 1]
    return after in ("", STOP) if state.previous == STOP else state.previous == after == COMMA and not phrase.article


def read_pronoun(state: CaptionState, at: int) -> None:
    """A personal pronoun: "he" can return to the subject, "him" only confirms a gender."""
    word = state.words[at].split("'")[0]
    item = _garment_of_pronoun(state, word, at)
    if item is not None:
        state.group = state.topic = [item]
        state.last_item, state.governor = item, ""
        return
    if word in ("it", "there", "that"):
        return
    gender = state.analyser.vocabulary.gender_of.get(word, "")
    if word not in SUBJECT_PRONOUNS:
        bystander_differs = state.bystander is not None and state.bystander.gender not in ("", gender)
        if gender and (state.owner == SUBJECT or bystander_differs):
            _add_pronoun(state, gender, at)
        if state.words[at - 1] == "for":  # "a coat too large for him, blue jeans"
            state.governor = ""
        return
    if state.owner == NON_PERSON:
        leave_non_person(state)
    if state.subject is None:
        state.subject = NounPhrase(PERSON)
    known = subject_gender(state)
    if gender and known and gender != known:
        state.owner, state.owns_clause, state.in_relative_clause = BYSTANDER, True, False
    elif gender or state.bystander is None or not state.bystander.plural:
        state.owner = SUBJECT
        _add_pronoun(state, gender, at)
    if state.previous != CLOTHING or not state.topic:  # but "the skirt she wears is red"
        state.start_clause()
    if state.previous in INVERTED_VERBS and state.before_previous == AND and state.words[at - 2] == "nor":  # "nor is he wearing a hat"
        state.negation = at - 2
    if "'" in state.words[at]:  # "she's"
        state.predicate_target, state.governor, state.verb_seen = state.subject, BEING, True


def _garment_of_pronoun(state: CaptionState, word: str, at: int) -> ClothingItem | None:
    """The garment that a pronoun means at the beginning of a clause: "a t-shirt. It is green", "trousers. They are black"."""
    item = state.mentioned_last if state.previous == STOP else state.last_item if state.previous in (AND, COMMA) else None
    after = state.tags[at + 1 : at + 2]
    if word == "it" and after in (BEING, HAVING):
        return item
    they_are_colored = word == "they" and after == BEING and COLOR in state.tags[at + 2 : at + 5]
    return item if they_are_colored and item is not None and item.phrase.plural else None


def _add_pronoun(state: CaptionState, gender: str, at: int) -> None:
    """A pronoun of the subject, unless its gender contradicts what is known."""
    if gender and subject_gender(state) in ("", gender):
        state.reading.pronoun_gender = gender
        state.reading.pronouns.append(at)


def read_possessor(state: CaptionState, possessor: str, at: int, article: str = "") -> None:
    """A possessive before a noun ("his", "the woman's"): what follows is the subject's or a bystander's."""
    at = state.words.index(possessor, at)
    if possessor.endswith("'s"):
        if article != "a" or state.subject is None:  # "a man's jacket" is a kind of jacket
            _read_named_possessor(state, possessor[:-2])
        return
    gender = state.analyser.vocabulary.gender_of.get(possessor, "")
    if not gender:
        return
    known = subject_gender(state)
    if state.owner == BYSTANDER:
        bystander_gender = state.bystander.gender if state.bystander is not None else ""
        if gender not in (bystander_gender, "") and (known == gender or (not known and bystander_gender)):
            state.owner = SUBJECT
    elif state.owner == SUBJECT and known and known != gender and state.bystander_names:
        state.owner, state.owns_clause = BYSTANDER, True
    if state.owner == SUBJECT:
        _add_pronoun(state, gender, at)


def _read_named_possessor(state: CaptionState, name: str) -> None:
    if state.analyser.vocabulary.tag_of.get(name) != PERSON:
        return
    phrase = state.analyser.analyse(["the", name], DETERMINER + PERSON)
    gender = subject_gender(state)
    if state.subject is None or (not state.subject.head and phrase.gender == gender and state.previous in NAME_BOUNDARIES):
        name_subject(state, phrase, 0)
        state.owner = SUBJECT
    elif phrase.gender and gender and phrase.gender != gender:
        state.owner, state.owns_clause = BYSTANDER, True
    elif state.previous in NAME_BOUNDARIES or name == state.subject.head:
        state.owner = SUBJECT
    else:
        state.bystander_names.add(name)  # "holding a little girl's hand"


def read_non_person(state: CaptionState, phrase: NounPhrase, start: int, end: int) -> None:
    """A dog or a mannequin: what it directly wears is its own."""
    if phrase.possessor:
        read_possessor(state, phrase.possessor, start, phrase.article)
    state.owner_before_non_person, state.owner, state.non_person, state.non_person_items = state.owner, NON_PERSON, phrase, []
    state.group, state.last_item, state.last_object = [], None, phrase


def leave_non_person(state: CaptionState) -> None:
    """The owner before is the owner again; clothes that no animal wears were the subject's."""
    state.owner = state.owner_before_non_person
    animal = state.non_person is not None and state.non_person.head in ANIMALS
    if state.owner == SUBJECT and animal and any(item.phrase.head not in ANIMAL_CLOTHES for item in state.non_person_items):
        state.reading.items += state.non_person_items
    state.non_person_items, state.non_person = [], None

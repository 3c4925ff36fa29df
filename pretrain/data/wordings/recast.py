"""A caption with some of its phrases left out, the others in another order, and nothing that it did not say.

A caption is cut where a person's clothes and hair stand in lists behind one word: "a woman [with long hair] [wearing a green coat and a
black skirt] [standing next to a car]. [She has a bag.]" Lists lose and exchange entries; lists, what the person does, and further
sentences about the same person are left out or change places; and so do the parts of a caption of key words. What a list is followed by
decides whether it can be moved, so a part that the cuts do not understand stays where it is. The labeller has the last word: every claim
of the new wording is one of the old one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from numpy.random import Generator

from mals.labeller import tags
from mals.labeller.grammar import OTHER_WORD, PHRASE
from mals.labeller.labeller import Labeller
from pretrain.data.wordings.claims import claims_of

WORN = tags.CLOTHING + tags.HAIR
GOVERNORS = tags.WEARING + tags.WITH + tags.IN + tags.HOLDING
PARTICIPLE = re.compile(r"(wearing|carrying|holding|dressed|clad|with|in)\b", re.IGNORECASE)  # how a list begins that a sentence can lose
SEPARATORS = tags.AND + tags.COMMA
ACTIONS = tags.ING_FORM + tags.HOLDING + tags.LOOKING  # what a person does, if it is a participle: "holding a ball"
AFTER_LIST = tags.STOP + tags.BEING + tags.VERB + ACTIONS  # what does not belong to the last entry of a list
BEFORE_LIST = WORN + tags.PERSON  # what a list that can be left out follows
IN_SENTENCES = tags.WEARING + tags.BEING + tags.HAVING + tags.VERB + tags.IN + tags.PRONOUN  # what a caption of key words does not have
PRONOUN = re.compile(r"(he|she|they|his|her|their)\b", re.IGNORECASE)  # how a sentence begins that can be left out
SENTENCE = re.compile(r"(?<=[.!?])\s+")
TRIES = 4  # wordings that may claim something else before the caption stays as it is


@dataclass(frozen=True)
class Unit:
    """A noun phrase or another word of a sentence."""

    kind: str  # a tag
    start: int
    end: int


@dataclass(frozen=True)
class Listed:
    """Clothes behind one word: "wearing a green coat and a black skirt"."""

    first: int  # the unit of the governor
    last: int  # after the last entry
    entries: tuple[Unit, ...]
    movable: bool  # it can be left out, or change places with its neighbours


def recast(caption: str, random: Generator, labeller: Labeller) -> str:
    """Another wording; the caption itself where it has nothing to leave out, or where every try claims something else."""
    claims = claims_of(labeller, caption)
    for _ in range(TRIES):
        keep = 0.3 + 0.7 * random.random()  # the probability that a part stays
        changed = _recast_sentences(caption, random, keep, labeller)
        if changed != caption and claims_of(labeller, changed).items() <= claims.items():
            return changed
    return caption


def _recast_sentences(caption: str, random: Generator, keep: float, labeller: Labeller) -> str:
    """Sentences about the same person that follow the first one are left out or exchanged, and each is recast."""
    first, *others = SENTENCE.split(caption.strip())
    if all(PRONOUN.match(other) for other in others):
        others = [others[at] for at in random.permutation(len(others)).tolist() if random.random() < keep]
    return " ".join(_recast_sentence(sentence, random, keep, labeller) for sentence in (first, *others))


def _recast_sentence(sentence: str, random: Generator, keep: float, labeller: Labeller) -> str:
    units = _units(sentence, labeller)
    if any(unit.kind == tags.NOT for unit in units):
        return sentence
    first, *others = sentence.split(", ")
    if len(others) > 1 and not any(unit.kind in IN_SENTENCES for unit in units):  # "girl, brown ponytail, polo shirt, yellow skirt"
        kept = [others[number] for number in random.permutation(len(others)).tolist() if random.random() < keep]
        return ", ".join([first, *kept])
    pieces, at = [], 0
    lists = _lists(units, sentence)
    while lists:
        run = [lists.pop(0)]
        while lists and run[-1].movable and lists[0].movable and _only_separators(units[run[-1].last : lists[0].first]):
            run.append(lists.pop(0))
        start = units[run[0].first].start
        pieces.append(sentence[at:start].strip(" ,") if run[0].movable else sentence[at:start].strip())
        pieces.append(_recast_run(run, sentence, units, random, keep))
        at = units[run[-1].last - 1].end
    action = _action(units, sentence, at)
    end = sentence[at:]
    if action is not None and random.random() >= keep:
        end = sentence[at : action[0]].rstrip(" ,") + sentence[action[1] :]
    pieces.append(end.strip() if not re.match(r"[.,;!?]", end) else end)
    text = " ".join(piece for piece in pieces if piece)
    return re.sub(r"\s+([.,;!?])", r"\1", text)


def _recast_run(run: Sequence[Listed], sentence: str, units: Sequence[Unit], random: Generator, keep: float) -> str:
    """Lists side by side: each with some of its entries in any order, some of them, in any order."""
    chosen = [each for each in run if not each.movable or random.random() < keep]
    texts = []
    for each in [chosen[at] for at in random.permutation(len(chosen)).tolist()]:
        entries = [each.entries[at] for at in random.permutation(len(each.entries)).tolist()]
        entries = [entry for entry in entries if random.random() < keep] or entries[:1]
        words = [sentence[entry.start : entry.end] for entry in entries]
        governor = sentence[units[each.first].start : each.entries[0].start].rstrip()
        texts.append(f"{governor} {', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else f"{governor} {words[0]}")
    return ", ".join(texts)


def _units(sentence: str, labeller: Labeller) -> list[Unit]:
    words, spans = labeller.vocabulary.split_with_spans(sentence)
    word_tags = labeller.grammar.tag(words)
    units = []
    for match in PHRASE.finditer(word_tags):
        first, last = match.span()
        kind = word_tags[first]
        if match.lastindex != OTHER_WORD:
            phrase = labeller.grammar.analyser.analyse(words[first:last], word_tags[first:last])
            kind = tags.UNKNOWN_WORD if phrase.parts[0] else phrase.kind
        units.append(Unit(kind, spans[first][0], spans[last - 1][1]))
    return units


def _lists(units: Sequence[Unit], sentence: str) -> list[Listed]:
    """Every list of clothes or hair, in order; one that what follows might belong to is left whole."""
    lists, at = [], 0
    while at + 1 < len(units):
        if units[at].kind not in GOVERNORS or units[at + 1].kind not in WORN:
            at += 1
            continue
        entries, last = [units[at + 1]], at + 2
        while (following := _next_entry(units, last)) is not None:
            entries.append(units[following])
            last = following + 1
        if _is_whole(units, last):
            begins = PARTICIPLE.match(sentence, units[at].start)
            follows = at > 0 and _before(units, at) in BEFORE_LIST
            lists.append(Listed(at, last, tuple(entries), bool(begins) and follows))
        at = last
    return lists


def _before(units: Sequence[Unit], at: int) -> str:
    """The kind of the unit before `at`, over a comma."""
    before = units[at - 1].kind
    return units[at - 2].kind if before == tags.COMMA and at > 1 else before


def _next_entry(units: Sequence[Unit], at: int) -> int | None:
    """The position of the next entry of a list behind commas and "and"; None where it ends."""
    end = at
    while end < len(units) and units[end].kind in SEPARATORS:
        end += 1
    return end if at < end < len(units) and units[end].kind in WORN else None


def _is_whole(units: Sequence[Unit], at: int) -> bool:
    """Whether a list ends before the unit `at`: the sentence does, or another list, a verb or what the person does begins."""
    while at < len(units) and units[at].kind == tags.COMMA:
        at += 1
    if at >= len(units) or units[at].kind in AFTER_LIST:
        return True
    return units[at].kind in GOVERNORS and at + 1 < len(units) and units[at + 1].kind in WORN


def _only_separators(units: Sequence[Unit]) -> bool:
    return all(unit.kind == tags.COMMA for unit in units)


def _action(units: Sequence[Unit], sentence: str, at: int) -> tuple[int, int] | None:
    """Where what the person does stands behind the last list, up to the end of the sentence: "standing next to a car"."""
    behind = [unit for unit in units if unit.start >= at and unit.kind != tags.COMMA]
    if not behind or behind[0].kind not in ACTIONS or not sentence[: behind[0].end].endswith("ing"):
        return None
    stop = next((unit.start for unit in behind if unit.kind == tags.STOP), len(sentence))
    return behind[0].start, stop

"""From a caption to what it says about its subject: a shallow grammar over tags, read once from left to right.

How it decides. Words become tags (`vocabulary`), and a regular expression finds noun phrases, whose heads and qualities `nouns` knows.
Between them stand prepositions, verbs, conjunctions and stops, each of which changes what the next phrase means:

- Who. The first person is the subject. Any other person, unless "the man" or "he" can only mean the subject, takes over what follows, until
  a clause is the subject's again: a full stop, "and she …", "while", a finite verb after "and" or a comma. A dog or a mannequin takes what
  it directly wears. What stands after "next to", on a rack or in a shop is nobody's.
- How. What is held, slung over an arm or tied around the waist is not worn; "no", "without" and "not" deny what follows, through "or".
- Colours belong to the head of their phrase, to both nouns of "a black shirt and pants", to the subject of "is", and to a person "in red".
"""

import re

from mals.labeller import lexicon
from mals.labeller.noun_phrases import COLOURED_PARTS, Noun, Nouns
from mals.labeller.people import FIGURE, OTHER, SUBJECT, Cast
from mals.labeller.reading import Reading, Worn
from mals.labeller.tags import Vocabulary, listed

# A noun phrase over tags. Everything is bounded, so that reading takes linear time on any input.
_COLORS = r"C(?:(?:,[QMY]{0,4}C){0,4},?&{1,2}[QMY]{0,4}C)?"  # black; black and white; red, white and dark blue
_LIST = r"(?<=[MQU])&(?=[QMY]{0,9}[MQ][QMYC]{0,9}[GH])|(?<=[MQ]),(?=[QMY]{1,9}H)"  # long and flowing; short, curly (hair)
_VERBAL = r"I(?=[QMC]{0,9}[GT])|(?<=[DSCMQ])V(?=[QMC]{0,9}[GTN])"  # running (shoes); a tucked (shirt)
_QUALITY = rf"[QMYU]|{_COLORS}|{_LIST}|{_VERBAL}"
_COMMA = r"(?<=[MCQ]),(?=[QMYC]{1,9}[GHT])"  # a soft, green (sweater), where an article holds the phrase together
_HEAD = r"(?:[NU]|T(?=[GTN])|A(?=[NGT])|P(?=[PG])|G(?=[GTN])|H(?=[GN])){0,12}[GHTPANU]"
_OPEN = r"[DSY]{0,9}+"
CHUNK = re.compile(
    rf"({_OPEN}(?<=[DS])(?:{_QUALITY}|{_COMMA}){{0,20}}{_HEAD}|{_OPEN}(?:{_QUALITY}){{0,20}}{_HEAD})"  # 1: a noun phrase
    rf"|([DSYQM]{{0,12}}+{_COLORS}[QMYC]*)"  # 2: colours alone
    r"|([DS]{0,9}[QMY]+(?:,?&[QMY]+)*|[DSY]{0,9}[QMY]+)"  # 3: qualities alone
    r"|(.)"  # 4: anything else
)
BARE_LIST = re.compile("G(?:,G){0,8},?&G")
LIST = 60  # words of a list that are looked at at once: time stays linear on any input
AMBIGUOUS = re.compile("(?<=(.))[vzt](?=(.?))")
HOLDERS = frozenset(listed(lexicon.HOLDERS))
PLACES = frozenset(listed(lexicon.PLACES))
BODY = frozenset(listed(lexicon.BODY))
ARMS = frozenset(["arm", "forearm", "hand", "elbow", "lap"])
TIED_ROUND = frozenset(["waist", "hip", "neck", "shoulder"])
BACKGROUND = frozenset(listed("background, backdrop, foreground, scenery, setting, surroundings, distance, scene behind"))
PEGS = frozenset(
    listed("hanger, coat hanger, hook, rack, clothes rack, clothing rack, coat rack, clothesline, clothes line, washing line, hat stand")
)
HANGING = frozenset(["hanging", "hang", "hangs", "hung", "draped", "displayed", "drying", "folded", "lies", "laid"])
TIED = frozenset(["tied", "knotted", "wrapped"])
FAR_DOWN = {
    "past": "shoulder back waist chest",
    "below": "shoulder back waist",
    "beyond": "shoulder",
    "down": "back waist",
    "to": "waist hip",
}  # fmt: skip
GROUND = frozenset(["ankle", "floor", "ground", "foot"])
REACHES = frozenset(["to", "reaches", "reaching", "sweeps", "sweeping", "brushes", "brushing", "touches"])
HOOD_UP = frozenset(["up", "raised", "over"])
HOOD_DOWN = frozenset(["down", "back", "off", "lowered"])


class Grammar:
    """Reads captions with the words of one attribute space."""

    def __init__(self, vocabulary: Vocabulary):
        self.vocabulary = vocabulary
        self.nouns = Nouns(vocabulary)

    def read(self, words: list[str]) -> Reading:
        """What `words` say; joined phrases are one word."""
        tags = self.vocabulary.tags(words)
        if "v" in tags or "t" in tags or "z" in tags:
            tags = AMBIGUOUS.sub(_settled, "." + tags)[1:]
        scene = Scene(self.nouns, words, tags)
        scene.run()
        return scene.reading


def _settled(found: re.Match[str]) -> str:
    """A noun that can be a verb is one after a noun; "sports" is one after a person; "that" relates before a verb or pronoun."""
    if found[0] == "t":
        return "L" if found[2] and found[2] in "VWKkBFpXv" else "D"
    if found[0] == "z":
        return "W" if found[1] in "Pp." else "M"
    return "V" if found[1] in "PpGHT,&.YLNt" else "N"


class Scene(Cast):
    """One caption while it is read: what its words are, and how they are said."""

    __slots__ = ()

    def run(self) -> None:
        words, tags, nouns = self.words, self.tags, self.nouns
        for found in CHUNK.finditer(tags):
            start, end = found.span()
            if found.lastindex == 4:
                kind = tags[start]
                if kind in HANDLERS:
                    HANDLERS[kind](self, start)
            else:
                noun = nouns(words[start:end], tags[start:end])
                kind = noun.kind
                if self.previous in "&,!" and not self.via:
                    self.go_on(end)
                if self.owner == FIGURE and (kind not in "GC" or (self.previous in "&," and not self.fig_worn)):
                    self.leave_figure()
                NOUN_HANDLERS[kind](self, noun, start, end)
                self.list_via, self.list_kind, self.via = self.via, kind, ""
                self.clause = False
            self.before, self.previous = self.previous, kind
        if self.owner == FIGURE:
            self.leave_figure()

    def go_on(self, end: int) -> None:
        """A list goes on as it began, unless a clause begins: "… at her phone and a bag hangs"."""
        verb = self.tags[end : end + 1]
        listed_subjects = self.lead is self.group and bool(self.group) and not self.verbs  # "his shirt and pants are"
        if verb and verb in "VWKFB" and (verb == "B" or self.words[end].endswith("s")) and not listed_subjects:
            self.begin()
        elif self.list_via != "R" or self.list_kind == "G":
            self.via = self.list_via

    # What

    def garment(self, noun: Noun, start: int, end: int) -> None:
        if noun.owner:
            self.own(noun.owner, start, noun.article)
        worn = Worn(noun, start, end, [(color, start + at) for color, at in noun.colors])
        if noun.sleeves:
            worn.sleeves = (noun.sleeves, start)
        joined = self.previous in "&," and bool(self.group) and not self.verbs
        if self.denial >= 0:
            self.deny(worn)
        if not worn.colors and worn.denied < 0:
            mate = self.group[-1] if joined else self.last if noun.matching else None
            if mate is not None and (noun.matching or self.shares(noun, start)):
                worn.colors = list(mate.colors)
        via, thing = self.via, self.thing
        stored = thing is not None and thing.head in HOLDERS and (via == "O" or (via == "w" and noun.plural and not noun.article))
        stored = stored or (joined and not noun.article and self.group[-1] is not None and self.group[-1].lost and via in ("O", "w"))
        worn.lost = stored or via in ("R", "k") or (via == "K" and not noun.carried)
        if self.owner == SUBJECT:
            self.reading.worn.append(worn)
        elif self.owner == FIGURE:
            self.fig_worn.append(worn)
        leads = (
            self.clause or (joined and self.lead is self.group) or (not joined and self.previous in "&," and noun.article in ("his", "the"))
        )
        self.group = [*self.group[-LIST:], worn] if joined else [worn]
        if leads:
            self.lead = self.group
        self.last, self.thing, self.verbs, self.hung = worn, None, False, False

    def shares(self, noun: Noun, start: int) -> bool:
        """Whether a noun has the colours of the one before it: "a black shirt and pants", but not "a black shirt, pants"."""
        if noun.article or noun.qualified or noun.default:
            return False
        if not noun.plural or (self.words[start - 1] == "and" and self.before != ","):
            return True
        mate = self.group[-1] if self.group else None
        goes_on = self.words[start - 1] == "and" and mate is not None and not mate.noun.article and not mate.noun.colors
        return goes_on or bool(BARE_LIST.match(self.tags, start))

    def deny(self, worn: Worn) -> None:
        """ "no", "without" and "not" deny what follows, and what is listed after it: "no hat or bag"."""
        noun, start = worn.noun, worn.at
        if self.denied:
            bare = not worn.colors and noun.part == "apart"
            if self.previous == "&":
                goes_on = self.words[start - 1] in ("or", "nor") or (bare or not (noun.article or worn.colors))
            else:
                goes_on = self.previous == "," and ((bare and not noun.article) or self.or_follows(worn.end))
            if not goes_on:
                self.denial = -1
                return
        worn.denied = self.denial
        self.denied = True

    def or_follows(self, at: int) -> bool:
        """Whether the list goes on to an "or"."""
        end = min(len(self.tags), at + LIST)
        while at < end and self.tags[at] in "&,DSCQMYTGNHU":
            if self.words[at] in ("or", "nor"):
                return True
            at += 1
        return False

    def hair(self, noun: Noun, start: int, end: int) -> None:
        if noun.owner:
            self.own(noun.owner, start, noun.article)
        if self.owner == SUBJECT and self.via not in ("R", "k"):
            if self.denial >= 0:
                self.reading.hair.append(("no", start))
            else:
                self.reading.hair += [(self.words[at], at) for at in range(start, end)]
        self.denied = True
        leads = self.clause or (self.previous in "&," and noun.article in ("his", "the"))
        self.group = [None]
        if leads:
            self.lead = self.group
        self.last, self.thing, self.verbs = None, None, False

    def part(self, noun: Noun, start: int, end: int) -> None:
        """Part of a garment: sleeves have a length, a hood can be up, and stripes give their colour."""
        if noun.owner:
            self.own(noun.owner, start, noun.article)
        worn = self.group[-1] if self.group else None
        mine = self.owner == SUBJECT and self.via not in ("R", "k")
        if noun.head == "sleeve" or noun.sleeves:
            said = "no" if self.denial >= 0 else noun.sleeves
            if said and worn is not None and worn.noun.part in ("upper", "whole"):
                worn.sleeves = (said, start)
            elif said and mine:
                self.reading.sleeves.append((said, start))
        elif noun.head == "hood" and mine and self.is_up(end):
            up = self.nouns(["hood up"], "G")
            self.reading.worn.append(Worn(up, start, end, []))
        if noun.colors and noun.head in COLOURED_PARTS and worn is not None and self.via in ("w", "F") and self.denial < 0:
            colors = [(color, start + at) for color, at in noun.colors]
            if noun.head == "sleeve" and worn.noun.part == "whole" and mine:  # sleeves are no skirt
                self.reading.worn.append(Worn(Noun("G", part="upper"), start, end, colors))
            else:
                worn.colors += colors
        if noun.head == "pocket" and self.via == "E" and self.last is not None and self.last.noun.part == "apart":
            self.last.lost = self.last.lost or not self.last.noun.carried  # a cap in a pocket
        if worn is not None and self.via in ("w", "F") and self.denial < 0:
            worn.words.append((noun.head, start + noun.at))
        self.denied = True
        self.thing = None

    def is_up(self, at: int) -> bool:
        """Whether a hood is said to be up in the words that follow it."""
        for word in self.words[at : at + 8]:
            if word in HOOD_DOWN or word in ",.;":
                return False
            if word in HOOD_UP:
                return True
        return False

    def object(self, noun: Noun, start: int, end: int) -> None:
        """Anything that is not worn; parts of the body tell how the garment before them is carried."""
        if noun.owner:
            self.own(noun.owner, start, noun.article)
        self.denied = True
        head, body = noun.head, noun.head in BODY
        if head in BACKGROUND and self.clause and (self.subject is not None or self.reading.worn):
            self.hand_over()
        if self.previous in "oER":
            if self.last is not None and not self.last.lost and (body or head in PEGS or self.hung):
                self.last.lost = self.is_lost(self.last, noun, start)
            for worn in () if body else self.idle:
                worn.lost = worn.lost or not worn.noun.carried
            if body and self.group == [None] and self.owner == SUBJECT and head in FAR_DOWN.get(self.words[start - 1], "").split():
                self.reading.hair.append(("long", start))
        elif self.previous == "V" and self.group == [None] and self.words[start - 1] in REACHES and head in ("waist", "hip"):
            self.reading.hair.append(("long", start))
        if self.last is not None and head in GROUND and self.words[start - 1] in REACHES:  # a skirt that reaches the ankles
            self.last.words.append(("long", start))
        if not body:
            self.group = []
        self.last, self.thing = None, noun

    def hand_over(self) -> None:
        """The rest of the sentence is about nobody that is described."""
        self.owner, self.other, self.clausal = OTHER, None, True

    def is_lost(self, worn: Worn, noun: Noun, start: int) -> bool:
        """Whether a garment is over an arm, around the waist or on a hook, and so not worn."""
        between = self.words[worn.end : start]
        if any(tag not in "VIMYKkWQoERBF" for tag in self.tags[worn.end : start]):
            return False
        head, clothes = noun.head, worn.noun.part != "apart"
        if head not in BODY:
            return head in PEGS or (self.hung and not worn.noun.carried)
        if worn.noun.carried:
            return False
        if head in ARMS or (head == "shoulder" and clothes and not noun.plural):
            return True
        tied = not TIED.isdisjoint(between) or between[-1] in ("around", "round", "about")
        return tied and head in TIED_ROUND

    # How it is said

    def color(self, noun: Noun, start: int, end: int) -> None:
        """Colours that stand alone: of the subject of "is", of a garment or of a person "in" them."""
        if self.denial >= 0:
            self.denial = -1
            return
        via, colors = self.via, [(color, start + at) for color, at in noun.colors]
        last = self.last
        if (
            self.previous == "G"
            and last is not None
            and not last.colors
            and not noun.article
            and self.tags[end : end + 1] in ("", ",", ".", "&")
        ):
            self.paint([last], colors)  # "his trousers gray, …"
        elif self.previous == "," and self.words[start] in ("both", "all"):  # "a top and a skirt, both red"
            self.paint(self.group, colors)
        elif via == "O" and self.before == "G" and not noun.article:  # "a jacket of blue denim"
            self.paint(self.group[-1:], colors)
        elif via == "B":
            self.paint(self.target if isinstance(self.target, list) else [], colors)
        elif via == "E" and self.previous == "E" and self.before == "G":
            self.paint(self.group, colors)
        elif via in ("E", "W") and noun.article not in ("a", "the") and self.owner == SUBJECT:
            somewhere = self.thing is not None and self.thing.head in PLACES
            self.reading.colors += colors if via == "W" or self.before != "N" or somewhere else []

    def paint(self, group: list[Worn | None], colors: list[tuple[str, int]]) -> None:
        for worn in group:
            if worn is not None:
                worn.colors += colors

    def quality(self, noun: Noun, start: int, end: int) -> None:
        """Adjectives that stand alone."""
        said = [(self.words[at], at) for at in range(start, end)]
        if noun.other and noun.article and self.previous == "E" and self.last is not None and not self.last.noun.carried:
            self.last.lost = True  # "a coat in the other"
        if self.denial >= 0:
            self.denial = -1 if self.via == "B" else self.denial
            return
        target, sleeves = self.target if self.via == "B" else None, self.nouns.vocabulary.sleeves
        if isinstance(target, list):
            for worn in target:
                if worn is not None:
                    worn.words += said
                    of_sleeves = [(sleeves[word], at) for word, at in said if word in sleeves]
                    worn.sleeves = of_sleeves[0] if of_sleeves else worn.sleeves
                elif self.owner == SUBJECT:
                    self.reading.hair += said
        elif self.owner == SUBJECT:
            if isinstance(target, Noun) or self.previous in "P,p":
                self.about(said)
            if self.group == [None] and self.previous in "VKWHI,&":
                self.reading.hair += said

    def about(self, said: list[tuple[str, int]]) -> None:
        about = self.nouns.vocabulary.about
        known = {attribute for attribute, _, _ in self.reading.said}
        self.reading.said += [(a, v, at) for word, at in said for _, a, v in about.get(word, ()) if a not in known]

    def be(self, at: int) -> None:
        previous = self.list_kind if self.previous == "L" else self.previous
        if self.previous != "L" and self.lead:
            self.target = self.lead
        elif previous in "GH":
            self.target = self.group
        elif previous in "Pp" or (self.thing is not None and self.thing.head == "head"):
            self.target = self.subject
        else:
            self.target = None
        self.verb(at)
        self.via = "B"

    def verb(self, at: int) -> None:
        word, tag = self.words[at], self.tags[at]
        if self.denied:
            self.denial, self.denied = -1, False
        if self.owner == FIGURE and not (tag in "WBF" and self.previous in "ALBF"):
            self.leave_figure()
        if self.owner == OTHER and not self.clausal and not self.relative:
            participle = word.endswith(("ing", "ed")) or word.startswith(("dressed", "clad"))
            away = tag == "W" and participle and self.previous == "N" and not self.group  # "… a child in a park wearing"
            first = not self.finite and self.is_finite(word)  # "a girl beside a boy in red wears …"
            if first or away or self.previous == "," or (self.previous == "&" and not (participle and self.stirred)):
                self.owner = SUBJECT
            else:
                self.stirred = True
        if self.owner == SUBJECT and self.is_finite(word):
            self.finite = True
        if word in HANGING:
            self.hung = True
            self.idle = [worn for worn in self.lead or [self.last] if worn is not None] if word.endswith("s") else []
        self.verbs = True
        self.via = "V" if tag == "I" else tag

    def is_finite(self, word: str) -> bool:
        return word.endswith("s") or word in ("wore", "had", "was", "were")

    def lead_in(self, at: int) -> None:
        """A preposition."""
        tag = self.tags[at]
        if self.denied:
            self.denial, self.denied = -1, False
        if self.owner == FIGURE and not (tag in "Ew" and self.previous in "AW"):
            self.leave_figure()
        if self.owner == OTHER and not self.clausal and not self.relative and self.previous == "," and tag in "Ew":
            self.owner = SUBJECT
        if self.words[at] == "off" and self.previous == "G" and self.tags[at + 1 : at + 2] in ("", ",", ".", "&") and self.last is not None:
            self.last.lost = True  # "with his hat off"
        if tag == "R" and self.previous == "." and self.words[at].startswith("in the ") and self.subject is not None:
            self.hand_over()  # "in the background"
        self.via = tag

    def deny_next(self, at: int) -> None:
        if self.words[at].startswith(("is", "are", "was", "were")):
            self.be(at)
        self.denial, self.denied = at, False

    def restrict(self, at: int) -> None:
        self.denial = -1

    def relate(self, at: int) -> None:
        self.relative = self.owner == OTHER
        self.via = ""

    def turn(self, at: int) -> None:
        """ "while" and "as": another clause."""
        if self.owner == FIGURE:
            self.leave_figure()
        self.owner = SUBJECT
        self.begin()

    def stop(self, at: int) -> None:
        if self.subject is None and any(worn.denied < 0 and not worn.lost for worn in self.reading.worn):
            self.subject = Noun("P")
        self.turn(at)
        self.clausal = self.relative = False
        self.list_via = ""
        self.finite = False

    def possess_nothing(self, at: int) -> None:
        """ "her" without a noun is an object."""
        if self.words[at] == "her":
            self.pronoun(at)


HANDLERS = {
    **dict.fromkeys("VWKkFI", Scene.verb),
    **dict.fromkeys("EwoRO", Scene.lead_in),
    "B": Scene.be,
    "X": Scene.deny_next,
    "!": Scene.restrict,
    "L": Scene.relate,
    "J": Scene.turn,
    ".": Scene.stop,
    "p": Scene.pronoun,
    "S": Scene.possess_nothing,
}
NOUN_HANDLERS = {
    "G": Scene.garment,
    "H": Scene.hair,
    "T": Scene.part,
    "P": Scene.person,
    "A": Scene.of_figure,
    "N": Scene.object,
    "C": Scene.color,
    "a": Scene.quality,
}

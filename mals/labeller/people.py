"""Who a caption speaks of: its subject, other persons, and animals and figures that wear something of their own."""

from mals.labeller import lexicon
from mals.labeller.noun_phrases import ANIMALS, COLLECTIVE, Noun, Nouns
from mals.labeller.reading import Reading, Worn
from mals.labeller.tags import listed

SUBJECT, OTHER, FIGURE = 0, 1, 2
NOMINATIVE = frozenset(lexicon.NOMINATIVE.split())
ANIMAL_WEAR = frozenset(
    listed("sweater, coat, jacket, vest, hat, shirt, t shirt, costume, outfit, hoodie, raincoat, cap, life vest, jersey")
)


class Cast:
    """The state of one caption while it is read, and whose its next words are."""

    __slots__ = (
        "before", "clausal", "clause", "denial", "denied", "fig_worn", "figure", "finite", "group", "hung", "idle", "last", "lead",
        "list_kind", "list_via", "nouns", "other", "others", "owner", "previous", "reading", "relative", "saved", "stirred",
        "subject", "tags", "target", "thing", "verbs", "via", "words",
    )  # fmt: skip

    def __init__(self, nouns: Nouns, words: list[str], tags: str):
        self.nouns, self.words, self.tags = nouns, words, tags
        self.reading = Reading()
        self.subject: Noun | None = None
        self.owner = SUBJECT  # of what comes now
        self.other: Noun | None = None
        self.others: set[str] = set()  # what other persons were called
        self.clausal = False  # the other person is what its clause is about
        self.relative = False  # "… a man who": its verbs are his
        self.stirred = False  # the other person has done something
        self.figure: Noun | None = None
        self.fig_worn: list[Worn] = []
        self.saved = SUBJECT  # the owner before the figure
        self.previous, self.before = ".", "."  # the last two phrases or words, by kind
        self.list_via = self.list_kind = ""  # what led to the last noun phrase, and its kind
        self.finite = False  # the subject has done something in this sentence
        self.begin()

    def begin(self) -> None:
        """A clause begins."""
        self.via = ""  # what leads to the next phrase
        self.clause = True  # nothing has been named in this clause yet
        self.denial, self.denied = -1, False  # the place of "no", and whether it has denied something yet
        self.group: list[Worn | None] = []  # the last garments that were named together; None for hair
        self.lead: list[Worn | None] = []  # those that the clause is about
        self.target: list[Worn | None] | Noun | None = None  # what "is" says something of
        self.last: Worn | None = None
        self.thing: Noun | None = None
        self.verbs = self.hung = False  # since the last garment: any verb, one of hanging
        self.idle: list[Worn] = []  # what "lies" or "hangs" somewhere

    def person(self, noun: Noun, start: int, end: int) -> None:
        if noun.owner:
            self.own(noun.owner, start, noun.article)
        if self.denial >= 0 and not self.denied:  # "no other people"
            self.denied = True
            return
        self.denial = -1
        subject = self.subject
        if subject is None:
            self.name(noun, start)
        elif self.previous == "O" and self.before == "P":  # "a group of women"
            if self.owner == SUBJECT:
                self.subject = noun
                self.name(noun, start)
        elif subject.head in COLLECTIVE and self.owner == SUBJECT and not noun.plural and noun.head not in COLLECTIVE and not noun.owner:
            self.reading = Reading()
            self.subject = None
            self.name(noun, start)
        elif self.is_subject(noun, subject):
            self.owner = SUBJECT
            self.name(noun, start)
        elif not (self.owner == OTHER and self.previous == "," and self.before == "P"):  # "his mother, a woman …"
            self.clausal = (
                self.clause
                or noun.owner == "whose"
                or self.previous in "J."
                or (self.previous == "," and not self.verbs and not self.group)
            )
            self.owner, self.other = OTHER, noun
            self.others.add(noun.head)
            self.relative = self.stirred = False
        self.group, self.lead, self.target, self.last, self.thing = [], [], None, None, None

    def name(self, noun: Noun, start: int) -> None:
        """The subject is called this; what it was called first counts."""
        if self.subject is None or not self.subject.head:
            self.subject = noun
        said = {attribute for attribute, _, _ in self.reading.said}
        self.reading.said += [(attribute, value, start + noun.at) for attribute, value in noun.says if attribute not in said]
        if noun.sex and not self.subject.sex:
            self.reading.sex = self.reading.sex or noun.sex

    def sex(self) -> str:
        """Of the subject, as far as it is known."""
        return (self.subject.sex if self.subject is not None else "") or self.reading.sex

    def is_subject(self, noun: Noun, subject: Noun) -> bool:
        """Whether a further mention of a person can only be the subject's."""
        sex = self.sex()
        if noun.other or (noun.sex and sex and noun.sex != sex):
            return False
        if noun.article in ("a", ""):  # "he is a tall man", "the subject, a man in …"
            linked = self.previous == "B" or (self.previous == "," and self.before in "Pp")
            return self.owner == SUBJECT and linked and not noun.plural
        if noun.article != "the" or noun.plural != subject.plural or (noun.head in self.others and noun.head != subject.head):
            return False
        return noun.head == subject.head or self.via in ("", "B", "J", "O", "o")

    def pronoun(self, at: int) -> None:
        word = self.words[at].split("'")[0]
        if word in ("it", "there", "that"):
            return
        sex = self.nouns.vocabulary.sex.get(word, "")
        if word not in NOMINATIVE:
            if sex and (self.owner == SUBJECT or (self.other is not None and self.other.sex not in ("", sex))):
                self.call(sex, at)
            return
        if self.owner == FIGURE:
            self.leave_figure()
        if self.subject is None:
            self.subject = Noun("P")
        known = self.sex()
        if sex and known and sex != known:
            self.owner, self.clausal, self.relative = OTHER, True, False
        elif sex or self.other is None or not self.other.plural:
            self.owner = SUBJECT
            self.call(sex, at)
        self.begin()
        if self.previous in "BVF" and self.before == "&" and self.words[at - 2] == "nor":  # "nor is he wearing a hat"
            self.denial = at - 2
        if "'" in self.words[at]:  # "she's"
            self.target, self.via, self.verbs = self.subject, "B", True

    def call(self, sex: str, at: int) -> None:
        """A pronoun for the subject."""
        if sex and self.sex() in ("", sex):
            self.reading.sex = sex
            self.reading.pronouns.append(at)

    def own(self, owner: str, at: int, article: str = "") -> None:
        """ "his", "her" or "the woman's" before a noun: whose it is."""
        vocabulary = self.nouns.vocabulary
        if owner.endswith("'s"):
            if article != "a" or self.subject is None:  # "a man's jacket" is a kind of jacket
                self.own_by_name(owner[:-2])
            return
        sex = vocabulary.sex.get(owner, "")
        if not sex:
            return
        known = self.sex()
        if self.owner == OTHER:
            theirs = self.other.sex if self.other is not None else ""
            if sex not in (theirs, "") and (known == sex or (not known and theirs)):
                self.owner = SUBJECT
        elif self.owner == SUBJECT and known and known != sex and self.others:
            self.owner, self.clausal = OTHER, True
        if self.owner == SUBJECT:
            self.call(sex, at)

    def own_by_name(self, name: str) -> None:
        vocabulary = self.nouns.vocabulary
        if vocabulary.tag.get(name) != "P":
            return
        noun = self.nouns(["the", name], "DP")
        if self.subject is None:
            self.name(noun, 0)
        elif noun.sex and self.sex() and noun.sex != self.sex():
            self.owner, self.clausal = OTHER, True
        elif self.previous in ".&,J" or name == self.subject.head:
            self.owner = SUBJECT

    def of_figure(self, noun: Noun, start: int, end: int) -> None:
        """A dog or a mannequin: what it directly wears is its own."""
        if noun.owner:
            self.own(noun.owner, start, noun.article)
        self.saved, self.owner, self.figure, self.fig_worn = self.owner, FIGURE, noun, []
        self.group, self.last, self.thing = [], None, noun

    def leave_figure(self) -> None:
        """Back to whom it was about; what no dog wears was the person's."""
        self.owner = self.saved
        animal = self.figure is not None and self.figure.head in ANIMALS
        if self.owner == SUBJECT and animal and any(worn.noun.head not in ANIMAL_WEAR for worn in self.fig_worn):
            self.reading.worn += self.fig_worn
        self.fig_worn, self.figure = [], None

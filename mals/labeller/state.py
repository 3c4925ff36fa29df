"""What the grammar remembers of a caption while it reads it from left to right."""

from dataclasses import dataclass, field

from mals.labeller.noun_phrases import NounPhrase, PhraseAnalyser
from mals.labeller.reading import ClothingItem, Reading
from mals.labeller.tags import STOP

SUBJECT, BYSTANDER, NON_PERSON = 0, 1, 2  # to whom the words belong that are being read
Items = list[ClothingItem | None]  # None for hair


@dataclass(slots=True)
class CaptionState:
    """The state of one caption; the modules people, clothing, objects, descriptions and clauses change it."""

    analyser: PhraseAnalyser
    words: list[str]
    tags: str
    reading: Reading = field(default_factory=Reading)
    subject: NounPhrase | None = None
    owner: int = SUBJECT  # of the next words
    bystander: NounPhrase | None = None
    bystander_names: set[str] = field(default_factory=set)  # the nouns that name other persons
    owns_clause: bool = False  # the bystander is the grammatical subject of its clause
    in_relative_clause: bool = False  # "… a man who": the next verbs are the bystander's
    bystander_acted: bool = False  # a verb has had the bystander as its subject
    non_person: NounPhrase | None = None
    non_person_items: list[ClothingItem] = field(default_factory=list)
    owner_before_non_person: int = SUBJECT
    previous: str = STOP  # the kind of the last phrase or word
    before_previous: str = STOP  # the kind of the one before
    list_governor: str = ""  # governor of the last noun phrase
    list_kind: str = ""  # kind of the last noun phrase
    mentioned_last: ClothingItem | None = None  # the garment with which the sentence before ended: what "it" means
    subject_acted: bool = False  # this sentence has a finite verb of the subject

    # Of one clause: set by start_clause.
    governor: str = field(init=False)  # the tag of the verb or preposition that the next phrase depends on
    clause_is_empty: bool = field(init=False)  # no phrase of this clause has been read
    negation: int = field(init=False)  # the position of "no", or -1
    negation_used: bool = field(init=False)  # "no" has negated something
    group: Items = field(init=False)  # the last garments that were listed together
    topic: Items = field(init=False)  # the garments that the clause is about
    predicate_target: Items | NounPhrase | None = field(init=False)  # what an adjective after "is" describes
    last_item: ClothingItem | None = field(init=False)
    last_object: NounPhrase | None = field(init=False)
    verb_seen: bool = field(init=False)  # since the last garment
    hanging_verb_seen: bool = field(init=False)  # since the last garment
    possibly_unworn: list[ClothingItem] = field(init=False)  # the garments that "lie" or "hang" somewhere

    def __post_init__(self) -> None:
        self.start_clause()

    def start_clause(self) -> None:
        self.governor = ""
        self.clause_is_empty = True
        self.negation, self.negation_used = -1, False
        self.group, self.topic, self.possibly_unworn = [], [], []
        self.predicate_target = self.last_item = self.last_object = None
        self.verb_seen = self.hanging_verb_seen = False

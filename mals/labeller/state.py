"""What the grammar remembers of a caption while it reads it from left to right."""

from mals.labeller.noun_phrases import NounPhrase, PhraseAnalyser
from mals.labeller.reading import ClothingItem, Reading
from mals.labeller.tags import STOP

SUBJECT, BYSTANDER, NON_PERSON = 0, 1, 2  # to whom the words belong that are being read


class CaptionState:
    """The state of one caption; the modules people, clothing, objects, descriptions and clauses change it."""

    __slots__ = (
        "analyser", "before_previous", "bystander", "bystander_acted", "bystander_names", "clause_is_empty", "governor", "group",
        "hanging_verb_seen", "in_relative_clause", "last_item", "last_object", "list_governor", "list_kind", "negation",
        "negation_used", "non_person", "non_person_items", "owner", "owner_before_non_person", "owns_clause", "possibly_unworn",
        "predicate_target", "previous", "reading", "subject", "subject_acted", "tags", "topic", "verb_seen", "words",
    )  # fmt: skip

    def __init__(self, analyser: PhraseAnalyser, words: list[str], tags: str):
        self.analyser, self.words, self.tags = analyser, words, tags
        self.reading = Reading()
        self.subject: NounPhrase | None = None
        self.owner = SUBJECT  # of the next words
        self.bystander: NounPhrase | None = None
        self.bystander_names: set[str] = set()  # the nouns that name other persons
        self.owns_clause = False  # the bystander is the grammatical subject of its clause
        self.in_relative_clause = False  # "… a man who": the next verbs are the bystander's
        self.bystander_acted = False  # a verb has had the bystander as its subject
        self.non_person: NounPhrase | None = None
        self.non_person_items: list[ClothingItem] = []
        self.owner_before_non_person = SUBJECT
        self.previous, self.before_previous = STOP, STOP  # the kinds of the last two phrases or words
        self.list_governor = self.list_kind = ""  # governor and kind of the last noun phrase
        self.subject_acted = False  # this sentence has a finite verb of the subject
        self.start_clause()

    def start_clause(self) -> None:
        self.governor = ""  # the tag of the verb or preposition that the next phrase depends on
        self.clause_is_empty = True  # no phrase of this clause has been read
        self.negation, self.negation_used = -1, False  # the position of "no"; whether it has negated something yet
        self.group: list[ClothingItem | None] = []  # the last garments that were listed together; None for hair
        self.topic: list[ClothingItem | None] = []  # the garments that the clause is about
        self.predicate_target: list[ClothingItem | None] | NounPhrase | None = None  # what an adjective after "is" describes
        self.last_item: ClothingItem | None = None
        self.last_object: NounPhrase | None = None
        self.verb_seen = self.hanging_verb_seen = False  # since the last garment
        self.possibly_unworn: list[ClothingItem] = []  # the garments that "lie" or "hang" somewhere

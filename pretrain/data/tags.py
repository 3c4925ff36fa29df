"""Parts of speech of a caption's words, by nltk or spaCy where they are installed with their data, or by the lexicon of our labeller.

Tags are those of the Penn Treebank (NN, NNS, JJ, PRP$, VBG ...). Nothing is downloaded.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from mals.errors import ModelMissing, UserError

SPACY_MODEL = "en_core_web_sm"
SOURCES = ("auto", "nltk", "spacy", "own")
HOW_TO_INSTALL = {
    "nltk": "`pip install nltk` and `python -m nltk.downloader averaged_perceptron_tagger_eng` install it with its data",
    "spacy": f"`pip install spacy` and `python -m spacy download {SPACY_MODEL}` install it with its data",
}
ENDING = r"['’](?:s|re|ve|ll|d|m)\b"  # of a contraction
WORD = re.compile(rf"(?i)[^\W_]+?(?=n['’]t\b)|n['’]t\b|{ENDING}|[^\W_]+(?:(?!{ENDING})(?:[-/:'’]|(?<=\d)[.,](?=\d))[^\W_]+)*|[^\w\s]|_")
OWN_TAGS = {  # of the labeller's tags, by the names in mals.labeller.tags
    "possessive": "PRP$",
    "pronoun": "PRP",
    "color": "JJ",
    "qualifier": "JJ",
    "modifier": "JJ",
    "modifier_or_wearing": "NNS",
    "clothing": "NN",
    "garment_part": "NN",
    "hair": "NN",
    "person": "NN",
    "non_person": "NN",
    "other_noun": "NN",
    "unknown_word": "NN",
    "ing_form": "VBG",
    "noun_or_verb": "VB",
    "verb": "VB",
    "wearing": "VB",
    "holding": "VB",
    "looking": "VB",
    "being": "VB",
    "having": "VB",
    "adverb": "RB",
    "not": "RB",
    "determiner": "DT",
    "and": "CC",
    "stop": ".",
    "comma": ",",
}
OTHER = "IN"  # the tag of all other words: prepositions and what joins clauses
OWN_WORDS = {"whose": "WP$", "'s": "POS", "n't": "RB", "ca": "MD", "wo": "MD"}  # words that the labeller counts otherwise, or lacks
OWN_WORDS |= dict.fromkeys(("'re", "'ve", "'ll", "'d", "'m"), "VB") | dict.fromkeys(("it", "itself", "i", "me", "we", "us", "you"), "PRP")

Tag = Callable[[Sequence[Sequence[str]]], list[list[str]]]  # sentences, each a list of words -> a tag for each word


class Tagger(NamedTuple):
    """Tags words of sentences, and a phrase that says whose tags they are."""

    tag: Tag
    source: str


def split(caption: str) -> list[str]:
    """The words and punctuation marks of a caption, as the Penn Treebank splits them: "she's" is "she" and "'s", "t-shirt" is one word."""
    return WORD.findall(caption)


def find_tagger(source: str = "auto", setting: str = "tags") -> Tagger:
    """The tagger of a name of SOURCES; "auto" is nltk, else spaCy, else our own, as far as they are here.

    Raises UserError, which names the `setting`, for another name, and where the one that is named is missing or has no data.
    """
    if source not in SOURCES:
        raise UserError(f"{setting}={source} must be one of {', '.join(SOURCES)}")
    finders: dict[str, Callable[[], Tagger | None]] = {"nltk": _nltk, "spacy": _spacy}
    if source in finders:
        tagger = finders[source]()
        if tagger is None:
            raise ModelMissing(
                f"{setting}={source} is not installed with its data; {HOW_TO_INSTALL[source]}; {setting}=own works without it"
            )
        return tagger
    if source == "auto":
        for find in finders.values():
            if (tagger := find()) is not None:
                return tagger
    return Tagger(own_tags, "the labeller's lexicon" + (", since neither nltk nor spaCy is here with its data" if source == "auto" else ""))


def own_tags(sentences: Sequence[Sequence[str]]) -> list[list[str]]:
    """Tags by the labeller's lexicon, a word at a time; a word that it lacks is tagged by its form, as a noun where that says nothing."""
    from mals.attributes import load_space
    from mals.labeller import tags
    from mals.labeller.vocabulary import Vocabulary

    vocabulary, known = Vocabulary(load_space("market1501")), dict(OWN_WORDS)
    for word in {word.lower() for words in sentences for word in words} - known.keys():
        known[word] = _own_tag(word, vocabulary, tags.NAMES)
    return [[known[word.lower()] for word in words] for words in sentences]


def _own_tag(word: str, vocabulary: Any, names: dict[str, str]) -> str:
    if not any(letter.isalnum() for letter in word):
        return "."
    if word[0].isdigit():
        return "JJ" if re.search(r"\d-[a-z]", word) else "CD"
    spaced = word.replace("-", " ").replace("’", "'")
    return OWN_TAGS.get(names[vocabulary.tag_of.get(spaced) or vocabulary.guess(spaced)], OTHER)


def _nltk() -> Tagger | None:
    """nltk's perceptron, None where it or its data are missing."""
    try:
        nltk = import_module("nltk")
        nltk.pos_tag(["word"])
    except (ImportError, LookupError):
        return None

    def tag(sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        return [[tag for _, tag in words] for words in nltk.pos_tag_sents(sentences)]

    return Tagger(_of_words(tag), f"nltk {nltk.__version__}")


def _spacy() -> Tagger | None:
    """spaCy's small English model, None where either is missing."""
    try:
        spacy = import_module("spacy")
        model = spacy.load(SPACY_MODEL, exclude=["parser", "ner", "lemmatizer"])
    except (ImportError, OSError):
        return None

    def tag(sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        documents: Iterable[Any] = (spacy.tokens.Doc(model.vocab, words=list(words)) for words in sentences)
        return [[word.tag_ for word in document] for document in model.pipe(documents)]

    return Tagger(_of_words(tag), f"spaCy {spacy.__version__} with {SPACY_MODEL} {model.meta['version']}")


def _of_words(tag: Tag) -> Tag:
    """The same tagger, which sees no empty word and no empty sentence; an empty word has the tag ""."""

    def careful(sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        full = [[word for word in words if word] for words in sentences]
        tagged = iter(tag([words for words in full if words]))
        tags = [iter(next(tagged)) if words else iter(()) for words in full]
        return [[next(own) if word else "" for word in words] for words, own in zip(sentences, tags, strict=True)]

    return careful

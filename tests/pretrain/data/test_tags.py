"""Parts of speech of captions: how they are split, our own tags, and which tagger a setting means."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from mals.errors import UserError
from pretrain.data import tags
from pretrain.data.tags import find_tagger, own_tags, split


class Missing:
    """A stand-in for a tagger that is not installed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name in ("nltk", "spacy"):
            raise ModuleNotFoundError(name)


@pytest.fixture(autouse=True)
def no_installed_tagger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide taggers that this machine may have."""
    for name in ("nltk", "spacy"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])


def nltk(data: bool = True) -> SimpleNamespace:
    """The part of nltk that is used: it tags a word by its length, and refuses empty words as the real one does."""

    def pos_tag(words: list[str]) -> list[tuple[str, str]]:
        if not data:
            raise LookupError("averaged_perceptron_tagger_eng")
        return [(word, f"T{word[0]}{len(word)}") for word in words]

    return SimpleNamespace(pos_tag=pos_tag, pos_tag_sents=lambda sentences: [pos_tag(words) for words in sentences], __version__="9")


def test_captions_are_split_as_the_penn_treebank_splits_them() -> None:
    for caption, words in {
        "The woman has long, dark hair; she's here.": "The|woman|has|long|,|dark|hair|;|she|'s|here|.",
        "A man’s t-shirt isn't black/white (or grey)": "A|man|’s|t-shirt|is|n't|black/white|(|or|grey|)",
        "3-inch heels, 1,200 at 10:30am; rock'n'roll": "3-inch|heels|,|1,200|at|10:30am|;|rock'n'roll",
        "blue,red.They'll see": "blue|,|red|.|They|'ll|see",
        "": "",
    }.items():
        assert "|".join(split(caption)) == words


def test_our_own_tags_are_those_of_the_labellers_lexicon() -> None:
    sentence = split("The woman isn't wearing her knee-length skirt and 3-inch heels, whose frobs it quickly shows.")
    marks = own_tags([sentence, []])
    assert marks[1] == []
    assert dict(zip(sentence, marks[0], strict=True)) == {
        "The": "DT", "woman": "NN", "is": "VB", "n't": "RB", "wearing": "VB", "her": "PRP$", "knee-length": "JJ", "skirt": "NN",
        "and": "CC", "3-inch": "JJ", "heels": "NN", ",": ".", "whose": "WP$", "frobs": "NN", "it": "PRP", "quickly": "RB",
        "shows": "VB", ".": ".",
    }  # fmt: skip
    assert find_tagger("own").tag is own_tags and find_tagger("auto").source.endswith("since neither nltk nor spaCy is here with its data")


def test_nltk_is_used_where_it_is_here_with_its_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nltk", nltk())  # type: ignore[arg-type]
    for source in ("auto", "nltk"):
        tagger = find_tagger(source)
        assert tagger.source == "nltk 9"
        assert tagger.tag([["a", "", "red"], [""], [], ["hat"]]) == [["Ta1", "", "Tr3"], [""], [], ["Th3"]]
    monkeypatch.setitem(sys.modules, "nltk", nltk(data=False))  # type: ignore[arg-type]
    assert find_tagger("auto").tag is own_tags


def test_spacy_is_used_where_it_is_here_with_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    class Model:
        vocab, meta = "words", {"version": "3"}

        def pipe(self, documents: Any) -> Any:
            return documents

    def load(name: str, exclude: list[str]) -> Model:
        if name != "en_core_web_sm":
            raise OSError(name)
        return Model()

    document = SimpleNamespace(Doc=lambda vocab, words: [SimpleNamespace(tag_=word.upper()) for word in words])
    monkeypatch.setitem(sys.modules, "spacy", SimpleNamespace(load=load, tokens=document, __version__="4"))  # type: ignore[arg-type]
    for source in ("auto", "spacy"):
        assert find_tagger(source).source == "spaCy 4 with en_core_web_sm 3"
        assert find_tagger(source).tag([["red", "hat"], [""]]) == [["RED", "HAT"], [""]]
    monkeypatch.setattr(tags, "SPACY_MODEL", "another")
    assert find_tagger("auto").tag is own_tags


def test_a_tagger_that_is_not_here_is_one_sentence() -> None:
    for source, message in {
        "nltk": "^uit.tags=nltk is not installed with its data; .*averaged_perceptron_tagger_eng.*; uit.tags=own works without it$",
        "spacy": "^uit.tags=spacy is not installed with its data; .*en_core_web_sm.*; uit.tags=own works without it$",
        "penn": "^uit.tags=penn must be one of auto, nltk, spacy, own$",
    }.items():
        with pytest.raises(UserError, match=message):
            find_tagger(source, "uit.tags")

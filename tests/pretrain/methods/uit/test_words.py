"""UIT's captions: words of content alone, and tokens masked by their tags, as the authors' code does it with the same tags."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from mals.errors import UserError
from pretrain.data.batch import Text
from pretrain.data.captions import exchange_sides
from pretrain.data.random_numbers import uniform
from pretrain.data.tags import Tagger, find_tagger, split
from pretrain.data.tokenizers import ClipBpe, Tokenizer, WordList, WordPiece
from pretrain.data.tokenizers.masking import TokenMasking
from pretrain.methods.uit.words import NAMING, CaptionTags, WordFilter, is_content, masking_by_tags, piece_texts

GOLDEN = Path(os.environ.get("MALS_GOLDEN") or Path(__file__).parents[3] / "golden")
VECTORS = json.loads((GOLDEN / "methods/tokens/masking.json").read_text())
NOUN, OTHER = 0.3, 0.05


@pytest.fixture(scope="module")
def bpe() -> Tokenizer:
    return ClipBpe.load(Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz")


@pytest.mark.golden
@pytest.mark.parametrize("number", range(len(VECTORS["sen"])))
def test_masks_are_those_of_the_authors_code(bpe: Tokenizer, number: int) -> None:
    row = VECTORS["sen"][number]
    ids, shares = torch.tensor([row["ids"]]), np.full((1, bpe.max_tokens), OTHER)
    places = [at for at, token in enumerate(row["ids"]) if 0 < token < bpe.mask_id]
    shares[0, places] = [NOUN if tag.startswith(NAMING) else OTHER for tag in row["tags"]]  # of places: a token has several tags here
    random = np.full((1, 2, bpe.max_tokens), 0.999)
    random[0, 0, places] = row["u"]
    words = iter(row["words"])
    for at in places:
        if row["masked_ids"][at] not in (row["ids"][at], bpe.mask_id):
            random[0, 1, at] = (next(words) - 1 + 0.5) / (bpe.mask_id - 1)
    masked, targets = TokenMasking().mask_with(Text(ids, ids > 0), random.reshape(1, -1), bpe, shares)
    if not places:  # the authors' code replaces the end token of a caption without words
        assert masked.ids.equal(ids) and (targets == -100).all()
        return
    assert masked.ids[0].tolist() == row["masked_ids"]
    assert targets[0].masked_fill(targets[0] == -100, 0).tolist() == row["labels"]


@pytest.mark.golden
def test_pieces_are_tagged_as_the_authors_code_tags_them(bpe: Tokenizer) -> None:
    published, right = piece_texts(bpe, published=True), piece_texts(bpe)
    for row in VECTORS["sen"]:
        tokens = [token for token in row["ids"] if 0 < token < bpe.mask_id]
        assert [published[token] for token in tokens] == row["string_that_was_tagged"]
    (first, *_) = bpe.pieces(["rucksack"])
    assert [published[token] for token in first] == ["", "sack"] and "".join(right[token] for token in first) == "rucksack"


@pytest.mark.golden
def test_the_filter_keeps_the_words_of_the_authors_code() -> None:
    for row in VECTORS["sen_filter"]:
        tagger = Tagger(lambda sentences, tags=row["tags"]: [tags[: len(words)] for words in sentences], "given")
        caption = " ".join(row["words"])
        assert split(caption) == row["words"]
        tags = CaptionTags.of(tagger, [caption], [])
        assert tags.keep(caption) == row["filtered"] and tags.empty == (not row["filtered"])


CAPTIONS = ["The light coat is red", "light the left lamp", "of the", "She wears a light coat", "a light hat of her left hand"]


def by_neighbour(sentences: list[list[str]]) -> list[list[str]]:
    """A word is a noun, "light" at the start a verb, short words nothing."""
    return [
        ["VB" if word == "light" and not at else "NN" if len(word) > 3 else "IN" for at, word in enumerate(words)] for words in sentences
    ]


def test_a_word_is_kept_by_its_tag_in_its_own_caption() -> None:
    tags = CaptionTags.of(Tagger(by_neighbour, "mine"), [*CAPTIONS, *CAPTIONS], [])
    assert [tags.keep(caption) for caption in CAPTIONS] == ["light coat", "left lamp", "", "wears light coat", "light left hand"]
    assert len(tags.exceptions) == 1 and tags.empty == 1 and tags.content["light"]
    assert tags.keep(exchange_sides(CAPTIONS[1])) == "right lamp"  # of the flipped image; our own tag of a word that no caption has
    read = CaptionTags.read(json.loads(json.dumps(tags.to_json())))
    assert [read.keep(caption) for caption in CAPTIONS] == [tags.keep(caption) for caption in CAPTIONS] and read.source == "mine"
    with pytest.raises(UserError, match=r"tags of the captions in caption_facts\.json are damaged"):
        CaptionTags.read({"source": "mine"})


def test_the_filter_changes_its_share_of_the_captions_and_can_be_sent_to_a_worker() -> None:
    tags = CaptionTags.of(find_tagger("own"), CAPTIONS, [])
    words: WordFilter = pickle.loads(pickle.dumps(WordFilter(tags, 0.2)))
    changed = [words(CAPTIONS[3], np.random.default_rng(number)) for number in range(1000)]
    assert set(changed) == {CAPTIONS[3], "She light coat"} and changed.count("She light coat") == pytest.approx(200, abs=40)


def test_nouns_and_adjectives_are_masked_more_often_than_other_tokens(bpe: Tokenizer) -> None:
    pieces = piece_texts(bpe)
    tags = CaptionTags.of(find_tagger("own"), [], pieces)
    named = set(tags.naming)
    words = {word: bpe.pieces([word])[0] for word in ("jacket", "red", "she", "with", "walking")}
    assert [ids[0] in named for ids in words.values()] == [True, True, False, False, False]
    rule = pickle.loads(pickle.dumps(masking_by_tags(tags.naming, bpe.size, NOUN, OTHER)))
    text = bpe.encode(["jacket with red with" * 12] * 300)
    _, targets = rule.mask(text, uniform((0,), range(300), rule.count(bpe.max_tokens)), bpe)
    for word, share in {"jacket": NOUN, "with": OTHER}.items():
        where = text.ids == words[word][0]
        assert (targets != -100)[where].float().mean() == pytest.approx(share, abs=0.02)


def test_pieces_of_other_tokenizers() -> None:
    letters = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ruck", "##sack", "##"]
    assert piece_texts(WordPiece.of(letters, 20))[-3:] == ["ruck", "sack", "##"]
    with pytest.raises(UserError, match="has no pieces of words"):
        piece_texts(WordList(["a"]))


def test_content_is_pronouns_nouns_and_adjectives() -> None:
    kept = [tag for tag in ("PRP", "PRP$", "NN", "NNS", "NNPS", "JJ", "JJS", "WP$", "CD", "VBG", "IN", "", ".") if is_content(tag)]
    assert kept == ["PRP", "PRP$", "NN", "NNS", "NNPS", "JJ", "JJS"]

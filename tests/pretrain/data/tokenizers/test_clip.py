"""The BPE of CLIP: the token ids of the authors' code where its vocabulary is here, and what holds for any vocabulary."""

import gzip
import importlib.util
import json
import os
from pathlib import Path

import pytest

from mals.errors import UserError
from pretrain.data import tokenizers
from pretrain.data.tokenizers import ClipBpe
from pretrain.data.tokenizers.clip import END, START, _byte_letters

MERGES = [("m", "a"), ("ma", "n</w>"), ("h", "a"), ("ha", "t</w>"), ("j", "e"), ("je", "k</w>")]
LETTERS = _byte_letters()
VOCABULARY = {
    piece: number for number, piece in enumerate([*LETTERS, *(letter + "</w>" for letter in LETTERS), *map("".join, MERGES), START, END])
}
VECTORS = Path(os.environ.get("MALS_GOLDEN") or Path(__file__).parents[3] / "golden") / "methods/tokens"
NAME = "bpe_simple_vocab_16e6.txt.gz"


def vocabulary_file() -> Path | None:
    """CLIP's own file: from MALS_CLIP_BPE, or of open_clip where that is installed."""
    spec = importlib.util.find_spec("open_clip")
    places = [os.environ.get("MALS_CLIP_BPE"), spec and spec.origin and Path(spec.origin).parent / NAME]
    return next((Path(place) for place in places if place and Path(place).is_file()), None)


def test_a_caption_is_between_a_start_and_an_end_token():
    tokenizer = ClipBpe(VOCABULARY, MERGES)
    text = tokenizer.encode(["A  MAN &amp; hat", ""])
    man, hat = VOCABULARY["man</w>"], VOCABULARY["hat</w>"]
    assert text.ids[0, :6].tolist() == [tokenizer.start, VOCABULARY["a</w>"], man, VOCABULARY["&</w>"], hat, tokenizer.end]
    assert text.ids[1, :2].tolist() == [tokenizer.start, tokenizer.end] and text.mask.sum(1).tolist() == [6, 2]
    assert tokenizer.encode(["man " * 200]).ids.shape == (1, 77) and tokenizer.encode(["man " * 200]).ids[0, -1] == tokenizer.end


def test_the_mask_token_takes_the_place_of_the_last_entry_and_its_merge_goes():
    tokenizer = ClipBpe(VOCABULARY, MERGES)
    assert tokenizer.mask_id == VOCABULARY[START] - 1 and tokenizer.size == len(VOCABULARY)
    assert tokenizer.encode(["jek"]).ids[0, 1:3].tolist() == [VOCABULARY["je"], VOCABULARY["k</w>"]]


def test_a_saved_tokenizer_is_the_same_when_it_is_loaded(tmp_path):
    tokenizer = ClipBpe(VOCABULARY, MERGES)
    tokenizer.save(tmp_path / "tokenizer.json")
    read = tokenizers.load(tmp_path / "tokenizer.json", 77)
    assert isinstance(read, ClipBpe) and read.mask_id == tokenizer.mask_id
    sentences = ["a man in a hat", "jek's 3rd m&m, naïve", "jek"]
    assert read.encode(sentences).ids.equal(tokenizer.encode(sentences).ids)
    (tmp_path / "vocab.json").write_text(json.dumps(VOCABULARY))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(map(" ".join, MERGES)) + "\n")
    assert ClipBpe.load(tmp_path / "vocab.json").encode(sentences).ids.equal(tokenizer.encode(sentences).ids)


def test_what_is_no_bpe_of_clip_is_refused(tmp_path):
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "WordPiece"}}')
    with pytest.raises(UserError, match="no BPE of CLIP: it is WordPiece"):
        ClipBpe.load(tmp_path)
    with pytest.raises(UserError, match="lacks"):
        ClipBpe({"a": 0}, [])


@pytest.mark.skipif(vocabulary_file() is None, reason=f"{NAME} is not here: pip install --no-deps open_clip_torch, or MALS_CLIP_BPE")
def test_the_ids_are_those_of_the_authors_code(tmp_path):
    tokenizer = ClipBpe.load(vocabulary_file())
    vectors = json.loads((VECTORS / "clip_bpe.json").read_text())
    assert (tokenizer.size, tokenizer.mask_id, tokenizer.start) == (vectors["vocabulary"], vectors["mask"], vectors["sot"])
    for sentence in vectors["sentences"]:
        assert tokenizer.encode([sentence["text"]], width=77).ids[0].tolist() == sentence["ids"], sentence["text"]
    plain = tmp_path / NAME.removesuffix(".gz")
    plain.write_bytes(gzip.decompress(vocabulary_file().read_bytes()))
    assert ClipBpe.load(plain).encode(["jekyll"]).ids[0, 1] != 0


def test_letters_outside_ascii_are_cleaned_as_clip_does():
    tokenizer = ClipBpe(VOCABULARY, MERGES)
    for written, meant in {
        "ﬁne ｍａｎ": "fine man",
        "a “hat”": 'a "hat"',
        "schÃ¶n": "schön",
        "ΟΔΟΣ": "οδος",
        "m &amp;amp; m": "m & m",
    }.items():
        assert tokenizer.encode([written]).ids.equal(tokenizer.encode([meant]).ids), written

"""Masking of single tokens, as in IRRA's code; the rule of whole words is tested with WordPiece."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from mals.errors import UserError
from pretrain.data.batch import Text
from pretrain.data.random_numbers import uniform
from pretrain.data.tokenizers import Tokenizer, WordList
from pretrain.data.tokenizers.masking import RemovalMasking, TokenMasking

GOLDEN = Path(os.environ.get("MALS_GOLDEN") or Path(__file__).parents[3] / "golden")
MASKINGS = json.loads((GOLDEN / "methods/tokens/masking.json").read_text())
VECTORS, REMOVALS = MASKINGS["irra"], MASKINGS["rde"]
LENGTH = 77


class Ids(Tokenizer):
    """The special ids of CLIP, and no words."""

    def __init__(self) -> None:
        super().__init__(49408, LENGTH, pad=0, start=49406, end=49407, hidden=49405)

    def pieces(self, captions):
        raise NotImplementedError

    def save(self, file):
        raise NotImplementedError

    @classmethod
    def read(cls, content, max_tokens):
        raise NotImplementedError


@pytest.mark.parametrize("number", range(len(VECTORS)))
def test_masks_are_those_of_the_authors_code(number):
    row = VECTORS[number]
    ids = torch.tensor([row["ids"]])
    drawn = iter(row["u"])
    random = np.full((1, 2, LENGTH), 0.999)
    for at, token in enumerate(row["ids"]):
        if 0 < token < 49405:
            random[0, 0, at] = next(drawn)
    ordinary = [at for at, (token, masked) in enumerate(zip(row["ids"], row["masked_ids"], strict=True)) if masked not in (token, 49405)]
    for at, word in zip(ordinary, row["words"], strict=True):
        random[0, 1, at] = (word - 1 + 0.5) / 49404
    masked, targets = TokenMasking().mask(Text(ids, ids > 0), random.reshape(1, -1), Ids())
    if not any(0 < token < 49405 for token in row["ids"]):  # the authors' code replaces the end token of a caption without words
        assert masked.ids.equal(ids) and (targets == -100).all()
        return
    assert masked.ids[0].tolist() == row["masked_ids"]
    assert targets[0].masked_fill(targets[0] == -100, 0).tolist() == row["labels"]


def test_the_shares_are_the_published_ones():
    ids = torch.randint(1, 49405, (400, LENGTH))
    masked, targets = TokenMasking(0.15).mask(Text(ids, ids > 0), uniform((0,), range(400), TokenMasking().count(LENGTH)), Ids())
    hidden = targets != -100
    assert hidden.float().mean() == pytest.approx(0.15, abs=0.01) and targets[hidden].equal(ids[hidden])
    shown = masked.ids[hidden]
    assert (shown == 49405).float().mean() == pytest.approx(0.8, abs=0.02) and (shown == ids[hidden]).float().mean() == pytest.approx(
        0.1, abs=0.02
    )
    assert masked.ids[~hidden].equal(ids[~hidden]) and hidden.any(1).all()


@pytest.mark.filterwarnings("error")
def test_of_tokens_with_the_share_0_the_first_alone_is_masked():
    tokenizer = Ids()
    ids = torch.full((3, LENGTH), 320)
    ids[:, 0], ids[:, -1] = tokenizer.start, tokenizer.end
    text = Text(ids, torch.ones_like(ids, dtype=torch.bool))
    masked, targets = TokenMasking(0.0).mask(text, uniform((0,), range(3), 2 * LENGTH), tokenizer)
    assert (targets >= 0).nonzero().tolist() == [[0, 1], [1, 1], [2, 1]]
    assert masked.ids[:, 1].tolist() == [tokenizer.mask_id] * 3 and masked.ids[:, 2:].equal(ids[:, 2:])


def test_a_tokenizer_without_a_mask_token_says_so():
    words = WordList(["a", "man"])
    text = words.encode(["a man"])
    with pytest.raises(UserError, match="the tokenizer WordList has no mask token"):
        TokenMasking().mask(text, uniform((0,), range(1), TokenMasking().count(100)), words)


@pytest.mark.golden
@pytest.mark.parametrize("number", range(len(REMOVALS)))
def test_removals_are_those_of_the_authors_code(number):
    row = REMOVALS[number]
    ids, drawn, words = torch.tensor([row["ids"]]), iter(row["u"]), iter(row["words"])
    random = np.full((1, 2, LENGTH), 0.999)
    for at, token in enumerate(row["ids"]):
        if 0 < token < 49405:
            random[0, 0, at] = next(drawn)
            if 0.6 <= random[0, 0, at] / 0.2 < 0.8:
                random[0, 1, at] = (next(words) - 1 + 0.5) / 49404
    text, targets = RemovalMasking().mask(Text(ids, ids > 0), random.reshape(1, -1), Ids())
    assert text.ids[0].tolist() == row["augmented_ids"]
    assert text.mask.equal(text.ids > 0) and (targets == -100).all()


def test_the_shares_of_removal_are_the_published_ones():
    ids = torch.cat([torch.full((400, 1), 49406), torch.randint(1, 49405, (400, LENGTH - 2)), torch.full((400, 1), 49407)], 1)
    rule = RemovalMasking()
    text, _ = rule.mask(Text(ids, ids > 0), uniform((0,), range(400), rule.count(LENGTH)), Ids())
    tokens = 400 * (LENGTH - 2)
    assert (tokens - text.mask.sum() + 800) / tokens == pytest.approx(0.04, abs=0.004)
    assert (text.ids == 49405).sum() / tokens == pytest.approx(0.12, abs=0.006)
    last = text.mask.sum(1) - 1
    assert (text.ids[:, 0] == 49406).all() and (text.ids.gather(1, last[:, None]) == 49407).all() and (text.ids[~text.mask] == 0).all()
    assert torch.equal(rule.mask(Text(ids, ids > 0), np.full((400, rule.count(LENGTH)), 0.999), Ids())[0].ids, ids)

"""Other wordings in the batches: by the shares, from seed, epoch and row alone, and none where the shares are 0."""

import itertools
import pickle
from collections import Counter

import numpy as np
import pytest
import torch

from mals.attributes import load_space
from pretrain.config import Data, WordingShares
from pretrain.data.augment import ImageTransform
from pretrain.data.loader import Loader
from pretrain.data.needs import DataNeeds
from pretrain.data.rows import ImageTextPairs
from pretrain.data.tokenizers import WordPiece
from pretrain.data.tokenizers.masking import TokenMasking
from pretrain.data.tokenizers.vocabulary import train_vocabulary
from pretrain.data.wordings.wordings import Wordings
from tests.pretrain.packs import packed

CLASSES = load_space("market1501").classes
STILL = ImageTransform(32, 16, flip=False, augment=False, erase=0.0)
ALL = WordingShares(composed=0.3, recast=0.5, exchanged=0.7)
NEEDS = DataNeeds(masking=TokenMasking(0.3), negatives="masked")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return packed(tmp_path_factory.mktemp("wordings") / "run", 60)


@pytest.fixture(scope="module")
def pairs(folder):
    return ImageTextPairs.open([folder], classes=CLASSES, drawn=True)


@pytest.fixture(scope="module")
def tokenizer(pairs):
    return WordPiece.of(train_vocabulary([*pairs.captions(), *Wordings(ALL).texts()], 2000))


def batches(pairs, tokenizer, needs=NEEDS, count=6, **changes):
    options = {"batch": 8, "seed": 3, "transform": STILL, "wordings": Wordings(ALL)} | changes
    return list(itertools.islice(Loader(pairs, tokenizer, needs, **options), count))


def texts(batch):
    return [getattr(batch, name) for name in ("text", "masked", "negative") if getattr(batch, name) is not None]


def equal(one, two):
    tensors = zip(texts(one), texts(two), strict=True)
    same = all(torch.equal(first.ids, second.ids) and torch.equal(first.mask, second.mask) for first, second in tensors)
    return same and torch.equal(one.rows, two.rows) and (one.negated is None or torch.equal(one.negated, two.negated))


def test_workers_and_a_later_start_change_no_wording(pairs, tokenizer):
    whole = batches(pairs, tokenizer)
    assert all(map(equal, whole, batches(pairs, tokenizer, workers=2)))
    assert all(map(equal, whole[3:], batches(pairs, tokenizer, step=3, count=3)))
    assert any(batch.negated.any() for batch in whole) and not all(batch.negated.all() for batch in whole)


def test_ranks_have_the_wordings_of_one_process(pairs, tokenizer):
    whole, parts = batches(pairs, tokenizer), [batches(pairs, tokenizer, rank=rank, world=2) for rank in range(2)]
    for number, batch in enumerate(whole):
        for rank in range(2):
            own, part = slice(4 * rank, 4 * rank + 4), parts[rank][number]
            for text, of_rank in zip(texts(batch), texts(part), strict=True):
                wide = of_rank.ids.shape[1]
                assert torch.equal(text.ids[own, :wide], of_rank.ids) and not text.mask[own, wide:].any()
            assert torch.equal(batch.negated[own], part.negated)


def test_with_shares_of_0_batches_are_the_same_to_the_bit(folder, tokenizer):
    pairs = ImageTextPairs.open([folder], classes=CLASSES)
    needs = DataNeeds(masking=TokenMasking(0.3))
    plain = batches(pairs, tokenizer, needs, wordings=None)
    assert all(map(equal, plain, batches(pairs, tokenizer, needs, wordings=Wordings(WordingShares()))))
    assert all(batch.negative is None and batch.negated is None for batch in plain)
    captions = tokenizer.encode([pairs.caption(row) for row in plain[0].rows.tolist()])
    assert torch.equal(plain[0].text.ids, captions.ids)


def test_an_epoch_draws_one_of_several_captions_and_as_many_epochs_as_there_are_use_all(pairs, tokenizer):
    per_epoch = len(pairs) // 8
    seen = {row: Counter() for row in range(len(pairs))}
    for batch in batches(pairs, tokenizer, DataNeeds(), count=12 * per_epoch, wordings=None):
        for row, ids in zip(batch.rows.tolist(), batch.text.ids.tolist(), strict=True):
            known = {tuple(tokenizer.encode([text]).ids[0].tolist()): text for text in pairs.all_captions(row)}
            seen[row][next(text for key, text in known.items() if tuple(ids[: len(key)]) == key)] += 1
    several = [row for row in seen if len(pairs.all_captions(row)) > 1]
    assert several
    full = [row for row in several if sum(seen[row].values()) == 12]
    assert full and all(set(seen[row].values()) == {12 // len(seen[row])} for row in full)
    assert all(set(seen[row]) <= set(pairs.all_captions(row)) for row in seen)


def test_a_row_has_what_the_shares_say():
    labels = [-1] * len(CLASSES)
    labels[list(CLASSES).index("upper_red")], caption = 0, "a woman with long hair wearing a blue coat and black pants"

    def drawn(**shares):
        wordings = Wordings(WordingShares(**shares))
        return [wordings.reword(caption, labels, np.random.default_rng(seed)) for seed in range(400)]

    assert set(drawn()) == {caption}
    composed = [text for text in drawn(composed=0.25) if text != caption]
    assert 70 < len(composed) < 130 and all("red" in text for text in composed)
    recast = [text for text in drawn(recast=0.5) if text != caption]
    assert 130 < len(recast) < 230 and not any("red" in text for text in recast)
    wordings = pickle.loads(pickle.dumps(Wordings(WordingShares(exchanged=0.5))))
    wrong = [wordings.exchange(caption, np.random.default_rng(seed)) for seed in range(400)]
    assert 150 < sum(text is not None for text in wrong) < 250 and wordings.reword(caption, None, np.random.default_rng(0)) == caption


def test_a_wrong_caption_is_masked_where_the_caption_is_and_is_the_caption_itself_where_there_is_none(pairs, tokenizer):
    (clean,) = batches(pairs, tokenizer, DataNeeds(masking=TokenMasking(0.3), negatives="clean"), count=1)
    (masked,) = batches(pairs, tokenizer, count=1)
    assert torch.equal(clean.negated, masked.negated) and torch.equal(clean.text.ids, masked.text.ids)
    without = ~clean.negated
    assert torch.equal(clean.negative.ids[without], clean.text.ids[without]) and without.any()
    assert torch.equal(masked.negative.ids[without], masked.masked.ids[without])
    assert (clean.negative.ids[clean.negated] != clean.text.ids[clean.negated]).any(1).all()
    assert (masked.negative.ids == tokenizer.mask_id).any() and not (clean.negative.ids == tokenizer.mask_id).any()


def test_a_wrong_caption_that_the_tokenizer_cuts_to_the_caption_is_none(pairs, tokenizer):
    short = WordPiece.of(train_vocabulary([*pairs.captions(), *Wordings(ALL).texts()], 2000), 8)
    whole = batches(pairs, tokenizer, DataNeeds(negatives="clean"))
    for needs in (DataNeeds(negatives="clean"), DataNeeds(negatives="clean", caption_words=6), NEEDS):
        cut = batches(pairs, short, needs)
        plain = cut if needs.negatives == "clean" else batches(pairs, short, DataNeeds(negatives="clean"))
        for one, other, clean in zip(whole, cut, plain, strict=True):
            assert torch.equal(other.negated, (clean.negative.ids != clean.text.ids).any(1))
            assert not (other.negated & ~one.negated).any()
        assert 0 < sum(int(batch.negated.sum()) for batch in cut) < sum(int(batch.negated.sum()) for batch in whole)


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match=r"composed \+ recast = 1.2"):
        WordingShares(composed=0.6, recast=0.6)
    with pytest.raises(ValueError, match="leave one of them false"):
        Data(every=True, drawn=True)


def test_with_captions_of_other_rows_all_captions_go_along(pairs):
    order = torch.arange(len(pairs)).flip(0)
    changed = pairs.with_captions_of(order)
    assert [changed.all_captions(row) for row in range(3)] == [pairs.all_captions(int(order[row])) for row in range(3)]
    chosen = torch.zeros(len(pairs), dtype=torch.bool)
    chosen[[1, 4]] = True
    assert [pairs.subset(chosen).all_captions(at) for at in range(2)] == [pairs.all_captions(1), pairs.all_captions(4)]
    assert pairs.digest(0) != ImageTextPairs.open([pairs.sources[0].home], classes=CLASSES).digest(0)

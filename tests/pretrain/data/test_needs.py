"""What a method may need of the data: second captions of other images, persons with several images, cameras, rewording and more."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
import torch

from mals.errors import UserError
from pretrain.data import augment
from pretrain.data.augment import ImageTransform
from pretrain.data.loader import Loader
from pretrain.data.needs import DataNeeds
from pretrain.data.rows import ImageTextPairs
from pretrain.data.tokenizers import WordPiece
from pretrain.data.tokenizers.vocabulary import train_vocabulary
from pretrain.method import Method
from pretrain.methods import find
from tests.pretrain.packs import cuhk_list, packed, pictures, rewritten, written

STILL = ImageTransform(32, 16, flip=False, augment=False, erase=0.0)


def shouted(caption, random):
    """A rewording that a worker can be sent."""
    return f"{caption} loudly" if random.random() < 2 else caption


def batch_of(pairs, needs, workers=0, **changes):
    tokenizer = WordPiece.of(train_vocabulary([*pairs.captions(), "loudly"], 300))
    loader = Loader(pairs, tokenizer, needs, **{"batch": 8, "seed": 1, "transform": STILL, "workers": workers} | changes)
    return next(iter(loader)), tokenizer


@pytest.fixture
def pairs(tmp_path):
    """Four images of two persons, with two captions each."""
    return ImageTextPairs.open([(cuhk_list(tmp_path), tmp_path / "images")])


def test_the_second_caption_is_of_another_image(pairs):
    batch, tokenizer = batch_of(pairs, DataNeeds(second_caption="other_image"))
    texts = {tuple(row.tolist()): at for at, row in enumerate(tokenizer.encode(list(pairs.captions())).ids)}
    for row, second in zip(batch.rows.tolist(), batch.second_text.ids, strict=True):
        other = texts[tuple(second.tolist())]
        assert pairs.images[other] != pairs.images[row] and pairs.persons[other] == pairs.persons[row]
    assert DataNeeds(second_caption="other_image").least_images == 2


def test_a_second_caption_of_the_same_person_is_of_another_image_where_there_is_one(tmp_path):
    pictures(tmp_path, 3)
    entries = [{"file_path": f"{at}.jpg", "captions": [f"one of {at}", f"two of {at}"], "id": at // 2} for at in range(3)]
    pairs = ImageTextPairs.open([(written(tmp_path / "list.json", entries), tmp_path / "images")])
    tokenizer = WordPiece.of(train_vocabulary(pairs.captions(), 300))
    loader = Loader(pairs, tokenizer, DataNeeds(second_caption="same_person"), batch=6, seed=1, transform=STILL)
    texts = {tuple(row.tolist()): at for at, row in enumerate(tokenizer.encode(list(pairs.captions())).ids)}
    for batch in itertools.islice(loader, 20):
        for row, second in zip(batch.rows.tolist(), batch.second_text.ids, strict=True):
            other = texts[tuple(second.tolist())]
            assert pairs.persons[other] == pairs.persons[row] and other != row
            assert (pairs.images[other] != pairs.images[row]) == (row < 4)  # the second person has one image, with two captions


def test_persons_with_few_images_are_left_out_and_the_others_numbered_anew(pairs):
    chosen = torch.tensor([True, True, False, False, True, True, True, True])  # one image of the first person, two of the second
    fewer = pairs.subset(chosen).with_images_per_person(2)
    assert fewer.persons.tolist() == [1, 1, 1, 1] and fewer.images.tolist() == [0, 0, 1, 1]
    fewer.renumber_persons()
    assert fewer.persons.tolist() == [0, 0, 0, 0] and fewer.caption(0) == "caption 0 of picture 2"
    with pytest.raises(UserError, match="no person of the data has 3 images"):
        pairs.with_images_per_person(3)


@pytest.mark.parametrize("workers", [0, 1])
def test_captions_are_cut_and_reworded(pairs, workers):
    batch, tokenizer = batch_of(pairs, DataNeeds(reword=shouted), workers)
    loud = tokenizer.encode(["loudly"], multiple=1).ids[0, 1]
    assert (batch.text.ids == loud).any(1).all() and batch.epoch == 0
    short, _ = batch_of(pairs, DataNeeds(reword=shouted, caption_words=2))
    assert (short.text.mask.sum(1) == 3).all()


def test_cameras_and_persons_of_several_splits(tmp_path):
    folder = packed(tmp_path / "run", 40, split={"train": 0.5, "test": 0.5})
    cameras = iter(range(1000))

    def change(table):
        persons = pa.array([f"p{at % 3}" for at in range(len(table))])
        names = [f"c{next(cameras) % 2}" if at else None for at in range(len(table))]
        columns = {name: table[name] for name in table.column_names} | {"person": persons, "camera": pa.array(names)}
        return pa.table(columns, metadata=None)

    rewritten(folder, change)
    one = ImageTextPairs.open([folder], "train")
    both = ImageTextPairs.open([folder], ["train", "test"])
    assert one.splits is None and both.splits is not None and both.splits.unique().tolist() == [0, 1]
    assert (both.splits == 0).sum() == len(one) and len(both.persons.unique()) == 3
    assert one.cameras is not None and one.cameras[0] == -1 and set(one.cameras.tolist()) == {-1, 0, 1}
    assert both.subset(both.splits == 1).splits.unique().tolist() == [1]


def test_a_row_that_a_batch_has_twice_looks_otherwise_the_second_time(pairs):
    needs, look = DataNeeds(captions=False, group=(8, 8)), ImageTransform(32, 16, augment=False, erase=1.0)
    batch, _ = batch_of(pairs, needs, transform=look)
    rows = batch.rows.tolist()
    twice = [at for at, row in enumerate(rows) if rows.index(row) != at]
    assert twice and all(not torch.equal(batch.images[at], batch.images[rows.index(rows[at])]) for at in twice)


def test_a_crop_after_padding_moves_the_image_and_an_erased_box_has_its_value():
    settings = ImageTransform(20, 10, mean=(0, 0, 0), std=(1, 1, 1), flip=False, augment=False, erase=1.0, erase_value=(2, 3, 4), pad=3)
    pixels = np.full((20, 10, 3), 200, np.uint8)
    random = np.random.default_rng(0)
    crop = np.array([[0.0, 0.999], [0.5, 0.5]])  # left and down by three, and not at all
    changes = augment.draw_changes(settings, random.random((2, augment.NUMBERS_PER_IMAGE)), crop)
    assert changes.cropped.tolist() == [[-3, 3], [0, 0]]
    moved, same = (augment.fit(pixels, settings, *change) for change in changes.for_each())
    assert (moved[:3] == 0).all() and (moved[:, -3:] == 0).all() and (moved[3:, :-3] == 200).all() and (same == pixels).all()
    shown = augment.apply_changes(torch.from_numpy(np.stack([moved, same])), changes, settings)
    top, left, height, width = changes.erased[1].tolist()
    box = shown[1, :, top : top + height, left : left + width]
    assert height and box.flatten(1).unique(dim=1).tolist() == [[2], [3], [4]]
    assert (shown[1] == 200 / 255).any()


def test_a_method_of_ones_own_reads_long_captions_whole_and_each_paper_has_its_own_length(tmp_path):
    pictures(tmp_path, 8)
    long = " ".join(["word"] * 90)
    entries = [{"file_path": f"{at}.jpg", "captions": [long], "id": at} for at in range(8)]
    pairs = ImageTextPairs.open([(written(tmp_path / "list.json", entries), tmp_path / "images")])
    tokenizer = WordPiece.of(train_vocabulary(pairs.captions(), 300), Method.max_tokens)
    batch = next(iter(Loader(pairs, tokenizer, DataNeeds(), batch=8, seed=1, transform=STILL)))
    assert (batch.text.mask.sum(1) == 1 + 90).all()  # with the start token
    assert {name: find(name).max_tokens for name in ("aptm", "irra", "lgur")} == {"aptm": 56, "irra": 77, "lgur": 100}

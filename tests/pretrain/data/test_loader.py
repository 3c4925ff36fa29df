"""Batches are a function of the step: whoever reads them, in however many processes, from wherever it starts."""

import itertools
import subprocess
import sys
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch

from mals.attributes import load_space
from mals.errors import UserError
from pretrain.data.augment import ImageTransform
from pretrain.data.loader import Loader
from pretrain.data.rows import ImageTextPairs
from pretrain.data.sampler import order
from pretrain.data.synonyms import find_synonyms
from pretrain.data.tokenizers import WordPiece
from pretrain.data.tokenizers.masking import WholeWordMasking
from pretrain.data.tokenizers.vocabulary import train_vocabulary
from pretrain.method import DataNeeds
from tests.conftest import ROOT, environment
from tests.pretrain.packs import cuhk_list, mals_list, packed, rewritten

CLASSES = load_space("market1501").classes
LOOK = ImageTransform(32, 16)
STILL = ImageTransform(32, 16, flip=False, augment=False, erase=0.0)
ALL = DataNeeds(masking=WholeWordMasking(), second_caption="same_person", attributes=True)
ORDER = [[0, 1, 4, 17, 10], [7, 13, 17, 3, 12]]  # of seed 42: what old checkpoints go on with

TRAINER = """
import sys, time, psutil
from pretrain.data.loader import Loader
from pretrain.data.rows import ImageTextPairs
from pretrain.method import DataNeeds
from pretrain.data.tokenizers import WordPiece
from pretrain.data.tokenizers.vocabulary import train_vocabulary
pairs = ImageTextPairs.open(sys.argv[1:])
loader = Loader(pairs, WordPiece.of(train_vocabulary(pairs.captions(), 100)), DataNeeds(), batch=4, seed=1, workers=2)
next(iter(loader))
print(*(process.pid for process in psutil.Process().children(recursive=True)), flush=True)
time.sleep(100)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return packed(tmp_path_factory.mktemp("packed") / "run", 40)


@pytest.fixture(scope="module")
def pairs(folder):
    return ImageTextPairs.open([folder], classes=CLASSES)


@pytest.fixture(scope="module")
def tokenizer(pairs):
    return WordPiece.of(train_vocabulary(pairs.captions(), 200))


@pytest.fixture(scope="module")
def load(pairs, tokenizer):
    def make(needs=ALL, data=pairs, **changes):
        arguments = {"batch": 8, "seed": 7, "transform": LOOK} | changes
        return Loader(data, tokenizer, needs, **arguments)

    return make


def take(loader, count):
    return list(itertools.islice(loader, count))


def tokens(text, values=None):
    """Each row's tokens, or what stands at their places, without padding."""
    values = text.ids if values is None else values
    return [row[mask].tolist() for row, mask in zip(values, text.mask, strict=True)]


def facts(batches):
    """All that is in one or several parts of a batch, in their order; padding aside, whose width is each part's own."""
    columns = {name: torch.cat([getattr(part, name) for part in batches]) for name in ("rows", "persons", "images", "labels")}
    words = {"text": [], "masked": [], "targets": [], "other": []}
    for part in batches:
        words["text"] += tokens(part.text)
        words["masked"] += tokens(part.masked)
        words["targets"] += tokens(part.text, part.targets)
        words["other"] += tokens(part.second_text)
    return columns, words


def same(one, two):
    (tensors, words), (others, other_words) = one, two
    return all(tensors[name].equal(others[name]) for name in tensors) and words == other_words


def test_an_epoch_has_every_row_once_but_the_few_that_make_no_batch():
    epoch = np.concatenate([order(3, 103, step, 10) for step in range(10)])
    assert len(set(epoch.tolist())) == 100 and epoch.max() < 103
    second = np.concatenate([order(3, 103, step, 10) for step in range(10, 20)])
    assert len(set(second.tolist())) == 100 and (epoch != second).any()
    assert (order(3, 103, 4, 10) == order(3, 103, 4, 10)).all() and (order(4, 103, 4, 10) != order(3, 103, 4, 10)).any()


def test_the_order_stays_what_it_is():
    assert order(42, 20, 0, 5).tolist() == ORDER[0] and order(42, 20, 4, 5).tolist() == ORDER[1]


def test_a_batch_is_what_the_rows_say(pairs, tokenizer, load):
    (batch,) = take(load(transform=STILL), 1)
    assert batch.rows.tolist() == order(7, len(pairs), 0, 8).tolist()
    assert batch.persons.equal(pairs.persons[batch.rows]) and batch.labels.equal(pairs.labels[batch.rows].long())
    assert batch.images.shape == (8, 3, 32, 16) and batch.images.dtype == torch.float32
    assert batch.text.ids.equal(tokenizer.encode([pairs.caption(row) for row in batch.rows.tolist()]).ids)
    masked = batch.targets != -100
    assert masked.any(1).all() and batch.targets[masked].equal(batch.text.ids[masked])
    assert batch.masked.ids[~masked].equal(batch.text.ids[~masked])


def test_what_is_not_wanted_is_not_there(load):
    (batch,) = take(load(DataNeeds()), 1)
    assert batch.masked is None and batch.targets is None and batch.second_text is None and batch.labels is None


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(load, workers):
    alone, several = take(load(), 6), take(load(workers=workers), 6)  # four steps an epoch
    assert all(same(facts([one]), facts([two])) for one, two in zip(alone, several, strict=True))


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_change_nothing(load, processes):
    shares = [take(load(rank=rank, world=processes), 5) for rank in range(processes)]
    for one, *parts in zip(take(load(), 5), *shares, strict=True):
        assert all(len(part.rows) == 8 // processes for part in parts) and same(facts([one]), facts(parts))


def test_a_loader_that_starts_at_a_step_gives_what_one_that_runs_through_gives(load):
    through = take(load(), 7)
    for start in (2, 5):
        resumed = load(step=start)
        assert all(same(facts([one]), facts([two])) for one, two in zip(through[start:], take(resumed, 7 - start), strict=True))
        assert resumed.step == 7


def test_a_loader_goes_on_where_it_was_left_and_ends_where_it_is_told(load):
    loader = load(stop=6)
    first = take(loader, 2)
    assert loader.step == 2
    rest = list(loader)
    assert len(rest) == 4 and loader.step == 6 and list(loader) == []
    assert same(facts(take(load(), 6)), facts([*first, *rest]))


def test_a_whole_epoch_has_all_rows_without_groups(load, pairs):
    batches = list(load(replace(ALL, group=(1, 2)), batch=7, whole_epoch=2))
    assert len(batches) == -(-len(pairs) // 7) and {batch.epoch for batch in batches} == {2}
    assert torch.cat([batch.rows for batch in batches])[: len(pairs)].sort()[0].tolist() == list(range(len(pairs)))


def test_a_row_looks_otherwise_in_the_next_epoch(load):
    loader = load()
    epochs = [facts(take(loader, loader.per_epoch)) for _ in range(2)]
    shared = set(epochs[0][0]["rows"].tolist()) & set(epochs[1][0]["rows"].tolist())
    places = [[columns["rows"].tolist().index(row) for row in sorted(shared)] for columns, _ in epochs]
    one, two = (columns["images"][places[at]] for at, (columns, _) in enumerate(epochs))
    assert (one != two).flatten(1).any(1).float().mean() > 0.8


def test_the_trainers_own_chance_is_left_alone(load):
    torch.manual_seed(1)
    take(load(), 2)
    assert torch.rand(1).equal(torch.manual_seed(1) and torch.rand(1))


def test_sides_change_places_when_a_picture_is_flipped(tmp_path):
    data = ImageTextPairs.open([(mals_list(tmp_path, 24, sides=True), tmp_path / "images")])
    words = WordPiece.of(train_vocabulary(data.captions(), 200))
    only = ImageTransform(32, 16, augment=False, erase=0.0)
    still, moved, kept = (
        take(Loader(data, words, DataNeeds(), batch=24, seed=1, transform=look, exchange=exchange), 1)[0]
        for look, exchange in ((STILL, True), (only, True), (only, False))
    )
    flipped = (still.images != moved.images).flatten(1).any(1)
    assert moved.images[flipped].equal(still.images[flipped].flip(3)) and 4 < flipped.sum() < 20
    left, right = (words.backend.token_to_id(side) for side in ("left", "right"))
    exchanged = torch.where(still.text.ids == left, right, torch.where(still.text.ids == right, left, still.text.ids))
    assert moved.text.ids.equal(torch.where(flipped[:, None], exchanged, still.text.ids)) and not moved.text.ids.equal(still.text.ids)
    assert kept.text.ids.equal(still.text.ids)


def test_as_published_captions_are_as_wide_as_they_may_be_and_padding_is_masked(load):
    (batch,) = take(load(replace(ALL, masking=WholeWordMasking(count_padding=True), full_width=True)), 1)
    masked = batch.targets != -100
    assert batch.text.ids.shape == (8, 56) and (masked.sum(1) == 10).all() and (masked & ~batch.text.mask).any()


def test_the_second_caption_is_of_another_row_of_the_person(tmp_path):
    data = ImageTextPairs.open([(cuhk_list(tmp_path), tmp_path / "images")])
    words = WordPiece.of(train_vocabulary(data.captions(), 200))
    (batch,) = take(Loader(data, words, DataNeeds(second_caption="same_person"), batch=8, seed=1, transform=STILL), 1)
    row_of_tokens = {tuple(row): at for at, row in enumerate(tokens(words.encode(list(data.captions()))))}
    others = [row_of_tokens[tuple(row)] for row in tokens(batch.second_text)]
    assert all(other != row and other // 4 == row // 4 for other, row in zip(others, batch.rows.tolist(), strict=True))


def test_a_person_with_one_row_has_its_second_caption_from_another_captioner(pairs, tokenizer, load):
    (batch,) = take(load(batch=len(pairs)), 1)
    counts = pairs.persons.bincount()[batch.persons]
    expected = tokens(tokenizer.encode(["a person"]))[0]
    assert all((row == expected) == (int(count) == 1) for row, count in zip(tokens(batch.second_text), counts, strict=True))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_cannot_be_read_is_replaced_and_named_once(tmp_path, tokenizer, caplog, workers):
    file = mals_list(tmp_path, 12)
    (tmp_path / "images" / "3.jpg").write_bytes((tmp_path / "images" / "3.jpg").read_bytes()[:200])
    data = ImageTextPairs.open([(file, tmp_path / "images")])
    (tmp_path / "images" / "5.jpg").unlink()  # it was there when the data were opened
    loader = Loader(data, tokenizer, DataNeeds(), batch=12, seed=1, transform=STILL, workers=workers)
    batches = take(loader, 3)
    messages = caplog.text
    assert messages.count("3.jpg: the image cannot be read") == 1 == messages.count("5.jpg: the image cannot be read")
    assert set(loader.unreadable) == {3, 5} and messages.count("another row takes its place") == 2
    for batch in batches:
        assert not {3, 5} & set(batch.rows.tolist()) and len(batch.rows) == 12
        assert batch.text.ids.equal(tokenizer.encode([data.caption(row) for row in batch.rows.tolist()]).ids)
    again = take(Loader(data, tokenizer, DataNeeds(), batch=12, seed=1, transform=STILL), 3)
    assert all(one.rows.equal(two.rows) for one, two in zip(batches, again, strict=True))


def test_a_broken_picture_of_a_packed_set_is_replaced_too(tmp_path, tokenizer, caplog):
    import pyarrow as pa

    def broken(table):
        at = table.schema.get_field_index("image")
        values = table["image"].to_pylist()
        values[2] = {"bytes": b"\xff\xd8 no picture", "path": "x.jpg"}
        values[4] = {"bytes": None, "path": "y.jpg"}
        return table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))

    data = ImageTextPairs.open([rewritten(packed(tmp_path / "run", 12), broken)])
    loader = Loader(data, tokenizer, DataNeeds(), batch=len(data), seed=1, transform=STILL)
    assert not {2, 4} & set(take(loader, 1)[0].rows.tolist())
    assert "row 2: the image cannot be read" in caplog.text and set(loader.unreadable) == {2, 4}


def test_the_other_caption_of_eda_follows_from_seed_epoch_and_row_alone(load, pairs):
    settings = {"synonyms": find_synonyms(pairs.captions(), "own")[0], "transform": STILL}

    def second_captions(batches):
        """Row -> what was said of it, in the order of the epochs."""
        by_row = {}
        for batch in batches:
            for row, ids, mask in zip(batch.rows.tolist(), batch.second_text.ids, batch.second_text.mask, strict=True):
                by_row.setdefault(row, []).append(tuple(ids[mask].tolist()))
        return by_row

    whole = load(DataNeeds(second_caption="eda"), **settings)
    batches = take(whole, 2 * whole.per_epoch)
    for batch, plain in zip(batches, take(load(DataNeeds(), transform=STILL), len(batches)), strict=True):
        assert torch.equal(batch.text.ids, plain.text.ids) and torch.equal(batch.images, plain.images)
    rows = second_captions(batches)
    assert sum(len({*texts}) == 2 for texts in rows.values()) > len(rows) / 2
    for rank in range(2):
        part = take(load(DataNeeds(second_caption="eda"), rank=rank, world=2, step=3, workers=rank, **settings), 2)
        assert all(texts[0] in rows[row] for row, texts in second_captions(part).items())


def test_a_method_that_reads_no_captions_gets_none(load):
    batch = take(load(DataNeeds(captions=False, attributes=True)), 1)[0]
    assert batch.text.ids.shape == batch.text.mask.shape == (8, 0) and batch.labels is not None and batch.masked is None


def test_workers_end_with_a_trainer_that_is_killed(folder):
    words = [sys.executable, "-c", TRAINER, str(folder)]
    with subprocess.Popen(words, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True) as trainer:
        assert trainer.stdout is not None
        helpers = [psutil.Process(int(number)) for number in trainer.stdout.readline().split()]
        trainer.kill()
    _, left = psutil.wait_procs(helpers, timeout=60)
    assert len(helpers) >= 3 and not [process for process in left if process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_set_without_one_good_picture_ends_with_a_sentence(tmp_path, tokenizer, workers):
    file = mals_list(tmp_path, 4)
    for picture in (tmp_path / "images").iterdir():
        picture.write_bytes(b"nothing")
    data = ImageTextPairs.open([(file, tmp_path / "images")])
    with pytest.raises(UserError, match=r"^none of 20 images can be read, the last because [^\n]*$"):
        take(Loader(data, tokenizer, DataNeeds(), batch=4, seed=1, transform=STILL, workers=workers), 1)


def test_what_the_data_cannot_give_is_refused(folder, load, pairs):
    unlabelled = ImageTextPairs.open([folder])
    with pytest.raises(UserError, match="no attribute labels, which the method needs"):
        load(ALL, data=unlabelled)
    with pytest.raises(UserError, match=rf"a batch of 1,000 rows is more than the {len(pairs)} rows"):
        load(batch=1000)
    with pytest.raises(UserError, match="cannot be divided among 3 processes"):
        load(batch=8, world=3)

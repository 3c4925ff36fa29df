"""Hard partners: which rows have one, and the loader's batches with them."""

from pathlib import Path

import pyarrow as pa
import pytest
import torch

from pretrain.data.augment import ImageTransform
from pretrain.data.batch import Batch, Text
from pretrain.data.loader import Loader
from pretrain.data.needs import DataNeeds
from pretrain.data.rows import ImageTextPairs
from pretrain.data.tokenizers import WordPiece
from pretrain.data.tokenizers.vocabulary import train_vocabulary
from tests.pretrain import packs

ALONE = "train/imgs_10/goal/3.jpg"  # its partner's image is missing
FIRST = "train/imgs_2/full/0.jpg"
CHANGING = ImageTransform(32, 16)


@pytest.fixture(scope="module")
def pab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packs.pab(tmp_path_factory.mktemp("pab"))


@pytest.fixture(scope="module")
def pairs(pab: Path) -> ImageTextPairs:
    return ImageTextPairs.open([pab], partners=True)


def batch_of(pairs: ImageTextPairs, partners: bool = True, **changes: int) -> Batch:
    """The first batch, of all rows but one, or a rank's part of it."""
    tokenizer = WordPiece.of(train_vocabulary(pairs.captions(), 100))
    options = {"batch": 14, "seed": 1} | changes
    return next(iter(Loader(pairs, tokenizer, DataNeeds(partners=partners), transform=CHANGING, **options)))


def words(text: Text, at: int) -> list[int]:
    """The tokens of a text without padding."""
    return text.ids[at][text.mask[at]].tolist()


def test_a_partner_is_found_by_its_id_in_any_file_and_one_that_is_missing_is_none(pairs: ImageTextPairs) -> None:
    assert pairs.partnered_rows() == 14
    rows = {pairs.image_id(row): row for row in range(len(pairs))}
    assert pairs.partner(rows[ALONE]) is None
    for name, row in rows.items():
        other = rows.get(name.replace("goal", "full") if "goal" in name else name.replace("full", "goal"))
        assert name == ALONE or pairs.partner(row) == (pairs.image_bytes(other), pairs.caption(other))


def test_a_partner_that_is_held_out_is_none(pairs: ImageTextPairs) -> None:
    kept = torch.tensor(["full" not in pairs.image_id(row) or "imgs_2/" in pairs.image_id(row) for row in range(len(pairs))])
    rest = pairs.subset(kept)
    assert rest.partnered_rows() == 8 and len(rest) == 12
    assert all((rest.partner(row) is not None) == ("imgs_2/" in rest.image_id(row)) for row in range(len(rest)))


def test_rows_that_name_no_partner_or_no_caption_of_it_have_none_and_other_sets_can_stand_beside(
    pab: Path, trainable: Path, tmp_path: Path
) -> None:

    def nameless(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        for row in rows:
            row |= {"hard_image": None} if row["id"] == FIRST else {"hard_caption": None} if row["hard_image"] == FIRST else {}
        return pa.Table.from_pylist(rows, schema=table.schema)

    assert ImageTextPairs.open([packs.rewritten(packs.pab(tmp_path), nameless)], partners=True).partnered_rows() == 12
    both = ImageTextPairs.open([trainable, pab], partners=True)
    assert both.partnered_rows() == 14 and both.partner(0) is None and both.partner(len(both) - 2) is not None
    assert ImageTextPairs.open([pab]).partnered_rows() == 0


def test_a_row_has_the_image_and_caption_of_its_partner_changed_as_its_own(pairs: ImageTextPairs) -> None:
    batch = batch_of(pairs)
    assert batch.partnered is not None and batch.partner_images is not None and batch.partner_text is not None
    assert 13 <= batch.partnered.sum() <= 14
    for at, row in enumerate(batch.rows.tolist()):
        alone = pairs.image_id(row) == ALONE
        assert bool(batch.partnered[at]) == (not alone)
        assert torch.equal(batch.partner_images[at], batch.images[at]) == (words(batch.partner_text, at) == words(batch.text, at)) == alone
    plain = batch_of(pairs, partners=False)
    assert torch.equal(plain.images, batch.images) and torch.equal(plain.text.ids, batch.text.ids) and plain.partner_images is None


def test_ranks_and_workers_have_the_partners_of_one_process(pairs: ImageTextPairs) -> None:
    whole = batch_of(pairs)
    assert whole.partner_images is not None and whole.partnered is not None and whole.partner_text is not None
    for rank in range(2):
        part, own = batch_of(pairs, rank=rank, world=2, workers=1), slice(7 * rank, 7 * rank + 7)
        assert part.partner_images is not None and part.partnered is not None and part.partner_text is not None
        assert torch.equal(part.partner_images, whole.partner_images[own]) and torch.equal(part.partnered, whole.partnered[own])
        assert [words(part.partner_text, at) for at in range(7)] == [words(whole.partner_text, own.start + at) for at in range(7)]


def test_a_partner_that_cannot_be_read_is_none_and_the_row_stays(tmp_path: Path) -> None:

    def broken(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        for row in rows:
            if row["id"] == FIRST:
                row["image"]["bytes"] = b"rubbish"
        return pa.Table.from_pylist(rows, schema=table.schema)

    pairs = ImageTextPairs.open([packs.rewritten(packs.pab(tmp_path), broken)], partners=True)
    batch = batch_of(pairs, batch=15)
    assert batch.partnered is not None
    alone = {pairs.image_id(row) for row in batch.rows[~batch.partnered].tolist()}
    assert alone == {ALONE, FIRST.replace("full", "goal")}

"""Persons with several generated images, from the plan to the packed set."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mals.dataset.pack import pack
from mals.grid.run import Run, run_stages
from mals.planning.create import create
from tests.fakes import FAST

PLAN = ["plan.views=3", "plan.attributes.space=market1501", "plan.vary=[view,camera]"]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed set of 16 persons with three images each, of which some were refused, some as those of another person."""
    folder = tmp_path_factory.mktemp("persons") / "run"
    shares = ["pack.split={train: 0.5, test: 0.5}", "pack.split_by=person", "filter.min_bits_per_pixel=null", "filter.min_sharpness=null"]
    create(folder, count=48, assignments=[*FAST, *PLAN, *shares, "identity.min_agreement=0.8"])
    run = Run.open(folder)
    run_stages(run, quiet=True)
    pack(run)
    return folder


def rows(folder: Path, pattern: str) -> pa.Table:
    return pa.concat_tables([pq.read_table(file) for file in sorted((folder / "dataset").glob(pattern))])


def test_a_generated_person_is_in_one_split_with_its_own_id(packed: Path) -> None:
    train, test = (rows(packed, f"data/{split}-*.parquet") for split in ("train", "test"))
    persons = [set(table["person"].to_pylist()) for table in (train, test)]
    assert all(persons) and not persons[0] & persons[1]
    table = pa.concat_tables([train, test])
    counts = Counter(table["person"].to_pylist())
    assert len(counts) > 12 and max(counts.values()) == 3 and sum(counts.values()) < 48


def test_further_images_name_the_first_one_even_where_it_was_refused(packed: Path) -> None:
    for table in (rows(packed, "data/*.parquet"), rows(packed, "rejected/*.parquet")):
        for row in table.select(["id", "person", "first_view"]).to_pylist():
            assert row["first_view"] == (None if row["id"] == row["person"] else row["person"])
    first_views = rows(packed, "data/*.parquet")["first_view"].to_pylist()
    assert set(first_views) & set(rows(packed, "rejected/*.parquet")["id"].to_pylist())


def test_images_of_another_person_are_refused_with_their_number(packed: Path) -> None:
    kept, refused = rows(packed, "data/*.parquet").to_pylist(), rows(packed, "rejected/*.parquet").to_pylist()
    others = [row for row in refused if row["reject_reason"] == "other_person"]
    assert {row["reject_stage"] for row in others} == {"identity"}
    assert all(row["identity_agreement"] < 0.8 for row in others) and all(row["identity_agreement"] >= 0.8 for row in kept)
    people = {row["person"] for row in kept}
    assert others and {row["person"] for row in others} & people


def test_the_card_says_how_many_persons_there_are_and_what_ties_their_images(packed: Path) -> None:
    text = (packed / "dataset/README.md").read_text(encoding="utf-8")
    persons = len(set(rows(packed, "data/*.parquet")["person"].to_pylist()))
    assert f"The rows name {persons} identities (`person`), with 1 to 3 images each" in text
    assert "persons with 3 images each: the prompts of one person differ in view, camera only." in text
    assert "refused (`other_person`): those with under 0.8 of the labels of most images of their person (`identity_agreement`)." in text
    assert "Nothing else ties them: what a prompt leaves open may differ" in text

"""Stage `identity`: which images of a person fall out, by labels and by a scorer."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mals import settings
from mals.attributes import load_space
from mals.errors import ModelMissing, UserError
from mals.stages.identity import Identity, stage
from mals.stages.persons import Persons, agreements
from mals.world.scene import draw_image
from tests.fakes import jpeg

SPACE = load_space("market1501")
WIDTH = len(SPACE.names)
MAN = [1] * WIDTH
WOMAN = [0] * 3 + [1] * (WIDTH - 3)  # differs in the body alone
UNKNOWN = [-1] * WIDTH
EMBEDDED_SIMILARITY = 0.75  # of the embedded scorer: docs/identities.md


class Brightness:
    """A scorer whose embeddings tell dark images from bright ones."""

    def embed_images(self, images: Sequence[Any]) -> np.ndarray:
        angles = np.array([np.asarray(image).mean() / 255 * np.pi / 2 for image in images])
        return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        raise NotImplementedError

    def match(self, texts: Sequence[str], images: Sequence[Any]) -> np.ndarray:
        raise NotImplementedError


def load_brightness(_target: str, device: str) -> Brightness:
    return Brightness()


def configured(plan: dict[str, Any] | None = None, **changes: Any) -> Identity:
    loader = {"loader": "tests.mals.stages.test_identity:load_brightness"} if "scorer" in changes else {}
    return stage(settings.check({"identity": {"batch": 4, **loader, **changes}, "plan": plan or {}}))


def gray(level: int) -> bytes:
    return jpeg(np.full((16, 8, 3), level, np.uint8))


def drawn_crop(number: int, view: int) -> bytes:
    """A person of the drawn world, with a margin around the box as the stage crop has it."""
    image = draw_image(9, number, view, 128)
    assert image.box is not None
    left, top, right, bottom = image.box
    margin = 0.1 * (bottom - top)
    crop = image.pixels[max(0, int(top - margin)) : int(bottom + margin), max(0, int(left - margin)) : int(right + margin)]
    return jpeg(np.ascontiguousarray(crop))


def rows(persons: list[str | None], labels: list[list[int]], levels: list[int] | None = None) -> pa.RecordBatch:
    columns = {"person": pa.array(persons, pa.string()), "attributes": pa.array(labels, pa.list_(pa.int8()))}
    crops = {} if levels is None else {"crop": pa.array([gray(level) if level >= 0 else b"no image" for level in levels], pa.binary())}
    return pa.record_batch(columns | crops)


def run(checked: Identity, *batches: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows of the stage, by a summary of all batches."""
    checked.setup(checked.summarise(iter(batches)))
    return [row for batch in batches for row in checked(batch).to_pylist()]


def refused(output: list[dict[str, Any]]) -> list[int]:
    return [at for at, row in enumerate(output) if row["reject"] == ["other_person"]]


def test_the_consensus_is_the_value_of_most_images_and_a_tie_is_unknown():
    persons = Persons(3)
    persons.add(["a", "a", None, "b"], np.array([[0, 1, -1], [0, 0, -1], [1, 1, 1], [1, -1, 0]], np.int8))
    persons.add(["a"], np.array([[1, -1, 1]], np.int8))
    assert persons.numbers == {"a": 0, "b": 1}
    assert persons.consensus().tolist() == [[0, -1, 1], [1, -1, 0]]
    assert persons.consensus(1).tolist() == [[1, -1, 0]]


def test_the_consensus_of_many_persons_equals_a_count_of_each():
    rng = np.random.default_rng(0)
    names, labels = rng.integers(0, 2000, 9000).astype(str).tolist(), rng.integers(-1, 2, (9000, 5)).astype(np.int8)
    persons = Persons(5)
    for start in range(0, 9000, 700):
        persons.add(names[start : start + 700], labels[start : start + 700])
    consensus = persons.consensus()
    for name in set(names[:300]):
        own = labels[[at for at, other in enumerate(names) if other == name]]
        expected = np.sign((own == 1).sum(0) - (own == 0).sum(0))
        assert consensus[persons.numbers[name]].tolist() == [{1: 1, -1: 0, 0: -1}[sign] for sign in expected.tolist()]


def test_agreement_counts_the_attributes_that_both_know():
    labels = np.array([[0, 1, -1, 1], [-1, -1, -1, -1]], np.int8)
    assert agreements(labels, np.array([[0, 0, 1, 1], [1, 1, 1, 1]], np.int8)) == [pytest.approx(2 / 3), None]


def test_an_image_with_other_labels_than_most_of_its_person_falls_out():
    output = run(configured(min_agreement=0.9), rows(["a", "a", "a", "b", None], [MAN, WOMAN, MAN, WOMAN, WOMAN]))
    assert refused(output) == [1]
    assert [row["identity_agreement"] for row in output] == [1, pytest.approx(24 / 27), 1, 1, None]
    assert refused(run(configured(min_agreement=None), rows(["a", "a", "a"], [MAN, WOMAN, MAN]))) == []


def test_an_image_without_known_labels_stays():
    output = run(configured(min_agreement=1), rows(["a", "a"], [UNKNOWN, MAN]))
    assert output[0]["identity_agreement"] is None and refused(output) == []


def test_where_clothes_change_only_the_body_counts():
    clothed = {"views": 2, "change_clothes": True, "attributes": {}}
    dressed = [1] * 3 + [0] * (WIDTH - 3)
    assert refused(run(configured(clothed), rows(["a"] * 4, [MAN, MAN, dressed, WOMAN]))) == [3]
    assert refused(run(configured(), rows(["a"] * 4, [MAN, MAN, dressed, WOMAN]))) == [2]
    assert configured(clothed).params()["compared"] == ["gender", "age", "hair_length"]


def test_an_image_unlike_the_first_of_its_person_falls_out():
    output = run(configured(scorer="x", min_similarity=0.9), rows(["a", "a", "a", "b", None], [MAN] * 5, [10, 20, 250, 250, 10]))
    assert refused(output) == [2]
    assert output[0]["identity_similarity"] == pytest.approx(1, abs=1e-3)
    assert output[2]["identity_similarity"] == pytest.approx(np.cos((250 - 10) / 255 * np.pi / 2), abs=1e-3)
    assert output[4]["identity_similarity"] is None


def test_an_outlier_is_not_the_image_that_the_others_are_compared_with():
    batch = rows(["a", "a", "a"], [WOMAN, MAN, MAN], [250, 10, 20])
    assert refused(run(configured(scorer="x", min_agreement=0.9, min_similarity=0.9), batch)) == [0]


def test_a_person_goes_on_in_the_next_shard():
    shards = rows(["b", "a"], [MAN, WOMAN], [10, 250]), rows(["a", "a", "c"], [MAN, MAN, MAN], [10, 20, 99])
    assert refused(run(configured(scorer="x", min_agreement=0.9, min_similarity=0.9), *shards)) == [1]


def test_a_bad_image_is_an_error_of_its_row_and_no_first_image():
    output = run(configured(scorer="x"), rows(["a", "a", "b"], [MAN] * 3, [10, -1, -1]))
    assert [bool(row["error"]) for row in output] == [False, True, True]
    assert output[0]["identity_similarity"] == pytest.approx(1, abs=1e-3)


def test_with_the_embedded_scorer_a_drawn_person_keeps_its_images_and_that_of_another_falls_out():
    persons, views = 6, 4
    numbers = [number for number in range(persons) for _ in range(views)]
    others = [number * views + 2 for number in range(persons)]  # these rows show another person
    for row in others:
        numbers[row] += persons
    crops = [drawn_crop(number, row % views) for row, number in enumerate(numbers)]
    batch = pa.record_batch(
        {
            "person": pa.array([f"p{row // views}" for row in range(len(crops))]),
            "attributes": pa.array([MAN] * len(crops), pa.list_(pa.int8())),  # as if labels saw no difference
            "crop": pa.array(crops, pa.binary()),
        }
    )
    settings_of_stage = {"scorer": "embedded", "min_agreement": None, "min_similarity": EMBEDDED_SIMILARITY}
    assert refused(run(stage(settings.check({"identity": settings_of_stage})), batch)) == others


def test_the_summary_is_the_same_in_any_shards():
    rng = np.random.default_rng(1)
    names = [f"p{at // 3}" for at in range(30)]
    labels, levels = rng.integers(-1, 2, (30, WIDTH)).tolist(), rng.integers(0, 256, 30).tolist()

    def summary(size: int) -> pa.Table:
        shards: Iterator[pa.RecordBatch] = (
            rows(names[at : at + size], labels[at : at + size], levels[at : at + size]) for at in range(0, 30, size)
        )
        return configured(scorer="x", min_agreement=None).summarise(shards)

    assert summary(30).equals(summary(7)) and summary(30).equals(summary(1))


def test_without_any_row_there_is_nothing_to_compare():
    assert run(configured(scorer="x"), rows([], [], [])) == []


def test_without_any_person_the_stage_is_refused_in_one_sentence():
    with pytest.raises(UserError, match=r"no row has one; set plan\.views"):
        configured().summarise(iter([rows([None, None], [MAN, MAN])]))


def test_a_scorer_that_is_not_there_is_named_with_its_own_setting():
    checked = stage(settings.check({"identity": {"scorer": "nobody/none"}}))
    assert checked.needs == ("person", "attributes", "crop")
    with pytest.raises(ModelMissing, match=r"--set identity\.scorer=DIR"):
        checked.params()


def test_the_scorer_is_part_of_the_parameters():
    params = configured(scorer="folder/method", revision="v2").params()
    assert params["scorer"] == {"model": "method", "revision": "v2"} and "batch" not in params
    assert configured().params()["scorer"] is None

"""Several images a person: the same appearance, other circumstances."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from mals import settings
from mals.attributes import load_space
from mals.config import Config
from mals.errors import UserError
from mals.grid.store import Store
from mals.labeller.labeller import Labeller
from mals.planning import table
from mals.planning.create import create
from mals.planning.views import CIRCUMSTANCES, circumstances

SPACE = load_space("market1501")
BODY = [SPACE.names[at] for at in SPACE.body_attributes]
Rows = list[dict[str, Any]]


def configured(**plan: Any) -> Config:
    """The settings of a run whose generator is missing, so that no tokenizer is loaded."""
    return settings.check({"preset": "tiny", "generate": {"model": "nobody/none"}, "shard_rows": 4, "plan": {"views": 3, **plan}})


def planned(folder: Path, count: int | None, captions: str | None = None, **plan: Any) -> Rows:
    if captions is not None:
        (folder / "captions.csv").write_text(captions)
    source = table.CaptionsSource(None if captions is None else folder / "captions.csv", count)
    table.write_plan(Store(str(folder / "run")), configured(**plan), source)
    return [row for file in sorted((folder / "run/plan").glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


def persons(rows: Rows) -> list[Rows]:
    """The rows of each person, which must be neighbours."""
    names = [row["person"] for row in rows]
    starts = [at for at, name in enumerate(names) if at == 0 or names[at - 1] != name]
    assert len({names[at] for at in starts}) == len(starts)
    return [rows[start:end] for start, end in zip(starts, [*starts[1:], len(rows)], strict=True)]


def test_each_caption_is_a_person_with_rows_that_differ_in_their_circumstances(tmp_path):
    rows = planned(tmp_path, None, "caption\na man in a red coat.\na woman with a hat\n")
    for person, start in zip(persons(rows), ("a man in a red coat, ", "a woman with a hat, "), strict=True):
        assert len(person) == 3
        assert {row["person"] for row in person} == {person[0]["id"]}
        parts = [row["prompt"].removeprefix(start).split(", ") for row in person]
        for field, (_, options) in enumerate(CIRCUMSTANCES.values()):
            words = [part[field] for part in parts]
            assert len(set(words)) == 3 and set(words) <= set(options)
        assert len({row["camera"] for row in person}) == 3


def test_the_first_image_of_a_person_stands_in_the_rows_of_the_others(tmp_path):
    rows = planned(tmp_path, 7, "caption\na\nb\n", negative_prompt="blurry")
    assert [len(person) for person in persons(rows)] == [3, 3, 1]
    for first, *others in persons(rows):
        assert first["first_view"] is None
        expected = {name: first[name] for name in ("id", "prompt", "negative_prompt", "seed")}
        assert [row["first_view"] for row in others] == [expected] * len(others)


def test_ids_persons_cameras_and_seeds_of_the_file_are_kept(tmp_path):
    rows = planned(tmp_path, 9, "caption,id,person,camera,seed\na,x,p7,c9,5\nb,y,,,\n")
    assert [row["id"] for row in rows] == [f"{name}_v{view}" for name in ("x", "y", "x-1") for view in range(3)]
    assert [row["person"] for row in rows] == ["p7"] * 3 + ["y_v0"] * 3 + ["p7"] * 3
    assert [row["camera"] for row in rows[:3]] == ["c9"] * 3 and rows[3]["camera"].startswith("c")
    assert [row["seed"] == 5 for row in rows] == [True] + [False] * 8


def test_a_person_may_have_one_seed(tmp_path):
    own = planned(tmp_path / "own", 6, **drawn())
    one = planned(tmp_path / "one", 6, **drawn(view_seed="person"))
    assert len({row["seed"] for row in own}) == 6
    assert [row["seed"] for row in one] == [own[0]["seed"]] * 3 + [own[3]["seed"]] * 3
    assert [row["prompt"] for row in one] == [row["prompt"] for row in own]


def drawn(**plan: Any) -> dict[str, Any]:
    return {"attributes": {"shares": {"age": {"adult": 1.0}}}, **plan}


def test_the_images_of_a_drawn_person_have_the_same_attributes_in_the_same_words(tmp_path):
    rows = planned(tmp_path, 60, vary=["light"], **drawn())
    for person in persons(rows):
        assert len({tuple(row["wanted"]) for row in person}) == 1
        appearances = {row["prompt"].rsplit(", ", 1)[0] for row in person}
        assert len(appearances) == 1
        assert len({row["prompt"] for row in person}) == 3
        assert [row["camera"] for row in person] == [None] * 3


def test_a_template_says_where_a_circumstance_stands(tmp_path):
    grammar = {"templates": ["{view} and {action}: {person} [with {hair}] [, {hat}] [, {clothes}] [, {carried}]"]}
    for row in planned(tmp_path, 6, attributes=grammar, vary=["view", "pose", "camera"]):
        view, _, rest = row["prompt"].partition(" and ")
        assert view in CIRCUMSTANCES["view"][1] and rest.split(":")[0] in CIRCUMSTANCES["pose"][1]
        assert row["prompt"].rsplit(", ", 1)[1] in CIRCUMSTANCES["camera"][1]


def test_when_clothes_change_only_the_body_stays(tmp_path):
    assert BODY == ["gender", "age", "hair_length"]
    rows = planned(tmp_path, 90, change_clothes=True, **drawn())
    body = list(SPACE.body_attributes)
    for person in persons(rows):
        requested = np.array([row["wanted"] for row in person])
        assert (requested[:, body] == requested[0, body]).all()
        assert len(np.unique(np.delete(requested, body, 1), axis=0)) == 3
    starts = [" ".join(row["prompt"].split()[:2]) for row in rows]
    assert all(len(set(starts[at : at + 3])) == 1 for at in range(0, 90, 3) if not starts[at].endswith("photo"))


def test_the_labeller_reads_nothing_in_circumstances():
    labeller = Labeller("market1501")
    captions = ["a woman with long hair wearing a red jacket and black pants", "a man in a t-shirt and blue jeans, carrying a backpack"]
    for _, options in CIRCUMSTANCES.values():
        for words in options:
            labels = labeller.label([text for caption in captions for text in (caption, f"{caption}, {words}")]).values
            assert (labels[0::2] == labels[1::2]).all(), words


def test_circumstances_are_a_function_of_person_and_seed_and_repeat_only_when_all_have_come():
    plan = configured(views=9, vary=["view", "place"]).plan
    first = circumstances(plan, "caption 5", 0)
    assert first == circumstances(plan, "caption 5", 0) != circumstances(plan, "caption 5", 1)
    assert len({row["view"] for row in first[:4]}) == 4 == len({row["view"] for row in first[4:8]})
    views_alone = circumstances(configured(views=9, vary=["view"]).plan, "caption 5", 0)
    assert [row["view"] for row in views_alone] == [row["view"] for row in first]


def test_persons_of_a_file_come_before_those_that_are_drawn(tmp_path):
    rows = planned(tmp_path, 8, "caption\na\n", **drawn())
    assert [row["wanted"] is None for row in rows] == [True] * 3 + [False] * 5
    assert [len(person) for person in persons(rows)] == [3, 3, 2]


def test_a_plan_counts_persons_only_where_they_have_several_images(tmp_path):
    (tmp_path / "captions.txt").write_text("a\nb\n")
    options = {"captions": tmp_path / "captions.txt", "assignments": ["generate.model=nobody/none"]}
    assert create(tmp_path / "one", **options).persons is None
    receipt = create(tmp_path / "several", count=5, **options | {"assignments": [*options["assignments"], "plan.views=2"]})
    assert (receipt.rows, receipt.persons) == (5, 3)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"plan": {"change_clothes": True}}, "set plan.views over 1"),
        ({"plan": {"views": 2, "change_clothes": True}}, "plan.attributes"),
        ({"plan": {"views": 2, "change_clothes": True, "attributes": {"joint": "a.csv"}}}, "plan.attributes.shares"),
        ({"plan": {"views": 2, "vary": ["mood"]}}, "plan.vary"),
        ({"generate": {"view_strength": 0.5}}, "set plan.views over 1"),
    ],
)
def test_settings_of_views_that_do_not_go_together_are_refused(tree, words):
    with pytest.raises(UserError, match=words):
        settings.check(tree)


def test_images_that_exist_have_no_views(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(UserError, match=r"plan\.views makes several images of each prompt"):
        create(tmp_path / "run", ingest=tmp_path / "photos", assignments=["plan.views=2"])

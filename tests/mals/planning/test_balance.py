"""Balanced by design: what is drawn meets the shares, and what is said gives back what was drawn."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mals import settings
from mals.attributes import load_space
from mals.config import Grammar
from mals.errors import UserError
from mals.grid.plan import PlanReceipt
from mals.grid.store import Store
from mals.planning import table
from mals.planning.balance import apportion, caption_blocks, draw
from mals.planning.phrases import Phrases, Template

SPACE = load_space("market1501")
AT = {name: number for number, name in enumerate(SPACE.names)}
UPPER = [AT[f"upper_{color}"] for color in "black white red purple yellow blue green gray".split()]  # noqa: SIM905
LOWER = [AT[f"lower_{color}"] for color in "black white purple yellow blue green pink gray brown".split()]  # noqa: SIM905


def drawn(count: int, seed: int = 0, **settings: Any) -> np.ndarray:
    return draw(Grammar(**settings), SPACE, count, seed)[0]


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12).filter(lambda shares: sum(shares) > 0.1), st.integers(1, 500), st.integers(0, 99))
def test_every_value_comes_as_often_as_its_share_says_within_one_row(shares, count, seed):
    shares = np.array(shares) / sum(shares)
    counts = np.bincount(apportion(shares, count, np.random.default_rng(seed)), minlength=len(shares))
    assert counts.sum() == count
    assert np.abs(counts - shares * count).max() < 1 + 1e-5


def test_shares_that_come_out_even_are_met_exactly(tmp_path):
    counts = drawn(900, shares={"gender": {"woman": 0.3, "man": 0.7}, "hat": {"yes": 0.1, "no": 0.6, "unknown": 0.3}})
    assert Counter(counts[:, AT["gender"]].tolist()) == {0: 270, 1: 630}
    assert Counter(counts[:, AT["hat"]].tolist()) == {0: 90, 1: 540, -1: 270}
    assert Counter(counts[:, AT["age"]].tolist()) == {0: 450, 1: 450}


def test_one_colour_of_a_half_is_asked_for_or_another_or_none():
    shares = {"upper_color": {"red": 0.5, "other": 0.25, "unknown": 0.25}}
    counts = drawn(400, shares=shares)[:, UPPER]
    kinds = Counter(tuple(row) for row in counts.tolist())
    red = tuple(0 if at == AT["upper_red"] else 1 for at in UPPER)
    assert kinds == {red: 200, (1,) * 8: 100, (-1,) * 8: 100}


def test_by_default_every_value_of_every_factor_is_as_likely():
    counts = drawn(1800)
    assert (counts >= 0).all()
    assert set((counts[:, UPPER] == 0).sum(0)) == {200}
    assert set((counts[:, LOWER] == 0).sum(0)) == {180}
    assert set((counts[:, [AT["gender"], AT["bag"]]] == 0).sum(0)) == {900}


def test_factors_are_independent():
    counts = (drawn(6000) == 0).astype(float)
    free = [at for at in range(27) if at not in UPPER + LOWER]
    correlations = np.corrcoef(counts[:, [*free, UPPER[0], LOWER[0]]].T)
    np.fill_diagonal(correlations, 0)
    assert np.abs(correlations).max() < 0.06  # four and a half standard deviations


def test_the_seed_decides_and_nothing_else():
    grammar = Grammar()
    captions = [next(caption_blocks(grammar, 50, seed)).to_pylist() for seed in (1, 1, 2)]
    assert captions[0] == captions[1]
    assert captions[0] != captions[2]


def test_rows_are_the_same_in_number_and_wish_whatever_the_blocks(monkeypatch):
    whole = [row["wanted"] for block in caption_blocks(Grammar(), 40, 3) for row in block.to_pylist()]
    monkeypatch.setattr("mals.planning.balance.BLOCK", 7)
    assert [row["wanted"] for block in caption_blocks(Grammar(), 40, 3) for row in block.to_pylist()] == whole


JOINT = "gender,upper_color,weight\nwoman,red,3\nman,other,1\nman,,1\n"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_joint_table_ties_factors_together(tmp_path, kind):
    file = tmp_path / f"joint.{kind}"
    (tmp_path / "joint.csv").write_text(JOINT)
    if kind == "parquet":
        pd.read_csv(tmp_path / "joint.csv").to_parquet(file)
    counts = drawn(500, joint=str(file), shares={"age": {"adult": 1}})
    pairs = Counter((row[AT["gender"]], row[AT["upper_red"]], row[AT["upper_black"]], row[AT["age"]]) for row in counts.tolist())
    assert pairs == {(0, 0, 1, 1): 300, (1, 1, 1, 1): 100, (1, -1, -1, 1): 100}
    assert abs(np.corrcoef(counts[:, AT["gender"]], counts[:, AT["hat"]])[0, 1]) < 0.2


def test_a_joint_table_may_hold_the_published_numbers(tmp_path):
    (tmp_path / "joint.csv").write_text("upper_black,upper_white,lower_type,weight\n0,0,1,1\n1,0,-1,1\n")
    counts = drawn(10, joint=str(tmp_path / "joint.csv"))[:, [AT["upper_black"], AT["upper_white"], AT["upper_red"], AT["lower_type"]]]
    assert Counter(tuple(row) for row in counts.tolist()) == {(0, 0, -1, 1): 5, (1, 0, -1, -1): 5}


def test_many_rare_cells_keep_their_margins(tmp_path):
    """Rounding each of a thousand cells by itself would give every row of a small plan to the largest."""
    cells = [(gender, color, hair) for gender in ("woman", "man") for color in ("red", "blue", "green") for hair in ("short", "long")]
    rows = [f"{g},{c},{h},{1 + 0.001 * number}" for number, (g, c, h) in enumerate(cells * 80)]
    (tmp_path / "joint.csv").write_text("gender,upper_color,hair_length,weight\n" + "\n".join(rows))
    counts = drawn(120, joint=str(tmp_path / "joint.csv"))
    assert abs((counts[:, AT["gender"]] == 0).sum() - 60) <= 2
    assert all(abs((counts[:, AT[f"upper_{color}"]] == 0).sum() - 40) <= 3 for color in ("red", "blue", "green"))


SETTINGS: list[dict[str, Any]] = [
    {},
    {
        "shares": {
            "gender": {"woman": 0.4, "man": 0.4, "unknown": 0.2},
            "age": {"child": 0.2, "adult": 0.5, "unknown": 0.3},
            "hair_length": {"short": 0.3, "long": 0.3, "unknown": 0.4},
            "sleeve_length": {"long": 0.4, "short": 0.3, "unknown": 0.3},
            "lower_length": {"long": 0.4, "short": 0.3, "unknown": 0.3},
            "lower_type": {"skirt": 0.4, "pants": 0.3, "unknown": 0.3},
            "upper_color": {"black": 0.3, "blue": 0.3, "other": 0.2, "unknown": 0.2},
            "lower_color": {"blue": 0.3, "black": 0.3, "other": 0.2, "unknown": 0.2},
        }
    },
    {"shares": {"lower_type": {"skirt": 1}, "upper_color": {"black": 0.5, "blue": 0.5}, "lower_color": {"black": 0.5, "blue": 0.5}}},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=["uniform", "unknown", "dresses"])
def test_the_labeller_reads_back_what_was_wanted(settings):
    from mals.labeller.labeller import Labeller

    table = next(caption_blocks(Grammar(**settings), 1500, 11))
    requested = np.array(table["wanted"].to_pylist())
    values = Labeller("market1501").label(table["caption"].to_pylist()).values
    wrong = (requested >= 0) & (values != requested)
    shown = [(SPACE.names[at], table["caption"][int(row)].as_py()) for row, at in np.argwhere(wrong)[:5]]
    assert wrong.sum() <= 0.002 * (requested >= 0).sum(), shown
    assert wrong.any(1).mean() <= 0.01, shown


def test_a_child_is_a_boy_or_a_girl_and_nothing_is_said_twice_or_left_open():
    grammar = Grammar(shares={"age": {"child": 1}, "lower_type": {"pants": 1}, "lower_length": {"short": 1}})
    for row in next(caption_blocks(grammar, 300, 5)).to_pylist():
        words = row["caption"].replace(",", "").split()
        assert not {"man", "woman", "lady", "gentleman", "pants", "trousers", "jeans", "skirt", "dress"} & set(words), row["caption"]
        assert ("boy" if row["wanted"][0] else "girl") in words
        assert not any(mark in row["caption"] for mark in "{}[]"), row["caption"]
        assert "  " not in row["caption"] and " ," not in row["caption"] and ",," not in row["caption"]


def test_jeans_are_not_worn_where_no_colour_of_theirs_is_asked_for():
    grammar = Grammar(shares={"lower_color": {"unknown": 0.5, "brown": 0.5}})
    assert not any("jeans" in row["caption"] for row in next(caption_blocks(grammar, 400, 5)).to_pylist())


def test_a_template_of_ones_own_says_everything_that_is_asked():
    template = "{person} in {upper} [and {lower}] [under {hat}] [with {hair}] [, {carried}]"
    grammar = Grammar(templates=[template], shares={"gender": {"man": 1}, "age": {"adult": 1}})
    captions = [row["caption"] for row in next(caption_blocks(grammar, 50, 1)).to_pylist()]
    assert all(" in a" in caption and caption.split()[0] in ("a", "an") for caption in captions)
    assert 10 < sum(" under a" in caption for caption in captions) < 40
    assert not any("dress" in caption for caption in captions)


def test_a_template_need_not_say_what_is_never_asked():
    grammar = Grammar(templates=["{person} in {clothes} [, {carried}]"], shares={"hat": {"unknown": 1}, "hair_length": {"unknown": 1}})
    assert len(next(caption_blocks(grammar, 5, 1))) == 5


def test_parts_in_brackets_go_with_their_field():
    template = Template("{person} [with {hair}], in {clothes} [, carrying {carried}].")
    words = {"person": "a man", "hair": "", "clothes": "a coat", "carried": ""}
    assert template.fill(words) == "a man, in a coat."
    assert template.fill(words | {"hair": "long hair", "carried": "a bag"}) == "a man with long hair, in a coat, carrying a bag."


OWN = """
name: mine
attributes:
  gender: {values: [man, woman], prompts: [the person is a man, the person is a woman]}
  boots: {values: ["no", "yes"], prompts: [the person does not wear boots, the person wears boots]}
  logo: {values: ["no", "yes"], prompts: [there is no logo on the upper clothes, there is a logo on the upper clothes]}
  glasses: {values: ["no", "yes"], prompts: [a person without glasses, a person with glasses], not_mentioned: "no"}
"""


def test_attributes_without_words_of_their_own_are_asked_for_by_their_prompts(tmp_path):
    (tmp_path / "mine.yaml").write_text(OWN)
    phrases = Phrases(load_space(tmp_path / "mine.yaml"), ["{person} in {clothes} [, {rest}]"])
    requested = np.array([[1, 1, 1, 1], [0, 0, -1, 0], [-1, -1, -1, -1]], np.int8)
    assert phrases.captions(requested, np.zeros((3, 24), np.int64)) == [
        "a person in a shirt, is a woman, wears boots, there is a logo on the upper clothes, with glasses",
        "a person in a shirt, is a man, does not wear boots",
        "a person in a shirt",
    ]


def test_values_that_deny_each_other_are_not_asked_for_together(tmp_path):
    (tmp_path / "mine.yaml").write_text(OWN + 'implicit:\n- {when: {gender: man}, then: {boots: "no"}}\n')
    space = str(tmp_path / "mine.yaml")
    with pytest.raises(UserError, match=r"asks for gender man together with boots yes in 1\d of 50 rows, .* plan\.attributes\.joint"):
        list(caption_blocks(Grammar(space=space), 50, 0))
    (tmp_path / "joint.csv").write_text("gender,boots,weight\nman,no,1\nwoman,yes,1\nwoman,no,1\n")
    requested = next(caption_blocks(Grammar(space=space, joint=str(tmp_path / "joint.csv")), 30, 0))["wanted"].to_pylist()
    assert Counter((row[0], row[1]) for row in requested) == {(0, 0): 10, (1, 1): 10, (1, 0): 10}


@pytest.mark.parametrize(
    ("grammar", "words"),
    [
        ({"shares": {"gendre": {"man": 1}}}, "shares.gendre: .*has no gendre; did you mean gender"),
        ({"shares": {"upper_red": {"yes": 1}}}, "upper_red is one of upper_color; give the shares of upper_color"),
        ({"shares": {"gender": {"men": 1}}}, "gender has no value 'men'; did you mean man"),
        ({"shares": {"gender": {"man": 0.5}}}, "shares of gender|shares.gender: the shares sum to 0.5, not 1"),
        ({"shares": {"gender": {"man": 1.5, "woman": -0.5}}}, "gender.man = 1.5 is not a share"),
        ({"templates": ["{person} in {cloths}"]}, "has a field {cloths}; there are person"),
        ({"templates": ["{person} in {clothes} [with {hair}"]}, "brackets"),
        ({"templates": ["{person} in {clothes} [with {hair} [and {hat}]]"]}, "brackets"),
        ({"templates": ["{person in {clothes}"]}, "is not a template"),
        ({"templates": ["{person} in {clothes} [with {hair}] [, {carried}]"]}, "cannot express hat: it has no {hat}"),
        ({"space": "none.yaml"}, "none.yaml"),
    ],
)
def test_settings_that_cannot_be_met_are_refused(grammar, words):
    with pytest.raises(UserError, match=words):
        list(caption_blocks(Grammar(**grammar), 10, 0))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("gender,upper_color\nman,red\n", "needs the column weight"),
        ("weight\n1\n", "needs the column weight, at least one column of an attribute"),
        ("gender,weight\n", "and a row"),
        ("sex,weight\nman,1\n", "column sex: .*has no sex"),
        ("gender,weight\nmn,1\n", "row 1: gender has no value 'mn'; did you mean man"),
        ("gender,weight\nman,many\n", "the weight of row 1 is not a number"),
        ("gender,weight\nman,1\nwoman,-1\n", "the weight of row 2 is not a number"),
        ("gender,weight\nman,0\n", "the weights sum to 0"),
        ("upper_color,upper_red,weight\nred,yes,1\n", "upper_red and its group both"),
    ],
)
def test_a_joint_table_that_says_nothing_is_refused(tmp_path, table, words):
    (tmp_path / "joint.csv").write_text(table)
    with pytest.raises(UserError, match=words):
        drawn(10, joint=str(tmp_path / "joint.csv"))


def test_a_joint_table_that_is_none_is_refused(tmp_path):
    (tmp_path / "joint.parquet").write_bytes(b"PAR1")
    (tmp_path / "joint.csv").write_text("gender,weight\nman,1\n")
    for name, words in (("none.csv", "there is no table"), ("joint.parquet", "is not a table"), ("joint.txt", "there is no table")):
        with pytest.raises(UserError, match=words):
            drawn(10, joint=str(tmp_path / name))
    with pytest.raises(UserError, match=r"gender is in the table .*joint\.csv too"):
        drawn(10, joint=str(tmp_path / "joint.csv"), shares={"gender": {"man": 1}})


@pytest.fixture
def planned(tmp_path: Path) -> Callable[..., PlanReceipt]:
    def make(name: str = "run", **attributes: Any) -> PlanReceipt:
        tree = settings.parse(f"generate: {{model: nobody/none}}\nplan: {{attributes: {attributes.pop('text', '{}')}}}", "mals.yaml")
        config = settings.check(settings.merge(tree, attributes.pop("extra", {})))
        return table.write_plan(Store(str(tmp_path / name)), config, table.CaptionsSource(None, 200))

    return make


def test_a_plan_of_attributes_keeps_what_was_wanted(tmp_path, planned):
    receipt = planned(text="{shares: {hat: {yes: 0.25, no: 0.75}}}")
    rows = pq.read_table(tmp_path / "run/plan/00000.parquet")
    assert rows.schema == table.PLAN
    assert (receipt.rows, len(rows)) == (200, 200)
    assert Counter(row[AT["hat"]] for row in rows["wanted"].to_pylist()) == {0: 50, 1: 150}
    assert rows["prompt"].to_pylist() == rows["caption"].to_pylist()
    assert len(set(rows["caption"].to_pylist())) > 190


def test_a_joint_table_that_has_changed_makes_another_plan(tmp_path, planned):
    file = tmp_path / "joint.csv"
    file.write_text("gender,weight\nman,1\n")
    receipt = planned(text=f"{{joint: '{file}'}}")
    assert planned(text=f"{{joint: '{file}'}}") == receipt
    for change in (lambda: file.write_text("gender,weight\nwoman,1\n"), file.unlink):
        change()
        with pytest.raises(UserError, match=r"holds another plan \(.*joint.csv has changed"):
            planned(text=f"{{joint: '{file}'}}")


def test_what_is_wanted_and_what_is_labelled_are_of_one_space(planned):
    with pytest.raises(UserError, match=r"plan.attributes.space is market1501 and label.space pa100k; set label.space=market1501"):
        planned(extra={"label": {"space": "pa100k"}})

"""Attribute spaces: what ships, and how a wrong file is refused."""

import re
from pathlib import Path

import pytest

from mals.attributes import load_space, plural
from mals.errors import UserError
from mals.labeller.labeller import Labeller

SMALL = """\
name: weather
attributes:
  coat:
    values: ["yes", "no"]
    prompts: [the person wears a coat, the person wears no coat]
    not_mentioned: "no"
    words:
      "yes":
        upper: [coat, parka]
  boots:
    values: [dry, wet]
    prompts: [dry feet, wet feet]
    words:
      dry: {accessory: [rubber boot, galoshes]}
      wet: {accessory: [sandal]}
  upper_red:
    values: [red, not red]
    prompts: [the person wears red, the person does not wear red]
color_groups:
  upper:
    half: upper
    colors: {red: upper_red}
"""


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "space.yaml"
    file.write_text(text)
    return file


def refused(tmp_path: Path, text: str) -> str:
    file = write(tmp_path, text)
    with pytest.raises(UserError) as caught:
        load_space(file)
    assert str(caught.value).startswith(f"{file}, line ")
    return str(caught.value).removeprefix(f"{file}, line ")


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def test_market1501_has_the_27_attributes_of_mals_in_their_order() -> None:
    space = load_space("market1501")
    assert len(space.names) == 27
    assert space.names[:10] == (
        *("gender", "age", "hair_length", "hat", "backpack", "handbag", "bag"),
        *("sleeve_length", "lower_length", "lower_type"),
    )
    uppers, lowers = "black white red purple yellow blue green gray", "black white purple yellow blue green pink gray brown"
    assert space.names[10:18] == tuple(f"upper_{color}" for color in uppers.split())
    assert space.names[18:] == tuple(f"lower_{color}" for color in lowers.split())


def test_the_prompts_of_market1501_are_those_of_mals_word_for_word() -> None:
    prompts = [prompt for pair in load_space("market1501").prompts for prompt in pair]
    assert len(set(prompts)) == 54
    assert prompts[:4] == [
        *("the person is a woman", "the person is a man"),
        *("the person is younger than 18 years old", "the person is older than 18 years old"),
    ]
    assert prompts[14:20] == [
        *("the person wears long sleeved upper clothes", "the person wears short sleeved upper clothes"),
        *("the person wears long dress or long pants", "the person wears short dress or short pants"),
        *("the person wears dress or skirt", "the person wears pants or shorts"),
    ]
    assert prompts[-2:] == ["the person wears brown lower clothes", "the person does not wear brown lower clothes"]


def test_pa100k_has_26_attributes_whose_first_value_is_no() -> None:
    space = load_space("pa100k")
    assert len(space.names) == 26 and len({prompt for pair in space.prompts for prompt in pair}) == 52
    assert space.prompts[0] == ("the person is a man", "the person is a woman")
    assert space.prompts[2] == ("the person is a young or old one", "the person is of mid age, between 18 and 60 years old")
    assert space.prompts[15] == (
        "there is no stride on the upper clothes of the person",
        "there is stride on the upper clothes of the person",
    )
    assert all(values == ("no", "yes") for values in space.values[1:])


def test_classes_are_the_values_by_name() -> None:
    classes = load_space("market1501").classes
    assert classes["gender"] == ("woman", "man") and classes["upper_red"] == ("yes", "no")


def test_a_custom_file_works_in_the_labeller(tmp_path: Path) -> None:
    labels = Labeller(write(tmp_path, SMALL)).label(["a woman in a red coat and sandals", "a man in galoshes and a blue shirt", "a dog"])
    assert labels.values.tolist() == [[0, 1, 0], [1, 0, 1], [1, -1, -1]]


def test_the_digest_changes_with_the_file(tmp_path: Path) -> None:
    first = load_space(write(tmp_path, SMALL)).sha256
    assert load_space(write(tmp_path, SMALL + "\n")).sha256 != first


def test_an_unknown_key_is_refused_with_its_line_and_the_nearest_key(tmp_path: Path) -> None:
    text = SMALL.replace("    not_mentioned:", "    not_mentionned:")
    assert refused(tmp_path, text) == f"{line_of(text, 'not_mentionned')}: coat has no key not_mentionned; did you mean not_mentioned?"


def test_two_attributes_with_one_name_are_refused(tmp_path: Path) -> None:
    text = SMALL.replace("  boots:", "  coat:")
    assert refused(tmp_path, text) == "10: attributes has coat twice, first on line 3"


def test_a_missing_prompt_is_refused(tmp_path: Path) -> None:
    text = SMALL.replace("[dry feet, wet feet]", "[dry feet]")
    assert refused(tmp_path, text) == f"{line_of(text, '[dry feet]')}: boots needs two different prompts, and has 1"
    assert refused(tmp_path, SMALL.replace("    prompts: [dry feet, wet feet]\n", "")) == "10: boots has no prompts"


def test_a_word_listed_for_two_values_is_refused(tmp_path: Path) -> None:
    text = SMALL.replace("[sandal]", "[sandal, Rubber-Boot]")
    assert refused(tmp_path, text) == "15: 'Rubber-Boot' is listed for two values of boots: dry (line 14) and wet"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("half: upper", "half: middle", "half of upper is middle, neither upper nor lower"),
        ("{red: upper_red}", "{red: upper_blue}", "red of upper is upper_blue, which is no attribute"),
        ("{red: upper_red}", "{red: upper_red, blue: upper_red}", "upper_red is both red of upper and blue of upper"),
        ('not_mentioned: "no"', "not_mentioned: maybe", "coat has no value maybe, only yes and no"),
        ("upper: [coat", "uper: [coat", "coat: yes has no key uper; did you mean upper?"),
        ("[coat, parka]", "[coat, {a: b}]", "an entry of upper of coat: yes is not a text"),
        ("[coat, parka]", "[coat, + parka]", "'+ parka' is no entry: write a word, a phrase, or a quality + a word"),
        ("name: weather\n", "", "the attribute space has no name"),
    ],
)
def test_mistakes_are_refused_with_their_reason(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert re.sub(r"^\d+: ", "", refused(tmp_path, SMALL.replace(old, new))) == message


def test_an_implicit_rule_about_an_unknown_attribute_is_refused(tmp_path: Path) -> None:
    text = SMALL + 'implicit:\n  - when: {coat: "yes"}\n    then: {bots: dry}\n'
    assert refused(tmp_path, text) == f"{len(text.splitlines())}: then has no key bots; did you mean boots?"


def test_a_file_that_is_missing_or_no_yaml_is_refused(tmp_path: Path) -> None:
    assert re.match(r"\d: not YAML: ", refused(tmp_path, "name: [unclosed"))
    with pytest.raises(UserError, match="neither one of market1501, pa100k nor a YAML file"):
        load_space("market1502")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is not UTF-8 text"):
        load_space(tmp_path / "binary.yaml")


@pytest.mark.parametrize(
    ("one", "many"), [("hat", "hats"), ("dress", "dresses"), ("policeman", "policemen"), ("old lady", "old ladies"), ("toy", "toys")]
)
def test_plurals(one: str, many: str) -> None:
    assert plural(one) == many

import pytest

from mals.config import CaptionRules
from mals.stages.captioning.rules import refusal

STRICT = CaptionRules(hedging=True, absent=True, min_words=4, max_words=12)
GOOD = [
    "A man wears a black coat and blue jeans.",
    "A woman in a mighty red coat, her handbag under the arm.",
    "A person with a T-shirt that says likeness.",
    "A boy in a coat without a hood.",
    "A man and/nor woman in a coat.",
]


@pytest.mark.parametrize("text", GOOD)
def test_plain_descriptions_pass_all_rules(text):
    assert refusal(text, text, STRICT) is None


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "empty_caption"),
        ("a man walks", "short_caption"),
        ("a man " * 7, "long_caption"),
        ("a man in <b>red</b> clothes", "markup_caption"),
        ("a man in\na red coat", "markup_caption"),
        ("a man in/n a red coat", "markup_caption"),
        ("a **man** in a coat", "markup_caption"),
        ("# A man in red", "markup_caption"),
        ("a man in [clothing description] here", "slot_caption"),
        ("a man with {hair} and a coat", "slot_caption"),
        ("a man with Hair Description and coat", "slot_caption"),
        ("a man who appears to be young", "hedging_caption"),
        ("a man, possibly with a coat", "hedging_caption"),
        ("a man who might be old", "hedging_caption"),
        ("a woman with what looks like jeans", "hedging_caption"),
        ("a man with no visible bag", "absent_caption"),
        ("a man who is not wearing gloves", "absent_caption"),
        ("a man whose shoes cannot be seen", "absent_caption"),
        ("a man whose shoes can't be seen", "absent_caption"),
        ("a man who doesn't wear a hat", "absent_caption"),
        ("a man whose feet aren't visible", "absent_caption"),
        ("a man whose feet are out of frame", "absent_caption"),
    ],
)
def test_each_rule_refuses_its_kind_of_text(text, rule):
    assert refusal(text, " ".join(text.split()), STRICT) == rule


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("a man in <b>red</b>", "markup"),
        ("a man in [clothing description]", "slots"),
        ("a man who might be old", "hedging"),
        ("a man with no visible bag", "absent"),
    ],
)
def test_each_rule_has_a_setting_that_turns_it_off(text, setting):
    assert refusal(text, text, CaptionRules(**{setting: True})) is not None
    assert refusal(text, text, CaptionRules(**{setting: False})) is None


def test_an_empty_text_is_bad_whatever_the_settings():
    assert refusal("", "", CaptionRules(markup=False, slots=False)) == "empty_caption"

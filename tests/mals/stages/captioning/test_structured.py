import pytest

from mals.errors import UserError
from mals.stages.captioning.structured import caption_in, check_schema

SCHEMA = {
    "type": "object",
    "properties": {"caption": {"type": "string", "minLength": 3}, "hat": {"enum": ["yes", "no"]}},
    "required": ["caption", "hat"],
}


@pytest.mark.parametrize(
    ("answer", "caption"),
    [
        ('{"caption": "a man", "hat": "no"}', "a man"),
        (' {"hat": "yes", "caption": "a man", "more": 1}\n', "a man"),
        ('{"caption": "a man"}', None),
        ('{"caption": "a", "hat": "no"}', None),
        ('{"caption": 5, "hat": "no"}', None),
        ('["a man"]', None),
        ("a man", None),
        ("", None),
        ('```json\n{"caption": "a man", "hat": "no"}\n```', None),
        ("[" * 100_000, None),
    ],
)
def test_the_caption_is_a_field_of_an_answer_of_the_schema_and_nothing_else(answer, caption):
    assert caption_in(answer, SCHEMA, "caption") == caption


@pytest.mark.parametrize(
    ("schema", "field", "sentence"),
    [
        ({"type": "thing"}, "caption", "the captioner any is no JSON Schema"),
        ({"type": "object", "properties": {"text": {}}}, "caption", "has no property caption"),
        ({"type": "string"}, "caption", "has no property caption"),
    ],
)
def test_a_wrong_schema_is_refused_in_one_sentence(schema, field, sentence):
    with pytest.raises(UserError, match=sentence):
        check_schema(schema, field, "the captioner any")


def test_a_caption_that_the_schema_lets_be_a_number_is_none():
    assert caption_in('{"caption": 5}', {"properties": {"caption": {}}}, "caption") is None


def test_a_schema_elsewhere_is_not_fetched():
    with pytest.raises(UserError, match=r"refers to http://127.0.0.1:1/schema, which is not in it"):
        caption_in("{}", {"$ref": "http://127.0.0.1:1/schema"}, "caption")

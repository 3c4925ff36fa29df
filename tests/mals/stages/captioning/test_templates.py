import pytest

from mals.errors import UserError
from mals.planning.phrases import Template
from mals.stages.captioning.templates import SLOTS, fill, generated, load_templates, read_template, shape

EVERYTHING = {
    "person": "a woman",
    "clothes": "a red coat and jeans",
    "upper": "a red coat",
    "lower": "jeans",
    "hair": "long hair",
    "shoes": "white sneakers",
    "hat": "a cap",
    "accessories": "glasses",
    "carried": "a bag",
}


def test_the_generator_gives_480_different_templates_of_known_slots():
    texts = generated()
    assert len(set(texts)) == len(texts) == 480
    assert all(read_template(text).fields >= {"person", "clothes", "hair", "shoes", "carried", "hat", "accessories"} for text in texts)


def test_a_filled_template_of_the_generator_is_one_or_two_whole_sentences():
    for text in generated():
        sentence = fill(text, EVERYTHING)
        assert sentence[0].isupper() and sentence.endswith(".") and "{" not in sentence and " ," not in sentence
        assert all(phrase.lower() in sentence.lower() for slot, phrase in EVERYTHING.items() if slot not in ("upper", "lower"))


def test_parts_without_a_phrase_are_left_out_and_a_needed_slot_stays():
    assert fill("{person} wears {clothes} [, with {hair}].", {"person": "a man", "clothes": "a coat"}) == "A man wears a coat."
    assert fill("{person} has {hair}.", {"person": "a man"}) == "A man has {hair}."


def test_a_captioner_reads_every_slot_as_a_name_in_brackets():
    assert shape("{person} in {clothes} [, with {hair}].") == "[person] in [clothing description], with [hair description]."


def test_a_file_of_templates_has_one_a_line_each_once(tmp_path):
    file = tmp_path / "t.txt"
    file.write_text("# of mine\n{person} in {clothes}.\n\n{person} in {clothes}.\n{clothes}, worn by {person}.\n")
    assert load_templates(str(file)) == ["{person} in {clothes}.", "{clothes}, worn by {person}."]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{person} with {umbrella}", r"has a field \{umbrella\}; there are person, clothes, upper"),
        ("{person} [with {hair}", "brackets that do not match"),
        ("a person", "has no slot; there are person"),
        ("# nothing", "holds no template"),
    ],
)
def test_a_bad_file_of_templates_is_refused_by_name(text, sentence, tmp_path):
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(UserError, match=sentence) as error:
        load_templates(str(tmp_path / "t.txt"))
    assert "t.txt" in str(error.value)


def test_a_missing_file_of_templates_names_the_command_that_writes_one(tmp_path):
    with pytest.raises(UserError, match="mals templates --to"):
        load_templates(str(tmp_path / "none.txt"))


def test_templates_of_captions_and_of_prompts_have_their_own_fields():
    assert Template("{person} {action}").fields == {"person", "action"}
    with pytest.raises(UserError, match=r"\{action\}"):
        read_template("{person} {action}")
    assert "shoes" in SLOTS

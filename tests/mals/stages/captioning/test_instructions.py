import pytest
from pydantic import ValidationError

from mals.config import Captioner, Instruction
from mals.stages.captioning.instructions import QUESTIONS, Wording, instructions
from mals.stages.captioning.templates import generated

VLM = Captioner(backend="vlm", model="any")


def test_a_prompt_is_short_for_one_static_instruction():
    (instruction,) = instructions(VLM.model_copy(update={"prompt": "what is worn?"}))
    assert Wording(instruction, VLM).prompt("") == "what is worn?"


def test_a_text_alone_is_short_for_an_instruction_of_that_kind():
    assert Captioner(backend="vlm", model="any", instructions=["template"]).instructions == [Instruction(kind="template")]


def test_tries_draw_every_choice_once_and_then_none(tmp_path):
    (tmp_path / "t.txt").write_text("\n".join(f"{{person}} {number}" for number in range(5)))
    wording = Wording(Instruction(kind="template", templates=str(tmp_path / "t.txt")), VLM)
    drawn = []
    for seed in (7, 123, 5, 0, 99):
        drawn.append(wording.draw(seed, drawn))
    assert sorted(drawn) == list(range(5))
    assert wording.draw(3, drawn) == -1
    assert Wording(Instruction(), VLM).draw(3, []) == -1


def test_draws_are_uniform_over_what_is_left():
    wording = Wording(Instruction(kind="template"), VLM)
    assert {wording.draw(seed, [0, 479]) for seed in range(478)} == set(range(1, 479))


def test_own_texts_have_their_place_for_what_is_drawn():
    wording = Wording(Instruction(kind="template", text="Like this: {template} Be short."), VLM)
    assert wording.prompt("{person} in {clothes}.") == 'Like this: "[person] in [clothing description]." Be short.'


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"kind": "style"}, "needs examples"),
        ({"kind": "template", "text": "describe"}, "has no {template}"),
        ({"kind": "questions", "text": "describe"}, "has no {answers}"),
        ({"kind": "poem"}, "static"),
    ],
)
def test_an_instruction_without_its_parts_is_refused(fields, sentence):
    with pytest.raises(ValidationError, match=sentence):
        Instruction(**fields)


def test_the_params_hold_the_wording_and_a_hash_of_what_is_drawn_from():
    params = Wording(Instruction(kind="template"), VLM).params()
    assert params["kind"] == "template" and "{template}" in params["text"] and len(params["choices_sha256"]) == 64
    assert Wording(Instruction(kind="questions"), VLM).params()["questions"] == list(QUESTIONS)
    assert generated()[0] not in str(params)

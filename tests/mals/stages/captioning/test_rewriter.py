import numpy as np
import pytest

from mals.config import Caption as Settings
from mals.config import Captioner, Instruction
from mals.errors import UserError
from mals.models import resolve
from mals.stages.caption import Caption
from mals.stages.captioning.instructions import Wording
from mals.stages.captioning.model import Request
from mals.stages.captioning.rewriter import Rewriter, rewritten, shuffled, statements
from tests.small.captioner import build_language_model

IMAGE = np.zeros((8, 4, 3), np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("language-model")
    build_language_model(folder)
    return Captioner(backend="rewrite", model=str(folder), beams=1, max_tokens=8, batch=4)


def request(source, seed=0):
    return Request(IMAGE, "Join these statements.", seed, source)


def test_a_caption_is_taken_apart_reworded_and_put_together_in_the_order_of_its_seed():
    prompts = []

    def answer(texts, seeds):
        prompts.append(texts)
        replies = ["1. A man.\n2. A red coat.\n- A bag.", "* He is male.\n* His coat is red.\n* He has a bag.", "A male in red with a bag."]
        return [replies[len(prompts) - 1] for _ in texts]

    assert rewritten([request("a man in a red coat with a bag")], answer) == ["A male in red with a bag."]
    assert "a man in a red coat with a bag" in prompts[0][0]
    assert "A man.\nA red coat.\nA bag." in prompts[1][0]
    first, *lines = prompts[2][0].splitlines()
    assert first == "Join these statements."
    assert sorted(lines) == ["He has a bag.", "He is male.", "His coat is red."]
    assert len({tuple(shuffled(lines, seed)) for seed in range(20)}) > 3


def test_a_step_without_statements_leaves_those_before_it():
    steps = iter([[""], [""], ["the end"]])
    prompts = []

    def answer(texts, seeds):
        prompts.append(texts)
        return next(steps)

    assert rewritten([request("a man in red")], answer) == ["the end"]
    assert prompts[1][0].endswith("a man in red") and prompts[2][0] == "Join these statements.\na man in red"


def test_statements_have_no_bullets_and_no_empty_lines():
    assert statements("- one\n\n 2) two\n• three") == ["one", "two", "three"]


def test_a_saved_language_model_rewrites_each_caption_by_itself_and_the_same_again(model):
    rewriter = Rewriter(model, resolve(model.model, None, "captioner"))
    sources = ["a man in red", "a woman in a blue shirt with a bag", "person walking"]
    together = rewriter.caption([request(source, seed) for seed, source in enumerate(sources)])
    assert together == rewriter.caption([request(source, seed) for seed, source in enumerate(sources)])
    assert len(set(together)) > 1
    assert all(0 < len(text.split()) <= 8 for text in together)
    assert not any("Join" in text for text in together)
    assert rewriter.caption([request(sources[1], 1)]) == together[1:2]


def test_sampled_words_of_a_rewrite_depend_on_the_seed_alone(model):
    rewriter = Rewriter(model.model_copy(update={"sample": True, "temperature": 1.5}), resolve(model.model, None, "captioner"))
    texts = [rewriter.caption([request("a man in red", seed)])[0] for seed in (0, 1, 2, 3, 0)]
    assert texts[0] == texts[4]
    assert len(set(texts)) > 1


def test_the_stage_gives_the_rewriter_the_caption_of_its_source(model, tmp_path):
    first = Captioner(model="embedded", beams=1, max_tokens=12, batch=4)
    caption_stage = Caption(
        Settings(captioners=[first, model.model_copy(update={"instructions": [Instruction(), Instruction(kind="template")]})]), 0
    )
    caption_stage.setup()
    assert isinstance(caption_stage.models[1], Rewriter)
    assert [entry["kind"] for entry in caption_stage.params()["captioners"][1]["instructions"]] == ["static", "template"]
    assert Wording(Instruction(), model).text.startswith("Join these statements")


def test_a_model_without_a_chat_template_is_refused(model, tmp_path):
    build_language_model(tmp_path, chat=False)
    with pytest.raises(UserError, match="has no chat template, which the backend rewrite needs"):
        Caption(Settings(captioners=[Captioner(model="embedded"), model.model_copy(update={"model": str(tmp_path)})]), 0).params()

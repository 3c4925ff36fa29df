from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.images import encoded, photograph
from mals import settings
from mals.config import Caption as Settings
from mals.config import Captioner, CaptionRules, Instruction
from mals.errors import ModelMissing, UserError
from mals.images import decode_image
from mals.models import WEIGHTS, ResolvedModel, resolve
from mals.stages.caption import Caption, stage
from mals.stages.captioning.slots import phrases
from mals.stages.captioning.templates import fill, generated, shape
from tests.fakes import png
from tests.small.captioner import build_blip, build_vlm
from tests.small.spoiled import spoiled

BLIP = Captioner(model="embedded", beams=1, max_tokens=12, batch=4)


@pytest.fixture(scope="module")
def vlm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vlm")
    build_vlm(folder)
    return Captioner(backend="vlm", model=str(folder), prompt="describe this person", beams=1, max_tokens=8, batch=4)


@pytest.fixture(scope="module")
def blip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blip")
    build_blip(folder)
    return Captioner(model=str(folder), beams=1, max_tokens=12, batch=4)


@pytest.fixture(scope="module")
def crops():
    return [encoded(photograph(seed, 64, 32)) for seed in range(8)]


def captioned(captioners, crops, ids=None, seed=0, collapse=False):
    caption_stage = Caption(Settings(captioners=captioners, collapse=collapse), seed)
    caption_stage.setup()
    ids = ids or [f"row-{at}" for at in range(len(crops))]
    return caption_stage(pa.record_batch({"id": ids, "crop": pa.array(crops, pa.binary())})).to_pylist()


def raw(rows, captioner=0):
    return [row["captions"][captioner]["raw"] for row in rows]


def test_blip_captions_differ_between_images_and_repeat_between_runs(crops):
    first, second = (captioned([BLIP], crops) for _ in range(2))
    assert first == second
    assert len(set(raw(first))) > 2
    assert all(row["caption"] == row["captions"][0]["text"] for row in first)


def test_the_prompt_is_what_a_blip_caption_begins_with(crops):
    rows = captioned([BLIP.model_copy(update={"prompt": "a person wearing"})], crops[:2])
    assert all(text.startswith("a person wearing ") for text in raw(rows))
    assert rows[0]["captions"][0]["prompt"] == "a person wearing"


def test_a_chat_model_answers_without_its_question(vlm, crops):
    rows = captioned([vlm], crops[:4])
    assert all(0 < len(text.split()) <= 8 for text in raw(rows))
    assert not any("describe this person" in text for text in raw(rows))
    assert rows == captioned([vlm], crops[:4]), "the sampling that its own settings ask for is put aside"


def test_several_captioners_each_give_their_caption_with_model_and_prompt(vlm, crops):
    rows = captioned([BLIP, vlm], crops[:3])
    for row in rows:
        blip, chat = row["captions"]
        assert (blip["model"], chat["prompt"]) == ("embedded", "describe this person")
        assert chat["revision"].startswith("sha256:")
        assert row["caption"] == blip["text"]


@pytest.mark.parametrize("kind", ["blip", "vlm"])
def test_a_sampled_caption_does_not_depend_on_its_batch_mates(kind, vlm, crops):
    captioner = (BLIP if kind == "blip" else vlm).model_copy(update={"sample": True, "temperature": 1.5})
    together = captioned([captioner], crops[:4], ["a", "b", "c", "d"])
    mixed = captioned([captioner], [crops[7], crops[1], crops[6], crops[5]], ["x", "b", "y", "z"])
    assert raw(together)[1] == raw(mixed)[1]
    assert raw(together) == raw(captioned([captioner], crops[:4], ["a", "b", "c", "d"]))
    assert raw(together) != raw(captioned([captioner], crops[:4], ["a", "b", "c", "d"], seed=1))
    assert len(set(raw(captioned([captioner], [crops[0]] * 4, ["a", "b", "c", "d"])))) > 1


def test_sampled_words_follow_the_models_distribution():
    import torch

    from mals.stages.decoding import row_sampler

    scores = torch.tensor([[0.0, 1.0, 2.0, float("-inf")]]).log_softmax(1)
    sampled = row_sampler(range(3000))(None, scores.expand(3000, 4)).argmax(1)
    shares = np.bincount(sampled, minlength=4) / 3000
    assert np.allclose(shares, scores.exp()[0].numpy(), atol=0.03)


@pytest.mark.parametrize("prompt", ["", "a man in"])
def test_a_model_that_writes_nothing_leaves_an_empty_caption_which_is_refused(prompt, crops, tmp_path):
    build_blip(tmp_path, silent=True)
    rows = captioned([Captioner(model=str(tmp_path), beams=1, min_tokens=0, prompt=prompt)], crops[:2])
    assert [row["reject"] for row in rows] == [["empty_caption"]] * 2
    assert raw(rows) == ["", ""]


def test_version_3_gives_these_captions(blip):
    """A change of these texts is a change of results: raise Caption.version with it."""
    assert Caption.version == 3
    images = [ramp(*channels) for channels in ((0, 1, 2), (2, 0, 1))]
    rows = captioned([blip, blip.model_copy(update={"prompt": "a man", "sample": True, "top_p": 0.9})], images, collapse=True)
    assert [[entry["text"] for entry in row["captions"]] for row in rows] == [
        ["woman pants bag hat bag and bag", "a man woman with and shirt you woman pants you bag a and"],
        ["woman bag person and bag", "a man in bag see bag a see a and hat bag"],
    ]


def ramp(*channels):
    """An image [64, 32, 3] that rises to the right, downwards, and falls, in the given order of channels; as PNG."""
    down, right = np.mgrid[0:64, 0:32]
    return png(np.stack([8 * right, 4 * down, 255 - 4 * down], -1)[:, :, list(channels)].astype(np.uint8))


def test_beams_are_used(crops):
    greedy = captioned([BLIP], crops)
    assert raw(captioned([BLIP.model_copy(update={"beams": 3})], crops)) != raw(greedy)


def test_tokens_are_bounded_on_both_sides(crops):
    short = captioned([BLIP.model_copy(update={"max_tokens": 3, "min_tokens": 3})], crops)
    assert all(len(text.split()) <= 3 for text in raw(short))


def test_repetitions_are_collapsed_and_the_raw_text_stays(crops):
    for row in captioned([BLIP.model_copy(update={"max_tokens": 30})], crops, collapse=True):
        entry = row["captions"][0]
        assert (entry["repetition"] > 0) == (entry["text"] != entry["raw"])
        assert len(entry["text"]) <= len(entry["raw"])


def test_a_crop_that_cannot_be_read_is_a_row_error_and_its_neighbours_are_not(crops):
    rows = captioned([BLIP], [crops[0], b"rubbish", crops[2][:50], crops[3]])
    assert [bool(row["error"]) for row in rows] == [False, True, False, False]
    assert [row["reject"] for row in rows] == [None, None, ["damaged_image"], None]
    assert "0x" not in rows[1]["error"]
    assert raw([rows[0], rows[3]]) == raw([captioned([BLIP], crops[:4])[at] for at in (0, 3)])


def test_a_batch_of_the_stage_is_cut_into_batches_of_each_captioner(crops):
    small = BLIP.model_copy(update={"batch": 2})
    large = BLIP.model_copy(update={"batch": 8})
    caption_stage = Caption(Settings(captioners=[small, large], collapse=False), 0)
    assert caption_stage.batch == 8
    rows = captioned([small, large], crops)
    assert raw(rows, 0) == raw(rows, 1)


def test_a_halved_batch_of_the_stage_halves_those_of_every_captioner(crops):
    class Counting:
        def __init__(self, model):
            self.model, self.sizes = model, []

        def caption(self, requests):
            self.sizes.append(len(requests))
            return self.model.caption(requests)

    caption_stage = Caption(Settings(captioners=[BLIP.model_copy(update={"batch": size}) for size in (8, 2)]), 0)
    caption_stage.setup()
    caption_stage.models = [Counting(model) for model in caption_stage.models]
    for rows in (8, 4):
        caption_stage(pa.record_batch({"id": [f"row-{at}" for at in range(rows)], "crop": pa.array(crops[:rows], pa.binary())}))
    assert [model.sizes for model in caption_stage.models] == [[8, 4], [2] * 4 + [1] * 4]


def test_beams_together_with_sampling_are_refused():
    with pytest.raises(UserError, match="choose one"):
        stage(settings.check(settings.assign({}, ["caption.captioners.0.sample=true", "caption.captioners.0.beams=3"])))


def test_a_model_of_another_class_is_refused_by_name(vlm, crops):
    with pytest.raises(UserError, match="is a LlavaForConditionalGeneration, and the backend blip takes a BlipForConditionalGeneration"):
        Caption(Settings(captioners=[vlm.model_copy(update={"backend": "blip"})]), 0).params()
    with pytest.raises(UserError, match="BlipForConditionalGeneration and has no chat template"):
        blip = BLIP.model_copy(update={"backend": "vlm", "model": str(WEIGHTS / "captioner"), "prompt": "what"})
        Caption(Settings(captioners=[blip]), 0).params()


def test_a_blip_that_answers_questions_is_refused(blip, tmp_path):
    from transformers import AutoConfig, BlipForQuestionAnswering

    BlipForQuestionAnswering(AutoConfig.from_pretrained(blip.model)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="is a BlipForQuestionAnswering"):
        Caption(Settings(captioners=[Captioner(model=str(tmp_path))]), 0).params()


def test_a_chat_model_without_images_is_refused(vlm, crops, tmp_path):
    import shutil

    from transformers import LlamaConfig, LlamaForCausalLM

    shutil.copytree(vlm.model, tmp_path, dirs_exist_ok=True)
    width = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 40}
    LlamaForCausalLM(LlamaConfig(**width)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="is no image-text-to-text model"):
        captioned([vlm.model_copy(update={"model": str(tmp_path)})], crops[:1])


def test_more_tokens_than_a_model_takes_are_refused(blip, vlm, crops):
    with pytest.raises(UserError, match="takes 64 tokens; its prompt and max_tokens make 68"):
        captioned([blip.model_copy(update={"max_tokens": 65, "prompt": "a man"})], crops[:1])
    with pytest.raises(ValueError, match="tokens of 128"):
        captioned([vlm.model_copy(update={"max_tokens": 120})], crops[:1])


def test_a_missing_captioner_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(ModelMissing, match="nobody/nothing"):
        Caption(Settings(captioners=[Captioner(model="nobody/nothing")]), 0).params()


def test_the_fingerprint_holds_what_changes_captions_and_nothing_else():
    caption_stage = Caption(Settings(captioners=[BLIP]), 3)
    assert caption_stage.params()["captioners"][0].keys() == Captioner.model_fields.keys() - {
        *("batch", "prompt", "temperature", "top_p", "server", "json_schema", "json_field")
    }
    assert caption_stage.params()["captioners"][0]["revision"] == resolve("embedded", None, "captioner").revision
    assert caption_stage.params()["seed"] is None, "greedy captions do not depend on the seed"
    assert Caption(Settings(captioners=[BLIP.model_copy(update={"sample": True})]), 3).params()["seed"] == 3


class Scripted:
    """A captioner that answers with a function of the request, and keeps the requests."""

    def __init__(self, reply):
        self.reply, self.requests = reply, []

    def caption(self, requests):
        self.requests += requests
        return [self.reply(request) for request in requests]


def scripted(captioners, reply, crops, ids=None, seed=0, **rules):
    """The rows of captioners that all answer by `reply`, and the requests that they got."""
    caption_stage = Caption(Settings(captioners=captioners, rules=CaptionRules(**rules)), seed)
    caption_stage.resolved = [ResolvedModel("scripted", "", "1")] * len(captioners)
    model = Scripted(reply)
    caption_stage.models = [model] * len(captioners)
    ids = ids or [f"row-{at}" for at in range(len(crops))]
    return caption_stage(pa.record_batch({"id": ids, "crop": pa.array(crops, pa.binary())})).to_pylist(), model.requests


def chat(*instructions, **settings):
    return Captioner(backend="vlm", model="any", beams=1, batch=8, instructions=list(instructions), **settings)


def test_captions_are_captioners_times_instructions_times_their_count_in_this_order(crops):
    first = chat(Instruction(text="one"), Instruction(text="two", count=2))
    rows, _ = scripted([first, chat(Instruction(text="three"))], lambda request: f"a person, {request.prompt}", crops[:2])
    for row in rows:
        assert [entry["text"] for entry in row["captions"]] == [f"a person, {word}" for word in ("one", "two", "two", "three")]
        assert row["caption"] == "a person, one"


def test_captions_of_many_instructions_decode_each_image_once(crops, monkeypatch):
    from mals.stages import caption, row_images

    decoded = []
    monkeypatch.setattr(
        caption, "read_images", lambda files: row_images.read_images(files, lambda file: decoded.append(file) or decode_image(file))
    )
    rows, _ = scripted([chat("static", "template", Instruction(kind="questions", count=3))] * 2, lambda _: "a man in a red coat", crops[:3])
    assert len(decoded) == 3
    assert [len(row["captions"]) for row in rows] == [10] * 3


def test_the_template_of_a_row_follows_from_its_id_and_the_seed_and_not_from_its_batch(crops):
    def drawn(rows):
        return [row["captions"][0]["template"] for row in rows]

    together, requests = scripted([chat("template")], lambda _: "a man", crops[:4], ["a", "b", "c", "d"])
    alone, _ = scripted([chat("template")], lambda _: "a man", [crops[1]], ["b"])
    other, _ = scripted([chat("template")], lambda _: "a man", crops[:4], ["a", "b", "c", "d"], seed=1)
    assert drawn(together)[1] == drawn(alone)[0]
    assert len(set(drawn(together))) > 2
    assert drawn(together) != drawn(other)
    assert all(shape(request.choice) in request.prompt for request in requests)


def test_a_bad_caption_is_written_again_with_another_template_and_the_tries_are_counted(crops):
    def reply(request):
        return "a man who might be old" if request.choice in refused_templates else "a man in a red coat"

    refused_templates = {generated()[at] for at in range(0, 480, 2)}
    rows, _ = scripted([chat("template")], reply, crops, hedging=True, retries=8)
    assert all(row["caption"] == "a man in a red coat" for row in rows)
    tries = [row["captions"][0]["tries"] for row in rows]
    assert len(set(tries)) > 1
    assert all(row["captions"][0]["template"] not in refused_templates for row in rows)


def test_no_template_is_tried_twice_for_one_caption(crops, tmp_path):
    (tmp_path / "t.txt").write_text("{person} in {clothes}\n{clothes} on {person}\n{person} with {clothes}\n")
    template = Instruction(kind="template", templates=str(tmp_path / "t.txt"))
    rows, requests = scripted([chat(template)], lambda _: "it might be", crops[:1], hedging=True, retries=9)
    assert rows[0]["captions"][0]["tries"] == 3
    assert len({request.choice for request in requests}) == 3


def test_one_bad_caption_of_several_fails_no_row_and_is_left_out(crops):
    def reply(request):
        return "a man, possibly" if request.choice else "a man in a coat"

    rows, _ = scripted([chat("template", "static")], reply, crops[:2], hedging=True, retries=1)
    for row in rows:
        bad, good = row["captions"]
        assert (bad["text"], bad["refused"], bad["tries"], bad["raw"]) == (None, "hedging_caption", 2, "a man, possibly")
        assert (good["text"], good["refused"]) == ("a man in a coat", None)
        assert (row["caption"], row["reject"], row["error"]) == ("a man in a coat", None, None)


def test_a_row_without_any_good_caption_is_refused_by_the_rules_that_its_captions_fail(crops):
    def reply(request):
        return "a <b>man</b>" if request.choice else ""

    rows, _ = scripted([chat("template", "static")], reply, crops[:1], retries=0)
    assert (rows[0]["caption"], rows[0]["reject"]) == (None, ["markup_caption", "empty_caption"])


def test_on_bad_static_puts_the_same_images_static_caption_in_place_of_a_bad_one(crops):
    def reply(request):
        return f"a [clothing description] {request.seed}" if request.choice else f"a man {request.seed}"

    rows, _ = scripted([chat("template", "static"), chat("template")], reply, crops[:3], retries=1, on_bad="static")
    for row in rows:
        bad, static, other = row["captions"]
        assert bad["text"] == static["text"] == other["text"] == row["caption"]
        assert bad["refused"] == other["refused"] == "slot_caption"
    assert len({row["caption"] for row in rows}) == 3


def test_on_bad_static_without_a_good_static_caption_leaves_the_caption_out(crops):
    rows, _ = scripted([chat("template", "static")], lambda _: "a {person}", crops[:1], retries=0, on_bad="static")
    assert [entry["text"] for entry in rows[0]["captions"]] == [None, None]
    assert rows[0]["reject"] == ["slot_caption"]


def test_questions_are_asked_one_by_one_and_their_answers_are_summarised(crops):
    def reply(request):
        return {"which coat?": "a red coat", "which hat?": "a cap"}.get(request.prompt, "a man in a red coat and a cap")

    questions = Instruction(kind="questions", questions=["which coat?", "which hat?"])
    rows, requests = scripted([chat(questions)], reply, crops[:2])
    assert [request.prompt for request in requests[:4]] == ["which coat?"] * 2 + ["which hat?"] * 2
    entry = rows[0]["captions"][0]
    assert "\na red coat\na cap\n" in entry["prompt"]
    assert (entry["text"], entry["instruction"]) == ("a man in a red coat and a cap", "questions")


def test_a_style_example_comes_from_the_file_of_real_captions(crops, tmp_path):
    (tmp_path / "real.txt").write_text("A tall man walks.\nSomeone in a green skirt.\n")
    rows, requests = scripted([chat(Instruction(kind="style", examples=str(tmp_path / "real.txt")))], lambda _: "a man", crops)
    examples = {row["captions"][0]["template"] for row in rows}
    assert examples == {"A tall man walks.", "Someone in a green skirt."}
    assert all(f'"{request.choice}"' in request.prompt for request in requests)


def test_the_stand_in_fills_templates_with_the_phrases_of_the_first_caption_and_names_itself(crops):
    stand_in = Captioner(backend="template", instructions=[Instruction(kind="template", count=2)])
    caption_stage = Caption(Settings(captioners=[BLIP.model_copy(update={"max_tokens": 30}), stand_in]), 0)
    caption_stage.setup()
    rows = caption_stage(pa.record_batch({"id": ["a", "b"], "crop": pa.array(crops[:2], pa.binary())})).to_pylist()
    for row in rows:
        first, *others = row["captions"]
        assert [entry["model"] for entry in others] == ["stand-in: templates"] * 2
        assert row["caption"] == first["text"]
        assert all(entry["template"] in generated() for entry in others)
        assert all(entry["text"] == fill(entry["template"], phrases(first["text"])) for entry in others)


def test_a_caption_that_starts_from_a_missing_one_is_refused_for_that(crops):
    rows, _ = scripted([chat("static"), Captioner(backend="template")], lambda request: "a man" if request.source else "", crops[:1])
    assert [entry["refused"] for entry in rows[0]["captions"]] == ["empty_caption", "no_source_caption"]


@pytest.mark.parametrize(
    ("captioners", "sentence"),
    [
        ([{"backend": "vlm", "model": "any"}], "nothing to answer; set its prompt to a question, or its instructions"),
        ([{"model": "embedded", "instructions": ["template"]}], "is a BLIP, which follows no instruction of the kind template"),
        ([{"backend": "vlm", "model": "any", "prompt": "what", "instructions": ["static"]}], "has a prompt and instructions"),
        ([{"backend": "template"}], "is no earlier one"),
        ([{"model": "embedded"}, {"backend": "rewrite", "model": "any", "source": 1}], "is no earlier one"),
        ([{"model": "embedded"}, {"backend": "template", "instructions": ["questions"]}], "answers no questions"),
    ],
)
def test_a_captioner_that_cannot_do_what_is_asked_of_it_is_refused_in_one_sentence(captioners, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        stage(settings.check({"caption": {"captioners": captioners}}))
    assert "\n" not in str(error.value)


def test_a_template_with_an_unknown_slot_is_refused_before_any_model_is_loaded(tmp_path):
    (tmp_path / "t.txt").write_text("{person} in {clothes}\n{person} with {umbrella}\n")
    instruction = {"kind": "template", "templates": str(tmp_path / "t.txt")}
    with pytest.raises(UserError, match=r"t.txt: the template .* has a field \{umbrella\}; there are person, clothes"):
        stage(settings.check({"caption": {"captioners": [{"backend": "vlm", "model": "any", "instructions": [instruction]}]}})).params()


def test_on_bad_static_without_a_static_instruction_is_refused():
    with pytest.raises(UserError, match="on_bad = static needs a captioner with a static instruction"):
        Caption(Settings(captioners=[chat("template")], rules=CaptionRules(on_bad="static")), 0)


def test_a_changed_file_of_templates_changes_the_fingerprint(tmp_path, vlm):
    file = tmp_path / "t.txt"
    instruction = Instruction(kind="template", templates=str(file))
    captioner = vlm.model_copy(update={"prompt": "", "instructions": [instruction]})
    params = []
    for text in ("{person} in {clothes}", "{clothes} on {person}"):
        file.write_text(text)
        params.append(Caption(Settings(captioners=[captioner]), 0).params())
    assert params[0] != params[1]
    assert params[0]["seed"] == 0


@pytest.mark.parametrize("kind", ["blip", "vlm"])
def test_weights_that_are_not_finite_are_refused_with_the_tensor(kind, crops, tmp_path, request):
    settings = request.getfixturevalue(kind)
    name = spoiled(Path(settings.model), tmp_path / "bad")
    with pytest.raises(UserError, match=rf"bad: 1 of the [\d,]+ numbers of \S*{name.rpartition('.')[2]} are not finite"):
        captioned([settings.model_copy(update={"model": str(tmp_path / "bad")})], crops[:1])

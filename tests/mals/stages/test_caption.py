from io import BytesIO

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from benchmarks.images import encoded, photograph
from mals import settings
from mals.config import Caption as Settings
from mals.config import Captioner
from mals.errors import ModelMissing, UserError
from mals.models import resolve
from mals.stages.caption import Caption, stage
from tests.small.captioner import build_blip, build_vlm

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


def test_version_1_gives_these_captions(blip):
    """A change of these texts is a change of results: raise Caption.version with it."""
    assert Caption.version == 2
    images = [ramp(*channels) for channels in ((0, 1, 2), (2, 0, 1))]
    rows = captioned([blip, blip.model_copy(update={"prompt": "a man", "sample": True, "top_p": 0.9})], images, collapse=True)
    assert [[entry["text"] for entry in row["captions"]] for row in rows] == [
        ["woman pants bag hat bag and bag", "a man hat black in bag do describe walking do in a in"],
        ["woman bag person and bag", "a man shirt person hat person bag and bag a and woman person"],
    ]


def ramp(*channels):
    """An image [64, 32, 3] that rises to the right, downwards, and falls, in the given order of channels; as PNG."""
    down, right = np.mgrid[0:64, 0:32]
    sink = BytesIO()
    Image.fromarray(np.stack([8 * right, 4 * down, 255 - 4 * down], -1)[:, :, list(channels)].astype(np.uint8)).save(sink, "PNG")
    return sink.getvalue()


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

        def caption(self, images, seeds):
            self.sizes.append(len(images))
            return self.model.caption(images, seeds)

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
        Caption(Settings(captioners=[BLIP.model_copy(update={"backend": "vlm", "prompt": "what"})]), 0).params()
    with pytest.raises(UserError, match="no prompt; set its prompt to a question"):
        captioned([vlm.model_copy(update={"prompt": ""})], crops[:1])


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
    assert caption_stage.params()["captioners"][0].keys() == Captioner.model_fields.keys() - {"batch", "temperature", "top_p"}
    assert caption_stage.params()["captioners"][0]["revision"] == resolve("embedded", None, "captioner").revision
    assert caption_stage.params()["seed"] is None, "greedy captions do not depend on the seed"
    assert Caption(Settings(captioners=[BLIP.model_copy(update={"sample": True})]), 3).params()["seed"] == 3

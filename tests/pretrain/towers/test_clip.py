"""The towers of CLIP: equal to the authors' code for images of any size, and to the libraries whose weights they read."""

import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mals.errors import ModelMissing, UserError
from pretrain import weights
from pretrain.towers import clip_weights
from pretrain.towers.clip import Clip, ClipVision, attention
from pretrain.towers.clip_weights import POSITIONS, read_clip, resize_positions, start_clip
from tests.pretrain.towers.towers import count, near

GOLDEN = Path(os.environ.get("MALS_GOLDEN") or Path(__file__).parents[2] / "golden") / "methods/irra"
VOCABULARY, CONTEXT, END = 50, 12, 49
SETTING = "irra.start"


def small(height: int = 32, width: int = 32, **more) -> Clip:
    """Towers of two layers with random weights, biases and norms included."""
    torch.manual_seed(0)
    visual = ClipVision(height, width, patch=8, channels=128, layers=2, embed=32, **more)
    clip = Clip(visual, vocabulary=VOCABULARY, end=END, context=CONTEXT, channels=64, layers=2, embed=32, **more)
    for parameter in clip.parameters():
        parameter.data += torch.randn_like(parameter) * 0.05
    return clip.eval()


def golden() -> tuple[Clip, dict[str, torch.Tensor], dict]:
    """The authors' small model with its weights, its vectors and its sizes."""
    c = json.loads((GOLDEN / "config.json").read_text())
    visual = ClipVision(
        *c["image"],
        patch=c["patch"],
        channels=c["vision_width"],
        layers=c["vision_layers"],
        heads=c["vision_heads"],
        embed=c["embed"],
    )
    text = {"context": c["context"], "channels": c["text_width"], "layers": c["text_layers"], "heads": c["text_heads"]}
    clip = Clip(visual, vocabulary=c["vocab"], end=c["eot"], embed=c["embed"], **text)
    state = {name: value.float() for name, value in load_file(GOLDEN / "weights.safetensors").items()}
    clip.load_state_dict({name.removeprefix("base_model."): state[name] for name in state if name.startswith("base_model.")})
    return clip.eval(), load_file(GOLDEN / "tensors.safetensors"), c


def images(rows: int = 3, height: int = 32, width: int = 32) -> torch.Tensor:
    return torch.randn(rows, 3, height, width, generator=torch.Generator().manual_seed(1))


def captions(lengths=(5, 12, 2)) -> torch.Tensor:
    ids = torch.randint(1, END, (len(lengths), CONTEXT), generator=torch.Generator().manual_seed(2))
    for row, length in enumerate(lengths):
        ids[row, length - 1] = END
        ids[row, length:] = 0
    return ids


@pytest.mark.golden
def test_all_tokens_equal_the_published_ones():
    clip, vectors, _ = golden()
    with torch.no_grad():
        image, clean, masked = (
            clip.encode_image(vectors["in.images"]),
            clip.encode_text(vectors["in.caption_ids_clean"]),
            clip.encode_text(vectors["in.mlm_ids"]),
        )
    near(image.tokens, vectors["out.masked.image_tokens"])
    near(image.pooled, vectors["out.masked.image_feature"])
    near(clean.tokens, vectors["out.clean.text_tokens"])
    near(clean.pooled, vectors["out.clean.text_feature"])
    near(masked.tokens, vectors["out.masked.text_tokens"])
    near(masked.pooled, vectors["out.masked.text_feature"])


@pytest.mark.golden
def test_a_table_of_positions_is_resized_as_the_authors_do():
    _, vectors, c = golden()
    square, grid = vectors["in.positional_embedding_square"], tuple(c["grid"])
    near(resize_positions(square, tuple(c["source_grid"]), grid), vectors["out.positional_embedding_resized"])
    state = clip_weights.with_positions({POSITIONS: square}, POSITIONS, grid, "here")
    near(state[POSITIONS], vectors["out.positional_embedding_resized"])


def test_parameters_at_full_size():
    with torch.device("meta"):
        clip = Clip(ClipVision(384, 128))
        large = ClipVision(378, 126, patch=14, channels=1024, layers=24, embed=768)
    assert (count(clip), count(clip.visual)) == (149_617_664, 86_189_568)
    assert large.grid == (27, 9) and len(large.transformer.resblocks) == 24 and large.transformer.resblocks[0].attn.num_heads == 16


def test_images_need_not_be_square():
    clip = small(48, 16)
    encoded = clip.encode_image(images(2, 48, 16))
    assert encoded.grid == (6, 2) and encoded.tokens.shape == (2, 13, 32) and encoded.pooled.equal(encoded.tokens[:, 0])


def test_patches_that_are_left_out_have_no_influence_and_positions_stay():
    clip, pixels = small(48, 16), images(2, 48, 16)
    order = torch.tensor([[3, 0, 11, 7, 1, 2, 4, 5, 6, 8, 9, 10], [11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]])
    with torch.no_grad():
        full, shuffled = clip.encode_image(pixels).tokens, clip.encode_image(pixels, order).tokens
        few = clip.encode_image(pixels, order[:, :4])
        pixels[0, :, 8:16, :8] += 1  # patch 2 of the first image, which is not kept
        changed = clip.encode_image(pixels, order[:, :4])
    torch.testing.assert_close(shuffled[:, 1:], full[:, 1:].gather(1, order[..., None].expand(-1, -1, 32)))
    torch.testing.assert_close(shuffled[:, 0], full[:, 0])
    assert few.tokens.shape == (2, 5, 32) and few.grid is None and few.tokens.equal(changed.tokens)
    assert not torch.allclose(few.tokens[:, 0], full[:, 0], atol=1e-3)


def test_the_last_attention_is_the_one_that_was_used():
    clip, pixels, ids = small(), images(), captions()
    with torch.no_grad():
        image, text = clip.encode_image(pixels, last_attention=True), clip.encode_text(ids, last_attention=True)
        torch.testing.assert_close(image.tokens, clip.encode_image(pixels).tokens)
        torch.testing.assert_close(text.tokens, clip.encode_text(ids).tokens)
        blocks = clip.visual.transformer.resblocks
        last = blocks[-1].register_forward_hook(lambda block, inputs, _: seen.append(block.ln_1(inputs[0])))
        seen: list[torch.Tensor] = []
        clip.encode_image(pixels)
        last.remove()
        expected = blocks[-1].attn(seen[0], seen[0], seen[0], need_weights=True, average_attn_weights=True)[1]
    assert image.attention.shape == (3, 17, 17) and text.attention.shape == (3, CONTEXT, CONTEXT)
    torch.testing.assert_close(image.attention, expected)
    assert text.attention.triu(1).abs().max() == 0
    torch.testing.assert_close(text.attention.sum(-1), torch.ones(3, CONTEXT))
    assert clip.encode_image(pixels).attention is None


def test_attention_to_another_source_is_that_of_torch():
    torch.manual_seed(0)
    layer = torch.nn.MultiheadAttention(64, 4, batch_first=True)
    torch.nn.init.normal_(layer.in_proj_bias)
    query, source = torch.randn(2, 3, 64), torch.randn(2, 5, 64)
    expected, scores = layer(query, source, source)
    for with_scores in (True, False):
        attended, mean = attention(layer, query, source, scores=with_scores)
        torch.testing.assert_close(attended, expected)
        assert mean is None or torch.testing.assert_close(mean, scores) is None


def test_a_text_is_pooled_at_its_first_end_and_does_not_see_what_follows():
    clip, ids = small(), captions()
    changed = ids.clone()
    changed[2, 2:] = END
    with torch.no_grad():
        before, after = clip.encode_text(ids), clip.encode_text(changed)
        short = clip.encode_text(ids[:1, :5])
    assert before.pooled.equal(before.tokens[torch.arange(3), torch.tensor([4, 11, 1])])
    torch.testing.assert_close(after.pooled, before.pooled)
    torch.testing.assert_close(short.pooled, before.pooled[:1])
    with pytest.raises(UserError, match="a text of 13 tokens is longer than the 12 positions"):
        clip.encode_text(torch.ones(1, 13, dtype=torch.int64))


def test_activation_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        clip = small(checkpointing=checkpointing).train()
        image, text = clip.encode_image(images()), clip.encode_text(captions(), last_attention=True)
        (image.tokens.sum() + text.pooled.square().sum() + text.attention.square().sum()).backward()
        gradients.append({name: parameter.grad for name, parameter in clip.named_parameters()})
    for name, gradient in gradients[0].items():
        assert gradient is not None, name
        torch.testing.assert_close(gradients[1][name], gradient)


def test_sizes_that_do_not_divide_are_one_sentence():
    with pytest.raises(UserError, match=r"^images of 384x128 do not divide into patches of 14x14; 378x126 do \(data.height, data.width\)$"):
        ClipVision(384, 128, patch=14)
    with pytest.raises(UserError, match="a tower of 128 channels does not divide into 3 attention heads"):
        ClipVision(32, 32, patch=8, channels=128, heads=3)


# ------------------------------------------------------------------------------------------------------------------ weights of others


def test_weights_that_transformers_wrote(tmp_path):
    from transformers import CLIPConfig, CLIPModel

    shared = {"num_hidden_layers": 2, "hidden_act": "quick_gelu"}
    vision = {"hidden_size": 128, "intermediate_size": 512, "num_attention_heads": 2, "image_size": 32, "patch_size": 8, **shared}
    text = {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 1, "vocab_size": VOCABULARY, **shared}
    text |= {"max_position_embeddings": CONTEXT, "eos_token_id": END, "bos_token_id": 48, "pad_token_id": 0}
    torch.manual_seed(3)
    model = CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=32)).eval()
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.05
    model.save_pretrained(tmp_path)
    clip = small()
    start_clip(clip, str(tmp_path), SETTING)
    with torch.no_grad():
        output = model(input_ids=captions(), pixel_values=images())
        for ours, theirs in ((clip.encode_image(images()), output.image_embeds), (clip.encode_text(captions()), output.text_embeds)):
            torch.testing.assert_close(torch.nn.functional.normalize(ours.pooled, dim=-1), theirs, atol=1e-5, rtol=1e-4)


def of_open_clip():
    from open_clip import CLIP

    torch.manual_seed(3)
    vision = {"image_size": 32, "layers": 2, "width": 128, "head_width": 64, "patch_size": 8}
    text = {"context_length": CONTEXT, "vocab_size": VOCABULARY, "width": 64, "heads": 1, "layers": 2}
    model = CLIP(32, vision, text, quick_gelu=True).eval()
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.05
    return model


@pytest.mark.parametrize("name", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
def test_weights_that_open_clip_wrote(tmp_path, name):
    model = of_open_clip()
    if name.endswith("safetensors"):
        save_file(model.state_dict(), tmp_path / name)
    else:
        torch.save(model.state_dict(), tmp_path / name)
    clip = small()
    start_clip(clip, str(tmp_path), SETTING)
    with torch.no_grad():
        torch.testing.assert_close(clip.encode_image(images()).pooled, model.encode_image(images()), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(clip.encode_text(captions()).pooled, model.encode_text(captions()), atol=1e-5, rtol=1e-4)


class Holder(torch.nn.Module):
    """A module that torch can script, with the names and, as OpenAI's, the half precision of a CLIP."""

    def __init__(self, state):
        super().__init__()
        for name, value in state.items():
            *path, leaf = name.split(".")
            place: torch.nn.Module = self
            for part in path:
                if part not in dict(place.named_children()):
                    place.add_module(part, torch.nn.Module())
                place = getattr(place, part)
            place.register_parameter(leaf, torch.nn.Parameter(value.half()))
        self.register_buffer("input_resolution", torch.tensor(32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.parametrize("form", ["archive", "state"])
def test_half_precision_files_of_openai_are_read_without_running_them(tmp_path, form, monkeypatch):
    file, clip = tmp_path / "ViT-B-16.pt", small()
    for parameter in clip.parameters():
        parameter.data = parameter.data.half().float()
    if form == "archive":
        torch.jit.script(Holder(clip.state_dict())).save(str(file))
    else:
        torch.save({name: value.half() for name, value in clip.state_dict().items()} | {"logit_scale": torch.tensor(4.6)}, file)
    monkeypatch.setattr(torch.jit, "load", lambda *_: pytest.fail("the program was loaded"))
    read = read_clip(str(file), SETTING)
    assert {value.dtype for value in read.values()} == {torch.float32}
    assert read.keys() == clip.state_dict().keys()
    assert all(read[name].equal(value) for name, value in clip.state_dict().items())
    assert read_clip(str(tmp_path), SETTING).keys() == read.keys()


def test_weights_for_square_images_start_a_tower_for_others(tmp_path):
    square = small()
    save_file(square.state_dict(), tmp_path / "clip.safetensors")
    clip = small(48, 16)
    start_clip(clip, str(tmp_path / "clip.safetensors"), SETTING)
    table = square.visual.positional_embedding
    assert clip.visual.positional_embedding.shape == (13, 128) and clip.visual.positional_embedding[0].equal(table[0])
    rows = table[1:].unflatten(0, (4, 4))  # 4x4 -> 6x2: a column is the mean of two old ones
    torch.testing.assert_close(clip.visual.positional_embedding[1:].unflatten(0, (6, 2)).mean((0, 1)), rows.mean((0, 1)), atol=0.02, rtol=0)
    assert clip.token_embedding.weight.equal(square.token_embedding.weight)


def test_the_grid_of_a_table_of_positions():
    assert clip_weights.grid_of(196, (24, 8)) == (14, 14)
    assert clip_weights.grid_of(192, (16, 5)) is None
    assert clip_weights.grid_of(192, (12, 4)) == (24, 8)
    with pytest.raises(UserError, match=r"^here has 12 positions in an image, which is neither a square nor of the shape of 4x4"):
        clip_weights.with_positions({POSITIONS: torch.zeros(13, 8)}, POSITIONS, (4, 4), "here")


def test_missing_weights_are_one_sentence_with_three_ways():
    with pytest.raises(ModelMissing) as raised:
        start_clip(small(), "nobody/no-clip", SETTING)
    message = str(raised.value)
    for way in ("`hf download nobody/no-clip`", "irra.start=FILE reads OpenAI's ViT-B-16.pt", "irra.start=null starts from random weights"):
        assert way in message
    assert message.startswith("there are no weights of CLIP at irra.start = nobody/no-clip: ") and "\n" not in message


def test_weights_of_something_else_are_refused(tmp_path):
    save_file({"encoder.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"holds no CLIP with a vision transformer: it has encoder\.weight$"):
        start_clip(small(), str(tmp_path / "other.safetensors"), SETTING)
    state = small().state_dict()
    save_file({name: value for name, value in state.items() if name != "ln_final.bias"}, tmp_path / "less.safetensors")
    with pytest.raises(UserError, match=r"does not fit the model: without ln_final\.bias$"):
        start_clip(small(), str(tmp_path / "less.safetensors"), SETTING)


class Attack:
    def __reduce__(self):
        return os.system, ("touch attacked",)


def test_an_archive_with_code_in_its_pickle_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("attack.pt", "w") as archive:
        archive.writestr("attack/constants.pkl", b"")
        archive.writestr("attack/data.pkl", pickle.dumps(Attack(), 2))
    with pytest.raises(UserError, match=r"attack\.pt holds more than tensors \(it holds posix\.system, which was not run\)"):
        weights.read_tensors("attack.pt")
    assert not Path("attacked").exists()
    Path("attack.pt").write_bytes(Path("attack.pt").read_bytes()[:-30])
    with pytest.raises(UserError, match=r"attack\.pt "):
        weights.read_tensors("attack.pt")

"""Published weights: every name there and back, and nothing loaded in part in silence."""

import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForPreTraining, BertModel

from mals.errors import ModelMissing, UserError
from pretrain.methods.aptm import published_weights
from pretrain.towers.bert import Bert
from pretrain.towers.swin import Swin
from tests.pretrain.towers.towers import WEIGHTS, count, full, golden, small

SMALL_BERT = {"vocab": 60, "hidden": 16, "layers": 4, "heads": 2, "inter": 32, "positions": 20, "image_width": 24}


def swin(height=112, width=56, window=7) -> Swin:
    return Swin(height, width, embed_dim=8, depths=(2, 1), heads=(1, 2), window=window).eval()


@pytest.fixture
def imagenet(tmp_path):
    """A Swin as Microsoft's file holds it: under "model", with a classifier and what follows from the sizes."""
    torch.manual_seed(0)
    model = swin()
    named = published_weights.to_theirs({f"swin.{name}": value for name, value in model.state_dict().items()})
    state = {name.removeprefix("vision_encoder."): value for name, value in named.items()}
    extra = {"head.weight": torch.zeros(9, 16), "head.bias": torch.zeros(9), "layers.0.blocks.1.attn_mask": torch.zeros(8, 49, 49)}
    extra["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.long)
    file = tmp_path / "swin.pth"
    torch.save({"model": {**state, **extra}}, file)
    return model, str(file)


@pytest.fixture
def bert(tmp_path):
    """A small BERT of transformers with its heads, and the folder it is saved in."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
    model = BertForPreTraining(BertConfig(**sizes, max_position_embeddings=20, initializer_range=0.3)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(tmp_path / "bert")
    return model, tmp_path / "bert"


def test_the_published_model_has_214_million_parameters():
    towers = full()
    assert count(towers) == 214_456_629
    assert count(towers.vision_proj, towers.text_proj) + 1 == 459_265 and count(towers.itm_head) == 1_187_330


def test_every_name_of_the_full_model_goes_there_and_back():
    for name in full().state_dict():
        assert published_weights.ours(str(published_weights.theirs(name))) == name
    assert published_weights.theirs("bert.layers.11.cross.key.bias") == "text_encoder.bert.encoder.layer.11.crossattention.self.key.bias"
    assert (
        published_weights.theirs("bert.layers.x.cross.key.bias") is None
        and published_weights.ours("text_encoder.bert.pooler.dense.weight") is None
    )


@pytest.mark.golden
def test_the_authors_file_goes_there_and_back():
    towers, _ = golden()
    written, file = published_weights.to_theirs(towers.state_dict()), load_file(WEIGHTS)
    kept = {name for name in file if not re.search(r"relative_position_index|attn_mask|position_ids", name)}
    assert written.keys() == kept and all(torch.equal(written[name], file[name]) for name in kept)


@pytest.mark.golden
def test_the_authors_pth_is_read_like_safetensors(tmp_path):
    torch.save({"model": load_file(WEIGHTS), "config": {"lr": 1e-4, "schedular": {"sched": "linear"}}}, tmp_path / "checkpoint.pth")
    read, same = published_weights.read_aptm(str(tmp_path / "checkpoint.pth")), published_weights.read_aptm(WEIGHTS)
    assert read.keys() == same.keys() and all(torch.equal(read[name], same[name]) for name in same)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("bert.head.bias"), r"without bert\.head\.bias$"),
        (lambda s: s.update(extra=torch.zeros(1)), r"with the unknown extra$"),
        (lambda s: s.update(temp=torch.zeros(2)), r"of other shapes temp 2 instead of scalar$"),
        (lambda s: [s.pop(name) for name in list(s) if "stages.0" in name], r"and \d+ more$"),
    ],
)
def test_what_does_not_fit_is_one_sentence(change, message):
    state = published_weights.read_aptm(WEIGHTS)
    change(state)
    with pytest.raises(UserError, match=f"^weights.pth does not fit the model: .*{message}"):
        published_weights.load_state(small(), state, "weights.pth")


@pytest.mark.golden
def test_other_models_are_refused():
    state = load_file(WEIGHTS)
    with pytest.raises(UserError, match=r"is not a checkpoint of APTM: it has visual\.proj"):
        published_weights.from_theirs({**state, "visual.proj": torch.zeros(1)}, "clip.pth")
    with pytest.raises(UserError, match="not tied"):
        published_weights.from_theirs({**state, "text_encoder.cls.predictions.decoder.bias": torch.ones(400)}, "other.pth")


def test_swin_starts_from_imagenet(imagenet):
    model, file = imagenet
    other = swin()
    published_weights.start_swin(other, file)
    images = torch.randn(1, 3, 112, 56)
    assert torch.equal(other(images).tokens, model(images).tokens)


def test_swin_of_other_windows_starts_with_resampled_tables(imagenet):
    model, file = imagenet
    other = swin(64, 32, window=8)  # 8x8 windows, then 4x4 ones
    published_weights.start_swin(other, file)
    tables = [stage.blocks[0].attention.bias_table for stage in other.stages]
    assert [len(table) for table in tables] == [225, 49]
    for stage, table in zip(model.stages, tables, strict=True):
        assert torch.equal(table, published_weights.resample(stage.blocks[0].attention.bias_table.detach(), round(len(table) ** 0.5)))


@pytest.mark.parametrize(("size", "ratio"), [(15, 1.0614021), (7, 1.01), (23, 1.2407233)])
def test_resampling_is_a_cubic_on_geometric_offsets(size, ratio):
    """A cubic polynomial of the old offsets, which a bicubic spline reproduces, is the same polynomial of the new.

    The ratios solve 1 + q + ... + q^5 = 7 and 11; for 3 there is none above the lowest, 1.01.
    """
    steps = np.cumsum(ratio ** np.arange(6))
    old, new = np.concatenate([-steps[::-1], [0], steps]), np.arange(size) - size // 2

    def polynomial(at):
        y, x = np.meshgrid(at, at, indexing="ij")
        return torch.tensor(np.stack([x**3 - y * x + 2, y**3 + x**2 * y], -1).reshape(-1, 2) / 100).float()

    torch.testing.assert_close(published_weights.resample(polynomial(old), size), polynomial(new), atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("where", ["folder", "file", "cache"])
def test_bert_starts_from_transformers(bert, tmp_path, where):
    model, folder = bert
    source = {"folder": folder, "file": folder / "model.safetensors", "cache": tmp_path / "models--bert"}[where]
    if where == "cache":
        (source / "refs").mkdir(parents=True)
        (source / "refs" / "main").write_text("abc")
        (source / "snapshots").mkdir()
        folder.rename(source / "snapshots" / "abc")
    mine = Bert(**SMALL_BERT, fusion=4).eval()
    assert published_weights.start_bert(mine, str(source)) == []
    ids, mask = torch.randint(1, 60, (3, 8)), torch.arange(8) < torch.tensor([[8], [5], [3]])
    theirs = model(ids, mask, output_hidden_states=True)
    with torch.no_grad():
        states = mine.text(ids, mask)
        torch.testing.assert_close(states[mask], theirs.hidden_states[-1][mask], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(mine.words(states[mask]), theirs.prediction_logits[mask], atol=1e-4, rtol=1e-4)


def test_a_hub_id_is_looked_up_in_the_cache_only(bert, tmp_path, monkeypatch):
    import huggingface_hub

    file = str(bert[1] / "model.safetensors")
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda model, name: file if model == "bert-base-uncased" else None)
    assert published_weights.read_tensors("bert-base-uncased").keys() == load_file(file).keys()
    with pytest.raises(ModelMissing, match="no file or folder bert-large"):
        published_weights.read_tensors("bert-large")


def test_cross_attention_is_what_bert_does_not_have(bert):
    mine = Bert(**SMALL_BERT, fusion=2)
    before = mine.layers[2].cross.key.weight.clone()
    left = published_weights.start_bert(mine, str(bert[1]))
    assert len(left) == 2 * 10 and all(re.fullmatch(r"layers\.[23]\.cross.*", name) for name in left)
    assert torch.equal(mine.layers[2].cross.key.weight, before)


def test_bert_as_google_named_it_and_without_its_head(bert, tmp_path):
    model, _ = bert
    old = {re.sub("LayerNorm.weight", "LayerNorm.gamma", k): v for k, v in model.bert.state_dict().items()}
    old = {f"bert.{k.replace('LayerNorm.bias', 'LayerNorm.beta')}": v for k, v in old.items()}
    save_file(old, tmp_path / "old.safetensors")
    mine = Bert(**SMALL_BERT, fusion=4)
    assert {name.split(".")[0] for name in published_weights.start_bert(mine, str(tmp_path / "old.safetensors"))} == {"head"}
    assert torch.equal(mine.embeddings.norm.weight, model.bert.embeddings.LayerNorm.weight)


def test_a_bare_bert_and_another_depth(tmp_path):
    sizes = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(**sizes, max_position_embeddings=20)).save_pretrained(tmp_path)
    published_weights.start_bert(Bert(**{**SMALL_BERT, "layers": 2}, fusion=1), str(tmp_path))
    with pytest.raises(UserError, match=r"without layers\.2\.attention"):
        published_weights.start_bert(Bert(**SMALL_BERT, fusion=1), str(tmp_path))


class Code:
    """An object whose unpickling would run code."""

    def __reduce__(self):
        return (pytest.fail, ("code in a checkpoint was run",))


def test_files_that_hold_no_tensors_are_refused(tmp_path):
    torch.save({"model": Code()}, tmp_path / "code.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "torn.pth").write_bytes(b"PK\x03\x04 torn")
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    (tmp_path / "empty").mkdir()
    messages = {
        "code.pth": "more than tensors",
        "list.pth": "no state dict",
        "torn.pth": "more than tensors",
        "torn.safetensors": "not a complete",
    }
    for name, what in {**messages, "empty": "has neither model.safetensors nor"}.items():
        with pytest.raises(UserError, match=what):
            published_weights.read_tensors(str(tmp_path / name))
    with pytest.raises(UserError, match="neither a file, a folder nor a hub id"):
        published_weights.read_tensors("no/such/file.pth")

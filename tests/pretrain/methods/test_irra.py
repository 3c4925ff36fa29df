"""IRRA: every loss and gradient of the authors' code, its optimizer, its initial weights, and what its settings change."""

import json
import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import normalize

from mals.errors import UserError
from mals.settings import merge
from pretrain import losses, schedule, settings
from pretrain.config import Training
from pretrain.data.batch import Batch, Text
from pretrain.data.tokenizers import ClipBpe, WordPiece
from pretrain.data.tokenizers.masking import IGNORED
from pretrain.data.tokenizers.vocabulary import SPECIAL
from pretrain.finetune import configure, finetune
from pretrain.methods.irra import Irra
from pretrain.towers.clip import attention
from tests.pretrain.methods.small import SETS, Small, drawn

GOLDEN = Path(os.environ.get("MALS_GOLDEN") or Path(__file__).parents[2] / "golden") / "methods/irra"
PARTS = {"base_model.visual.": 86_189_568, "classifier": 5_644_539, "cross_attn.": 1_050_624, "cross_modal_transformer.": 12_609_536}
PARTS |= {"mlm_head": 25_609_984, "ln_": 3072}
TOTAL, CLASSES = 194_535_419, 11_003


class Ids:
    """What a method asks of a tokenizer, without words."""

    def __init__(self, size: int, max_tokens: int, end: int) -> None:
        self.size, self.max_tokens, self.end = size, max_tokens, end


@cache
def golden() -> dict[str, Any]:
    """The authors' small model: its sizes, weights, vectors and gradients."""
    read = {name: json.loads((GOLDEN / f"{name}.json").read_text()) for name in ("config", "grads", "facts")}
    return read | {"weights": load_file(GOLDEN / "weights.safetensors"), "tensors": load_file(GOLDEN / "tensors.safetensors")}


def authors(**own: Any) -> tuple[Irra, Batch]:
    """The method with the authors' weights, and their batch; `own` are further settings of the section irra."""
    c, vectors = golden()["config"], golden()["tensors"]
    sizes = {
        "vision": {"patch": c["patch"], "channels": c["vision_width"], "layers": c["vision_layers"], "heads": c["vision_heads"]},
        "text": {"channels": c["text_width"], "layers": c["text_layers"], "heads": c["text_heads"], "context": c["context"]},
        "embed": c["embed"],
        "cross_layers": c["cross_layers"],
        "temperature": c["temperature"],
        "loss_weights": c["weights"],
    }
    data = {"height": c["image"][0], "width": c["image"][1]}
    config = settings.check({"preset": "own", "method": "irra", "data": data, "irra": merge(sizes, own)})
    method = Irra(config, Ids(c["vocab"], c["context"], c["eot"]), c["num_ids"])
    method.load_state_dict({name: value.float() for name, value in golden()["weights"].items()})
    labels, mask = vectors["in.mlm_labels"], vectors["in.mlm_ids"] > 0
    batch = Batch(
        rows=torch.arange(len(labels)),
        persons=vectors["in.pids"],
        images=vectors["in.images"],
        text=Text(vectors["in.caption_ids_clean"], mask),
        masked=Text(vectors["in.mlm_ids"], mask),
        targets=labels.masked_fill(labels == 0, IGNORED),
    )
    return method, batch


def near(ours: Tensor, name: str) -> None:
    torch.testing.assert_close(ours, golden()["tensors"][name], atol=1e-4, rtol=1e-4, msg=lambda text: f"{name}: {text}")


@pytest.mark.golden
@pytest.mark.parametrize("case", ["masked", "clean"])
def test_losses_and_gradients_equal_the_published_ones(case):
    method, batch = authors(clean_captions=case == "clean")
    terms = method.train()(batch, 0)
    assert list(terms) == ["sdm", "id", "mlm"]
    for name, loss in terms.items():
        near(loss, f"loss.{case}.{name}")
    total = torch.stack(list(terms.values())).sum()
    near(total, f"loss.{case}.total")
    total.backward()
    expected = golden()["grads"][case]
    gradients = {name: parameter.grad for name, parameter in method.named_parameters()}
    assert gradients.keys() == expected.keys()
    largest = max(norm for norm, *_ in expected.values())
    for name, (norm, *_) in expected.items():
        assert gradients[name] is not None, name
        assert abs(float(gradients[name].norm()) - norm) <= 2e-3 * max(norm, 1e-3 * largest), name


@pytest.mark.golden
@pytest.mark.parametrize("case", ["masked", "clean"])
def test_outputs_equal_the_published_ones(case):
    method, batch = authors(clean_captions=case == "clean")
    with torch.no_grad():
        image = method.base_model.encode_image(batch.images)
        text, tokens = method.read_captions(batch)
        near(image.pooled, "out.masked.image_feature")
        near(method.embed_image(batch.images), "out.masked.image_embedding")
        near(text, f"out.{case}.text_feature")
        near(normalize(text, dim=-1), f"out.{case}.text_embedding")
        near(normalize(text, dim=-1) @ method.embed_image(batch.images).T, f"out.{case}.similarity")
        near(method.classifier(image.pooled), "out.masked.image_logits")
        near(method.classifier(text), f"out.{case}.text_logits")
        near(tokens, "out.masked.text_tokens")
        seen = attention(method.cross_attn, method.ln_pre_t(tokens), method.ln_pre_i(image.tokens))[0]
        near(seen, "out.masked.cross_attention")
        states = method.cross_encode(tokens, image.tokens)
        near(states, "out.masked.cross_former")
        near(method.mlm_head(states), "out.masked.mlm_logits")
    chosen = batch.text if case == "clean" else batch.masked
    near(method.embed_text(chosen).detach(), f"out.{case}.text_embedding")


@pytest.mark.golden
def test_sdm_with_targets_by_the_image_equals_the_published_one():
    method, batch = authors(other_images=0.3, targets_by_columns=True)
    method.image_of_row = torch.tensor([0, 1, 1, 2, 3, 4])
    near(method(batch, 0)["sdm"], "loss.masked.sdm_soft_image_id")


def test_sdm_of_the_closed_form():
    i = torch.arange(48, dtype=torch.float64)
    image, text = torch.sin(0.37 * i + 0.1).view(6, 8), torch.sin(0.37 * i + 0.5 * torch.cos(0.9 * i)).view(6, 8)
    image, text = normalize(image, dim=-1), normalize(text, dim=-1)
    person = torch.tensor([0, 0, 1, 1, 2, 3])
    same = person[:, None] == person
    for scale, value in ((50, 12.29309855536), (1, 21.76792241401)):
        assert losses.sdm(image, text, image, text, same, 1 / scale).item() == pytest.approx(value, rel=1e-5)


def test_identities_by_mean_or_sum():
    torch.manual_seed(0)
    image, text, persons = torch.randn(4, 3), torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    each = [torch.nn.functional.cross_entropy(logits, persons) for logits in (image, text)]
    torch.testing.assert_close(losses.identity(image, text, persons), (each[0] + each[1]) / 2)
    torch.testing.assert_close(losses.identity(image, text, persons, total=True), each[0] + each[1])


# ------------------------------------------------------------------------------------------------------------------------- full size


def full(persons: int | None) -> tuple[Irra, Training]:
    """The method of the preset irra-cuhk, without memory."""
    config = settings.check({"preset": "irra-cuhk"})
    with torch.device("meta"):
        return Irra(config, Irra.tokenizer(config, ()), persons), config


@pytest.mark.golden
def test_optimizer_groups_and_rates_equal_the_published_ones():
    facts = golden()["facts"]
    method, config = full(facts["classes"])
    optimizer = config.optimizer
    kind = {"class": optimizer.kind.title(), "betas": list(optimizer.betas), "eps": optimizer.eps, "base_lr": optimizer.lr}
    assert kind == facts["optimizer"]
    groups = schedule.groups(method, method.rules, rate=optimizer.lr, decay=optimizer.decay)
    values = {id(parameter): (group["peak"] / optimizer.lr, group["weight_decay"]) for group in groups for parameter in group["params"]}
    ours = [[name, list(parameter.shape), *values[id(parameter)]] for name, parameter in method.named_parameters()]
    expected = {name: rest for name, *rest in facts["optimizer_groups"]}
    assert {name for name, *_ in ours} == expected.keys()
    for name, shape, factor, decay in ours:
        assert [shape, pytest.approx(factor), pytest.approx(decay)] == expected[name], name
    rates = facts["lr_factor_per_epoch"]
    per_epoch = 68_126 // 64
    assert len(rates) == config.epochs == 60
    for epoch, rate in enumerate(rates):
        for step in (epoch * per_epoch, (epoch + 1) * per_epoch - 1):
            assert schedule.factor(optimizer, step, 60 * per_epoch, per_epoch) == pytest.approx(rate, abs=1e-9)


def test_parameters_at_full_size():
    method, released = full(CLASSES)[0], full(None)[0]
    sizes = {name: parameter.numel() for name, parameter in method.named_parameters()}
    for part, number in PARTS.items():
        assert sum(size for name, size in sizes.items() if name.startswith(part)) == number, part
    assert sum(sizes.values()) == TOTAL
    towers = dict(released.named_parameters())
    assert sum(parameter.numel() for parameter in towers.values()) == 149_617_664
    assert towers.keys() == {name for name in sizes if name.startswith("base_model.")} == Irra.without_training_only(sizes).keys()
    counts = [sum(p.numel() for module in modules for p in module.parameters()) for modules in released.parts().values()]
    assert counts == [86_189_568, 63_428_096]


def test_presets_differ_by_their_data_alone():
    cuhk, *others = (settings.check({"preset": f"irra-{name}"}).model_dump() for name in ("cuhk", "icfg", "rstp"))
    assert all({**other, "preset": "irra-cuhk"} == cuhk for other in others)
    assert (cuhk["batch"], cuhk["data"]["pad"], cuhk["data"]["erase"], cuhk["data"]["augment"]) == (64, 10, 0.5, False)


# ------------------------------------------------------------------------------------------------------------------ behaviour and settings


def words(*lengths: int, width: int = 16) -> Text:
    """Captions of some words between a start and an end token."""
    draw = torch.Generator().manual_seed(7)
    mask = torch.arange(width) < torch.tensor(lengths)[:, None] + 2
    ids = torch.randint(len(SPECIAL), 40, mask.shape, generator=draw).where(mask, 0)
    ids[:, 0] = 2
    ids[torch.arange(len(lengths)), torch.tensor(lengths) + 1] = 3
    return Text(ids, mask)


def vocabulary(end: bool = True) -> WordPiece:
    return WordPiece.of([*SPECIAL, *(f"word{number}" for number in range(35))], 16, end)


def small(**own: Any) -> tuple[Irra, Training]:
    sizes = {"vision": {"patch": 8, "channels": 64, "layers": 1}, "text": {"channels": 64, "layers": 1, "context": 16}, "embed": 64}
    tree = {"preset": "tiny-irra", "data": {"height": 32, "width": 16, "max_tokens": 16}, "irra": merge({**sizes, "cross_layers": 1}, own)}
    config = settings.check(tree)
    torch.manual_seed(0)
    return Irra(config, vocabulary(), 3), config


def rows() -> Batch:
    text = words(4, 9, 2)
    targets = torch.full(text.ids.shape, IGNORED)
    masked = text.ids.clone()
    for row, place in ((0, 2), (1, 3), (1, 5), (2, 1)):
        targets[row, place], masked[row, place] = text.ids[row, place], 4
    images = torch.randn(3, 3, 32, 16, generator=torch.Generator().manual_seed(3))
    return Batch(torch.arange(3), torch.tensor([0, 1, 2]), images, text, Text(masked, text.mask), targets)


@pytest.mark.parametrize(
    ("own", "captions"),
    [
        ({}, 3),
        ({"loss_weights": {"mlm": 0}}, 3),
        ({"loss_weights": {"id": 0, "mlm": 0}, "mask_without_mlm": True}, 3),
        ({"clean_captions": True}, 6),
    ],
)
def test_a_caption_is_read_once(own, captions):
    method, _ = small(**own)
    read: list[Tensor] = []
    method.base_model.transformer.register_forward_hook(lambda module, inputs, output: read.append(inputs[0]))
    terms = method(rows(), 0)
    assert [len(x) for x in read] == [captions]
    assert list(terms) == [name for name in ("sdm", "id", "mlm") if own.get("loss_weights", {}).get(name, 1)]
    torch.stack(list(terms.values())).sum().backward()
    assert all(parameter.grad is not None for parameter in method.parameters())


def test_which_captions_sdm_and_id_see():
    batch = rows()
    clean, _ = small(loss_weights={"mlm": 0})
    masked, _ = small(loss_weights={"mlm": 0}, mask_without_mlm=True)
    masked.load_state_dict(clean.state_dict())
    swapped = Batch(batch.rows, batch.persons, batch.images, batch.masked, batch.text, batch.targets)
    assert clean(batch, 0)["sdm"].equal(masked(swapped, 0)["sdm"]) and not clean(batch, 0)["sdm"].equal(masked(batch, 0)["sdm"])
    assert clean.needs.masking is None and masked.needs.masking is not None and not masked.needs.full_width
    both, _ = small(clean_captions=True)
    both.load_state_dict(clean.state_dict(), strict=False)
    assert torch.allclose(both(batch, 0)["sdm"], clean(batch, 0)["sdm"], atol=1e-5)


def test_words_are_predicted_from_the_image_and_padding_is_read_as_published():
    method, _ = small()
    assert method.needs.full_width and method.needs.masking.share == 0.15 and method.needs.renumber_persons
    batch = rows()
    before = method(batch, 0)["mlm"]
    changed = Batch(batch.rows, batch.persons, batch.images.flip(0), batch.text, batch.masked, batch.targets)
    assert not torch.allclose(method(changed, 0)["mlm"], before, atol=1e-4)
    none = Batch(batch.rows, batch.persons, batch.images, batch.text, batch.masked, torch.full_like(batch.targets, IGNORED))
    loss = method(none, 0)["mlm"]
    loss.backward()
    assert loss == 0 and method.mlm_head.fc.weight.grad is not None


def test_targets_by_the_image_are_shares_of_rows_or_as_published_of_columns():
    batch = replace(rows(), persons=torch.tensor([0, 0, 0]))
    method, _ = small(other_images=0.3)
    published, _ = small(other_images=0.3, targets_by_columns=True)
    assert method.matches(batch)[0].dtype == torch.bool  # without data all images are their own
    method.image_of_row = published.image_of_row = torch.tensor([0, 0, 1])
    weights = torch.tensor([[1.0, 1.0, 0.3], [1.0, 1.0, 0.3], [0.3, 0.3, 1.0]])
    torch.testing.assert_close(method.matches(batch)[0], weights)
    torch.testing.assert_close(published.matches(batch)[1], torch.tensor([2.3, 2.3, 1.6]))
    assert method.matches(batch)[1] is None and not torch.allclose(method(batch, 0)["sdm"], published(batch, 0)["sdm"], atol=1e-3)


def test_weights_are_factors():
    one, _ = small()
    other, _ = small(loss_weights={"sdm": 2.0, "id": 0.5, "mlm": 3.0})
    other.load_state_dict(one.state_dict())
    terms, scaled = one(rows(), 0), other(rows(), 0)
    for name, factor in {"sdm": 2.0, "id": 0.5, "mlm": 3.0}.items():
        torch.testing.assert_close(scaled[name], factor * terms[name])


def test_new_blocks_are_initialised_as_published():
    config = settings.check({"preset": "irra-cuhk", "irra": {"vision": {"layers": 1}, "text": {"layers": 1}}})
    torch.manual_seed(0)
    method = Irra(config, vocabulary(), 2000)
    width, depth = 512, (2 * 4) ** -0.5
    block = method.cross_modal_transformer.resblocks[2]
    expected = {
        method.cross_attn.in_proj_weight: width**-0.5,
        method.cross_attn.out_proj.weight: width**-0.5 * depth,
        block.attn.in_proj_weight: width**-0.5,
        block.attn.out_proj.weight: width**-0.5 * depth,
        block.mlp.c_fc.weight: (2 * width) ** -0.5,
        block.mlp.c_proj.weight: width**-0.5 * depth,
        method.mlm_head.dense.weight: (2 * width) ** -0.5,
        method.mlm_head.fc.weight: width**-0.5 * depth,
        method.classifier.weight: 0.001,
    }
    for parameter, std in expected.items():
        parameter = parameter.detach()
        assert float(parameter.std()) == pytest.approx(std, rel=0.03) and abs(float(parameter.mean())) < std / 20
    assert len(method.cross_modal_transformer.resblocks) == 4 and method.cross_attn.num_heads == 8
    assert not method.classifier.bias.any()


def test_a_pretraining_has_one_rate_for_all_and_no_heads():
    config = settings.check({"preset": "irra-pretrain"})
    with torch.device("meta"):
        method = Irra(config, Irra.tokenizer(config, ()), 1000)
    optimizer = config.optimizer
    (group,) = schedule.groups(method, method.rules, rate=optimizer.lr, decay=optimizer.decay)
    assert (group["peak"], group["weight_decay"]) == (1e-5, 4e-5)
    assert all(name.startswith("base_model.") for name, _ in method.named_parameters())
    assert method.needs.masking is not None and not method.needs.full_width


@pytest.mark.parametrize(("preset", "draws", "predicts"), [("irra-nam", 2, False), ("irra-gadms", 4, True)])
def test_pretrainings_with_noise_mask_by_scores_alone(preset, draws, predicts):
    config = settings.check({"preset": preset})
    with torch.device("meta"):
        method = Irra(config, Irra.tokenizer(config, ()), 1000)
    assert method.needs.masking is None and (method.needs.token_draws, method.needs.full_width) == (draws, predicts)
    assert hasattr(method, "mlm_head") == predicts and not hasattr(method, "classifier") and method.own.masks


@pytest.mark.golden
def test_the_tokenizer_is_clips_and_gives_the_authors_ids():
    config = settings.check({"preset": "irra-cuhk"})
    tokenizer = Irra.tokenizer(config, ())
    vectors = json.loads((GOLDEN.parent / "tokens/clip_bpe.json").read_text())
    assert isinstance(tokenizer, ClipBpe) and tokenizer.mask_id == vectors["mask"] and tokenizer.max_tokens == vectors["length"]
    for sentence in vectors["sentences"]:
        assert tokenizer.encode([sentence["text"]], width=vectors["length"]).ids[0].tolist() == sentence["ids"], sentence["text"]


def test_a_training_starts_from_a_whole_with_other_persons_and_sizes(tmp_path):
    before, config = small()
    save_file(before.state_dict(), tmp_path / "model.safetensors")
    start = str(tmp_path / "model.safetensors")
    config = config.model_copy(update={"start": start, "data": config.data.model_copy(update={"height": 64, "width": 32})})
    after = Irra(config, vocabulary(), 5)
    classifier = after.classifier.weight.clone()
    after.load_initial_weights(config, None)
    assert after.classifier.weight.equal(classifier) and after.mlm_head.fc.weight.equal(before.mlm_head.fc.weight)
    assert len(after.base_model.visual.positional_embedding) == 33
    assert after.base_model.visual.conv1.weight.equal(before.base_model.visual.conv1.weight)
    save_file(Irra.without_training_only(before.state_dict()), start)  # a release: the cross encoder stays as it is
    again = Irra(config, vocabulary(), 5)
    scores = again.mlm_head.fc.weight.clone()
    again.load_initial_weights(config, None)
    assert again.mlm_head.fc.weight.equal(scores) and again.base_model.text_projection.equal(before.base_model.text_projection)


def test_fine_tuning_inherits_sizes_and_no_losses():
    _, config = small(loss_weights={"mlm": 0, "id": 0})
    inherited = Irra.inherited_settings(config)
    assert inherited["irra"].keys() == {"vision", "text", "embed", "start"} and inherited["irra"]["start"] is None
    assert inherited["irra"]["vision"]["channels"] == 64 and inherited["data"] == {"max_tokens": 16}


@pytest.mark.parametrize("form", ["module", "base_model", "bare", "tbps"])
def test_checkpoints_of_the_family_are_read(tmp_path, form):
    method, _ = small()
    towers = {name: value for name, value in method.state_dict().items() if name.startswith("base_model.")}
    bare = {name.removeprefix("base_model."): value for name, value in towers.items()}
    state = {
        "module": {f"module.{name}": value.half() for name, value in towers.items()},
        "base_model": towers,
        "bare": bare | {"logit_scale": torch.tensor(1.0)},
        "tbps": {name if name.startswith("visual.") else f"encode_text.{name}": value for name, value in bare.items()},
    }[form]
    torch.save({"model": state, "epoch": 3}, tmp_path / "best.pth")
    read = Irra.read_weights(str(tmp_path / "best.pth"))
    assert read.keys() == towers.keys() and {value.dtype for value in read.values()} == {torch.float32}
    assert all(torch.allclose(read[name], value, atol=1e-2) for name, value in towers.items())


def test_what_does_not_fit_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"^the tokenizer WordPiece has no end token, which CLIP's text tower needs; data\.tokenizer=null"):
        Irra(small()[1], vocabulary(end=False), 3)
    config = settings.check({"preset": "tiny-irra", "irra": {"text": {"context": 8}}})
    with pytest.raises(UserError, match=r"^data\.max_tokens is 16, and the text tower has 8 positions"):
        Irra(config, vocabulary(), 3)
    with pytest.raises(UserError, match=r"irra\.loss_weights are all 0: there is nothing to train"):
        settings.check({"preset": "tiny-irra", "irra": {"loss_weights": {"sdm": 0, "id": 0, "mlm": 0}}})
    large = settings.check({"preset": "irra-cuhk", "irra": {"vision": {"patch": 14}}})
    with pytest.raises(UserError, match=r"^images of 384x128 do not divide into patches of 14x14; 378x126 do"), torch.device("meta"):
        Irra(large, vocabulary(), 3)


@pytest.mark.slow
def test_a_pretraining_without_persons_is_fine_tuned_with_them(tmp_path):
    data = drawn(tmp_path / "world")
    (tmp_path / "captions/data").mkdir(parents=True)
    for file in (data / "data").glob("train-*.parquet"):
        pq.write_table(pq.read_table(file).drop_columns(["person"]), tmp_path / "captions/data" / file.name)
    alone = ["irra.loss_weights={sdm: 1, id: 0, mlm: 0}", "irra.mask_without_mlm=true", "irra.uniform_rate=true"]
    last = Small("irra").train(tmp_path / "captions", tmp_path / "pretrained", *alone)
    assert "sdm" in last and "id" not in last and "mlm" not in last
    init = str(tmp_path / "pretrained")
    config = configure("tiny-irra", None, [*SETS, "batch=4", "steps=null", "epochs=1", "selection.every=1"], init)
    assert config.irra.vision == Small("irra").config().irra.vision and config.irra.loss_weights.mlm == 1
    result = finetune(config, [str(data)], tmp_path / "tuned", "cpu")
    assert {"sdm", "id", "mlm"} <= result.keys() and (tmp_path / "tuned/result.json").is_file()
    tuned = load_file(tmp_path / "tuned/model.safetensors")
    assert not any(name.startswith(("classifier", "mlm_head", "cross_")) for name in tuned)

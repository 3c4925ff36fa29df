"""UIT against the authors' code: every loss and gradient, optimizer groups, rates and sizes; restoration, names, settings."""

import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mals.errors import UserError
from pretrain import losses, schedule
from pretrain.data.batch import Batch, Text
from pretrain.data.tokenizers import Tokenizer
from pretrain.methods.uit.method import Uit, our_names
from pretrain.methods.uit.restoration import THEIR_NAMES, UNUSED, Restoration, gray, kept_count, patches, sine_positions
from pretrain.settings import assign, check

GOLDEN = Path(os.environ.get("MALS_GOLDEN") or Path(__file__).parents[3] / "golden") / "methods/sen"
CONFIG = json.loads((GOLDEN / "config.json").read_text())
FACTS = json.loads((GOLDEN / "facts.json").read_text())
GRADIENTS = json.loads((GOLDEN / "grads.json").read_text())
TERMS = {"sdm": "sdm", "id": "id", "cmt": "tri", "tir": "mae"}  # our names -> the authors'
CASES = {"as_coded": True, "all_dropped": False}  # -> published_mask


class Ids(Tokenizer):
    """Ids without words."""

    def __init__(self, size: int, max_tokens: int) -> None:
        super().__init__(size, max_tokens, pad=0, start=size - 2, end=size - 1, hidden=size - 3)

    def pieces(self, captions: Sequence[str]) -> list[list[int]]:
        raise NotImplementedError

    def save(self, file: Path) -> None:
        raise NotImplementedError

    @classmethod
    def read(cls, content: dict[str, Any], max_tokens: int) -> "Ids":
        raise NotImplementedError


def small(**own: Any) -> Uit:
    """The method of the vectors' sizes, with random weights."""
    settings = {
        "vision": {key: CONFIG[f"vision_{name}"] for key, name in (("channels", "width"), ("layers", "layers"), ("heads", "heads"))}
        | {"patch": CONFIG["patch"]},
        "text": {key: CONFIG[f"text_{name}"] for key, name in (("channels", "width"), ("layers", "layers"), ("heads", "heads"))}
        | {"context": CONFIG["context"]},
        "embed": CONFIG["embed"],
        "cross_layers": CONFIG["cross_layers"],
        "temperature": CONFIG["temperature"],
        "margin": CONFIG["margin"],
        "drop": CONFIG["mask_ratio"],
        "start": None,
    }
    tree = {"preset": "uit-cuhk", "data": dict(zip(("height", "width"), CONFIG["image"], strict=True)), "uit": settings | own}
    torch.manual_seed(0)
    return Uit(check(tree), Ids(CONFIG["vocab"], CONFIG["context"]), CONFIG["num_ids"])


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return load_file(GOLDEN / "tensors.safetensors")


@pytest.fixture(scope="module")
def theirs() -> dict[str, Tensor]:
    return {name: value.float() for name, value in load_file(GOLDEN / "weights.safetensors").items()}


@pytest.fixture(scope="module")
def method(theirs: dict[str, Tensor]) -> Uit:
    return loaded(small(), theirs)


def loaded(method: Uit, state: dict[str, Tensor]) -> Uit:
    method.load_state_dict(our_names(state))
    return method


def batch_of(tensors: dict[str, Tensor]) -> Batch:
    ids, persons = tensors["in.caption_ids"], tensors["in.pids"]
    return Batch(torch.arange(len(ids)), persons, tensors["in.images"], Text(ids, ids > 0))


@pytest.fixture
def order(tensors: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """The order of the patches that the vectors have, which the method takes for drawn."""
    order = tensors["in.noise"][:, 1:].argsort(1)
    monkeypatch.setattr(Uit, "patch_order", lambda self, images, step: order)
    return order


def near(value: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-4 * max(1.0, float(expected.abs().max())))


@pytest.mark.golden
def test_the_towers_and_the_restoration_are_those_of_the_authors(method: Uit, tensors: dict[str, Tensor], order: Tensor) -> None:
    images, count = tensors["in.images"], kept_count(order.shape[1], CONFIG["mask_ratio"])
    assert count == CONFIG["kept_tokens"] - 1 and order.shape[1] - count == CONFIG["dropped_patches"]
    image, text = method.base_model.encode_image(images), method.base_model.encode_text(tensors["in.caption_ids"])
    near(image.tokens, tensors["out.image_tokens"])
    near(text.tokens, tensors["out.text_tokens"])
    near(method.embed_image(images), tensors["out.image_embedding"])
    near(method.embed_text(Text(tensors["in.caption_ids"], tensors["in.caption_ids"] > 0)), tensors["out.text_embedding"])
    near(gray(images)[:, 2], tensors["out.gray"])
    kept = method.base_model.encode_image(gray(images), order[:, :count]).tokens
    near(kept, tensors["out.gray_tokens"])
    near(method.restoration.positions, tensors["const.decoder_pos_embed"][0])
    near(method.restoration.norm_query(method.restoration.place(kept, order)), tensors["out.query_plus_position"])
    near(method.restoration(kept, order, text.tokens), tensors["out.restored_patches"])
    near(patches(images, CONFIG["patch"]), tensors["out.target_patches"])
    assert order.argsort(1).equal(tensors["out.ids_restore"])


@pytest.mark.golden
@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_are_those_of_the_authors(
    case: str, theirs: dict[str, Tensor], tensors: dict[str, Tensor], order: Tensor
) -> None:
    method = loaded(small(published_mask=CASES[case]), theirs)
    terms = method(batch_of(tensors), 0)
    weights = dict(method.own.loss_weights)
    assert list(terms) == list(TERMS) and {TERMS[name]: weight for name, weight in weights.items()} == CONFIG["weights"]
    for name, their_name in TERMS.items():
        near(terms[name].detach() / weights[name], tensors[f"loss.{case}.{their_name}"])
    total = torch.stack(list(terms.values())).sum()
    near(total.detach(), tensors[f"loss.{case}.total"])
    total.backward()
    same_gradients(method, GRADIENTS[case])


def same_gradients(method: Uit, expected: dict[str, list[float] | None]) -> None:
    """The norms of all gradients, the sums and the products with the parameters; those without gradient are the modules without use."""
    names = our_names({name: torch.tensor(float("nan") if value is None else value) for name, value in expected.items()})
    assert {name for name, value in expected.items() if value is None} == {name for name in expected if re.match(UNUSED, name)}
    largest = max(value[0] for value in expected.values() if value is not None)
    parameters = {name: parameter.detach() for name, parameter in method.named_parameters()}
    gradients = {name: parameter.grad for name, parameter in method.named_parameters()}
    assert parameters.keys() == names.keys()
    for name, (norm, total, product) in names.items():
        gradient, allowed = gradients[name], 2e-3 * max(float(norm), 1e-3 * largest)
        assert gradient is not None, name
        actual = (gradient.norm(), gradient.sum() / gradient.numel() ** 0.5, (gradient * parameters[name]).sum() / parameters[name].norm())
        expected_values = (norm, total / gradient.numel() ** 0.5, product / parameters[name].norm())
        for value, target in zip(map(float, actual), map(float, expected_values), strict=True):
            assert abs(value - target) <= allowed, f"{name}: {value} for {target}"


@pytest.mark.golden
def test_hardest_negatives_are_those_of_the_authors(tensors: dict[str, Tensor]) -> None:
    image, text, persons = tensors["out.image_embedding"], tensors["out.text_embedding"], tensors["in.pids"]
    same = persons[:, None] == persons
    for anchors, others, name in ((text, image, "hardest_image_of_text"), (image, text, "hardest_text_of_image")):
        assert (anchors @ others.T).masked_fill(same, -2).argmax(1).equal(tensors[f"out.{name}"])
    both = losses.cmt(image, text, image, text, same, CONFIG["margin"])
    near(both, tensors["loss.tri_text_anchor"] + tensors["loss.tri_image_anchor"])


def test_triplets_have_the_closed_values_and_none_without_another_person() -> None:
    numbers = torch.arange(48, dtype=torch.float64).view(6, 8)
    image, text = ((0.37 * numbers + 0.1).sin(), (0.37 * numbers + 0.5 * (0.9 * numbers).cos()).sin())
    image, text = image / image.norm(dim=1, keepdim=True), text / text.norm(dim=1, keepdim=True)
    persons = torch.tensor([0, 0, 1, 1, 2, 3])
    same = persons[:, None] == persons
    assert losses.cmt(image, text, image, text, same, 0.05).item() == pytest.approx(0.06699308848, abs=1e-6)
    assert losses.cmt(image, text, image, text, same, 0.2).item() == pytest.approx(0.31939062509, abs=1e-6)
    lonely = image[:1].float().requires_grad_()
    loss = losses.cmt(lonely, text[:1], lonely, text[:1], torch.ones(1, 1, dtype=torch.bool), 0.05)
    loss.backward()
    assert loss.item() == 0 and lonely.grad is not None and not lonely.grad.any()


def full(*sets: str, persons: int | None = 0, preset: str = "uit-cuhk") -> Uit:
    config = check(assign({"preset": preset}, ["uit.start=null", *sets]))
    with torch.device("meta"):
        return Uit(config, Ids(49408, 77), FACTS["classes"] if persons == 0 else persons)


@pytest.mark.golden
def test_the_optimizer_treats_every_parameter_as_the_authors_do() -> None:
    method = full()
    published = check({"preset": "uit-cuhk"}).optimizer
    facts = FACTS["optimizer"]
    assert (published.kind, published.eps, list(published.betas), published.lr) == ("adam", facts["eps"], facts["betas"], facts["base_lr"])
    named = {parameter: name for name, parameter in method.named_parameters()}
    groups = schedule.groups(method, method.rules, rate=published.lr, decay=published.decay)
    ours = {named[one]: (list(one.shape), group["lr"], group["weight_decay"]) for group in groups for one in group["params"]}
    rows = {row[0]: (row[1], row[2] * facts["base_lr"], row[3]) for row in FACTS["optimizer_groups"]}
    unused = {name for name in rows if re.match(UNUSED, name)}
    assert len(unused) == 12  # two attentions of four tensors, two norms of two
    for name, values in our_names({name: torch.tensor(0) for name in rows}).items():
        assert values is not None and name in ours
    back = {ours_name: their_name for their_name in rows for ours_name in our_names({their_name: torch.tensor(0)})}
    assert back.keys() == ours.keys()
    for name, (shape, rate, decay) in ours.items():
        assert shape == rows[back[name]][0]
        assert (rate, decay) == (pytest.approx(rows[back[name]][1]), pytest.approx(rows[back[name]][2])), name


@pytest.mark.golden
def test_the_rates_of_all_epochs_are_the_published_ones() -> None:
    settings, steps = check({"preset": "uit-cuhk"}).optimizer, 7
    factors = [schedule.factor(settings, epoch * steps + 3, 60 * steps, steps) for epoch in range(60)]
    assert factors == pytest.approx(FACTS["lr_factor_per_epoch"], abs=1e-9)


@pytest.mark.golden
def test_parameters_are_as_many_as_published_but_for_modules_without_use() -> None:
    method, counts = full(), Counter[str]()
    for name, parameter in method.named_parameters():
        start = next((their_name for their_name, our_name in THEIR_NAMES.items() if f"restoration.{our_name}" in name), name.split(".")[0])
        counts[start] += parameter.numel()
    expected = FACTS["parameters"]
    norms = counts.pop("norm_1") + counts.pop("norm_2") + counts.pop("norm_4") + counts.pop("norm_6") + counts.pop("norm_7")
    assert norms == expected["norm_"] - 2 * 1024  # norm_3 and norm_5 are without use
    assert counts.pop("base_model") == expected["base_model."] + expected["base_model.visual."]
    assert counts.pop("cross_attn_Text") == expected["cross_attn_Text."]
    assert counts == {name: expected[name] for name in counts}
    spare = expected["cross_attn_Image"] + expected["cross_attn_TextImage"] + 2 * 1024
    assert sum(parameter.numel() for parameter in method.parameters()) == expected["trainable"] - spare == 169_584_635
    assert method.restoration.positions.numel() == expected["decoder_pos_embed"]


def test_the_large_one_has_patches_of_14_pixels_and_a_size_that_divides() -> None:
    method = full(preset="uit-xl")
    assert method.base_model.visual.grid == (27, 9) and method.restoration.predict.out_features == 3 * 14 * 14
    assert method.restoration.cross_attention.num_heads == 12 and len(method.base_model.visual.transformer.resblocks) == 24
    with pytest.raises(UserError, match=r"384x128 do not divide into patches of 14x14; 378x126 do"):
        full("data.height=384", "data.width=128", preset="uit-xl")


def test_losses_of_weight_0_have_no_modules() -> None:
    for weight, module in {"tir": "restoration", "id": "classifier"}.items():
        method = small(loss_weights={weight: 0.0})
        assert not any(name.startswith(module) for name, _ in method.named_parameters())
    assert not any(name.startswith(("restoration", "classifier")) for name, _ in full(persons=None).named_parameters())
    with pytest.raises(UserError, match=r"uit.loss_weights are all 0"):
        small(loss_weights=dict.fromkeys(TERMS, 0.0))


@pytest.mark.parametrize("off", ["tir", "cmt", "id", "sdm"])
def test_without_a_loss_every_parameter_still_learns(off: str, tensors: dict[str, Tensor]) -> None:
    method = small(loss_weights={off: 0.0})
    terms = method(batch_of(tensors), 3)
    assert set(terms) == set(TERMS) - {off}
    torch.stack(list(terms.values())).sum().backward()
    assert all(parameter.grad is not None for parameter in method.parameters())


def test_patches_are_dropped_by_the_step_and_the_place_in_the_batch(tensors: dict[str, Tensor]) -> None:
    method, images = small(), tensors["in.images"]
    order = method.patch_order(images, 3)
    assert order.equal(method.patch_order(images, 3)) and not order.equal(method.patch_order(images, 4))
    assert order.sort(1).values.equal(torch.arange(order.shape[1]).expand_as(order)) and not order[0].equal(order[1])
    assert order[:2].equal(method.patch_order(images[:2], 3))


def test_where_padding_is_not_looked_at_its_length_does_not_matter(tensors: dict[str, Tensor]) -> None:
    """Tokens behind the caption change the restoration as published, and do not with attend_padding=false."""
    batch, cut = batch_of(tensors), tensors["in.caption_ids"][:, :12]
    longer = torch.cat([cut, torch.zeros(len(cut), 4, dtype=torch.int64)], 1)
    for attend, equal in ((True, False), (False, True)):
        method = small(attend_padding=attend)
        values = []
        for text in (cut, longer):
            with torch.no_grad():
                values.append(method.restore(batch, method.base_model.encode_text(text).tokens, Text(text, text > 0), 0))
        assert torch.allclose(*values, rtol=0, atol=1e-6) == equal


def test_positions_are_sines_and_cosines_of_column_and_row() -> None:
    table = sine_positions((3, 2), 8)
    assert table.shape == (7, 8) and not table[0].any()
    last = table[1 + 2 * 2 + 1].double()  # row 2, column 1
    angles = [place * frequency for place in (1.0, 2.0) for frequency in (1.0, 0.01)]
    waves = torch.tensor(angles, dtype=torch.float64)
    torch.testing.assert_close(last, torch.cat([waves[:2].sin(), waves[:2].cos(), waves[2:].sin(), waves[2:].cos()]), rtol=0, atol=1e-6)
    with pytest.raises(UserError, match="positions of 6 numbers"):
        Restoration((3, 2), 8, 6)


def test_at_least_one_patch_is_kept() -> None:
    assert [kept_count(192, 0.7), kept_count(32, 0.7), kept_count(4, 0.9), kept_count(192, 0.0)] == [56, 8, 1, 192]


def test_a_checkpoint_of_the_authors_is_read_under_our_names(theirs: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"model": {f"module.{name}": value for name, value in theirs.items()}, "epoch": 60}, tmp_path / "best.pth")
    state = Uit.read_weights(str(tmp_path / "best.pth"))
    assert state.keys() == small().state_dict().keys()
    assert our_names(state).keys() == state.keys()
    assert state["restoration.cross_attention.in_proj_weight"].equal(theirs["cross_attn_Text.in_proj_weight"])

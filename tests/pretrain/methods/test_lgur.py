"""LGUR: equal to the published code in outputs, losses, gradients, parameters and rates; probes, other encoders, weights by a map."""

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

from mals.errors import ModelMissing, UserError
from pretrain import losses, settings
from pretrain.config import Training
from pretrain.data.tokenizers import Tokenizer
from pretrain.data.tokenizers.wordpiece import WordPiece
from pretrain.method import Batch, Text
from pretrain.methods.lgur import PAIRS, Lgur, Stream, network_name, own_names
from pretrain.schedule import factor, groups
from pretrain.towers.attention import mask_bias
from tests.pretrain.methods.lgur_sizes import published_sizes

GOLDEN = Path(os.environ.get("MALS_GOLDEN") or Path(__file__).parents[2] / "golden") / "methods" / "lgur"
CASES = ("unique.transposed", "unique.as_coded", "drawn.transposed", "drawn.as_coded")
CLOSE: dict[str, Any] = {"atol": 1e-4, "rtol": 1e-4}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
UNUSED = {"pos_embed_image": 49_152, "ImageExtract.model.blocks.11": 1_774_464, "ImageExtract.model.norm": 768}
UNUSED |= {"ImageExtract.model.fc": 385_000, "TextExtract.text_embed.pooler": 590_592}


class Numbers(Tokenizer):
    """A vocabulary of a given size."""

    def pieces(self, captions):
        return [[len(word) for word in caption.split()] for caption in captions]

    def save(self, file):
        raise NotImplementedError

    @classmethod
    def read(cls, content, max_tokens):
        raise NotImplementedError


def configured(**lgur: Any) -> Training:
    data = {"height": 64, "width": 32, "tokenizer": None}
    return settings.check({"preset": "own", "method": "lgur", "dtype": "fp32", "data": data, "lgur": lgur})


def small(**lgur: Any) -> Training:
    """A training of sizes that a test can afford; `lgur` over them."""
    vit = {"patch": 8, "channels": 24, "layers": 2, "blocks": 2, "heads": 2, "inter": 48, "drop_path": 0.0}
    text = {"hidden": 16, "layers": 1, "heads": 2, "inter": 32, "positions": 16, "dropout": 0.0, "frozen": False}
    sizes = {"vit": vit, "text": text, "atoms": 5, "heads": 2, "dga_head": 4, "dga_inter": 16, "pgu_head": 4, "pgu_inter": 16, "out": 8}
    return configured(**{**sizes, **lgur, "text": {**text, **lgur.get("text", {})}})


def made(config: Training, persons: int | None = 4) -> Lgur:
    torch.manual_seed(config.seed)
    return Lgur(config, 30, persons)


def batch(rows: int = 6) -> Batch:
    torch.manual_seed(1)
    mask = torch.arange(9) < torch.randint(2, 10, (rows, 1))
    ids = torch.randint(5, 30, (rows, 9)).where(mask, 0)
    images = torch.randn(rows, 3, 64, 32)
    return Batch(torch.arange(rows), torch.arange(rows) % 4, images, Text(ids, mask))


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN / "tensors.safetensors")


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    """The weights under the authors' names."""
    return {name: value.float() for name, value in load_file(GOLDEN / "weights.safetensors").items()}


def published_config(case: str = CASES[0]) -> Training:
    sizes = json.loads((GOLDEN / "config.json").read_text())
    section = published_sizes(sizes)
    section["vit"]["drop_path"] = 0.0
    section["ranking"] = "as_coded" if case.endswith("as_coded") else "paper"
    config = configured(**section)
    return config.model_copy(update={"data": config.data.model_copy(update=dict(zip(("height", "width"), sizes["image"], strict=True)))})


def of_authors(published: Mapping[str, Tensor], case: str = CASES[0]) -> Lgur:
    sizes = json.loads((GOLDEN / "config.json").read_text())
    method = Lgur(published_config(case), sizes["bert_vocab"], sizes["num_ids"])
    method.load_state_dict(own_names(published))
    return method


def inputs(golden: Mapping[str, Tensor], case: str = CASES[0]) -> Batch:
    persons = golden["in.labels_unique" if case.startswith("unique") else "in.labels"]
    text = Text(golden["in.caption_ids"], golden["in.caption_mask"].bool())
    return Batch(torch.arange(len(persons)), persons, golden["in.images"], text)


@pytest.mark.golden
@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_are_those_of_the_published_code(
    case: str, golden: dict[str, Tensor], published: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    method = of_authors(published, case).train()
    monkeypatch.setattr(method, "_random", lambda pairs, rows, step, reader: golden["in.choice"])
    terms = method(inputs(golden, case), 0)
    expected = {name.rpartition(".")[2]: value for name, value in golden.items() if name.startswith(f"loss.{case}.")}
    assert set(terms) | {"total"} == set(expected)
    for name, value in terms.items():
        torch.testing.assert_close(value, expected[name], **CLOSE, msg=lambda text, name=name: f"{name}: {text}")
    total = torch.stack(list(terms.values())).sum()
    torch.testing.assert_close(total, expected["total"], **CLOSE)
    total.backward()
    reference = json.loads((GOLDEN / "grads.json").read_text())[case]
    largest = max(values[0] for values in reference.values() if values)
    own = dict(method.named_parameters())
    compared = set()
    for name, values in reference.items():
        new = next(iter(renamed(name, published)), None)
        if values is None:
            assert new not in own or own[new].grad is None, name
            continue
        compared.add(new)
        gradient = own[new].grad
        norm, total_of, dot = gradient.norm().item(), gradient.sum().item(), (gradient * own[new]).sum().item()
        allowed = 2e-3 * max(values[0], 1e-3 * largest)
        assert abs(norm - values[0]) <= allowed, f"{name}: {norm} instead of {values[0]}"
        assert abs(total_of - values[1]) <= 2e-3 * max(abs(values[1]), gradient.numel() ** 0.5 * max(values[0], 1e-3 * largest)), name
        assert abs(dot - values[2]) <= 2e-3 * max(abs(values[2]), max(values[0], 1e-3 * largest) * own[new].norm().item()), name
    assert compared == {name for name, parameter in own.items() if parameter.requires_grad}


def renamed(name: str, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One tensor of the authors under our name; the last of their blocks is not used."""
    last = max(other for other in published if ".ImageExtract.model.blocks." in other)
    return own_names({name: published[name], last: published[last]})


@pytest.mark.golden
def test_outputs_are_those_of_the_published_code(golden: dict[str, Tensor], published: dict[str, Tensor]) -> None:
    method, rows = of_authors(published).eval(), inputs(golden)
    text, mask = rows.text, rows.text.mask
    length = golden["out.text_tokens"].shape[1]
    with torch.no_grad():
        image, words = method._image_tokens(rows.images), method.text(text.ids, mask).tokens
        torch.testing.assert_close(method.text.bert.text(text.ids, mask)[mask], golden["out.bert"][mask], **CLOSE)
        torch.testing.assert_close(image, golden["out.image_tokens"], **CLOSE)
        torch.testing.assert_close(words[:, :length], golden["out.text_tokens"], **CLOSE)
        torch.testing.assert_close(method._visible(image), golden["out.mask"], **CLOSE)
        torch.testing.assert_close(method._rewritten(image), golden["out.dga_image_by_dictionary"], **CLOSE)
        by_dictionary = method._rewritten(words)[:, :length]
        torch.testing.assert_close(by_dictionary[mask[:, :length]], golden["out.dga_text_by_dictionary"][mask[:, :length]], **CLOSE)
        torch.testing.assert_close(method.dga(image, words, mask_bias(mask)), golden["out.dga_image_by_text"], **CLOSE)
        parts = method._read_parts("parts", method._streams(rows.images, text))
        for name, part in parts.items():
            torch.testing.assert_close(part, golden[f"out.{name}"], **CLOSE, msg=lambda message, name=name: f"{name}: {message}")
        embedded_image, embedded_text = method.embed_image(rows.images), method.embed_text(text)
        scale = golden["out.image_embedding"].norm(dim=1, keepdim=True)
        torch.testing.assert_close(embedded_image * scale, golden["out.image_embedding"], **CLOSE)
        torch.testing.assert_close(embedded_text @ embedded_image.T, golden["out.similarity"], **CLOSE)


@pytest.mark.golden
@pytest.mark.parametrize("rows", ["unique", "drawn"])
@pytest.mark.parametrize("direction", ["transposed", "as_coded"])
def test_the_ranking_loss_is_that_of_the_published_code(rows: str, direction: str, golden: dict[str, Tensor]) -> None:
    persons = golden["in.labels_unique" if rows == "unique" else "in.labels"]
    margin = json.loads((GOLDEN / "config.json").read_text())["margin"]
    for number, term in enumerate(PAIRS):
        similarity, random = golden[f"out.sim_{term}"], golden["in.choice"][number]
        loss = losses.rank_semihard(similarity, persons, margin, random, as_coded=direction == "as_coded")
        torch.testing.assert_close(loss, golden[f"loss.{rows}.{direction}.rank_{term}"], **CLOSE)


@pytest.mark.golden
def test_positions_of_a_distilled_deit_are_resized_without_those_of_its_token(
    golden: dict[str, Tensor], published: dict[str, Tensor]
) -> None:
    method, table = of_authors(published), golden["in.pos_embed_distilled"]
    state = method.vision.adapt({"pos_embed": table, "dist_token": torch.zeros(1, 1, table.shape[2])}, "deit.pth")
    torch.testing.assert_close(state["pos_embed"], golden["out.pos_embed_resized"], **CLOSE)
    assert set(state) == {"pos_embed"}


@pytest.mark.golden
def test_parameters_groups_and_rates_are_those_of_the_published_code() -> None:
    """At full size; nothing is different but what the published network holds and never uses."""
    facts = json.loads((GOLDEN / "facts.json").read_text())
    config = settings.check({"preset": "lgur-cuhk"})
    with torch.device("meta"):
        method = Lgur(config, 30_522, facts["classes"])
    own = dict(method.named_parameters())
    counts, classifiers = facts["parameters"], facts["parameters"]["id_classifiers"]
    total = sum(parameter.numel() for parameter in own.values())
    assert total == counts["total"] + classifiers - sum(UNUSED.values())
    trained = sum(parameter.numel() for parameter in own.values() if parameter.requires_grad)
    assert trained == counts["trainable"] + classifiers - sum(UNUSED.values()) + UNUSED["TextExtract.text_embed.pooler"]
    optimizer = facts["optimizer"]
    assert (config.optimizer.kind, config.optimizer.lr, list(config.optimizer.betas)) == ("adam", optimizer["base_lr"], optimizer["betas"])
    assert config.optimizer.eps == optimizer["eps"]
    names = {parameter: name for name, parameter in own.items()}
    by_name = {}
    for group in groups(method, method.rules, rate=config.optimizer.lr, decay=config.optimizer.decay):
        for parameter in group["params"]:
            by_name[names[parameter]] = [group["peak"] / config.optimizer.lr, group["weight_decay"], parameter.numel()]
    unused = re.compile(r"network\.(pos_embed_image|ImageExtract\.model\.(blocks\.11\.|norm\.|fc\.))")
    expected = {
        str(network_name(name)): [rate, decay, math.prod(shape)]
        for name, shape, rate, decay in facts["optimizer_groups"]
        if not unused.match(name)
    }
    assert by_name.keys() == expected.keys()
    for name, values in expected.items():
        assert by_name[name] == pytest.approx(values), name
    rates = [factor(config.optimizer, 10 * epoch, 600, 10) for epoch in range(60)]
    assert rates == pytest.approx(facts["lr_factor_per_epoch"]) and (config.epochs, config.batch) == (60, 64)


def test_the_parts_have_the_published_numbers_of_parameters() -> None:
    """methods.md, section 8: those of the paper's own modules."""
    with torch.device("meta"):
        method = Lgur(settings.check({"preset": "lgur-icfg"}), 30_522, 3_102)

    def size(*modules: torch.nn.Module) -> int:
        return sum(parameter.numel() for module in modules for parameter in module.parameters())

    reader = method.readers["parts"]
    assert size(method.dga) == 1_182_720 and size(method.mask) == 385 and size(method.text.lstm) == 3_538_944
    assert size(reader.blocks) == 10_229_248 and size(reader.projections) == 1_179_648
    assert reader.prototypes.numel() == 2_304 and method.dictionary.numel() == 153_600
    assert size(method.identities) == 9_547_956 and size(method.vision) == 22_049_128 - 1_774_464 - 768 - 385_000
    assert method._embed(Stream(torch.zeros(2, 5, 384, device="meta"))).shape == (2, 3072)


@pytest.mark.parametrize(
    ("switches", "terms"),
    [
        ({}, {f"rank_{name}" for name in PAIRS} | {"id_guided", "id_dict"}),
        ({"dga": False}, {"id_plain", "rank_plain"}),
        ({"pgu": False}, {f"rank_{name}" for name in PAIRS} | {"id_guided", "id_dict"}),
        ({"dga": False, "pgu": False}, {"id_plain", "rank_plain"}),
        ({"dga": False, "pooled": True}, {"id_plain", "rank_plain", "id_plain_pooled", "rank_plain_pooled"}),
    ],
)
def test_each_part_can_be_left_out(switches: dict[str, bool], terms: set[str]) -> None:
    method, rows = made(small(**switches)), batch()
    losses_of = method(rows, 3)
    assert set(losses_of) == terms
    for name, value in losses_of.items():
        if name.startswith("id_"):
            assert value.item() == pytest.approx(2 * math.log(4), abs=0.1)  # classifiers begin near 0
    torch.stack(list(losses_of.values())).sum().backward()
    assert all(parameter.grad is not None for parameter in method.parameters())
    image, text = method.eval().embed_image(rows.images), method.embed_text(rows.text)
    parts = 6 * switches.get("pgu", True) + (switches.get("pooled", False) or not switches.get("pgu", True))
    assert image.shape == text.shape == (6, 8 * parts)
    torch.testing.assert_close(image.norm(dim=1), torch.ones(6))
    assert hasattr(method, "dictionary") == switches.get("dga", True)


def test_the_negatives_follow_from_the_step_and_ranking_as_coded_differs() -> None:
    method, rows = made(small(margin=2.0)).eval(), batch()
    first = method(rows, 3)
    assert first["rank_dict"] == method(rows, 3)["rank_dict"] != method(rows, 4)["rank_dict"]
    coded = made(small(margin=2.0, ranking="as_coded")).eval()
    assert coded(rows, 3)["rank_dict"] != first["rank_dict"] and coded(rows, 3)["id_dict"] == first["id_dict"]


def test_padding_of_captions_changes_nothing() -> None:
    method, rows = made(small()).eval(), batch()
    wide = Text(*(torch.cat([part, torch.zeros_like(part[:, :4])], 1) for part in (rows.text.ids, rows.text.mask)))
    torch.testing.assert_close(method.embed_text(wide), method.embed_text(rows.text))
    padded = method(replace(rows, text=wide), 3)
    for name, value in method(rows, 3).items():
        torch.testing.assert_close(padded[name], value)


def test_a_frozen_bert_stays_calm_in_training() -> None:
    method, rows = made(small(text={"frozen": True, "dropout": 0.5})).train(), batch()
    assert not method.text.bert.training and method.text.lstm.training
    torch.testing.assert_close(method.embed_text(rows.text), method.embed_text(rows.text))
    torch.stack(list(method(rows, 0).values())).sum().backward()
    assert {name for name, parameter in method.named_parameters() if parameter.grad is None} == {
        name for name, _ in method.named_parameters() if name.startswith("text.bert.")
    }
    with pytest.raises(UserError, match=r"^lgur\.text\.frozen=true keeps the BERT as it starts"):
        method.load_initial_weights(small(text={"frozen": True}), None)


@pytest.mark.parametrize("vision", ["resnet50", "plip"])
def test_a_resnet_as_the_vision_encoder(vision: str) -> None:
    sizes = {"stem": 8, "depths": [1, 1, 1, 1], "widths": [4, 4, 4, 8] if vision == "resnet50" else [4, 8, 16, 32]}
    method, rows = made(small(vision=vision, resnet=sizes, width=24)), batch()
    channels = 4 * 8 if vision == "resnet50" else 32 * 4
    assert method.vision.width == channels and method.narrow.weight.shape == (24, channels)
    assert method._image_tokens(rows.images).shape == (6, 2, 24)
    torch.stack(list(method(rows, 0).values())).sum().backward()
    assert all(parameter.grad is not None for parameter in method.parameters())


@pytest.mark.parametrize("sizes", [{"last_stride": 1}, {"widths": [4, 4, 4, 8]}])
def test_sizes_that_plips_encoder_does_not_have_are_refused(sizes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"lgur\.vision = plip has lgur\.resnet\.last_stride = 2, and lgur\.resnet\.widths that double"):
        small(vision="plip", resnet=sizes)


def test_weights_of_another_layout_by_a_map_of_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = made(small(vit={"patch": 8, "channels": 24, "layers": 3, "blocks": 3, "heads": 2, "inter": 48}))
    state = {f"net.{name.replace('blocks', 'layer')}": value for name, value in other.vision.state_dict().items()}
    save_file(state | {"head.weight": torch.zeros(2, 24)}, tmp_path / "other.safetensors")
    (tmp_path / "names.yaml").write_text(
        yaml.safe_dump({r"net\.layer\.(.*)": r"blocks.\1", r"net\.(.*)": r"\1", "head.*": None}, sort_keys=False)
    )
    start = {"vision": "vit", "vision_start": str(tmp_path / "other.safetensors"), "vision_keys": str(tmp_path / "names.yaml")}
    config = small(**start)
    method = made(config)
    with caplog.at_level("INFO"):
        method.load_initial_weights(config, None)
    assert "28 of its 28 tensors matched, 12 others are left out" in caplog.text
    for name, value in method.vision.state_dict().items():
        assert torch.equal(value, other.vision.state_dict()[name]), name
    config = small(**start | {"vision_keys": None})
    with pytest.raises(UserError, match=r"other\.safetensors has 0 of the 28 parameters that are needed, which is under 95%"):
        made(config).load_initial_weights(config, None)


def test_missing_weights_are_one_sentence_that_names_three_ways(tmp_path: Path) -> None:
    config = small(vision_start="somebody/deit")
    with pytest.raises(ModelMissing) as refusal:
        made(config).load_initial_weights(config, None)
    assert all(way in str(refusal.value) for way in ("hf download somebody/deit", "lgur.vision_start=FILE", "lgur.vision_start=null"))
    save_file({"pos_embed": torch.zeros(1, 8, 24)}, tmp_path / "deit.safetensors")
    config = small(vision_start=str(tmp_path / "deit.safetensors"))
    with pytest.raises(UserError, match=r"has 7 positions of patches, which are no grid of 3x3"):
        made(config).load_initial_weights(config, None)


def test_captions_end_with_the_end_token_also_where_they_are_cut() -> None:
    tokenizer = Lgur.tokenizer(settings.check({"preset": "tiny-lgur", "data": {"max_tokens": 6}}), ["a man in a red coat with a bag"])
    assert isinstance(tokenizer, WordPiece)
    (ids,) = tokenizer.encode(["a man in a red coat with a bag"]).ids.tolist()
    assert len(ids) == 6 and ids[-1] == tokenizer.end


@pytest.mark.parametrize("name", ["lgur-cuhk", "lgur-icfg", "lgur-rstp", "lgur-probe-plip", "lgur-probe-unipt", "lgur-probe-hap"])
def test_presets_build_at_full_size(name: str) -> None:
    config = settings.check({"preset": name})
    with torch.device("meta"):
        method = Lgur(config, 30_522, 100)
    width = {"lgur-probe-hap": 384, "lgur-probe-unipt": 7 * 512}.get(name, 6 * 512)
    assert method.embed_image(torch.zeros(2, 3, 384, 128, device="meta")).shape == (2, width)
    assert method.own.margin == (0.3 if width == 6 * 512 else 0.2)

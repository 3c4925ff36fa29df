"""RDE against its authors' code: features, both embeddings, every loss and gradient, the optimizer at full size."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize

from pretrain import settings, weights
from pretrain.config import Training
from pretrain.method import Batch, Text
from pretrain.methods.rde import UNUSED, Rde, own_name
from pretrain.schedule import factor, groups
from pretrain.towers.token_selection import select

GOLDEN = Path(os.environ.get("MALS_GOLDEN") or Path(__file__).parents[3] / "golden") / "methods/rde"
CONFIG, FACTS, GRADIENTS = (json.loads((GOLDEN / f"{name}.json").read_text()) for name in ("config", "facts", "grads"))
LOSSES = {"tal": "tal", "trl": "trl", "infonce": "info_nce", "sdm": "sdm"}
CLOSE = {"rtol": 1e-4, "atol": 1e-4}

pytestmark = pytest.mark.golden


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "tensors.safetensors")


def tower(name: str) -> dict[str, int]:
    return {"channels": CONFIG[f"{name}_width"], "layers": CONFIG[f"{name}_layers"], "heads": CONFIG[f"{name}_heads"]}


def small(*sets: str) -> Training:
    """The settings of the vectors."""
    (height, width), own = CONFIG["image"], CONFIG
    tree = {
        "preset": "rde-cuhk",
        "data": {"height": height, "width": width, "max_tokens": own["context"]},
        "rde": {
            "start": None,
            "vision": {
                "patch": own["patch"],
                "channels": own["vision_width"],
                "layers": own["vision_layers"],
                "heads": own["vision_heads"],
            },
            "text": {"channels": own["text_width"], "layers": own["text_layers"], "heads": own["text_heads"], "context": own["context"]},
            "embed": own["embed"],
            "tse": {"embed": own["tse_width"], "hidden": own["tse_hidden"], "ratio": own["select_ratio"]},
            "temperature": own["tau"],
            "margin": own["margin"],
            "contrast_temperature": own["temperature"],
            "count_padding": True,
        },
    }
    return settings.check(settings.assign(tree, list(sets)))


def tokenizer(config: Training) -> SimpleNamespace:
    """What a method asks of a tokenizer with the ids of the vectors."""
    return SimpleNamespace(size=CONFIG["vocab"], end=CONFIG["eot"], pad=0, max_tokens=config.data.max_tokens, kind_name=lambda: "ids")


def built(folder: Path, *sets: str) -> Rde:
    """A method with the authors' weights, read from a file as their code writes it."""
    config = small(*sets)
    torch.save({"model": {name: value.float() for name, value in load_file(GOLDEN / "weights.safetensors").items()}}, folder / "best.pth")
    method = Rde.build(config, tokenizer(config))
    weights.load_state(method, Rde.read_weights(str(folder / "best.pth")), "the vectors", method.training_only)
    return method.train()


def batch_of(golden: dict[str, torch.Tensor]) -> Batch:
    ids, persons = golden["in.caption_ids"], golden["in.pids"]
    return Batch(rows=torch.arange(len(ids)), persons=persons, images=golden["in.images"], text=Text(ids, ids != 0))


@pytest.mark.parametrize("case", GRADIENTS)
def test_losses_and_gradients_are_those_of_the_authors_code(golden: dict[str, torch.Tensor], tmp_path: Path, case: str) -> None:
    loss, mode, rows = case.split(".")
    method = built(tmp_path, f"rde.loss={LOSSES[loss]}", f"rde.bn_frozen={str(mode == 'eval').lower()}")
    method.confident = golden["in.label_hat" if rows == "selected" else "in.label_hat_all"].bool()
    terms = method(batch_of(golden), 0)
    for name, value in terms.items():
        torch.testing.assert_close(value, golden[f"loss.{case}.{name}"], **CLOSE)
    torch.testing.assert_close(sum(terms.values()), golden[f"loss.{case}.total"], **CLOSE)
    sum(terms.values()).backward()
    theirs = {own_name(name): values for name, values in GRADIENTS[case].items() if values is not None}
    own = dict(method.named_parameters())
    assert theirs.keys() == own.keys()
    largest = max(norm for norm, _, _ in theirs.values())
    for name, (norm, total, dot) in theirs.items():
        gradient, allowed = own[name].grad, 2e-3 * max(norm, 1e-3 * largest)
        assert gradient is not None and abs(float(gradient.norm()) - norm) <= allowed, name
        assert abs(float((gradient * own[name].detach()).sum()) - dot) <= allowed * max(1.0, float(own[name].detach().norm())), name
        assert abs(float(gradient.sum()) - total) <= allowed * gradient.numel() ** 0.5, name


def test_only_layers_that_they_never_use_have_no_gradient() -> None:
    without = {name for case in GRADIENTS.values() for name, values in case.items() if values is None}
    assert without and all(name.startswith(UNUSED) for name in without)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_embeddings_are_those_of_the_authors_code(golden: dict[str, torch.Tensor], tmp_path: Path, mode: str) -> None:
    method, batch = built(tmp_path).train(mode == "train"), batch_of(golden)
    with torch.no_grad():
        images, texts = method.image_embeddings(batch.images), method.text_embeddings(batch.text)
    for own, kind in ((images, "image"), (texts, "text")):
        torch.testing.assert_close(own[0], normalize(golden[f"out.{kind}_feature"], dim=1), **CLOSE)
        torch.testing.assert_close(own[1], normalize(golden[f"out.{mode}.{kind}_tse"], dim=1), **CLOSE)
    if mode == "train":
        for own_tse, name in ((method.image_tse, "visul_emb_layer"), (method.text_tse, "texual_emb_layer")):
            for value, part in ((own_tse.norm.mean, "mean"), (own_tse.norm.variance, "var")):
                torch.testing.assert_close(value, golden[f"out.train.bn_after.{name}.mlp.bns.0.running_{part}"], **CLOSE)


def test_scores_are_those_of_the_authors_code(golden: dict[str, torch.Tensor], tmp_path: Path) -> None:
    method, batch = built(tmp_path).eval(), batch_of(golden)
    with torch.no_grad():
        images, texts = method.embed_image(batch.images), method.embed_text(batch.text)
    torch.testing.assert_close(texts @ images.T, golden["out.similarity"], **CLOSE)
    assert images.norm(dim=1).allclose(torch.ones(len(images))) and images.shape[1] == CONFIG["embed"] + CONFIG["tse_width"]
    narrow = batch.text.mask.sum(1).max()
    with torch.no_grad():
        cut = method.embed_text(Text(batch.text.ids[:, :narrow], batch.text.mask[:, :narrow]))
    torch.testing.assert_close(cut, texts)


def test_selected_tokens_are_those_of_the_authors_code(golden: dict[str, torch.Tensor], tmp_path: Path) -> None:
    method, batch = built(tmp_path), batch_of(golden)
    with torch.no_grad():
        image = method.base_model.encode_image(batch.images, last_attention=True)
        text = method.base_model.encode_text(batch.text.ids, last_attention=True)
    assert image.attention is not None and text.attention is not None
    torch.testing.assert_close(image.tokens, golden["out.image_tokens"], **CLOSE)
    torch.testing.assert_close(image.attention, golden["out.image_attention"], **CLOSE)
    real = batch.text.mask
    torch.testing.assert_close(text.tokens[real], golden["out.text_tokens"][real], **CLOSE)
    torch.testing.assert_close(text.attention[real], golden["out.text_attention"][real], **CLOSE)
    is_global = (torch.arange(image.attention.shape[1]) == 0).expand_as(image.attention[:, 0])
    chosen = select(image.attention[:, 0], is_global, method.image_count)
    assert chosen.sort(1)[0].equal(golden["out.image_selected"].sort(1)[0]) and method.image_count == CONFIG["image_k"]
    position, end = torch.arange(real.shape[1]), real.sum(1, keepdim=True) - 1
    words = (position > 0) & (position < end)
    chosen = select(text.attention[torch.arange(len(end)), end[:, 0]], real & ~words, method.text_count)
    assert method.text_count == CONFIG["text_k"]
    for own, counted, theirs in zip(chosen, words.gather(1, chosen), golden["out.text_selected"], strict=True):
        assert sorted(own[counted].tolist()) == sorted(theirs[theirs >= 0].tolist())


@pytest.fixture(scope="module")
def full() -> tuple[Training, Rde]:
    """The published size, without memory."""
    config = settings.check(settings.assign({"preset": "rde-cuhk"}, ["rde.start=null"]))
    with torch.device("meta"):
        method = Rde(config, Rde.tokenizer(config, []), None)
    return config, method


def test_the_parameters_are_the_authors_without_the_unused_ones(full: tuple[Training, Rde]) -> None:
    _, method = full
    count = sum(parameter.numel() for parameter in method.parameters())
    unused = {name: torch.Size(shape).numel() for name, shape, _, _ in FACTS["optimizer_groups"] if name.startswith(UNUSED)}
    assert unused == {
        "visul_emb_layer.linear.weight": 524_288,
        "visul_emb_layer.linear.bias": 1_024,
        "visul_emb_layer.mlp.bns.1.weight": 1_024,
        "visul_emb_layer.mlp.bns.1.bias": 1_024,
        "texual_emb_layer.mlp.bns.1.weight": 1_024,
        "texual_emb_layer.mlp.bns.1.bias": 1_024,
    }
    assert count == FACTS["parameters"]["total"] - sum(unused.values()) == 152_775_680 - 525_312 - 4_096
    assert sum(parameter.numel() for parameter in method.base_model.parameters()) == 149_617_664
    assert (method.image_count, method.text_count) == (57, 22)


def test_the_optimizer_is_that_of_the_authors(full: tuple[Training, Rde]) -> None:
    config, method = full
    names = {parameter: name for name, parameter in method.named_parameters()}
    own = {
        names[parameter]: (list(parameter.shape), pytest.approx(group["peak"] / config.optimizer.lr), pytest.approx(group["weight_decay"]))
        for group in groups(method, method.rules, rate=config.optimizer.lr, decay=config.optimizer.decay)
        for parameter in group["params"]
    }
    theirs = {own_name(name): (shape, rate, decay) for name, shape, rate, decay in FACTS["optimizer_groups"] if not name.startswith(UNUSED)}
    assert theirs.keys() == own.keys()
    for name, values in theirs.items():
        assert values == own[name], name
    kind = FACTS["optimizer"]
    assert (config.optimizer.kind, list(config.optimizer.betas), config.optimizer.eps) == (
        kind["class"].lower(),
        kind["betas"],
        kind["eps"],
    )
    assert config.optimizer.lr == kind["base_lr"]
    rates = [factor(config.optimizer, 100 * epoch, 100 * config.epochs, 100) for epoch in range(config.epochs)]
    assert rates == pytest.approx(FACTS["lr_factor_per_epoch"], abs=1e-6) and len(rates) == 60


def test_a_checkpoint_of_other_weights_is_refused(tmp_path: Path) -> None:
    save_file({"visual.proj": torch.zeros(3, 3)}, tmp_path / "model.safetensors")
    with pytest.raises(Exception, match=r"does not fit the model"):
        weights.load_state(Rde.build(small(), tokenizer(small())), Rde.read_weights(str(tmp_path)), str(tmp_path), Rde.training_only)

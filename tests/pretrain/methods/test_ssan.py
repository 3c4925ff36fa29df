"""SSAN: features, losses, gradients, running statistics, optimizer and sizes are those of the authors' code; what it does besides."""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from pretrain import settings as training_settings
from pretrain.data.tokenizers import WordList
from pretrain.method import Batch, Text
from pretrain.methods.ssan import LEVELS, Ssan, published_name, renamed

GOLDEN = Path(os.environ.get("MALS_GOLDEN") or Path(__file__).parents[2] / "golden") / "methods/ssan"
CASES = [f"{rows}.{mode}.{margin}" for rows in ("drawn", "unique") for mode in ("train", "eval") for margin in ("fixed", "adaptive")]
RANKED = {"global": "global", "local": "local", "non_local": "non_local"}


@cache
def vectors() -> dict[str, Tensor]:
    return load_file(GOLDEN / "tensors.safetensors")


@cache
def facts(name: str = "facts") -> dict[str, Any]:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def words(count: int, longest: int) -> WordList:
    return WordList([f"word{number}" for number in range(count - 1)], longest)


class Recorded(Ssan):
    """The method with the random numbers of the vectors."""

    def random(self, step: int, rows: int, device: torch.device) -> Tensor:
        return vectors()["in.choice"][..., :rows]


def golden() -> Ssan:
    """The authors' small network as our method, with their weights."""
    c = facts("config")
    sizes = {
        "vision": {"stem": c["resnet_stem"], "depths": c["resnet_layers"], "widths": c["resnet_channels"], "start": None},
        "table": c["vocab"],
        "word_width": c["word_width"],
        "word_dropout": 0.0,
        "width": c["feature_length"],
        "relation_width": c["nonlocal_out"],
        "parts": c["parts"],
        "margin": c["margin"],
        "weak_weight": c["beta"],
        "least_margin": c["gate"],
        "adaptive_from": c["epoch_begin"],
        "local_weight": c["weights"]["local"],
    }
    data = {"height": c["image"][0], "width": c["image"][1]}
    config = training_settings.check({"preset": "ssan-cuhk", "data": data, "ssan": sizes})
    method = Recorded(config, words(c["vocab"], c["caption_length_max"]), c["num_ids"])
    state = {name: value.float() for name, value in load_file(GOLDEN / "weights.safetensors").items()}
    method.load_state_dict(renamed(state))
    return method


def batch(rows: str = "drawn", margin: str = "fixed") -> Batch:
    v = vectors()
    chosen = torch.arange(len(v["in.labels"])) if rows == "drawn" else v["in.unique_rows"]
    width = v["in.caption_ids"].shape[1]

    def text(name: str) -> Text:
        return Text(v[f"in.{name}_ids"][chosen], torch.arange(width) < v[f"in.{name}_lengths"][chosen][:, None])

    persons = v["in.labels"] if rows == "drawn" else v["in.unique_labels"]
    first = facts("config")["epoch_begin"]
    return Batch(
        rows=chosen,
        persons=persons,
        images=v["in.images"].float()[chosen],
        text=text("caption"),
        second_text=text("second"),
        epoch=first if margin == "adaptive" else first - 1,
    )


def near(own: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(own, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.golden
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_features_are_the_published_ones(mode: str) -> None:
    method, v, b = golden().train(mode == "train"), vectors(), batch()
    maps = method.image(b.images)
    image = method.image_levels(maps)
    text, second = method.text_levels(b.text), method.text_levels(b.second_text)
    for name, levels in {"image": image, "text": text, "second": second}.items():
        for level in LEVELS:
            near(levels[level].transpose(1, 2), v[f"out.{mode}.{name}_{level}"])
    if mode == "train":
        state = {published_name(name.removeprefix("out.train.bn_after.")): value for name, value in v.items() if "bn_after" in name}
        assert len(state) == 12
        for name, value in state.items():
            near(method.state_dict()[str(name)], value)
    else:
        near(maps, v["out.eval.image_map"])


@pytest.mark.golden
def test_words_embeddings_and_scores_are_the_published_ones() -> None:
    method, v, b = golden().eval(), vectors(), batch()
    for name, table in {"global": method.words_global, "local": method.words_local}.items():
        near(method.reader(table(b.text.ids), b.text.mask).transpose(1, 2), v[f"out.eval.words_{name}"])
    image, text = method.embed_image(b.images), method.embed_text(b.text)
    near(text @ image.T, v["out.eval.similarity"])
    parts = facts("config")["parts"]
    for name, own in {"image": image, "text": text}.items():
        expected = v[f"out.eval.{name}_embedding"]
        level = own.shape[1]
        near(own.norm(dim=1), torch.full((len(own),), 3**0.5))
        assert level == expected.shape[1] and parts


@pytest.mark.golden
@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_are_the_published_ones(case: str) -> None:
    rows, mode, margin = case.split(".")
    method, v, b = golden().train(mode == "train"), vectors(), batch(rows, margin)
    terms = method(b, 0)
    weights = facts("config")["weights"]
    for level in LEVELS:
        near(terms[f"id_{level}"] / weights[level], v[f"loss.{case}.id_{level}"])
        near(terms[f"rank_{level}"] / weights[level], v[f"loss.{case}.cr_{level}"])
    total = torch.stack(list(terms.values())).sum()
    near(total, v[f"loss.{case}.total"])
    total.backward()
    expected = {str(published_name(name)): value for name, value in facts("grads")[case].items()}
    own = {name: parameter.grad for name, parameter in method.named_parameters()}
    assert own.keys() == expected.keys() and all(value is not None for value in own.values())
    largest = max(value[0] for value in expected.values())
    for name, (norm, _, _) in expected.items():
        assert float(own[name].norm()) == pytest.approx(norm, abs=2e-3 * max(norm, 1e-3 * largest)), name

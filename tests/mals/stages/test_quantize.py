"""Weights of the generator in int8, by torchao itself, on small pipelines in the hub's layout."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mals import settings
from mals.errors import UserError
from mals.stages.generate import Generate
from mals.stages.quantize import quantize_denoiser
from tests.mals.stages.test_generate import MEN, pixels, ready, run
from tests.small import diffusion

Models = dict[str, Path]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = tmp_path_factory.mktemp("models")
    return {"sd": diffusion.build_stable_diffusion(folder / "sd"), "flux": diffusion.build_flux(folder / "flux")}


def linear_weights(network: Any) -> list[Any]:
    return [module.weight for module in network.modules() if isinstance(module, torch.nn.Linear)]


def images(generate: Generate) -> list[bytes]:
    return [row["image"] for row in run(generate, MEN)]


@pytest.mark.parametrize(("model", "network", "dtype"), [("sd", "unet", "fp32"), ("sd", "unet", "bf16"), ("flux", "transformer", "bf16")])
def test_weights_are_one_byte_each_and_images_almost_the_same_and_their_bytes_again(
    small: Models, model: str, network: str, dtype: str
) -> None:
    plain, quantized = ready(small[model], dtype=dtype), ready(small[model], dtype=dtype, quantize="int8")
    weights = linear_weights(getattr(quantized._text, network))
    assert weights and all(weight.qdata.dtype == torch.int8 for weight in weights)
    first, again = run(quantized, MEN), images(quantized)
    assert [row["image"] for row in first] == again
    assert images(ready(small[model], dtype=dtype, quantize="int8")) == again, "another worker"
    differences = [np.abs(pixels(one) - pixels(other)) for one, other in zip(first, run(plain, MEN), strict=True)]
    assert all(difference.max() > 0 and difference.mean() < 6 for difference in differences)


def test_a_row_does_not_depend_on_its_rows_around_it_with_weights_in_int8(small: Models) -> None:
    generate = ready(small["sd"], quantize="int8")
    other = run(generate, [MEN[0], "", "two dogs on a street", "x"], seed=[100, 7, 8, 9])
    assert run(generate, MEN)[0]["image"] == other[0]["image"]


def test_a_lora_is_added_before_and_image_to_image_has_the_same_weights(small: Models, tmp_path: Path) -> None:
    Image.new("RGB", (32, 64), "red").save(tmp_path / "start.png")
    lora = diffusion.build_lora(tmp_path / "style", small["sd"])
    plain, styled = (
        ready(small["sd"], quantize="int8", steps=4),
        ready(small["sd"], quantize="int8", steps=4, lora={"model": str(lora), "scale": 1.0}),
    )
    assert images(plain) != images(styled)
    full = ready(small["sd"], steps=4, lora={"model": str(lora), "scale": 1.0})
    start: dict[str, Any] = {"init_image": [str(tmp_path / "start.png")]}
    row, whole = run(styled, MEN[:1], **start)[0], run(full, MEN[:1], **start)[0]
    assert row["pipeline"] == "StableDiffusionImg2ImgPipeline" and row["image"] != whole["image"]
    assert np.abs(pixels(row) - pixels(whole)).mean() < 6


def test_a_missing_package_is_named(small: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchao", None)
    with pytest.raises(UserError, match=r"^generate\.quantize needs the package torchao; pip install 'mals\[quantize\]', or leave"):
        ready(small["sd"], quantize="int8")


def test_a_denoiser_without_linear_layers_is_refused() -> None:
    generate = settings.check({"generate": {"model": "m", "quantize": "int8"}}).generate
    with pytest.raises(UserError, match=r"generate\.quantize is set, but Conv2d has no linear layer"):
        quantize_denoiser(SimpleNamespace(unet=torch.nn.Conv2d(1, 1, 1)), generate, "cpu")
    with pytest.raises(UserError, match=r"has neither a transformer nor a unet, so generate\.quantize is not for it"):
        quantize_denoiser(SimpleNamespace(), generate, "cpu")


def test_the_number_format_of_weights_is_a_parameter(small: Models) -> None:
    assert ready(small["sd"]).params()["quantize"] is None
    assert Generate(ready(small["sd"]).config.model_copy(update={"quantize": "int8"})).params()["quantize"] == "int8"


@pytest.mark.slow
def test_a_compiled_denoiser_in_int8_makes_the_same_images_up_to_rounding(small: Models) -> None:
    torch._dynamo.reset()
    plain, compiled = run(ready(small["flux"], quantize="int8"), MEN), run(ready(small["flux"], quantize="int8", compile="regional"), MEN)
    for one, other in zip(compiled, plain, strict=True):
        assert np.abs(pixels(one) - pixels(other)).max() <= 8

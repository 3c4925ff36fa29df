"""The generator's settings of speed and memory, on small pipelines in the hub's layout."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mals import settings
from mals.errors import UserError
from mals.stages.generate import Generate
from mals.stages.speed import LatentsWatch, compile_denoiser, set_up_decoder
from tests.mals.stages.test_generate import MEN, pixels, ready, run
from tests.small import diffusion


@pytest.fixture(scope="session")
def sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return diffusion.build_stable_diffusion(tmp_path_factory.mktemp("models") / "sd")


def images(generate: Generate) -> list[bytes]:
    return [row["image"] for row in run(generate, MEN)]


def test_latents_are_watched_without_a_read_back_a_step() -> None:
    """Tensors of the device `meta` have no numbers, so whatever reads one back fails."""
    watch = LatentsWatch()
    for step in range(3):
        tensors = {"latents": torch.zeros(4, 4, 8, 8, device="meta")}
        assert watch(None, step, None, tensors) is tensors
    with pytest.raises(NotImplementedError, match="meta"):
        watch.read(4)


def test_a_row_whose_latents_were_not_finite_at_any_step_is_remembered() -> None:
    watch = LatentsWatch()
    for step in range(3):
        latents = torch.zeros(3, 2, 2)
        latents[1, 0, 0] = float("nan") if step == 1 else 0.0
        watch(None, step, None, {"latents": latents})
    assert watch.read(3).tolist() == [True, False, True]
    assert LatentsWatch().read(2).tolist() == [True, True], "a pipeline may call nothing back"


def test_slices_of_the_decoder_are_the_default_and_can_be_left_out(sd: Path) -> None:
    sliced, whole = ready(sd), ready(sd, vae_slicing=False)
    assert (sliced._text.vae.use_slicing, whole._text.vae.use_slicing) == (True, False)
    for one, other in zip(run(sliced, MEN), run(whole, MEN), strict=True):
        assert np.abs(pixels(one) - pixels(other)).max() <= 3


def test_tiles_of_the_decoder_change_an_image_that_is_larger_than_a_tile(sd: Path) -> None:
    plain, tiled = ready(sd, height=128), ready(sd, height=128, vae_tiling=True)
    assert tiled._text.vae.use_tiling and not plain._text.vae.use_tiling
    assert images(plain) != images(tiled)


def test_tiles_are_refused_where_the_decoder_has_none() -> None:
    from diffusers import AsymmetricAutoencoderKL, DDPMScheduler, DiffusionPipeline

    class Pipeline(DiffusionPipeline):
        def __init__(self, scheduler: Any, vae: Any = None):
            super().__init__()
            self.register_modules(scheduler=scheduler, **({"vae": vae} if vae else {}))

    generate = settings.check({"generate": {"model": "m", "vae_tiling": True}}).generate
    with pytest.raises(UserError, match=r"generate\.vae_tiling is set, but Pipeline has no VAE and decodes no image in tiles; set"):
        set_up_decoder(Pipeline(DDPMScheduler()), generate)
    vae = AsymmetricAutoencoderKL(down_block_out_channels=[32], up_block_out_channels=[32])
    with pytest.raises(UserError, match="the decoder AsymmetricAutoencoderKL decodes no image in tiles"):
        set_up_decoder(Pipeline(DDPMScheduler(), vae), generate)


@pytest.mark.slow
@pytest.mark.parametrize("extent", ["regional", "full"])
def test_a_compiled_denoiser_makes_the_same_images_up_to_rounding_and_the_same_bytes_again(sd: Path, extent: str) -> None:
    torch._dynamo.reset()
    plain, compiled = run(ready(sd), MEN), ready(sd, compile=extent)
    first, again = run(compiled, MEN), images(compiled)
    for one, other in zip(first, plain, strict=True):
        assert np.abs(pixels(one) - pixels(other)).max() <= 8
    assert [row["image"] for row in first] == again
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0, "nothing was compiled"


def test_regional_compilation_is_refused_where_the_denoiser_names_no_blocks() -> None:
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    network = UNet2DModel(block_out_channels=[32], down_block_types=["DownBlock2D"], up_block_types=["UpBlock2D"], layers_per_block=1)
    pipeline = DDPMPipeline(network, DDPMScheduler())
    generate = settings.check({"generate": {"model": "m", "compile": "regional"}}).generate
    with pytest.raises(UserError, match=r"repeated blocks, and UNet2DModel names none; set generate\.compile = full"):
        compile_denoiser(pipeline, generate)


def test_the_settings_of_speed_that_change_images_are_parameters(sd: Path) -> None:
    plain = ready(sd).params()
    for name, value in {"vae_slicing": False, "vae_tiling": True, "compile": "regional"}.items():
        changed = Generate(ready(sd).config.model_copy(update={name: value})).params()
        assert changed != plain and changed[name] == value


def test_the_seconds_of_the_device_are_taken_once(sd: Path) -> None:
    generate = ready(sd)
    assert generate.take_device_seconds() == 0
    run(generate, MEN)
    assert generate.take_device_seconds() > 0
    assert generate.take_device_seconds() == 0


def test_every_call_of_the_denoiser_has_one_shape_whatever_the_rows_are(sd: Path, tmp_path: Path) -> None:
    """Rows with and without a negative prompt or an initial image go through the pipeline apart, each in a full batch."""
    Image.new("RGB", (32, 64), "red").save(tmp_path / "start.png")
    generate = ready(sd, steps=4)
    shapes: set[torch.Size] = set()
    generate._text.unet.register_forward_pre_hook(lambda _network, arguments: shapes.add(arguments[0].shape))
    rows = run(generate, MEN, negative_prompt=[None, "a crowd", None, None], init_image=[None, None, str(tmp_path / "start.png"), None])
    assert len({row["pipeline"] for row in rows}) == 2
    assert shapes == {torch.Size([8, 4, 8, 4])}, "four rows, each with and without its prompt"

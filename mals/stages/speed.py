"""What makes a generator faster or smaller: slices and tiles of its decoder, a compiled denoiser, and latents that no step waits for."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mals import config as settings
from mals.errors import UserError


class LatentsWatch:
    """Which rows had finite latents after every step: a callback of a pipeline, kept on the device and read once, so that no step waits."""

    def __init__(self) -> None:
        self._finite: Any = None  # [B] bool, on the device of the latents

    def __call__(self, _pipeline: Any, _step: int, _time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        finite = tensors["latents"].isfinite().flatten(1).all(1)
        self._finite = finite if self._finite is None else self._finite & finite
        return tensors

    def read(self, rows: int) -> NDArray[np.bool_]:
        """[rows]; all true where the pipeline has called nothing back. Waits for the device."""
        return np.ones(rows, bool) if self._finite is None else self._finite.cpu().numpy()


def set_up_decoder(pipeline: Any, generate: settings.Generate) -> None:
    """Decode in slices and tiles as the settings say; UserError where tiles are asked for and the pipeline has none."""
    vae: Any = getattr(pipeline, "vae", None)
    if generate.vae_slicing and hasattr(vae, "use_slicing"):
        vae.enable_slicing()
    if generate.vae_tiling:
        if not hasattr(vae, "use_tiling"):
            decoder = (
                f"the decoder {type(vae).__name__} decodes" if vae is not None else f"{type(pipeline).__name__} has no VAE and decodes"
            )
            raise UserError(f"generate.vae_tiling is set, but {decoder} no image in tiles; set generate.vae_tiling = false")
        vae.enable_tiling()


def denoiser(pipeline: Any, setting: str) -> Any:
    """The network that takes every step; UserError for generate.`setting`, which needs it, where the pipeline has none that is known."""
    for name in ("transformer", "unet"):
        if (network := getattr(pipeline, name, None)) is not None:
            return network
    name = type(pipeline).__name__
    raise UserError(f"{name} has neither a transformer nor a unet, so generate.{setting} is not for it; set generate.{setting} = none")


def compile_denoiser(pipeline: Any, generate: settings.Generate) -> None:
    """Compile the denoiser at its next call; UserError where it has no repeated blocks and those are to be compiled.

    A shape is compiled for itself: were it made general when a second one comes, images would depend on the order of the calls.
    """
    if generate.compile == "none":
        return
    network = denoiser(pipeline, "compile")
    if generate.compile == "full":
        network.compile(dynamic=False)
        return
    try:
        network.compile_repeated_blocks(dynamic=False)
    except (ValueError, AttributeError):
        raise UserError(
            f"generate.compile = regional compiles repeated blocks, and {type(network).__name__} names none; set generate.compile = full"
        ) from None

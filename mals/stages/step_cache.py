"""Steps of a denoiser that take results of earlier steps in place of computing them, by the caches of diffusers.

Of those that diffusers has for images, two are left out: PyramidAttentionBroadcast has one state for the calls with and without the prompt,
and FasterCache needs both in one batch, as no image pipeline with a cache has them. MagCache needs numbers that are measured for a model.
"""

from typing import Any

from mals import config as settings
from mals.errors import UserError
from mals.stages.speed import denoiser

LEAVE_OUT = "leave generate.cache out"
NO_CONTEXT = "No cache context is set"  # how diffusers begins the error of a pipeline that does not say what a call is for


def enable_cache(pipeline: Any, generate: settings.Generate) -> None:
    """Cache as the settings say; UserError where the denoiser takes no cache."""
    if generate.cache is None:
        return
    network = denoiser(pipeline, "cache")
    name, kind = type(network).__name__, generate.cache.kind
    if not hasattr(network, "enable_cache"):
        raise UserError(f"generate.cache is set, but diffusers has no cache for the {name} of a {type(pipeline).__name__}; {LEAVE_OUT}")
    try:
        network.enable_cache(_diffusers_config(generate.cache, network))
    except (ValueError, IndexError):  # of blocks that diffusers does not know, or none
        raise UserError(f"generate.cache.kind = {kind}, but diffusers does not know the blocks of {name} for it; {LEAVE_OUT}") from None
    if not any(module._diffusers_hook.hooks for module in network.modules() if hasattr(module, "_diffusers_hook")):
        raise UserError(f"generate.cache.kind = {kind}, but {name} has no layers that it could cache; {LEAVE_OUT}")


def _diffusers_config(cache: settings.Cache, network: Any) -> Any:
    from diffusers import FirstBlockCacheConfig, TaylorSeerCacheConfig

    if cache.kind == "first_block":
        return FirstBlockCacheConfig(threshold=cache.threshold)
    return TaylorSeerCacheConfig(
        cache_interval=cache.interval, disable_cache_before_step=cache.first_steps, taylor_factors_dtype=network.dtype
    )


def reset_cache(pipeline: Any) -> None:
    """Forget what an earlier call has left, which one that failed does not."""
    from diffusers.hooks import HookRegistry

    HookRegistry.check_if_exists_or_initialize(denoiser(pipeline, "cache")).reset_stateful_hooks()


def decides_over_batch(cache: settings.Cache | None) -> bool:
    """Whether what is computed depends on all rows of a call, so that each row needs one of its own."""
    return cache is not None and cache.kind == "first_block"

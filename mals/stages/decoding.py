"""How captioners choose their words: greedily, by beam search, or sampled with one seed per row.

A sampled word is the one at which a uniform number from the row's own generator falls in the cumulative probabilities: the distribution is
that of ordinary sampling, and the other rows of the batch have no influence.
"""

from collections.abc import Sequence
from typing import Any

from mals.config import Captioner as Settings

LOCAL: Any = {"local_files_only": True, "trust_remote_code": False}  # without the second, transformers would ask the terminal


def generation(settings: Settings, seeds: Sequence[int]) -> dict[str, Any]:
    """The arguments of transformers' `generate`; a model's own sampling defaults are overridden."""
    from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

    options: dict[str, Any] = {
        "max_new_tokens": settings.max_tokens,
        "min_new_tokens": min(settings.min_tokens, settings.max_tokens),
        "num_beams": settings.beams,
        "do_sample": False,
        "temperature": None,
        "top_p": None,
        "top_k": None,
    }
    if settings.sample:
        processors = [TemperatureLogitsWarper(settings.temperature), TopPLogitsWarper(settings.top_p), row_sampler(seeds)]
        options["logits_processor"] = LogitsProcessorList(processors)
    return options


def row_sampler(seeds: Sequence[int]) -> Any:
    """A logits processor that leaves one token of each row, sampled with the row's own CPU generator."""
    import torch
    from transformers import LogitsProcessor

    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    class RowSampler(LogitsProcessor):
        def __call__(self, input_ids: Any, scores: Any) -> Any:
            probabilities = scores.double().softmax(-1).nan_to_num(0.0)
            ends = (probabilities * 2**52).round().long().cumsum(-1)  # integer sums do not depend on the order in which a GPU adds
            uniform = torch.stack([torch.rand(1, generator=generator, dtype=torch.float64) for generator in generators])
            positions = (uniform.to(ends.device) * ends[:, -1:]).long()
            tokens = torch.searchsorted(ends, positions, right=True).clamp(max=scores.shape[-1] - 1)
            return torch.full_like(scores, -torch.inf).scatter(-1, tokens, 0.0)

    return RowSampler()

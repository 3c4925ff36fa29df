"""Re-ranking with and without cached keys and values: `python -m benchmarks.rerank`, JSON lines.

    --device cpu|cuda    the device (default cpu, on all its cores; --threads N for fewer)
    --preset aptm|tiny   sizes (default aptm), random weights
    --dtype bf16|fp32    of matrix products (default bf16)
    --queries N          captions of 20 to 30 tokens (default 200), each with
    --candidates N       random images (default 128) of
    --gallery N          images (default 400), whose tokens are noise: the vision encoder does not run
    --timed N            queries that are timed (default 20), the first ones; the numbers for all queries are extrapolated, see below

Three ways to compute the same logits: `cached`, as in `mals evaluate`, projects keys and values of an image once for each layer and
computes no padding, and only the first token in the last layer; `uncached` projects them again for every pair; `published` does this too,
for captions padded to 56 tokens and whole layers, as the authors' code. The work done once for the gallery, the projection of `cached`,
is timed alone; the rest grows with the number of pairs. `seconds`, `core_seconds` (CPU time) and `tflop` are those for all queries: once
+ rest x queries / timed. FLOPs are counted.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.step import DTYPES, spent
from benchmarks.step_aptm import WIDTH, batch_of, settings, vocabulary
from pretrain.gallery import Gallery, batch_slices
from pretrain.method import MATCH_CHUNK, Encoded, Text
from pretrain.methods.aptm.method import Aptm
from pretrain.precision import autocast
from pretrain.text_scores import match_logits, text_states

CHUNK = 64  # images whose keys and values are in memory together, as in `mals evaluate`


class Tokens(nn.Module):
    """Stands for the vision encoder: the tokens [G, N, C] of images, which go by their numbers."""

    def __init__(self, tokens: Tensor) -> None:
        super().__init__()
        self.tokens = tokens

    def forward(self, images: Tensor) -> Encoded:
        """[B] -> tokens [B, N, C]."""
        return Encoded(self.tokens[images])


class Noise:
    """Images by their numbers and captions, as re-ranking asks a gallery for them."""

    def __init__(self, images: int, text: Text, device: torch.device) -> None:
        self.images, self.text, self.device = images, text, device

    def image_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows and images, both the indices."""
        for share in batch_slices(self.images, CHUNK):
            numbers = torch.arange(share.start, share.stop)
            yield numbers, numbers.to(self.device)

    def caption_batches(self, all_ranks: bool) -> Iterator[tuple[Tensor, Text]]:
        """All captions in one batch."""
        yield torch.arange(len(self.text.ids)), self.text


def cached(method: Aptm, gallery: Noise, best: Tensor) -> Tensor:
    """As in `mals evaluate`."""
    return match_logits(method, cast(Gallery, gallery), best, *text_states(method, cast(Gallery, gallery)))


@torch.inference_mode()
def uncached(method: Aptm, gallery: Noise, best: Tensor) -> Tensor:
    """As the product, but with keys and values of every pair's image projected for it: [Q, K]."""
    states, mask = text_states(method, cast(Gallery, gallery))
    lengths, logits = mask.sum(1), torch.zeros(best.shape, device=states.device)
    order = lengths.repeat_interleave(best.shape[1]).argsort(stable=True)
    for chunk in order.split(MATCH_CHUNK):
        rows, images = chunk // best.shape[1], best.flatten()[chunk]
        wide = int(lengths[rows].max())
        keys = method.bert.project(method.swin(images).tokens)
        logits.view(-1)[chunk] = method.match(states[rows, :wide], mask[rows, :wide], keys)[:, 1].float()
    return logits


@torch.inference_mode()
def published(method: Aptm, gallery: Noise, best: Tensor) -> Tensor:
    """As in the authors' code, one query at a time: [Q, K]."""
    more = (0, WIDTH - gallery.text.ids.shape[1])
    mask = pad(gallery.text.mask, more)
    states = method.bert.text(pad(gallery.text.ids, more), mask)
    rows = []
    for state, seen, images in zip(states, mask, best, strict=True):
        keys = method.bert.project(method.swin(images).tokens)
        fused = method.bert.fuse(state.expand(len(images), -1, -1), seen.expand(len(images), -1), keys)
        rows.append(method.itm_head(fused[:, 0])[:, 1].float())
    return torch.stack(rows)


WAYS: dict[str, Callable[[Aptm, Noise, Tensor], Tensor]] = {"cached": cached, "uncached": uncached, "published": published}


def drawn(options: argparse.Namespace) -> tuple[Aptm, Noise, Tensor]:
    """A method that reads noise, a gallery of it, and candidates [Q, K] for its queries."""
    if options.threads:
        torch.set_num_threads(options.threads)
    device, config = torch.device(options.device), settings(options.preset, options.dtype)
    tokenizer = vocabulary(config.data.vocabulary)
    method = Aptm.build(config, tokenizer).to(device).eval()
    height, width = method.swin.grid
    tokens = torch.randn(options.gallery, 1 + height * width, method.swin.width, generator=torch.Generator().manual_seed(0))
    method.swin = cast(Any, Tokens(tokens.to(device)))
    text = batch_of(config, tokenizer, options.queries).text
    draw = np.random.default_rng(0)
    best = np.stack([draw.permutation(options.gallery)[: options.candidates] for _ in range(options.queries)])
    return method, Noise(options.gallery, Text(text.ids.to(device), text.mask.to(device)), device), torch.from_numpy(best).to(device)


@torch.inference_mode()
def lines(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A line for each way, with its ratios to `cached`."""
    method, gallery, best = drawn(options)
    timed = Noise(gallery.images, Text(gallery.text.ids[: options.timed], gallery.text.mask[: options.timed]), gallery.device)
    candidates, times = best[: options.timed], options.queries / min(options.timed, options.queries)
    facts = {"benchmark": "rerank", "preset": options.preset, "device": options.device, "dtype": options.dtype, "gallery": options.gallery}
    facts |= {"queries": options.queries, "candidates": options.candidates, "timed_queries": len(candidates)}
    first: dict[str, float] = {}

    def project() -> None:
        for _, images in gallery.image_batches():
            method.bert.project(method.swin(images).tokens)

    for name, way in WAYS.items():
        with autocast(gallery.device, options.dtype):
            once = measured(project, gallery.device) if name == "cached" else (0.0, 0.0, 0.0)
            whole = measured(lambda way=way: way(method, timed, candidates), gallery.device)  # type: ignore[misc]
        seconds, cores, tflop = (fixed + (both - fixed) * times for fixed, both in zip(once, whole, strict=True))
        totals = {"seconds": round(seconds, 2), "core_seconds": round(cores, 2), "tflop": round(tflop, 4)}
        first = first or totals
        line = {"seconds_once": round(once[0], 3), **totals}
        ratios = {f"{kind}_of_cached": round(value / first[kind], 3) for kind, value in totals.items()}
        yield facts | {"way": name} | line | {"pairs_s": round(best.numel() / seconds, 1)} | ratios


def measured(work: Callable[[], object], device: torch.device) -> tuple[float, float, float]:
    """Wall time, CPU time and TFLOP of some work, which runs twice, the first time to count FLOPs."""
    with FlopCounterMode(display=False) as counter:
        work()
    return *spent(work, device), counter.get_total_flops() / 1e12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--preset", choices=("aptm", "tiny"), default="aptm")
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--candidates", type=int, default=128)
    parser.add_argument("--gallery", type=int, default=400)
    parser.add_argument("--timed", type=int, default=20)
    for line in lines(parser.parse_args()):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()

"""Re-ranking with and without cached keys and values: `python -m benchmarks.rerank`, JSON lines.

    --device cpu|cuda    where (default cpu, on all its cores; --threads N for fewer)
    --preset aptm|tiny   sizes (default aptm), weights at random
    --dtype bf16|fp32    of products (default bf16)
    --queries N          captions of 20 to 30 tokens (default 200), each against
    --candidates N       pictures by chance (default 128) of
    --gallery N          pictures (default 400), whose tokens are noise: the vision encoder has no part in this
    --timed N            queries that are timed (default 20), the first ones; the numbers for all of them follow from these, see below

Three ways to the same logits: `cached` is `mals evaluate`'s own, which projects keys and values of a picture once a layer and computes no
padding, and in the last layer the first token alone; `uncached` projects them anew for every pair; `published` does so too, for captions
padded to 56 tokens through whole layers, as the authors' code. What is done once for the gallery, the projection of `cached`, is timed
alone; the rest grows with the pairs. `seconds`, `core_seconds` (of processors) and `tflop` are those for all queries: once + rest x
queries / timed. FLOPs are counted.
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

from benchmarks.step import DTYPES, WIDTH, batch_of, settings, spent, vocabulary
from pretrain.evaluate import MATCH_CHUNK, match_logits, text_states
from pretrain.gallery import Gallery, batch_slices
from pretrain.method import Encoded, Text
from pretrain.methods.aptm.method import Aptm
from pretrain.precision import autocast

CHUNK = 64  # pictures whose keys and values are in memory together, as in `mals evaluate`


class Tokens(nn.Module):
    """Stands for the vision encoder: the tokens [G, N, C] of pictures, which go by their numbers."""

    def __init__(self, found: Tensor) -> None:
        super().__init__()
        self.found = found

    def forward(self, images: Tensor) -> Encoded:
        """[B] -> tokens [B, N, C]."""
        return Encoded(self.found[images])


class Noise:
    """Pictures by their numbers and captions, as re-ranking asks a gallery for them."""

    def __init__(self, pictures: int, text: Text, device: torch.device) -> None:
        self.pictures, self.text, self.device = pictures, text, device

    def image_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Numbers, twice."""
        for share in batch_slices(self.pictures, CHUNK):
            found = torch.arange(share.start, share.stop)
            yield found, found.to(self.device)

    def caption_batches(self, all_ranks: bool) -> Iterator[tuple[Tensor, Text]]:
        """All at once."""
        yield torch.arange(len(self.text.ids)), self.text


def cached(method: Aptm, gallery: Noise, best: Tensor) -> Tensor:
    """As the product does it."""
    return match_logits(method, cast(Gallery, gallery), best)


@torch.inference_mode()
def uncached(method: Aptm, gallery: Noise, best: Tensor) -> Tensor:
    """As the product, but with keys and values of every pair's picture projected for it: [Q, K]."""
    states, mask = text_states(method, cast(Gallery, gallery))
    lengths, logits = mask.sum(1), torch.zeros(best.shape, device=states.device)
    order = lengths.repeat_interleave(best.shape[1]).argsort(stable=True)
    for some in order.split(MATCH_CHUNK):
        rows, pictures = some // best.shape[1], best.flatten()[some]
        wide = int(lengths[rows].max())
        keys = method.bert.project(method.swin(pictures).tokens)
        logits.view(-1)[some] = method.match(states[rows, :wide], mask[rows, :wide], keys)[:, 1].float()
    return logits


@torch.inference_mode()
def published(method: Aptm, gallery: Noise, best: Tensor) -> Tensor:
    """As the authors' code, a query at a time: [Q, K]."""
    more = (0, WIDTH - gallery.text.ids.shape[1])
    mask = pad(gallery.text.mask, more)
    states = method.bert.text(pad(gallery.text.ids, more), mask)
    rows = []
    for state, seen, pictures in zip(states, mask, best, strict=True):
        keys = method.bert.project(method.swin(pictures).tokens)
        fused = method.bert.fuse(state.expand(len(pictures), -1, -1), seen.expand(len(pictures), -1), keys)
        rows.append(method.itm_head(fused[:, 0])[:, 1].float())
    return torch.stack(rows)


WAYS: dict[str, Callable[[Aptm, Noise, Tensor], Tensor]] = {"cached": cached, "uncached": uncached, "published": published}


def drawn(given: argparse.Namespace) -> tuple[Aptm, Noise, Tensor]:
    """A method that looks at noise, a gallery of it, and candidates [Q, K] for its queries."""
    if given.threads:
        torch.set_num_threads(given.threads)
    device, config = torch.device(given.device), settings(given.preset, given.dtype)
    tokenizer = vocabulary(config.data.vocabulary)
    method = Aptm.build(config, tokenizer).to(device).eval()
    height, width = method.swin.grid
    tokens = torch.randn(given.gallery, 1 + height * width, method.swin.width, generator=torch.Generator().manual_seed(0))
    method.swin = cast(Any, Tokens(tokens.to(device)))
    text = batch_of(config, tokenizer, given.queries).text
    draw = np.random.default_rng(0)
    best = np.stack([draw.permutation(given.gallery)[: given.candidates] for _ in range(given.queries)])
    return method, Noise(given.gallery, Text(text.ids.to(device), text.mask.to(device)), device), torch.from_numpy(best).to(device)


@torch.inference_mode()
def lines(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Each way, and its ratios to the first."""
    method, gallery, best = drawn(given)
    some = Noise(gallery.pictures, Text(gallery.text.ids[: given.timed], gallery.text.mask[: given.timed]), gallery.device)
    asked, times = best[: given.timed], given.queries / min(given.timed, given.queries)
    facts = {"benchmark": "rerank", "preset": given.preset, "device": given.device, "dtype": given.dtype, "gallery": given.gallery}
    facts |= {"queries": given.queries, "candidates": given.candidates, "timed_queries": len(asked)}
    first: dict[str, float] = {}

    def project() -> None:
        for _, images in gallery.image_batches():
            method.bert.project(method.swin(images).tokens)

    for name, way in WAYS.items():
        with autocast(gallery.device, given.dtype):
            once = measured(project, gallery.device) if name == "cached" else (0.0, 0.0, 0.0)
            whole = measured(lambda way=way: way(method, some, asked), gallery.device)  # type: ignore[misc]
        seconds, cores, tflop = (fixed + (both - fixed) * times for fixed, both in zip(once, whole, strict=True))
        found = {"seconds": round(seconds, 2), "core_seconds": round(cores, 2), "tflop": round(tflop, 4)}
        first = first or found
        told = {"seconds_once": round(once[0], 3), **found}
        ratios = {f"{kind}_of_cached": round(value / first[kind], 3) for kind, value in found.items()}
        yield facts | {"way": name} | told | {"pairs_s": round(best.numel() / seconds, 1)} | ratios


def measured(work: Callable[[], object], device: torch.device) -> tuple[float, float, float]:
    """Seconds, seconds of processors and TFLOP of some work, done twice, the first time to count."""
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

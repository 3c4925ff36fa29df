"""A training step of APTM, ours and with the repeated work of the authors' code: `python -m benchmarks.step`, JSON lines.

    --device cpu|cuda      the device (default cpu, on all its cores; --threads N for fewer)
    --preset aptm|tiny     sizes (default aptm: 214 M parameters, a vocabulary of 30,522, images of 384x128), random weights
    --batch N              images (default 8), with captions of 20 to 30 tokens
    --dtype fp32|bf16      only this precision
    --way ours|published   only this implementation; the ratios need both
    --steps N              timed steps (default 5), after one for counting FLOPs and four for warming up
    --compile              compile the blocks of our implementation

A step is that of the trainer: forward, backward, AdamW. `seconds` is the median of the timed steps, `adamw_seconds` the update alone,
`core_seconds` the CPU time of the step, which with one thread does not depend on other work of the machine.
Each measurement runs in a process of its own and has its peak memory (on a GPU that of the tensors). FLOPs are those of matrix products,
attention and convolution, forward and backward, two for a multiply-add. `of_products` is the step's speed divided by that of plain matrix
products, measured first; `mfu`, on a GPU, is divided by its dense bf16 peak. The last line has the ratios of our implementation to the
published one, which runs in fp32 only.
"""

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.optim import AdamW
from torch.utils.flop_counter import FlopCounterMode

from mals.attributes import load_space
from mals.settings import merge
from pretrain import losses
from pretrain import settings as training_settings
from pretrain.config import Training
from pretrain.data.tokenizers import Tokenizer, WordPiece
from pretrain.data.tokenizers.masking import WholeWordMasking
from pretrain.data.tokenizers.vocabulary import SPECIAL, train_vocabulary
from pretrain.method import Batch, Text
from pretrain.methods.aptm.method import Aptm
from pretrain.schedule import groups, make_optimizer
from pretrain.train import Loop, peak_memory

WAYS, DTYPES = ("ours", "published"), ("fp32", "bf16")
LENGTHS = (20, 30)  # tokens of the shortest and the longest caption
WIDTH, SLOTS = 56, 10  # of a caption in the authors' code: tokens with padding, masked places (docs/papers/mals.md, Losses)
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}  # FLOP/s, bf16, dense; by a part of the name
SIDE = 2048  # of the square matrices of a plain product
WARM = 4  # steps that are not timed
TOTAL = 10_000  # steps of the schedule


def settings(preset: str, dtype: str, compiled: bool = False, **top_level: Any) -> Training:
    """A preset from scratch; `top_level` are further settings."""
    scratch = {"preset": preset, "dtype": dtype, "compile": compiled, "aptm": {"text": {"start": None}}}
    return training_settings.check(merge(scratch, top_level), "benchmark")


def vocabulary(size: int) -> Tokenizer:
    """A tokenizer of `size` pieces that knows the words of the prompts, as BERT's does, and otherwise pieces that no caption has."""
    known = train_vocabulary((prompt for pair in load_space("market1501").prompts for prompt in pair), size)
    return WordPiece.of([*known, *(f"unsaid{number}" for number in range(size - len(known)))])


def batch_of(config: Training, tokenizer: Tokenizer, rows: int, seed: int = 0) -> Batch:
    """Noise for images, captions of any words, some of them masked, and random labels."""
    draw = np.random.default_rng(seed)
    lengths = torch.from_numpy(draw.integers(LENGTHS[0], LENGTHS[1] + 1, rows))
    mask = torch.arange(-(-LENGTHS[1] // 8) * 8) < lengths[:, None]
    ids = torch.from_numpy(draw.integers(len(SPECIAL), tokenizer.size, mask.shape)).where(mask, tokenizer.pad)
    assert tokenizer.start is not None
    ids[:, 0] = tokenizer.start
    text = Text(ids, mask)
    rule = WholeWordMasking()
    masked, targets = rule.mask(text, draw.random((rows, rule.count(tokenizer.max_tokens))), tokenizer)
    return Batch(
        rows=torch.arange(rows),
        persons=torch.arange(rows),
        images=torch.from_numpy(draw.standard_normal((rows, 3, config.data.height, config.data.width), np.float32)),
        text=text,
        masked=masked,
        targets=targets,
        labels=torch.from_numpy(draw.integers(-1, 2, (rows, len(load_space("market1501").prompts)))),
    )


class Published(nn.Module):
    """The six losses of a method with the work done as often as in the authors' code (docs/papers/mals.md, Cost).

    One pass over the images, four over texts, nine of the cross encoder, each of which projects keys and values of its rows' images
    anew; captions padded to 56 tokens; the vocabulary's scores for all ten places of a row, empty ones too. Attention is ours.
    """

    def __init__(self, method: Aptm) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """See pretrain.method.Method."""
        method, bert = self.method, self.method.bert
        weights = method.own.loss_weights
        tokens = method.swin(batch.images).tokens
        image = method.image_features(tokens)
        text = padded(batch.text)
        states = bert.text(text.ids, text.mask)
        values = {"itc": method.contrast_pairs(image, method.text_features(states), batch.persons)}
        values["itm"] = self.itm(tokens, image, states, text.mask, batch.persons, step)
        assert batch.masked is not None and batch.targets is not None and batch.labels is not None
        masked = padded(batch.masked)
        values["mlm"] = self.words(tokens, masked, pad(batch.targets, (0, WIDTH - batch.targets.shape[1]), value=-100))
        values |= self.attributes(batch.labels, tokens, image, step)
        return {name: getattr(weights, name) * loss for name, loss in values.items()}

    def itm(self, tokens: Tensor, image: Tensor, states: Tensor, mask: Tensor, persons: Tensor, step: int) -> Tensor:
        """Image-text matching: the true pairs in one call, the hard negatives in another."""
        own = torch.arange(len(states), device=states.device)
        negatives = self.method.hard_negatives({"caption": self.method.text_features(states)}, image, persons, step)["caption"]
        true = self.match(states, mask, tokens)
        wrong = (
            torch.cat([states, states[negatives.texts]]),
            torch.cat([mask, mask[negatives.texts]]),
            tokens[torch.cat([negatives.images, own])],
        )
        return losses.matching(torch.cat([true, self.match(*wrong)]), (torch.arange(3 * len(own), device=own.device) < len(own)).long())

    def attributes(self, labels: Tensor, tokens: Tensor, image: Tensor, step: int) -> dict[str, Tensor]:
        """IAC, IAM with one call for each prompt, MAM."""
        method, true = self.method, losses.prompt_labels(labels)
        ids, mask, smoothing = method.get_buffer("prompt_ids"), method.get_buffer("prompt_mask"), method.own.smoothing
        prompts = method.bert.text(ids, mask)
        prompt_losses = {"iac": losses.attribute_contrast(image, method.text_features(prompts), labels, method.temp, smoothing)}
        prompt_numbers = method.draw_prompts(len(labels), step)
        logits = torch.stack([self.match(prompts[column], mask[column], tokens) for column in prompt_numbers.T], 1)
        prompt_losses["iam"] = losses.attribute_matching(logits, true.gather(1, prompt_numbers), smoothing)
        masked, targets = method.prompt_masks(step)
        prompt, shown = method.draw_images(true, step)
        chosen = Text(masked.ids.to(ids.device)[prompt], mask[prompt])
        prompt_losses["mam"] = self.words(tokens[shown], chosen, targets.to(ids.device)[prompt])
        return prompt_losses

    def match(self, states: Tensor, mask: Tensor, tokens: Tensor) -> Tensor:
        """Logits [R, 2] of texts and the images of their rows [R, N, C]."""
        return self.method.itm_head(self.method.bert.fuse(states, mask, self.method.bert.project(tokens))[:, 0])

    def words(self, tokens: Tensor, text: Text, targets: Tensor) -> Tensor:
        """The loss of masked tokens: all layers, scores at ten positions of each row."""
        bert = self.method.bert
        fused = bert.fuse(bert.text(text.ids, text.mask), text.mask, bert.project(tokens))
        places = (targets == -100).long().argsort(dim=1, stable=True)
        places = pad(places, (0, max(0, SLOTS - places.shape[1])), mode="replicate")[:, :SLOTS]
        return losses.masked_words(bert.words(fused.gather(1, places[..., None].expand(-1, -1, fused.shape[2]))), targets.gather(1, places))


def padded(text: Text) -> Text:
    """The captions padded to the width in the authors' code."""
    more = (0, WIDTH - text.ids.shape[1])
    return Text(pad(text.ids, more), pad(text.mask, more))


def products(device: torch.device) -> dict[str, float]:
    """GFLOP/s of plain matrix products in both precisions."""
    rates = {}
    for name, dtype in zip(DTYPES, (torch.float32, torch.bfloat16), strict=True):
        left, right = (torch.randn(SIDE, SIDE, device=device).to(dtype) for _ in range(2))
        taken = [timed(lambda left=left, right=right: left @ right, device) for _ in range(8)]  # type: ignore[misc]
        rates[f"{name}_gflops"] = round(2 * SIDE**3 / statistics.median(taken[2:]) / 1e9, 1)
    return rates


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of some work on the device."""
    return spent(work, device)[0]


def spent(work: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Seconds of wall time, and of CPU time of this process."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    began, used = time.perf_counter(), time.process_time()
    work()
    wait()
    return time.perf_counter() - began, time.process_time() - used


def measured(options: argparse.Namespace, way: str, dtype: str) -> dict[str, Any]:
    """Measure the steps of one implementation in this process."""
    device = started(options)
    config = settings(options.preset, dtype, options.compile and way == "ours")
    tokenizer = vocabulary(config.data.vocabulary)
    method = Aptm.build(config, tokenizer).to(device)
    batch = batch_of(config, tokenizer, options.batch).to(device)
    trained = method if way == "ours" else Published(method)
    if way == "ours":
        optimizer = make_optimizer(config.optimizer, method, method.rules, TOTAL, TOTAL)
    else:
        optimizer = AdamW(groups(method, method.rules, rate=1e-4, decay=0.01))
    trained.train()
    with FlopCounterMode(display=False) as counter:  # before anything is compiled, which it does not see through
        Loop(config.model_copy(update={"compile": False}), trained, optimizer, Path(), TOTAL, TOTAL, device).step(0, batch)
    loop = Loop(config, trained, optimizer, Path(), TOTAL, TOTAL, device)
    spent_by_step = [spent(partial(loop.step, at, batch), device) for at in range(1, 1 + WARM + options.steps)]
    taken, cores = zip(*spent_by_step[WARM:], strict=True)
    update = statistics.median(timed(optimizer.step, device) for _ in range(3))
    seconds, flops = statistics.median(taken), counter.get_total_flops()
    return {
        "way": way,
        "dtype": dtype,
        "parameters": sum(parameter.numel() for parameter in method.parameters()),
        "tflop": round(flops / 1e12, 4),
        "seconds": round(seconds, 4),
        "fastest": round(min(taken), 4),
        "slowest": round(max(taken), 4),
        "core_seconds": round(statistics.median(cores), 4),
        "adamw_seconds": round(update, 4),
        "images_per_s": round(options.batch / seconds, 2),
        "gflops": round(flops / seconds / 1e9, 1),
        "peak_mb": round(peak_memory(device)),
    }


def started(options: argparse.Namespace) -> torch.device:
    """The device, and as many threads as requested."""
    if options.threads:
        torch.set_num_threads(options.threads)
    return torch.device(options.device)


def machine(options: argparse.Namespace) -> dict[str, Any]:
    """The device and the speed of its matrix products."""
    device = started(options)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    facts = {"device": name, "threads": torch.get_num_threads(), "torch": torch.__version__}
    peak = next((peak for part, peak in PEAKS.items() if part in name), None)
    return facts | products(device) | ({"bf16_peak_gflops": round(peak / 1e9)} if peak else {})


def alone(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """The result of a call in a new process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def lines(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The machine, each implementation in each precision, and the ratios."""
    speeds = alone(machine, options)
    yield {"benchmark": "step.machine", **speeds}
    facts = {"benchmark": "step", "preset": options.preset, "batch": options.batch, "device": options.device, "compile": options.compile}
    measurements: dict[tuple[str, str], dict[str, Any]] = {}
    for dtype, way in product([options.dtype] if options.dtype else DTYPES, [options.way] if options.way else WAYS):
        line = measurements[way, dtype] = alone(measured, options, way, dtype)
        line["of_products"] = round(line["gflops"] / speeds[f"{dtype}_gflops"], 3)
        if "bf16_peak_gflops" in speeds:
            line["mfu"] = round(line["gflops"] / speeds["bf16_peak_gflops"], 4)
        yield facts | line
    if ratios := dict(compared(measurements)):
        yield {"benchmark": "step.ratio", **ratios}


def compared(measurements: Mapping[tuple[str, str], Mapping[str, Any]]) -> Iterator[tuple[str, float]]:
    """Our FLOPs, seconds and memory in each precision divided by those of the published implementation in each."""
    for (way, dtype), ours in measurements.items():
        for (other, theirs), line in measurements.items():
            if way == "ours" and other == "published":
                for name in ("tflop", "seconds", "core_seconds", "peak_mb"):
                    yield f"{dtype}_to_published_{theirs}_{name}", round(ours[name] / line[name], 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--preset", choices=("aptm", "tiny"), default="aptm")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--dtype", choices=DTYPES)
    parser.add_argument("--way", choices=WAYS)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--compile", action="store_true")
    for line in lines(parser.parse_args()):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()

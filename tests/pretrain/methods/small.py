"""A training of a moment for every method: its tiny preset, made smaller."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mals.settings import presets
from mals.world.make import make
from mals.world.settings import WorldSettings
from pretrain import ranks, settings
from pretrain import train as training
from pretrain.build import prepare
from pretrain.config import Training
from pretrain.methods import METHODS
from pretrain.settings import TRAINING
from tests.conftest import ROOT
from tests.pretrain.trainings import PLAIN, SIZES

CPU = torch.device("cpu")
OWN = "two_towers:TwoTowers"
SETS = [
    "batch=8",
    "steps=6",
    "save_every=2",
    "log_every=1",
    "dtype=fp32",
    "data.workers=0",
    "data.every=true",
    "optimizer.average=0",
    "optimizer.warmup=0",
]
SMALLER: dict[str, list[str]] = {  # beside the tiny preset and SETS
    "aptm": [*SIZES, *PLAIN, "aptm.vision.depths=[1, 1, 2]", "aptm.text.layers=2", "aptm.text.fusion=1", "aptm.text.heads=2"],
    "irra": [
        "data.height=48",
        "data.width=24",
        "irra.vision.channels=64",
        "irra.vision.layers=2",
        "irra.text.channels=64",
        "irra.text.layers=2",
        "irra.embed=32",
    ],
    "lgur": ["data.height=48", "data.width=24", "lgur.width=48", "lgur.atoms=12", "lgur.out=32", "lgur.prototypes=3"],
    "ssan": [
        "data.height=64",
        "data.width=32",
        "ssan.vision.stem=8",
        "ssan.vision.widths=[8, 8, 8, 8]",
        "ssan.parts=4",
        "ssan.word_width=16",
        "ssan.width=32",
        "ssan.relation_width=16",
    ],
    "uit": [
        "data.height=64",
        "data.width=32",
        "uit.vision.channels=32",
        "uit.vision.layers=1",
        "uit.text.channels=32",
        "uit.text.layers=1",
        "uit.embed=32",
    ],
    OWN: [f"method={OWN}", "data.height=64", "data.width=32", "data.tokenizer=null"],
}
TWO_BLOCKS = ["batch=32", "{method}.vision.layers=2", "{method}.text.layers=2"]  # and two steps an epoch
VARIANTS: dict[str, list[str]] = {  # behind "+" in a name: settings beside those of the method
    "": [],
    "nam": [*TWO_BLOCKS, "{method}.noise_masking.rule=nam", "{method}.noise_masking.skipped=1"],
    "gadms": [*TWO_BLOCKS, "{method}.noise_masking.rule=gadms", "{method}.noise_masking.plain=1"],
    "confidence": ["data.confidence=agree_score", "data.confidence_low=0.2"],
    "wordings": ["data.every=false", "data.drawn=true", "data.wordings.composed=0.3", "data.wordings.recast=0.4"],
    "exchanged": ["data.wordings.recast=0.5", "data.wordings.exchanged=0.8"],
    "sentences": ["{method}.loss_weights.sentences=2", "{method}.sentences=12"],
    "sentences-micro": ["{method}.loss_weights.sentences=2", "{method}.sentences=12", "data.micro_batch=3"],
    "micro": ["data.micro_batch=3"],
    "frozen": ["{method}.bn_frozen=true"],
    "frozen-micro": ["{method}.bn_frozen=true", "data.micro_batch=3"],
}
STEPS = (0, 50)  # of the first epoch and of one after the first five
NAMES = [*METHODS, OWN]

if str(ROOT / "tests/pretrain/own_package") not in sys.path:
    sys.path.append(str(ROOT / "tests/pretrain/own_package"))


@dataclass(frozen=True)
class Small:
    """One method's training, "irra", or a variant of it, "irra+confidence"."""

    name: str

    @property
    def method(self) -> str:
        """The method's name."""
        return self.name.partition("+")[0]

    def preset(self) -> str:
        """The method's own tiny preset; that of a method outside the project is `own`."""
        if self.method not in METHODS:
            return "own"
        return next(preset for preset in (f"tiny-{self.method}", "tiny") if preset in presets(TRAINING))

    def config(self, *sets: str) -> Training:
        variant = [setting.format(method=self.method) for setting in VARIANTS[self.name.partition("+")[2]]]
        return settings.check(settings.assign({"preset": self.preset()}, [*SETS, *SMALLER.get(self.method, ()), *variant, *sets]))

    def train(self, data: Path, out: Path, *sets: str, watcher: training.Watcher | None = None) -> dict[str, Any]:
        """The last line of metrics of a training in this process."""
        return training.train(self.config(*sets), [str(data)], out, "cpu", watcher)


def drawn(folder: Path) -> Path:
    """16 drawn persons, four images each, with two captions: 8 persons in train, 4 in val, 4 in test."""
    world = WorldSettings.checked(persons=16, views=4, split="train=0.5,val=0.25,test=0.25", seed=5, height=64, rows_per_file=16)
    make(str(folder), world, workers=1)
    return folder


def without_dropout(method: nn.Module) -> nn.Module:
    """The method, which drops nothing by chance: each process draws that for itself."""
    for module in method.modules():
        for name in ("p", "drop_prob", "dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return method


def measure(name: str, data: Path, out: Path) -> dict[str, torch.Tensor]:
    """The losses (means over the ranks), gradients and buffers of two steps, of all ranks together; the weights are not updated."""
    config = Small(name).config()
    out.mkdir(parents=True, exist_ok=True)
    prepared = prepare(config, [str(data)], out)
    method = without_dropout(prepared.method)
    wrapped, values = ranks.wrap(method), dict[str, torch.Tensor]()
    for step in STEPS:
        loader = training._loader(config, prepared, out, CPU, step)
        loader.stop = step + 1
        (batch,) = loader
        with torch.no_grad():
            method.eval().before_epoch(batch.epoch, partial(training._loader, config, prepared, out, CPU, 0, whole_epoch=batch.epoch))
        method.train()
        torch.manual_seed(1000 * step + ranks.rank())  # as in the loop: each rank has random numbers of its own
        method.zero_grad()
        losses = wrapped(batch, step)
        torch.stack(list(losses.values())).sum().backward()
        values |= {f"{step}/losses/{key}": ranks.mean_over_ranks(loss.detach()) for key, loss in losses.items()}
        values |= {f"{step}/gradients/{key}": gradient.clone() for key, gradient in gradients(method).items()}
        values |= {f"{step}/buffers/{key}": value.clone() for key, value in method.named_buffers() if value.is_floating_point()}
    return values


def gradients(method: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.grad for name, parameter in method.named_parameters() if parameter.grad is not None}


def part(values: Mapping[str, torch.Tensor], step: int, kind: str) -> dict[str, torch.Tensor]:
    """The losses, gradients or buffers of one step."""
    start = f"{step}/{kind}/"
    return {name.removeprefix(start): value for name, value in values.items() if name.startswith(start)}


def arguments(argv: Sequence[str]) -> tuple[Path, Path, list[str]]:
    """The data, the folder for results and the methods that a program of tests/ranks was called with."""
    return Path(argv[1]), Path(argv[2]), list(argv[3:])

"""A training of a moment for every method: its tiny preset, made smaller."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from tests.pretrain.trainings import SIZES

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
    "aptm": [*SIZES, "aptm.vision.depths=[1, 1, 2]", "aptm.text.layers=2", "aptm.text.fusion=1", "aptm.text.heads=2"],
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

"""What `mals compare` trains: its variants, each a method with a preset and settings, their budget, and the data.

A file of variants, such as those in pretrain/comparisons, maps names to them:

    IRRA: {method: irra}
    IRRA without IRR: {method: irra, sets: [irra.loss_weights.mlm=0]}

"{out}" in a setting is the folder of the comparison.
"""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mals.config import Section
from mals.errors import UserError
from mals.settings import preset as read_preset
from mals.settings import presets, read_file
from pretrain import provenance, settings
from pretrain.config import Training
from pretrain.data.errors import NoSplit
from pretrain.data.rows import ImageTextPairs
from pretrain.data.splits import may_have_splits
from pretrain.finetune import configure
from pretrain.methods import METHODS
from pretrain.settings import TRAINING

FILES = Path(__file__).parent / "comparisons"
SUFFIXES = {"cuhk-pedes": "cuhk", "icfg-pedes": "icfg", "rstpreid": "rstp", "market1501": "market", "pa100k": "pa100k"}
OWN = "own"  # the preset of a method outside the project


class VariantSettings(Section):
    """One entry of a file of variants."""

    method: str  # one of pretrain.methods.METHODS, or my_package.my_module:MyMethod
    preset: str | None = None  # null: the method's own for the data
    sets: tuple[str, ...] = ()  # "a.b=c", over the preset
    init: str | None = None  # initial weights, as of `mals finetune --init`


@dataclass(frozen=True)
class Variant:
    """A method with its settings: a row of the table."""

    name: str
    method: str
    preset: str
    file: Path | None = None  # of settings, over the preset
    sets: tuple[str, ...] = ()
    init: str | None = None

    @property
    def folder(self) -> str:
        """The name as that of a folder."""
        return re.sub(r"[^\w.+-]+", "-", self.name).strip("-")

    def within(self, out: Path) -> "Variant":
        """With "{out}" in settings replaced by the folder of the comparison."""
        return replace(self, sets=tuple(one.replace("{out}", str(out)) for one in self.sets))

    def config(self, sets: Sequence[str] = ()) -> Training:
        """The checked settings; UserError where they are impossible."""
        return configure(self.preset, self.file, [*self.sets, *sets], self.init)


@dataclass(frozen=True)
class Budget:
    """How long each variant is trained; without any, as its preset says."""

    steps: int | None = None
    images: int | None = None  # images seen, whatever the batch
    hours: float | None = None  # of training on this machine, by the speed of its first steps

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.steps, self.images, self.hours)) > 1:
            raise UserError("give one of --steps, --images and --hours")

    def steps_of(self, config: Training, seconds: float | None = None) -> int | None:
        """The steps of a training that takes `seconds` a step; None: as its settings say."""
        if self.images is not None:
            return max(1, math.ceil(self.images / config.batch))
        if self.hours is not None and seconds is not None:
            return max(1, int(3600 * self.hours / seconds))
        return self.steps

    def __str__(self) -> str:
        if self.hours is not None:
            return f"{self.hours:g} hours of training each"
        if self.images is not None:
            return f"{self.images:,} images seen each"
        return "the steps of their presets" if self.steps is None else f"{self.steps:,} steps each"


@dataclass(frozen=True)
class Comparison:
    """Variants on the same data."""

    variants: tuple[Variant, ...]
    data: tuple[str, ...]
    test: tuple[str, ...]
    split: str  # of `test`
    seeds: int
    budget: Budget
    sets: tuple[str, ...] = ()  # of every variant
    selects: bool = False  # a split of the data chooses a checkpoint: trained by `mals finetune`, else by `mals pretrain`
    gpus: int | None = None

    def request(self, variant: Variant, seed: int) -> dict[str, Any]:
        """Everything that the result of one training depends on, as JSON."""
        content = variant.file.read_bytes() if variant.file else b""
        return {
            "method": variant.method,
            "preset": variant.preset,
            "settings": hashlib.sha256(content).hexdigest() if variant.file else None,
            "sets": list(variant.sets),
            "init": variant.init,
            "common": list(self.sets),
            "budget": str(self.budget),
            "seed": seed,
            "data": list(self.data),
            "test": list(self.test),
            "split": self.split,
            "selects": self.selects,
        }


def method_variants(names: Sequence[str], chosen: Mapping[str, str], data: Sequence[str], selects: bool) -> list[Variant]:
    """A variant for each method; `chosen` maps methods to presets or files of settings, the others have their own for the data."""
    if unknown := [name for name in chosen if name not in names]:
        raise UserError(f"--presets names {unknown[0]}, which --methods does not")
    variants = []
    for name in names:
        choice = chosen.get(name)
        file = Path(choice) if choice is not None and choice.endswith((".yaml", ".yml")) else None
        preset = choice if choice is not None and file is None else preset_of(name, data, selects, settings.read(file).get("preset"))
        variants.append(Variant(name, name, preset, file, () if name in METHODS else (f"method={name}",)))
    return variants


def file_variants(place: str, data: Sequence[str], selects: bool) -> list[Variant]:
    """The variants in a file, or in one of those that ship with mals by its name; UserError where it holds something else."""
    shipped = FILES / f"{place}.yaml"
    file = shipped if shipped.is_file() else Path(place)
    if not file.is_file():
        raise UserError(f"there is no file of variants {place}; mals has {', '.join(shipped_names())}")
    tree, variants = read_file(file), []
    if not tree:
        raise UserError(f"{file} names no variant")
    for name, entry in tree.items():
        try:
            own = VariantSettings.model_validate(entry)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, (name, *first["loc"])))
            raise UserError(f"{file}: {where}: {first['msg'][:1].lower()}{first['msg'][1:]}") from None
        preset = own.preset or preset_of(own.method, data, selects)
        sets = [*([] if own.method in METHODS else [f"method={own.method}"]), *own.sets]
        variants.append(Variant(str(name), own.method, preset, None, tuple(sets), own.init))
    return variants


def shipped_names() -> list[str]:
    """The files of variants that ship with mals."""
    return sorted(file.stem for file in FILES.glob("*.yaml"))


def preset_of(method: str, data: Sequence[str], selects: bool, default: str | None = None) -> str:
    """The preset of a method for data of this kind: that of a public benchmark, or a tiny one; UserError where it has none."""
    if default is not None:
        return default
    if method not in METHODS:
        return OWN
    suffix = SUFFIXES.get(str(provenance.about(data[0])["benchmark"]))
    tiny = [f"tiny-{method}", *(["tiny-finetune"] if selects else []), "tiny"]
    candidates = [f"{method}-{suffix}", suffix] if suffix else tiny
    for name in candidates:
        if name in presets(TRAINING) and read_preset(name, TRAINING)["method"] == method:
            return name
    raise UserError(f"there is no preset of {method} for {data[0]}: --presets {method}=NAME, or a file of settings, chooses one")


def can_select(data: Sequence[str], sets: Sequence[str] = ()) -> bool:
    """Whether the data have what `mals finetune` needs to choose a checkpoint: a split test, and val unless `sets` do without."""
    packed = all(may_have_splits(place) for place in data)
    without_val = any(one.startswith(("selection.held_out=", "selection.on=test")) for one in sets)
    return packed and has_splits(data, ("test",) if without_val else ("val", "test"))


def has_splits(data: Sequence[str], splits: Sequence[str]) -> bool:
    """Whether all data sets have these splits; a list of images and a single file have every one."""
    try:
        for split in splits:
            ImageTextPairs.open(data, split, captions=False)
    except NoSplit:
        return False
    return True


def check(comparison: Comparison) -> None:
    """UserError where there is no split to measure on, two variants have one name, or one has impossible settings."""
    if not has_splits(comparison.test, (comparison.split,)):
        raise UserError(f"{comparison.test[0]} has no split {comparison.split} to measure on; give --test and --split")
    folders: dict[str, str] = {}
    for variant in comparison.variants:
        other = folders.setdefault(variant.folder.lower(), variant.name)
        if other is not variant.name or sum(one.name == variant.name for one in comparison.variants) > 1:
            raise UserError(f"two variants are called {variant.name}" + ("" if other == variant.name else f" and {other}: too alike"))
        if variant.init is not None and not comparison.selects:
            raise UserError(f"{variant.name} starts from {variant.init}, which needs data with the splits val and test")
        variant.config(comparison.sets)

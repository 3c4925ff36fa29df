"""The data sets of `benchmarks.transfer`: the images of each arm with their captions, and the test set; each is made once, by `mals`.

WORK/test                            drawn persons that no training sees
WORK/data/generated-1200             a run of the preset tiny from the starter captions: the arm mals
WORK/data/identities-1200            the same with VIEWS images a person
WORK/data/drawn-1200                 drawn persons with true captions
WORK/data/noisy-0.2-1200             the same with wrong words
WORK/data/generated-1200+captions    a run of the images of another set with other captions, scores or a choice
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.transfer_arms import Arm
from mals.dataset.receipts import CHECKSUMS
from mals.files import replacing_folder
from mals.labeller.labeller import Labeller
from mals.models import WEIGHTS
from mals.planning.create import STARTER
from pretrain.compare import Commands
from pretrain.data.rows import ImageTextPairs
from pretrain.data.wordings.exchange import Exchange, exchange_sexes, exchanges, replace_words
from pretrain.demo import HEIGHT, TEST_SEED
from pretrain.demo import VIEWS as TEST_VIEWS

VIEWS = 4  # images of a person of the lever identities
TRAIN_SEED = 4  # of the world of the drawn images; the embedded models were trained on seed 1, and the test set is of TEST_SEED
TEMPLATES = 3  # captions in templates of an image, beside that of the arm mals
SHARE = 0.5  # of the images that the lever agreement keeps
AS_THEY_ARE = [  # images of a packed set in another run: no crop and no rule of the filter
    "crop=none",
    *(f"filter.{rule}=null" for rule in ("min_bits_per_pixel", "min_channel_variance", "min_sharpness")),
]
BLIP = {"backend": "blip", "model": "embedded", "beams": 1, "max_tokens": 56}  # as the preset tiny has it
OWN_RUN = ("captions", "agreement", "half", "confidence")  # levers that need another run of the images
WRONG = "wrong.json"  # of a noisy set: how many words it has exchanged


@dataclass(frozen=True)
class Workplace:
    """Where everything lies, and how commands are started."""

    folder: Path
    commands: Commands

    def mals(self, *words: object) -> None:
        """Run `mals` with these words; CommandFailed where it fails."""
        self.commands.run([*self.commands.mals, *map(str, words)], self.folder / "log.txt")


@dataclass(frozen=True)
class TrainingSet:
    """What an arm trains on."""

    place: Path  # of the packed set
    captioner: str  # what wrote its captions
    wrong: float | None = None  # share of the attribute words that were exchanged; None: none on purpose

    def counts(self, every: bool) -> tuple[int, int]:
        """Images, and the captions of them that a training sees."""
        pairs = ImageTextPairs.open([self.place], every=every)
        return len(pairs.images.unique()), len(pairs)


def packed_files(place: Path) -> list[Path]:
    """The Parquet files of a packed set."""
    return sorted((place / "data").glob("*.parquet"))


def test_set(work: Workplace, persons: int) -> Path:
    """Drawn persons, TEST_VIEWS images each, as `mals demo` draws them."""
    return _drawn(work, work.folder / "test", persons, TEST_VIEWS, "test", TEST_SEED)


def _drawn(work: Workplace, place: Path, persons: int, views: int, split: str, seed: int) -> Path:
    if not (place / CHECKSUMS).is_file():
        size = ("--persons", persons, "--views", views, "--height", HEIGHT)
        work.mals("world", "make", "--to", place, *size, "--split", f"{split}=1", "--seed", seed, "--workers", 1)
    return place


def training_set(arm: Arm, images: int, share: float, work: Workplace) -> TrainingSet:
    """The set of an arm, made from `images` images; `share` of the attribute words are wrong in noisy ones."""
    base = _base_set(arm, images, share, work)
    levers = [lever for lever in OWN_RUN if lever in arm.levers]
    if not levers:
        return base
    captioners, captioner = template_captioners()
    shaped = f"-{captioner['backend']}" if "captions" in levers else ""
    parent = base.place.parent if base.place.name == "dataset" else base.place
    run = parent.with_name(f"{parent.name}{shaped}+{'+'.join(levers)}")
    if not (run / "dataset" / CHECKSUMS).is_file():
        sets = [*AS_THEY_ARE, f"caption.captioners={json.dumps(captioners)}" if "captions" in levers else "caption=none"]
        sets += ["agree.scorer=embedded"] if {"agreement", "confidence"} & set(levers) else []
        sets += [f"keep.share={SHARE}"] if "agreement" in levers else []
        options: list[object] = ["--person-from", "person"] if "identities" in arm.levers else []
        options += ["--shuffle", 0, "--limit", math.ceil(SHARE * base.counts(False)[0])] if "half" in levers else []
        _run(work, run, ["--ingest", base.place, *options], sets)
    templates = f", and {TEMPLATES} in templates by {_name(captioner)}" if "captions" in levers else ""
    return replace(base, place=run / "dataset", captioner=base.captioner + templates)


def _base_set(arm: Arm, images: int, share: float, work: Workplace) -> TrainingSet:
    """The images of an arm with one caption each."""
    data = work.folder / "data"
    if arm.source == "generated":
        several = "identities" in arm.levers
        run = data / f"{'identities' if several else 'generated'}-{images}"
        if not (run / "dataset" / CHECKSUMS).is_file():
            captions = ["--captions", STARTER / "starter.txt", "--config", STARTER / "starter.yaml", "--count", images]
            _run(work, run, captions, [f"plan.views={VIEWS}", "identity={}"] if several else [])
        return TrainingSet(run / "dataset", "the embedded captioner")
    drawn = _drawn(work, data / f"drawn-{images}", images, 1, "train", TRAIN_SEED)
    if arm.source == "drawn":
        return TrainingSet(drawn, "the world")
    noisy = data / f"noisy-{share:g}-{images}"
    if not noisy.is_dir():
        write_noisy(drawn, noisy, share)
    return TrainingSet(noisy, "the world, with wrong words", json.loads((noisy / WRONG).read_bytes())["share"])


def _run(work: Workplace, run: Path, options: list[object], sets: list[str]) -> None:
    """Plan a run of the preset tiny and make its packed set, or go on with it."""
    work.mals("plan", run, "--preset", "tiny", *options, *(word for setting in sets for word in ("--set", setting)))
    work.mals("run", run, "--quiet", "--set", "run.workers=1")


def template_captioners() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The captioners of the lever captions, and the one that fills templates: the embedded one that follows instructions, or a stand-in."""
    instructions = [{"kind": "template", "count": TEMPLATES}]
    captioner: dict[str, Any] = {"backend": "template", "instructions": instructions}
    if (WEIGHTS / "vlm").is_dir():
        captioner = {"backend": "vlm", "model": "embedded", "beams": 1, "max_tokens": 80, "instructions": instructions}
    return [BLIP, captioner], captioner


def _name(captioner: dict[str, Any]) -> str:
    return "the stand-in" if captioner["backend"] == "template" else "the embedded captioner that follows instructions"


def write_noisy(drawn: Path, to: Path, share: float) -> None:
    """A packed set in the folder `to`: the images of another one, whose first captions get wrong words; without labels, which are true."""
    labeller, words, wrong = Labeller(), 0, 0
    with replacing_folder(to) as folder:
        (folder / "data").mkdir()
        for number, file in enumerate(packed_files(drawn)):
            table, captions = pq.read_table(file, columns=["id", "image", "caption", "image_sha256", "synthetic"]), []
            for row, caption in enumerate(table["caption"].to_pylist()):
                text, of, changed = with_wrong_words(caption, share, np.random.default_rng((TRAIN_SEED, number, row)), labeller)
                captions.append(text)
                words, wrong = words + of, wrong + changed
            table = table.set_column(table.column_names.index("caption"), "caption", pa.array(captions))
            pq.write_table(table, folder / "data" / file.name, row_group_size=128)
        (folder / WRONG).write_text(json.dumps({"words": words, "wrong": wrong, "share": round(wrong / max(1, words), 4)}))


def with_wrong_words(caption: str, share: float, random: np.random.Generator, labeller: Labeller) -> tuple[str, int, int]:
    """The caption with this share of its attribute words exchanged, the number of these words, and how many were exchanged.

    Attribute words are colours of clothes, garments, and the sex, which counts as one word with its pronouns.
    """
    colors, garments, sexes = exchanges(caption, labeller)
    chosen = list(_drawn_exchanges([*colors, *garments], share, random))
    for exchange, option in sorted(chosen, reverse=True):  # from the end, since places before a word stay
        caption = replace_words(caption, exchange.start, exchange.end, option)
    other_sex = bool(sexes) and random.random() < share
    if other_sex:
        caption = exchange_sexes(caption)
    return caption, len(colors) + len(garments) + bool(sexes), len(chosen) + other_sex


def _drawn_exchanges(exchanges: list[Exchange], share: float, random: np.random.Generator) -> Iterator[tuple[Exchange, str]]:
    for exchange in exchanges:
        if random.random() < share:
            yield exchange, exchange.options[int(random.integers(len(exchange.options)))]

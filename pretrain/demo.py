"""The demo: a data set made by the embedded models, a tiny method trained on it, its scores on drawn persons, and three searches.

RUN/                      the run, with the data set in RUN/dataset
RUN/pretrain/             the trained method
RUN/demo/test-set/        drawn persons that neither the embedded models nor the method were trained on
RUN/demo/search-N.jpg     the contact sheet of the Nth sentence

Every step continues what an earlier, killed demo began.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from mals.dataset.pack import pack
from mals.dataset.report import Report, report
from mals.grid.run import SETTINGS, Run, run_stages
from mals.planning.create import init
from mals.world.make import make
from mals.world.settings import WorldSettings
from pretrain import settings
from pretrain.evaluate import evaluate, open_gallery
from pretrain.gallery import Gallery
from pretrain.results import Evaluation
from pretrain.search import SearchResult, contact_sheet_of, search
from pretrain.train import train
from pretrain.trained_method import read

ROWS = 1200  # image-text pairs to generate
PERSONS, VIEWS = 100, 4  # of the test set: identities, and images of each
HEIGHT = 160  # pixels of its images
TEST_SEED = 2  # of the procedural world; the embedded models were trained on the world of seed 1
SENTENCES = ("a woman in a red coat", "a man with a backpack", "a person in blue jeans")
COUNT = 10  # images of a search


@dataclass(frozen=True)
class Search:
    """A sentence with its result."""

    sentence: str
    result: SearchResult
    sheet: Path  # the contact sheet


@dataclass(frozen=True)
class DemoResult:
    """The scores of a method on a test set, and some searches in it."""

    evaluation: Evaluation
    chance_R1: float  # expected R1 of a random order, 0..1
    searches: tuple[Search, ...]

    def text(self) -> str:
        """The result for a reader, in percent."""
        lines = []
        if retrieval := self.evaluation.retrieval:
            lines.append(
                f"R@1 {100 * retrieval.R1:.1f} (chance: {100 * self.chance_R1:.1f}) for {retrieval.captions:,} captions "
                f"and {retrieval.images:,} images of {retrieval.identities:,} persons"
            )
        if attributes := self.evaluation.attributes:
            lines.append(f"mA {100 * attributes.mA:.1f} (chance: 50) for {len(attributes.per_attribute)} attributes")
        for number, one in enumerate(self.searches, 1):
            lines += ["", f'search {number}: "{one.sentence}", the best {len(one.result.hits)} images']
            if hits := one.result.by_attributes:
                lines.append(f"    {hits.sentence()}")
            lines.append(f"    contact sheet: {one.sheet}")
        return "\n".join(lines)


def demo(run: Path, announce: Callable[[str], None] = lambda text: None) -> DemoResult:
    """All steps in the folder `run`; `announce` gets a line before each step and the report of the data set.

    Raises RunFailed if images cannot be made, Stopped if the training was stopped; the same call continues.
    """
    announce(f"step 1 of 4: generate, filter, caption and label {ROWS:,} images, into {run}/dataset")
    announce(make_data_set(run).text())
    announce(f"step 2 of 4: train a tiny method on it, into {run}/pretrain")
    train_method(run)
    announce(f"step 3 of 4: draw a test set of {PERSONS} other persons, into {run}/demo/test-set")
    test_set = draw_test_set(run / "demo" / "test-set")
    announce("step 4 of 4: evaluate the method and search")
    return measure(run / "pretrain", test_set, run / "demo")


def make_data_set(run: Path) -> Report:
    """The packed data set of a run with the embedded models."""
    if not (run / SETTINGS).is_file():
        init(str(run), count=ROWS)
    opened = Run.open(str(run))
    run_stages(opened)
    pack(opened)
    return report(opened)


def train_method(run: Path) -> None:
    """Train the preset "tiny" on the data set of a run."""
    config = settings.check({"preset": "tiny"})
    train(config, [str(run / "dataset")], run / "pretrain")


def draw_test_set(folder: Path, persons: int = PERSONS) -> Path:
    """Draw persons of the procedural world, with true captions and attributes, as the split test of a data set."""
    world = WorldSettings.checked(persons=persons, views=VIEWS, split="test=1", seed=TEST_SEED, height=HEIGHT)
    make(str(folder), world)
    return folder


def measure(method: Path, test_set: Path, to: Path, count: int = COUNT) -> DemoResult:
    """Evaluate a trained method on the split test of a data set, search the sentences in it, and write the contact sheets into `to`."""
    trained = read(str(method))
    gallery = open_gallery(trained, [test_set], "test")
    evaluation = evaluate(trained, gallery)
    to.mkdir(parents=True, exist_ok=True)
    searches = []
    for number, sentence in enumerate(SENTENCES, 1):
        result, file = search(trained, gallery, sentence, count), to / f"search-{number}.jpg"
        file.write_bytes(contact_sheet_of(gallery, result))
        searches.append(Search(sentence, result, file))
    return DemoResult(evaluation, chance_of_rank_1(gallery), tuple(searches))


def chance_of_rank_1(gallery: Gallery) -> float:
    """The expected R1 of a random order, 0..1: the mean share of the gallery's images that match a caption."""
    matches = gallery.query_identities[:, None] == gallery.identities[None]  # [Q, G]
    return float(torch.mean(matches.double()))

"""The experiment about what transfers, at toy size: its arms, its wrong words, its table, and that a killed one goes on."""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.transfer import cases
from benchmarks.transfer_arms import ONCE, REPEATED, parse_arm
from benchmarks.transfer_sets import with_wrong_words
from benchmarks.transfer_table import tables
from mals.errors import UserError
from mals.labeller.labeller import Labeller
from mals.world.captions import write_caption
from mals.world.person import create_person
from pretrain.settings import assign, check
from tests.conftest import ROOT, environment

SMALL = ("--arms", "ceiling", "noisy+noise", "--images", 24, "--seeds", 1, "--steps", 6, "--persons", 5, "--set", "batch=8")
RESUMES = 4  # seconds within which the killed command's children have ended


def options(**changes) -> argparse.Namespace:
    """The options of the command without arguments."""
    return argparse.Namespace(**({"arms": None, "images": [4800, 1200], "seeds": None, "steps": 9, "wrong": 0.2, "set": []} | changes))


def test_the_arms_of_the_page_are_trained_once_or_thrice_the_cheapest_first():
    planned = [(case.arm.name, case.images, case.seed) for case in cases(options())]
    assert len(planned) == len(set(planned)) == 3 * 2 * 3 + len(ONCE)
    assert planned[0] == ("mals", 1200, 0)
    assert {name for name, images, _ in planned if images == 4800} == set(REPEATED)
    assert [images for _, images, _ in planned] == sorted(images for _, images, _ in planned)
    assert {(name, seed) for name, _, seed in planned if seed} == {(name, seed) for name in REPEATED for seed in (1, 2)}


def test_chosen_arms_are_trained_at_all_sizes_with_as_many_seeds_as_requested():
    planned = cases(options(arms=["noise", "noisy+noise"], seeds=2))
    assert [(case.arm.name, case.images, case.seed) for case in planned] == [
        (name, images, seed) for images in (1200, 4800) for seed in (0, 1) for name in ("noise", "noisy+noise")
    ]


@pytest.mark.parametrize("name", [*REPEATED, *ONCE, "captions+wordings", "all+wordings"])
def test_the_settings_of_an_arm_are_those_of_a_training(name):
    arm = parse_arm(name)
    config = check(assign({"preset": "tiny-irra"}, arm.training()))
    assert config.data.every == ("captions" in arm.levers)
    assert (config.data.confidence == "agree_score") == ("confidence" in arm.levers)
    assert (config.data.wordings.exchanged > 0) == (name == "wordings" or name == "captions+wordings")


@pytest.mark.parametrize(
    ("name", "reason"), [("mals+rain", "rain is none of"), ("agreement+half", "half"), ("ceiling+identities", "generated")]
)
def test_an_arm_that_cannot_be_is_refused(name, reason):
    with pytest.raises(UserError, match=f"there is no arm .*{reason}"):
        parse_arm(name)


def test_noisy_captions_have_the_share_of_wrong_words():
    labeller, rng = Labeller(), np.random.default_rng(5)
    captions = [write_caption(create_person(9, number), rng).text for number in range(120)]
    assert all(with_wrong_words(caption, 0, rng, labeller)[::2] == (caption, 0) for caption in captions)
    changed = [with_wrong_words(caption, 1, rng, labeller) for caption in captions]
    assert all(words == wrong and (text != caption) == (words > 0) for caption, (text, words, wrong) in zip(captions, changed, strict=True))
    counts = np.array([with_wrong_words(caption, 0.2, rng, labeller)[1:] for caption in captions]).sum(0)
    assert counts[0] > 300 and 0.15 < counts[1] / counts[0] < 0.25


def test_the_tables_have_means_over_seeds_and_compare_within_a_domain():
    line = {"images": 24, "steps": 6, "rows": 20, "captions": 60, "R5": 0.5, "mAP": 0.25, "one": None, "two": 0.5}
    line |= {"chance_R1": 0.1, "chance_one": None, "chance_two": 0.3}
    lines = [line | {"arm": "mals", "domain": "generated", "R1": share} for share in (0.1, 0.3)]
    lines += [line | {"arm": "all", "domain": "generated", "R1": 0.5}, line | {"arm": "noisy", "domain": "drawn", "R1": 0.4}]
    generated, drawn = tables(lines)
    assert "24 generated images, 6 steps" in generated and "24 drawn images" in drawn
    assert "| `mals` | 20 | 60 | 2 | 20.0 ± 14.1 | 1.00 | 50.0 ± 0.0 | 25.0 ± 0.0 |  | 50.0 ± 0.0 |" in generated
    assert "| `all` | 20 | 60 | 1 | 50.0 | 2.50 | 50.0 | 25.0 |  | 50.0 |" in generated
    assert "| `noisy` | 20 | 60 | 1 | 40.0 |  | 50.0 |" in drawn and "| a random order | | | | 10.0 |" in drawn


def words(work: Path, *more: object) -> list[str]:
    """The command in the folder `work`."""
    return [sys.executable, "-m", "benchmarks.transfer", "--work", *map(str, (work, *SMALL, *more))]


def results(work: Path) -> list[dict]:
    """The lines that a finished command prints as results."""
    ended = subprocess.run(words(work), cwd=work.parent, env=environment(), capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr + (work / "log.txt").read_text()
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    return [line for line in lines if line["benchmark"] == "transfer"]


@pytest.mark.slow
def test_a_killed_experiment_goes_on_and_has_the_results_of_one_that_was_not(tmp_path):
    work, other = tmp_path / "work", tmp_path / "other"
    second = work / "trained" / "noisy+noise-0.2-24-6-0"
    with subprocess.Popen(words(work), cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL) as process:
        while not second.is_dir():
            assert process.poll() is None, (work / "log.txt").read_text()
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
    (kept,) = (work / "results.jsonl").read_text().splitlines()
    time.sleep(RESUMES)
    assert not (second / "model.safetensors").is_file()
    for made in ("data", "test"):
        shutil.copytree(work / made, other / made)
    ceiling, noisy = results(work)
    assert ceiling == json.loads(kept) and results(other) == [ceiling, noisy]
    assert (ceiling["arm"], ceiling["rows"], ceiling["captions"]) == ("ceiling", 24, 24)
    assert noisy["rows"] == 24 and 0 < noisy["wrong_words"] < 0.5
    printed = subprocess.run(words(work, "--table"), cwd=ROOT, env=environment(), capture_output=True, text=True, check=True).stdout
    assert "24 drawn images, 6 steps" in printed and f"| {100 * ceiling['R1']:.1f} | 1.00 |" in printed

"""`mals compare`: what the table says, that a kill repeats nothing, and that a method that fails loses nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import typer
import yaml
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

from cli import compare
from mals.errors import UserError
from mals.settings import presets
from pretrain import settings, trained_method
from pretrain.compare import seconds_per_step
from pretrain.compare_table import Failure, Outcome, Row, markdown, to_json
from pretrain.comparison import Budget, Comparison, Variant, can_select, file_variants, method_variants, preset_of, shipped_names
from pretrain.evaluate import evaluate, open_gallery
from pretrain.measure import _counted, cost, middle_caption
from pretrain.methods import METHODS
from pretrain.settings import TRAINING
from pretrain.train import train
from tests.conftest import ROOT, environment
from tests.pretrain.methods.small import OWN, SMALLER, Small, drawn
from tests.pretrain.trainings import same_weights

AROUND = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests/pretrain/own_package'}"}
RAISES, DIES, SPOILS = "fails:Raises", "fails:Dies", "fails:Spoils"
SOURCE = """
import os
import signal
import torch
from two_towers import TwoTowers

HEALTHY = False


class Raises(TwoTowers):
    def forward(self, batch, step):
        if step == 2 and not HEALTHY:
            raise ValueError("the canvas is wet")
        return super().forward(batch, step)


class Dies(TwoTowers):
    def forward(self, batch, step):
        if step == 2 and not HEALTHY:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(batch, step)


class Spoils(TwoTowers):
    def __init__(self, *settings):
        super().__init__(*settings)
        self.register_buffer("running_mean", torch.tensor([0.0, float("nan")]))
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("compare") / "world")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the settings of both methods, small, and a module whose methods fail."""
    folder = tmp_path_factory.mktemp("settings")
    for name, label in {"aptm": "aptm", OWN: "own"}.items():
        config = Small(name).config("save_every=1", "selection.k=4").model_dump(mode="json")
        del config["steps"]
        (folder / f"{label}.yaml").write_text(yaml.safe_dump(config))
    (folder / "fails.py").write_text(SOURCE)
    return folder


def words(world: Path, files: Path, out: Path, *more: str, methods: Sequence[str] = ("aptm", OWN)) -> list[str]:
    """The command, in whose folder `fails` is."""
    chosen = [f"aptm={files / 'aptm.yaml'}", f"{OWN}={files / 'own.yaml'}"]
    options = ["--methods", ",".join(methods), "--data", str(world), "--out", str(out), "--steps", "8"]
    options += [word for choice in chosen if choice.rpartition("=")[0] in methods for word in ("--presets", choice)]
    return [sys.executable, "-m", "cli.main", "compare", *options, *more]


def run(command: Sequence[str], files: Path, code: int = 0) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(command, cwd=files, env=environment(**AROUND), capture_output=True, text=True, timeout=600)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def calm(world: Path, files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison without interruption."""
    out = tmp_path_factory.mktemp("calm") / "out"
    run(words(world, files, out, "--seeds", "2"), files)
    return out


def table(out: Path) -> dict[str, Any]:
    return json.loads((out / "table.json").read_text())


@pytest.mark.slow
def test_the_table_has_the_scores_of_both_checkpoints_of_every_seed(calm: Path, world: Path) -> None:
    tree = table(calm)
    assert [row["name"] for row in tree["rows"]] == ["aptm", OWN] and tree["budget"] == "8 steps each"
    for row in tree["rows"]:
        assert row["failed"] == [] and row["steps"] == [8, 8] and row["seed"] == [0, 1] and row["images"] == [64, 64]
        place = calm / Variant(row["name"], "", "").folder
        for seed in (0, 1):
            result = json.loads((place / f"seed-{seed}/training/result.json").read_text())["retrieval"]
            assert row["best"]["mAP"]["values"][seed] == pytest.approx(result["mAP"])
        last = trained_method.read(str(place / "seed-1/training/checkpoints/00000008"))
        scores = evaluate(last, open_gallery(last, [str(world)], "test", "none"), k=4).retrieval
        assert scores is not None and row["last"]["mAP"]["values"][1] == pytest.approx(scores.mAP)
        trained = trained_method.read(str(place / "seed-0/training"))
        assert row["parameters"] == sum(parameter.numel() for parameter in trained.method.parameters())
        assert row["width"] == trained.width() and row["image_flops"] > 0
    assert tree["rows"][0]["width"] == 96 and tree["rows"][1]["width"] == 16
    text = (calm / "table.md").read_text()
    assert "| aptm | " in text and " ± " in text and "| R@1, chosen |" in text and "failed" not in text


@pytest.mark.slow
def test_a_killed_comparison_goes_on_by_the_same_command_and_repeats_nothing(world: Path, files: Path, calm: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command, around = words(world, files, out, methods=(OWN, "aptm")), environment(**AROUND)
    with subprocess.Popen(command, cwd=files, env=around, stderr=subprocess.DEVNULL) as process:
        until(lambda: has_checkpoint(out / "aptm/seed-0"), process)
        children = psutil.Process(process.pid).children()
        os.kill(process.pid, signal.SIGKILL)
    for child in children:
        child.wait(20)  # ends with its parent
    first = out / "two_towers-TwoTowers/seed-0/result.json"
    before = first.stat().st_mtime_ns
    with subprocess.Popen(command, cwd=files, env=around, stderr=subprocess.PIPE, text=True) as process:
        log = out / "aptm/seed-0/log.txt"
        size = log.stat().st_size
        until(lambda: log.stat().st_size > size, process)
        process.terminate()
        messages = process.communicate(timeout=120)[1].splitlines()
    assert process.returncode == 128 + signal.SIGTERM and messages[-1] == "stopped; give the same command again to go on"
    done = run(command, files)
    assert done.stderr.splitlines()[:2] == [f"1 of 2: {OWN}, seed 0: finished before", "2 of 2: aptm, seed 0 ..."]
    assert first.stat().st_mtime_ns == before
    for ours, theirs in zip(table(out)["rows"], reversed(table(calm)["rows"]), strict=True):
        weights = Path(Variant(ours["name"], "", "").folder) / "seed-0/training/model.safetensors"
        assert same_weights(calm / weights, out / weights)
        for which in ("best", "last"):
            assert [values["values"] for values in ours[which].values()] == [values["values"][:1] for values in theirs[which].values()]


def has_checkpoint(folder: Path) -> bool:
    return any((folder / "training/checkpoints").glob("0*"))


def until(condition: Any, process: "subprocess.Popen[Any]") -> None:
    while not condition():
        assert process.poll() is None
        time.sleep(0.02)


@pytest.mark.slow
def test_methods_that_fail_are_reported_and_lose_nothing(world: Path, files: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    sets = ["data.height=64", "data.width=32", "data.tokenizer=null", "batch=8", "dtype=fp32", "data.workers=0"]
    command = words(world, files, out, *[word for one in sets for word in ("--set", one)], methods=(RAISES, DIES, OWN))
    done = run(command, files, code=1)
    raised, died, whole = table(out)["rows"]
    assert raised["failed"] == [{"seed": 0, "reason": "ValueError: the canvas is wet"}] and "last" not in raised
    assert died["failed"] == [{"seed": 0, "reason": "ended by SIGKILL"}] and whole["failed"] == [] and whole["last"]["R1"]["values"]
    assert "**failed**: ValueError: the canvas is wet" in done.stdout and "failed: ended by SIGKILL (" in done.stderr
    (files / "fails.py").write_text(SOURCE.replace("HEALTHY = False", "HEALTHY = True"))
    again = run(command, files)
    assert f"3 of 3: {OWN}, seed 0: finished before" in again.stderr.splitlines()
    assert [row["failed"] for row in table(out)["rows"]] == [[], [], []]
    refused = run([*command, "--set", "seed=3"], files, code=2)
    assert "was made with other settings: common (" in refused.stderr and len(refused.stderr.splitlines()) == 1


@pytest.mark.slow
def test_weights_that_are_not_finite_are_the_reason_in_the_row_of_their_method(world: Path, files: Path, tmp_path: Path) -> None:
    save_file({"see.0.weight": torch.full((8, 3, 8, 8), torch.nan)}, tmp_path / "bad.safetensors")
    (tmp_path / "variants.yaml").write_text(
        yaml.safe_dump({"from bad": {"method": OWN, "sets": [f"start={tmp_path / 'bad.safetensors'}"]}})
    )
    sets = ["data.height=64", "data.width=32", "data.tokenizer=null", "batch=8", "dtype=fp32", "data.workers=0"]
    more = ["--variants", str(tmp_path / "variants.yaml"), *[word for one in sets for word in ("--set", one)]]
    run(words(world, files, tmp_path / "out", *more, methods=(SPOILS,)), files, code=1)
    spoilt, started = (row["failed"][0]["reason"] for row in table(tmp_path / "out")["rows"])
    assert "1 of the 2 numbers of running_mean are not finite" in spoilt
    assert "bad.safetensors: 1,536 of the 1,536 numbers of see.0.weight are not finite" in started


@pytest.mark.slow
def test_hours_become_steps_by_the_speed_of_the_first_and_data_without_val_have_last_weights_alone(
    world: Path, files: Path, tmp_path: Path
) -> None:
    train, test = tmp_path / "train", tmp_path / "test"
    for folder in (train, test):
        (folder / "data").mkdir(parents=True)
        for file in (world / "data").glob(f"{folder.name}-*.parquet"):
            shutil.copy(file, folder / "data")
    command = words(train, files, tmp_path / "out", "--test", str(test), methods=(OWN,))
    command[command.index("--steps") : command.index("--steps") + 2] = ["--hours", "0.0001"]
    run(command, files)
    place = tmp_path / "out/two_towers-TwoTowers"
    seconds = json.loads((place / "speed/seconds.json").read_text())["seconds"]
    (row,) = table(tmp_path / "out")["rows"]
    assert row["steps"] == [max(1, int(0.36 / seconds))] and "best" not in row and row["last"]["R1"]["values"]
    assert "chosen" not in (tmp_path / "out/table.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "there is nothing to compare: give --methods, --variants or both"),
        (["--methods", "aptm", "--steps", "2", "--images", "9"], "give one of --steps, --images and --hours"),
        (["--methods", "aptm", "--hours", "0"], "--hours must be above 0, not 0"),
        (["--methods", "aptm,aptm"], "two variants are called aptm"),
        (["--methods", "nothing"], "there is no method nothing; there are "),
        (["--methods", "aptm", "--presets", "tiny"], "--presets takes METHOD=PRESET, not tiny"),
        (["--methods", "aptm", "--presets", "other=tiny"], "--presets names other, which --methods does not"),
        (["--methods", "aptm", "--set", "aptm.porj=2"], "there is no setting aptm.porj; did you mean aptm.proj?"),
        (["--methods", "aptm", "--split", "dev"], "has no split dev to measure on; give --test and --split"),
        (["--variants", "nowhere"], "there is no file of variants nowhere; mals has "),
    ],
)
def test_what_cannot_be_compared_is_one_sentence_before_anything_is_trained(
    options: list[str], message: str, world: Path, tmp_path: Path
) -> None:
    app = typer.Typer()
    compare.register(app)
    result = CliRunner().invoke(app, ["--data", str(world), "--out", str(tmp_path / "out"), *options])
    assert isinstance(result.exception, UserError) and message in str(result.exception) and "\n" not in str(result.exception)
    assert not list(tmp_path.rglob("log.txt"))


def test_a_file_of_variants_is_checked(world: Path, tmp_path: Path) -> None:
    file = tmp_path / "variants.yaml"
    file.write_text("one: {method: aptm, sets: [optimizer.lr=1]}\ntwo: {method: aptm, preset: tiny}\n")
    assert file_variants(str(file), [str(world)], True) == [
        Variant("one", "aptm", "tiny-finetune", None, ("optimizer.lr=1",)),
        Variant("two", "aptm", "tiny"),
    ]
    for text, message in {
        "one: {methods: aptm}": r"one\.method: field required",
        "one: {method: aptm, extra: 1}": r"one\.extra: extra inputs are not permitted",
        "": "names no variant",
    }.items():
        file.write_text(text)
        with pytest.raises(UserError, match=message):
            file_variants(str(file), [str(world)], True)


@pytest.mark.parametrize("name", shipped_names())
def test_the_variants_that_ship_train(name: str, world: Path, tmp_path: Path) -> None:
    variants = [variant.within(tmp_path) for variant in file_variants(name, [str(world)], False)]
    assert len({str(variant.config()) for variant in variants}) == len(variants) > 1
    for variant in variants:
        own = {one.partition("=")[0] for one in variant.sets}
        smaller = [one for one in SMALLER.get(variant.method, ()) if one.partition("=")[0] not in own]
        config = variant.config([*smaller, "batch=8", "steps=1", "data.workers=0", "optimizer.average=0", "optimizer.warmup=0"])
        assert train(config, [str(world)], tmp_path / variant.folder, "cpu")["step"] == 1


def test_presets_are_those_of_the_kind_of_data(world: Path) -> None:
    assert preset_of("aptm", [str(world)], selects=True) == "tiny-finetune"
    assert preset_of("aptm", [str(world)], selects=False) == "tiny"
    assert preset_of(OWN, [str(world)], selects=True) == "own"
    for method in METHODS:
        name = preset_of(method, [str(world)], selects=False)
        assert settings.check({"preset": name}).method == method and name in presets(TRAINING)


def test_the_preset_of_a_public_benchmark_is_named_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretrain.provenance.about", lambda place: {"benchmark": place})
    assert preset_of("aptm", ["cuhk-pedes"], selects=True) == "cuhk"
    assert preset_of("aptm", ["rstpreid"], selects=False) == "rstp"
    with pytest.raises(UserError, match=r"^there is no preset of nothing for icfg-pedes: --presets nothing=NAME"):
        monkeypatch.setitem(METHODS, "nothing", "no.such:Method")
        preset_of("nothing", ["icfg-pedes"], selects=True)


def test_budgets_count_steps_or_images_or_hours() -> None:
    config = Small("aptm").config("batch=8")
    assert Budget().steps_of(config) is None and Budget(steps=7).steps_of(config) == 7
    assert Budget(images=20).steps_of(config) == 3 and Budget(hours=0.5).steps_of(config, seconds=2.0) == 900
    assert str(Budget(images=1600)) == "1,600 images seen each" and str(Budget(hours=0.5)) == "0.5 hours of training each"


def test_seconds_of_a_step_leave_the_first_ones_out(tmp_path: Path) -> None:
    ended = [10.0 + 2 * step for step in range(1, 11)]  # a slow start, then two seconds a step
    lines = [json.dumps({"step": step, "images_per_s": 8 * step / time}) for step, time in enumerate(ended, 1)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    assert seconds_per_step(tmp_path / "metrics.jsonl", 8) == pytest.approx(2.0)


def outcome(seed: int, score: float, rows: int = 40) -> Outcome:
    scores = dict.fromkeys(("R1", "R5", "R10", "mAP", "mINP"), score) | {"protocol": "text to image"}
    facts = {"parameters": 12_340_000, "image_flops": 5_600_000_000, "caption_flops": None, "width": 512}
    return Outcome(seed, 10, 80, rows, 33.0, scores, scores | {"R1": score / 2}, 5, facts)


def test_means_and_deviations_are_those_of_the_seeds() -> None:
    variants = (Variant("one", "aptm", "tiny"), Variant("two", "aptm", "tiny", sets=("a.b=1",)))
    comparison = Comparison(variants, ("world",), ("world",), "test", 2, Budget(steps=10), selects=True)
    rows = [Row(variants[0], (outcome(0, 0.2), outcome(1, 0.4))), Row(variants[1], (outcome(0, 0.1, rows=30), Failure(1, "no words")))]
    best = to_json(comparison, rows)["rows"][0]["best"]["R1"]
    assert best["values"] == [0.2, 0.4] and best["mean"] == pytest.approx(0.3) and best["spread"] == pytest.approx(0.02**0.5)
    text = markdown(comparison, rows).splitlines()
    assert text[2].startswith("| one | 30.00 ± 14.14 | 30.00 ± 14.14 | 30.00 ± 14.14 | 15.00 ± 7.07 |")
    assert text[2].endswith("| 80 | 12.34 M | 5.6 | – | 512 | 33.0 |") and text[3].startswith("| two | 10.00 | ")
    assert "- Rows of the data that a training used: one 40; two 30." in text and "- two: a.b=1." in text
    assert "- two, seed 1, **failed**: no words" in text


def test_flops_are_those_of_the_products_also_in_lstms_and_attention() -> None:
    lstm, attention = nn.LSTM(8, 16, bidirectional=True, batch_first=True), nn.MultiheadAttention(16, 4, batch_first=True).eval()
    convolution, image, tokens = nn.Conv2d(3, 5, 3), torch.zeros(1, 3, 10, 8), torch.zeros(1, 10, 16)
    with torch.inference_mode():
        assert _counted(lambda: convolution(image))[1] == 2 * 5 * 8 * 6 * 27
        assert _counted(lambda: lstm(torch.zeros(1, 10, 8))[0])[1] == 2 * 10 * 2 * 4 * 16 * (8 + 16)
        expected = 2 * (10 * 16 * 64 + 2 * 10 * 10 * 16)
        assert _counted(lambda: attention(tokens, tokens, tokens, need_weights=False)[0])[1] == expected


def test_the_cost_of_a_method_is_counted_by_hand(world: Path, tmp_path: Path) -> None:
    Small(OWN).train(world, tmp_path, "steps=1")
    trained = trained_method.read(str(tmp_path))
    result, twice = cost(trained, "a man in red"), cost(trained, None)
    images = 2 * (8 * 8 * 4 * 3 * 64 + 16 * 4 * 2 * 8 * 4 + 16 * 4 * 2 * 16)  # two convolutions and a product
    assert (result.width, result.image_flops, result.caption_flops) == (16, images, 2 * 32 * 16)
    assert twice.caption_flops is None and result.parameters == sum(parameter.numel() for parameter in trained.method.parameters())


def test_the_middle_caption_has_the_median_of_words() -> None:
    assert middle_caption(["a b c", "a", "a b", ""]) == "a b" and middle_caption(["", ""]) is None


def test_a_checkpoint_is_chosen_where_the_data_have_the_splits(world: Path, tmp_path: Path) -> None:
    assert can_select([str(world)]) and not can_select([str(world), "captions.json"])
    without_val = shutil.copytree(world, tmp_path / "world", ignore=shutil.ignore_patterns("val-*"))
    assert not can_select([str(without_val)]) and can_select([str(without_val)], ["selection.held_out=0.1"])
    assert can_select([str(without_val)], ["selection.on=test"]) and not can_select([str(without_val)], ["selection.k=3"])


def test_methods_of_strangers_have_their_import_path_as_a_setting(world: Path) -> None:
    (own,) = method_variants([OWN], {}, [str(world)], selects=True)
    assert own == Variant(OWN, OWN, "own", None, (f"method={OWN}",)) and own.folder == "two_towers-TwoTowers"

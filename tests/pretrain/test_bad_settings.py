"""Settings that make no training: each is refused in one sentence before anything is loaded."""

from pathlib import Path

import pytest

from cli.pretrain import _settings
from mals.errors import UserError
from pretrain.finetune import configure
from tests.conftest import Mals

WHOLE = "{itc: 1, itm: 1, mlm: 0, iac: 0, iam: 0, mam: 0}"
PARTLY = "{itc: 1, itm: 1, iac: 0, iam: 0, mam: 0}"
NEEDED = "the setting aptm.weights.mlm is needed; weights that are given name every loss of pretraining, and 0 leaves one out"


def refused(mals: Mals, *words: object) -> str:
    """The one line that a command says before it ends with 2."""
    ended = mals(*words)
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1, ended.stderr
    return str(ended.stderr).strip()


@pytest.mark.parametrize("begin", [["pretrain"], ["finetune", "--preset", "tiny-finetune"]])
def test_a_file_whose_weights_leave_a_loss_out_is_refused(begin: list[str], mals: Mals, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(f"preset: tiny\naptm: {{weights: {PARTLY}}}\n")
    assert refused(mals, *begin, "--config", "own.yaml", "--data", "x", "--out", "out") == f"own.yaml: {NEEDED}"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("given", [f"aptm.weights={PARTLY}", f"aptm={{weights: {PARTLY}}}"])
def test_a_setting_whose_weights_leave_a_loss_out_is_refused(given: str, mals: Mals) -> None:
    assert refused(mals, "pretrain", "--preset", "tiny", "--data", "x", "--out", "out", "--set", given) == f"--set {given}: {NEEDED}"


def test_weights_that_are_whole_and_single_ones_are_taken(tmp_path: Path) -> None:
    (tmp_path / "whole.yaml").write_text(f"aptm: {{weights: {WHOLE}}}\n")
    (tmp_path / "none.yaml").write_text("aptm: {proj: 32}\n")
    preset = _settings("tiny", None, []).aptm.weights
    assert preset.mlm > 0 and preset.iac > 0
    assert _settings("tiny", None, ["aptm.weights.mlm=0"]).aptm.weights == preset.model_copy(update={"mlm": 0})
    assert _settings("tiny", tmp_path / "none.yaml", []).aptm.weights == preset
    only = preset.model_copy(update={"mlm": 0, "iac": 0, "iam": 0, "mam": 0})
    assert _settings("tiny", tmp_path / "whole.yaml", []).aptm.weights == only
    assert _settings("tiny", None, [f"aptm.weights={WHOLE}"]).aptm.weights == only
    tuned = configure("tiny-finetune", tmp_path / "whole.yaml", [], None).aptm
    assert tuned is not None and (tuned.weights.mlm, tuned.weights.itc_eda) == (0, 0.8)


def test_a_misspelt_loss_is_told_its_name_though_it_is_missing_under_it(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(f"aptm: {{weights: {WHOLE.replace('mlm', 'mml')}}}\n")
    with pytest.raises(UserError, match=r"there is no setting aptm\.weights\.mml; did you mean aptm\.weights\.mlm\?"):
        _settings("tiny", tmp_path / "own.yaml", [])


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["words.fusion=4"], r"words\.fusion = 4 of words\.layers = 4 read the text alone: none is left to read the picture too"),
        (["words.layers=2"], r"words\.fusion = 2 of words\.layers = 2 read the text alone"),
        (["words.fusion=0"], r"words\.fusion = 0: input should be greater than or equal to 1"),
        (["words.heads=5"], r"words\.hidden = 96 does not divide into words\.heads = 5"),
        (["words.dropout=1"], r"words\.dropout = 1: input should be less than 1"),
        (["vision.drop_path=1"], r"vision\.drop_path = 1: input should be less than 1"),
        (["vision.heads=[3, 6]"], r"vision\.heads = \[3, 6\] and vision\.depths = \[2, 2, 4\]: each stage of the Swin has one of both"),
        (
            ["vision.heads=[3, 5, 12]"],
            r"vision\.heads = \[3, 5, 12\]: stage 2 of the Swin has 96 channels, which do not divide into 5 heads",
        ),
        (["vision.heads=[]", "vision.depths=[]"], r"vision\.depths = \[\]: tuple should have at least 1 item"),
        (["vision.depths=[2, -1, 4]"], r"vision\.depths\.1 = -1: input should be greater than or equal to 1"),
        (["vision.heads=[0, 6, 12]"], r"vision\.heads\.0 = 0: input should be greater than or equal to 1"),
        (["optimizer.betas=[0.9, 1.5]"], r"optimizer\.betas\.1 = 1\.5: input should be less than 1"),
        (["optimizer.betas=[-0.1, 0.9]"], r"optimizer\.betas\.0 = -0\.1: input should be greater than or equal to 0"),
        (["data.std=[0.2, 0, 0.2]"], r"data\.std\.1 = 0: input should be greater than 0"),
        (["data.mean=[.nan, 0, 0]"], r"data\.mean\.0 = nan: input should be a finite number"),
        (["aptm.weights.itc=.inf"], r"aptm\.weights\.itc = inf: input should be a finite number"),
        (["optimizer.lr=.inf"], r"optimizer\.lr = inf: input should be a finite number"),
        (["optimizer.eps=.nan"], r"optimizer\.eps = nan: input should be"),
        (["aptm.prompts=55"], r"aptm\.prompts = 55: the attribute space market1501 has 54 prompts"),
        (["aptm.prompts=53", "aptm.space=pa100k"], r"aptm\.prompts = 53: the attribute space pa100k has 52 prompts"),
    ],
)
def test_settings_that_make_no_training_are_refused_by_name(sets: list[str], said: str) -> None:
    with pytest.raises(UserError, match=f"^the settings: {said}"):
        _settings("tiny", None, sets)


def test_the_last_settings_before_those_are_taken() -> None:
    sets = ["words.fusion=3", "words.dropout=0.99", "optimizer.betas=[0, 0.999]", "aptm.prompts=54", "vision.heads=[48, 1, 192]"]
    assert _settings("tiny", None, sets).aptm.prompts == 54
    assert _settings("tiny", None, ["aptm.prompts=60", "aptm.weights.iam=0"]).aptm.prompts == 60
    assert _settings("tiny", None, ["aptm.prompts=60", "aptm.space=nowhere.yaml"]).aptm.space == "nowhere.yaml"


def test_a_method_of_ones_own_may_read_the_sizes_as_it_likes() -> None:
    assert _settings("own", None, ["words.layers=2", "vision.heads=[3]"]).words.layers == 2


def test_such_a_setting_ends_the_command_with_one_sentence(mals: Mals, tmp_path: Path) -> None:
    told = refused(mals, "pretrain", "--preset", "tiny", "--data", "x", "--out", "out", "--set", "words.fusion=9")
    assert told.startswith("the settings: words.fusion = 9 of words.layers = 4") and not (tmp_path / "out").exists()

"""Settings that make no training: each is refused in one sentence before anything is loaded."""

from pathlib import Path

import pytest

from cli.pretrain import training_settings
from mals.errors import UserError
from pretrain.finetune import configure
from tests.conftest import Mals

WHOLE = "{itc: 1, itm: 1, mlm: 0, iac: 0, iam: 0, mam: 0}"
PARTLY = "{itc: 1, itm: 1, iac: 0, iam: 0, mam: 0}"
NEEDED = "the setting aptm.loss_weights.mlm is needed; weights that are given name every loss of pretraining, and 0 leaves one out"


def refused(mals: Mals, *words: object) -> str:
    """The one line that a command says before it ends with 2."""
    ended = mals(*words)
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1, ended.stderr
    return str(ended.stderr).strip()


@pytest.mark.parametrize("begin", [["pretrain"], ["finetune", "--preset", "tiny-finetune"]])
def test_a_file_whose_weights_leave_a_loss_out_is_refused(begin: list[str], mals: Mals, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(f"preset: tiny\naptm: {{loss_weights: {PARTLY}}}\n")
    assert refused(mals, *begin, "--config", "own.yaml", "--data", "x", "--out", "out") == f"own.yaml: {NEEDED}"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("assignment", [f"aptm.loss_weights={PARTLY}", f"aptm={{loss_weights: {PARTLY}}}"])
def test_a_setting_whose_weights_leave_a_loss_out_is_refused(assignment: str, mals: Mals) -> None:
    assert (
        refused(mals, "pretrain", "--preset", "tiny", "--data", "x", "--out", "out", "--set", assignment) == f"--set {assignment}: {NEEDED}"
    )


def test_weights_that_are_whole_and_single_ones_are_taken(tmp_path: Path) -> None:
    (tmp_path / "whole.yaml").write_text(f"aptm: {{loss_weights: {WHOLE}}}\n")
    (tmp_path / "none.yaml").write_text("aptm: {proj: 32}\n")
    preset = training_settings("tiny", None, []).aptm.loss_weights
    assert preset.mlm > 0 and preset.iac > 0
    assert training_settings("tiny", None, ["aptm.loss_weights.mlm=0"]).aptm.loss_weights == preset.model_copy(update={"mlm": 0})
    assert training_settings("tiny", tmp_path / "none.yaml", []).aptm.loss_weights == preset
    only = preset.model_copy(update={"mlm": 0, "iac": 0, "iam": 0, "mam": 0})
    assert training_settings("tiny", tmp_path / "whole.yaml", []).aptm.loss_weights == only
    assert training_settings("tiny", None, [f"aptm.loss_weights={WHOLE}"]).aptm.loss_weights == only
    tuned = configure("tiny-finetune", tmp_path / "whole.yaml", [], None).aptm
    assert tuned is not None and (tuned.loss_weights.mlm, tuned.loss_weights.itc_eda) == (0, 0.8)


def test_a_misspelt_loss_is_told_its_name_though_it_is_missing_under_it(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(f"aptm: {{loss_weights: {WHOLE.replace('mlm', 'mml')}}}\n")
    with pytest.raises(UserError, match=r"there is no setting aptm\.loss_weights\.mml; did you mean aptm\.loss_weights\.mlm\?"):
        training_settings("tiny", tmp_path / "own.yaml", [])


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (
            ["aptm.text.fusion=4"],
            r"aptm\.text\.fusion = 4 of aptm\.text\.layers = 4 read the text alone: none is left",
        ),
        (["aptm.text.layers=2"], r"aptm\.text\.fusion = 2 of aptm\.text\.layers = 2 read the text alone"),
        (["aptm.text.fusion=0"], r"aptm\.text\.fusion = 0: input should be greater than or equal to 1"),
        (["aptm.text.heads=5"], r"aptm\.text\.hidden = 96 does not divide into aptm\.text\.heads = 5"),
        (["aptm.text.dropout=1"], r"aptm\.text\.dropout = 1: input should be less than 1"),
        (["aptm.vision.drop_path=1"], r"aptm\.vision\.drop_path = 1: input should be less than 1"),
        (
            ["aptm.vision.heads=[3, 6]"],
            r"aptm\.vision\.heads = \[3, 6\] and aptm\.vision\.depths = \[2, 2, 4\]: each stage",
        ),
        (
            ["aptm.vision.heads=[3, 5, 12]"],
            r"aptm\.vision\.heads = \[3, 5, 12\]: stage 2 of the Swin has 96 channels, which do not divide into 5 heads",
        ),
        (["aptm.vision.heads=[]", "aptm.vision.depths=[]"], r"aptm\.vision\.depths = \[\]: tuple should have at least 1 item"),
        (["aptm.vision.depths=[2, -1, 4]"], r"aptm\.vision\.depths\.1 = -1: input should be greater than or equal to 1"),
        (["aptm.vision.heads=[0, 6, 12]"], r"aptm\.vision\.heads\.0 = 0: input should be greater than or equal to 1"),
        (["optimizer.betas=[0.9, 1.5]"], r"optimizer\.betas\.1 = 1\.5: input should be less than 1"),
        (["optimizer.betas=[-0.1, 0.9]"], r"optimizer\.betas\.0 = -0\.1: input should be greater than or equal to 0"),
        (["data.std=[0.2, 0, 0.2]"], r"data\.std\.1 = 0: input should be greater than 0"),
        (["data.mean=[.nan, 0, 0]"], r"data\.mean\.0 = nan: input should be a finite number"),
        (["aptm.loss_weights.itc=.inf"], r"aptm\.loss_weights\.itc = inf: input should be a finite number"),
        (["optimizer.lr=.inf"], r"optimizer\.lr = inf: input should be a finite number"),
        (["optimizer.eps=.nan"], r"optimizer\.eps = nan: input should be"),
        (["aptm.prompts=55"], r"aptm\.prompts = 55: the attribute space market1501 has 54 prompts"),
        (["aptm.prompts=53", "aptm.space=pa100k"], r"aptm\.prompts = 53: the attribute space pa100k has 52 prompts"),
    ],
)
def test_settings_that_make_no_training_are_refused_by_name(sets: list[str], message: str) -> None:
    with pytest.raises(UserError, match=f"^the settings: {message}"):
        training_settings("tiny", None, sets)


def test_the_last_settings_before_those_are_taken() -> None:
    sets = [
        "aptm.text.fusion=3",
        "aptm.text.dropout=0.99",
        "optimizer.betas=[0, 0.999]",
        "aptm.prompts=54",
        "aptm.vision.heads=[48, 1, 192]",
    ]
    assert training_settings("tiny", None, sets).aptm.prompts == 54
    assert training_settings("tiny", None, ["aptm.prompts=60", "aptm.loss_weights.iam=0"]).aptm.prompts == 60
    assert training_settings("tiny", None, ["aptm.prompts=60", "aptm.space=nowhere.yaml"]).aptm.space == "nowhere.yaml"


def test_such_a_setting_ends_the_command_with_one_sentence(mals: Mals, tmp_path: Path) -> None:
    message = refused(mals, "pretrain", "--preset", "tiny", "--data", "x", "--out", "out", "--set", "aptm.text.fusion=9")
    assert message.startswith("the settings: aptm.text.fusion = 9 of aptm.text.layers = 4") and not (tmp_path / "out").exists()

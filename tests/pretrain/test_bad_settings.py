"""Settings that make no training: each is refused in one sentence before anything is loaded."""

from pathlib import Path

import pytest

from cli.pretrain import _settings
from mals.errors import UserError
from pretrain.finetune import configured
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
    tuned = configured("tiny-finetune", tmp_path / "whole.yaml", [], None).aptm
    assert tuned is not None and (tuned.weights.mlm, tuned.weights.itc_eda) == (0, 0.8)


def test_a_misspelt_loss_is_told_its_name_though_it_is_missing_under_it(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(f"aptm: {{weights: {WHOLE.replace('mlm', 'mml')}}}\n")
    with pytest.raises(UserError, match=r"there is no setting aptm\.weights\.mml; did you mean aptm\.weights\.mlm\?"):
        _settings("tiny", tmp_path / "own.yaml", [])

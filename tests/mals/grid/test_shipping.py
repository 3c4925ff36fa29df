"""What travels to the nodes of a cluster, and what never does."""

import sys
from pathlib import Path

import pytest

from mals import settings
from mals.grid.cells import build_stages
from mals.grid.shipping import own_modules, sent_environment
from mals.settings import assign

SERVER = "caption.captioners=[{backend: openai, model: m, revision: r, prompt: p, server: {url: 'http://h/v1', key_env: MALS_CAPTIONS}}]"


def test_variables_of_models_and_of_mals_are_sent_and_no_key() -> None:
    environment = dict.fromkeys(("HF_HOME", "HF_HUB_OFFLINE", "MALS_NOTE", "PATH", "HOME"), "x")
    keys = dict.fromkeys(("HF_TOKEN", "MALS_API_KEY", "MALS_PASSWORD", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "MALS_CAPTIONS"), "key")
    config = settings.check(assign({}, [SERVER]))
    assert set(sent_environment(config, environment | keys)) == {"HF_HOME", "HF_HUB_OFFLINE", "MALS_NOTE"}


def test_packages_and_modules_of_ones_own_are_shipped_and_no_installed_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "from tests.fakes import painter, cropper\n"
    (tmp_path / "painting").mkdir()
    (tmp_path / "painting/__init__.py").write_text("")
    (tmp_path / "painting/stages.py").write_text(text)
    (tmp_path / "cropping.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    config = settings.check(
        {"stages": {"generate": "painting.stages:painter", "crop": "cropping:cropper", "label": "mals.stages.label:stage"}}
    )
    build_stages(config)
    assert own_modules(config) == [str(tmp_path / "painting"), str(tmp_path / "cropping.py")]

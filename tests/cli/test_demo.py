"""`mals demo`: what it prints before and after, and how it ends when shards failed."""

from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from cli.demo import register
from mals.grid.run import RunFailed
from pretrain import demo as demonstration


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    register(app)
    return app


def test_it_says_how_long_it_takes_and_what_to_do_next(app, monkeypatch, tmp_path):
    monkeypatch.setattr(demonstration, "demo", lambda run, announce: announce("a step") or SimpleNamespace(text=lambda: "the scores"))
    result = CliRunner().invoke(app, [str(tmp_path / "run")])
    assert result.exit_code == 0
    places = [result.output.index(text) for text in ("minutes", "a step", "the scores", "your own captions", "your own images")]
    assert places == sorted(places)
    assert f'mals search {tmp_path / "run"}/pretrain "a child in a hat"' in result.output


def test_failed_shards_end_it_with_1_and_their_sentence(app, monkeypatch, tmp_path):
    def fail(run, announce):
        raise RunFailed("generate: 1 of 2 shards are not done")

    monkeypatch.setattr(demonstration, "demo", fail)
    result = CliRunner().invoke(app, [str(tmp_path / "run")])
    assert result.exit_code == 1
    assert "1 of 2 shards are not done" in result.output

"""Each training of an embedded model runs for a moment and writes what the ordinary backends load."""

import json
from pathlib import Path

import pytest
import torch

from mals import models, settings
from mals.scorer import load_scorer
from mals.stages.caption import stage as caption
from mals.stages.crop import stage as crop
from mals.stages.generate import stage as generate
from mals.world.training import swin
from mals.world.training.drawn_dataset import draw_dataset
from mals.world.training.train import MINUTES, SHIPPED, install, train
from pretrain.methods.aptm.initial_weights import EMBEDDED, start_vision


@pytest.mark.slow
def test_every_model_is_trained_for_a_moment_and_loads_as_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    dataset = draw_dataset(tmp_path / "images", 3, 100, workers=1)
    for name in MINUTES:
        train(name, dataset, tmp_path, 0.005, 1, False)
    train("pose", dataset, tmp_path, 0.005, 1, True)
    install(tmp_path, tmp_path / "weights")
    monkeypatch.setattr(models, "WEIGHTS", tmp_path / "weights")
    assert {path.name for path in (tmp_path / "weights").iterdir()} == set(SHIPPED)
    records = json.loads((tmp_path / "weights" / "pose" / "training.json").read_text(encoding="utf-8"))
    assert [record["command"].endswith("--go-on") for record in records] == [False, True]
    config = settings.check({"preset": "tiny"})
    for stage in (generate(config), crop(config), caption(config)):
        stage.setup()
    start_vision(swin.build()[0], EMBEDDED)
    assert load_scorer(models.resolve("embedded", role="scorer").path).embed_texts(["a woman", "a man"]).shape[0] == 2

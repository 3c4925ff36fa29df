"""Checkpoints as APTM's authors release them: evaluated by one command, and what is none of theirs refused in one sentence."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from mals.errors import UserError
from pretrain.evaluate import evaluate, open_gallery
from pretrain.methods.aptm import published_weights
from pretrain.trained_method import Trained, read
from tests.conftest import Mals
from tests.pretrain.packs import packed
from tests.pretrain.releases import released


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("authors") / "run", 20)


@pytest.fixture(scope="module")
def out(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return released(tmp_path_factory.mktemp("authors") / "out", data)


@pytest.fixture(scope="module")
def trained(out: Path) -> Trained:
    return read(str(out))


def theirs(trained: Trained) -> dict[str, Tensor]:
    """The weights as the authors' code saves them: their names, what is tied twice, and the buffers that follow from the sizes."""
    method = trained.method
    state = published_weights.to_theirs(method.state_dict())
    for at, stage in enumerate(method.swin.stages):
        for number, block in enumerate(stage.blocks):
            place = f"vision_encoder.layers.{at}.blocks.{number}"
            state[f"{place}.attn.relative_position_index"] = block.attention.index
            if block.attention.mask is not None:
                state[f"{place}.attn_mask"] = block.attention.mask
    positions = trained.config.aptm.text.positions
    return state | {"text_encoder.bert.embeddings.position_ids": torch.arange(positions)[None]}


def vocabulary(trained: Trained, file: Path) -> Path:
    """Its vocab.txt, as bert-base-uncased has one."""
    known = trained.tokenizer.backend.get_vocab()
    file.write_text("".join(f"{piece}\n" for piece in sorted(known, key=lambda piece: known[piece])), encoding="utf-8")
    return file


def sizes(trained: Trained, vocab: Path) -> list[str]:
    """What the command has to be told of a model that has not the published sizes."""
    config = trained.config
    assignments: dict[str, Any] = {"data.tokenizer": vocab, "aptm.proj": config.aptm.proj}
    assignments |= {f"data.{key}": getattr(config.data, key) for key in ("height", "width", "mean", "std")}
    assignments |= {f"aptm.vision.{key}": getattr(config.aptm.vision, key) for key in ("embed", "depths", "heads", "window")}
    assignments |= {
        f"aptm.text.{key}": getattr(config.aptm.text, key) for key in ("hidden", "layers", "fusion", "heads", "inter", "positions")
    }
    return [word for key, value in assignments.items() for word in ("--set", f"{key}={list(value) if isinstance(value, tuple) else value}")]


CONFIGS = {
    "dict": {"lr": 1e-4, "schedular": {"sched": "linear", "epochs": 32}, "icfg_rstp": False, "mean": (0.4, 0.4, 0.4), "none": None},
    "namespace": Namespace(config="configs/Retrieval_cuhk.yaml", k_test=128, distributed=True),
}


@pytest.mark.parametrize("config", CONFIGS)
def test_a_checkpoint_may_hold_plain_settings_beside_its_tensors(trained: Trained, tmp_path: Path, config: str) -> None:
    torch.save({"model": theirs(trained), "config": CONFIGS[config], "epoch": 29}, tmp_path / "checkpoint.pth")
    loaded = read(str(tmp_path / "checkpoint.pth"), sizes(trained, vocabulary(trained, tmp_path / "vocab.txt"))[1::2], "aptm-paper")
    one, two = loaded.method.state_dict(), trained.method.state_dict()
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in two) and loaded.origins is None


def test_a_checkpoint_of_the_authors_is_evaluated_as_published(data: Path, trained: Trained, tmp_path: Path, mals: Mals) -> None:
    torch.save({"model": theirs(trained), "config": CONFIGS["dict"]}, tmp_path / "checkpoint_best.pth")
    words = ["--data", data, "--split", "train", "--rerank", "published", "--k", 4, "--workers", 0, "--no-attributes", "--json"]
    paper = ["--preset", "aptm-paper", *sizes(trained, vocabulary(trained, tmp_path / "vocab.txt"))]
    result = mals("evaluate", "checkpoint_best.pth", *paper, *words)
    assert result.returncode == 0, result.stderr
    results = json.loads(result.stdout)
    assert "logit + 8 x cosine" in results["retrieval"]["protocol"]
    own = evaluate(trained, open_gallery(trained, [data], "train", "none"), "published", 4)
    assert own.to_json()["retrieval"] == results["retrieval"]


class Code:
    """An object whose unpickling would run code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("code in a checkpoint was run",))


def test_what_is_no_checkpoint_of_theirs_is_refused_in_one_sentence(trained: Trained, tmp_path: Path, mals: Mals) -> None:
    state = theirs(trained)
    clip = {"visual.proj": torch.zeros(4, 4), "transformer.resblocks.0.ln_1.weight": torch.ones(4), "logit_scale": torch.zeros(())}
    cases: dict[str, tuple[Any, str]] = {
        "code.pth": ({"model": state, "config": Code()}, "holds more than tensors"),
        "clip.pth": ({"model": clip}, "is not a checkpoint of APTM: it has visual.proj, transformer.resblocks.0.ln_1.weight, logit_scale"),
        "more.pth": ({"model": state | {"idm_head.weight": torch.zeros(2)}}, "is not a checkpoint of APTM: it has idm_head.weight"),
        "half.pth": ({"model": {name: state[name] for name in state if "crossattention" not in name}}, "parameters that are needed"),
        "none.pth": ({"model": {}}, "is not a checkpoint of APTM: it has no tensor"),
    }
    vocab = vocabulary(trained, tmp_path / "vocab.txt")
    sets = sizes(trained, vocab)[1::2]
    for name, (saved, message) in cases.items():
        torch.save(saved, tmp_path / name)
        with pytest.raises(UserError, match=message):
            read(str(tmp_path / name), sets, "aptm-paper")
    whole = (tmp_path / "half.pth").read_bytes()
    for size in (0, 1, 5000, len(whole) // 2, len(whole) - 1):
        (tmp_path / "torn.pth").write_bytes(whole[:size])
        with pytest.raises(UserError, match="or is not complete"):
            read(str(tmp_path / "torn.pth"), sets, "aptm-paper")
    result = mals("evaluate", "code.pth", "--data", "nowhere")
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and "(it holds " in result.stderr


def test_a_gallery_without_a_picture_is_refused(out: Path, data: Path, mals: Mals, tmp_path: Path) -> None:
    (tmp_path / "empty/data").mkdir(parents=True)
    table = pq.read_table(next((data / "data").glob("*.parquet")))
    pq.write_table(table.slice(0, 0), tmp_path / "empty/data/test-00000-of-00001.parquet")
    result = mals("zeroshot", out, "--data", "empty", "--workers", 0)
    assert (result.returncode, result.stderr) == (2, "empty is empty: its split test has no row\n")

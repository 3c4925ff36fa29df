"""Checkpoints of other projects, in their layouts, give their authors' outputs; what is no such checkpoint is refused in one sentence."""

import json
import logging
import os
import pickle
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from mals.errors import UserError
from pretrain import methods, published
from pretrain.data.batch import Text
from pretrain.data.tokenizers import ClipBpe, WordPiece
from pretrain.data.tokenizers.clip import END, MASK, START, _byte_letters
from pretrain.data.tokenizers.vocabulary import SPECIAL
from pretrain.trained_method import Trained, read
from tests.pretrain.foreign import EasyDict

GOLDEN = Path(os.environ.get("MALS_GOLDEN") or Path(__file__).parents[1] / "golden") / "methods"
CLOSE = {"atol": 1e-4, "rtol": 1e-4}


def facts(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((GOLDEN / name / "config.json").read_text())
    return content


def tensors(name: str) -> dict[str, Tensor]:
    return load_file(GOLDEN / name / "tensors.safetensors")


def authors(name: str) -> dict[str, Tensor]:
    """The authors' weights, in float16 where their training keeps them so."""
    return load_file(GOLDEN / name / "weights.safetensors")


def of_irra(name: str, file: Path, prefix: str = "", **changes: Tensor) -> Path:
    """A checkpoint with the keys that IRRA's code writes, and its options beside it."""
    c = facts(name)
    state = {f"{prefix}{key}": value for key, value in {**authors(name), **changes}.items()}
    rest = {
        "optimizer": {"state": {0: {"step": 3, "exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1e-5, "betas": (0.9, 0.999)}]},
        "scheduler": {"milestones": (20, 50), "last_epoch": 5},
        "num_epoch": 60,
        "iteration": 0,
        "epoch": 5,
    }
    torch.save({"model": state, **rest}, file)
    options = {"img_size": tuple(c["image"]), "stride_size": c["patch"], "text_length": c["context"], "milestones": (20, 50)}
    (file.parent / published.CONFIG).write_text(yaml.dump({**options, "select_ratio": c.get("select_ratio")}))
    return file


def clip_words(name: str, folder: Path) -> str:
    """The setting of a tokenizer with as many entries as the authors' small text tower has."""
    c = facts(name)
    letters = [piece for letter in _byte_letters() for piece in (letter, f"{letter}</w>")]
    pieces = [*letters[: c["vocab"] - 3], MASK, START, END]
    ClipBpe({piece: number for number, piece in enumerate(pieces)}, []).save(folder / "words.json")
    return f"data.tokenizer={folder / 'words.json'}"


def embeddings(trained: Trained, images: Tensor, ids: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        mask = ids > 0 if mask is None else mask.bool()
        return trained.method.embed_image(images), trained.method.embed_text(Text(ids, mask))


def same_towers(trained: Trained) -> None:
    """IRRA's outputs."""
    v = tensors("irra")
    image, text = embeddings(trained, v["in.images"], v["in.caption_ids_clean"])
    torch.testing.assert_close(image, v["out.masked.image_embedding"], **CLOSE)
    torch.testing.assert_close(text, v["out.clean.text_embedding"], **CLOSE)


@pytest.mark.golden
@pytest.mark.parametrize("prefix", ["", "module."])
def test_irra_and_ga_dms(tmp_path: Path, prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    """`module.` comes from a training on several GPUs."""
    file = of_irra("irra", tmp_path / "best.pth", prefix)
    with caplog.at_level(logging.INFO, "pretrain"):
        trained = read(str(file), [clip_words("irra", tmp_path)])
    assert (trained.config.method, trained.config.preset) == ("irra", "irra-cuhk")
    same_towers(trained)
    count = len([name for name in authors("irra") if name.startswith("base_model.")])
    assert f"best.pth: {count} of {count} parameters" in caplog.text


@pytest.mark.golden
def test_mllm4text_and_ham_have_towers_alone(tmp_path: Path) -> None:
    state = {f"module.{name}": value for name, value in authors("irra").items() if name.startswith("base_model.")}
    of_irra("irra", tmp_path / "best.pth")
    torch.save({"model": state, "epoch": 3}, tmp_path / "best0.pth")
    same_towers(read(str(tmp_path / "best0.pth"), [clip_words("irra", tmp_path)]))


@pytest.mark.golden
def test_tbps_clip_gives_its_towers(tmp_path: Path, easydict: None, caplog: pytest.LogCaptureFixture) -> None:
    """Its options are an EasyDict inside the checkpoint; the head of its self-supervision is not used."""
    c, state = facts("irra"), {}
    for name, value in authors("irra").items():
        tower, _, own = name.partition(".")
        if tower == "base_model":
            state[own if own.startswith("visual.") else f"encode_text.{own}"] = value
    more = {"logit_scale": torch.tensor(4.6), "simclr_mlp.0.weight": torch.ones(2, 2), "simclr_mlp.0.bias": torch.ones(2)}
    config = EasyDict({"experiment": {"input_resolution": c["image"], "text_length": c["context"]}, "device": 0})
    torch.save({"model": {**state, **more}, "optimizer": {}, "config": config}, tmp_path / "checkpoint_best.pth")
    del sys.modules["easydict"]
    with caplog.at_level(logging.INFO, "pretrain"):
        same_towers(read(str(tmp_path / "checkpoint_best.pth"), [clip_words("irra", tmp_path)]))


@pytest.mark.golden
@pytest.mark.skipif("uit" not in methods.METHODS, reason="the method is not there yet")
def test_sen_with_its_spare_modules(tmp_path: Path) -> None:
    trained = read(str(of_irra("sen", tmp_path / "best.pth")), [clip_words("sen", tmp_path)])
    v = tensors("sen")
    image, text = embeddings(trained, v["in.images"], v["in.caption_ids"])
    assert trained.config.method == "uit"
    near(image @ text.T, v, "similarity", image, text)


@pytest.mark.golden
@pytest.mark.skipif("rde" not in methods.METHODS, reason="the method is not there yet")
def test_rde_with_the_share_of_its_options(tmp_path: Path) -> None:
    trained = read(str(of_irra("rde", tmp_path / "best.pth")), [clip_words("rde", tmp_path)])
    v = tensors("rde")
    image, text = embeddings(trained, v["in.images"], v["in.caption_ids"])
    assert trained.config.method == "rde"
    near(image @ text.T, v, "similarity", image, text)


@pytest.mark.golden
def test_lgur_with_its_best_score_in_numpy(tmp_path: Path) -> None:
    state = authors("lgur")
    network = {name.removeprefix("network."): value.float() for name, value in state.items() if name.startswith("network.")}
    classifiers = {name.removeprefix("W."): value.float() for name, value in state.items() if name.startswith("W.")}
    content = {"test_best": np.float64(0.6525), "network": network, "optimizer": {"state": {}, "param_groups": []}, "W": classifiers}
    torch.save({**content, "epoch": 49}, tmp_path / "best.pth.tar")
    trained = read(str(tmp_path / "best.pth.tar"), lgur_sizes(tmp_path))
    v = tensors("lgur")
    image, text = embeddings(trained, v["in.images"], v["in.caption_ids"], v["in.caption_mask"])
    assert trained.config.preset == "lgur-cuhk"
    torch.testing.assert_close(text @ image.T, v["out.similarity"], **CLOSE)


def lgur_sizes(folder: Path) -> list[str]:
    """The settings of the authors' small network, which are not in the checkpoint."""
    c = facts("lgur")
    vit = {
        "patch": "patch",
        "channels": "width",
        "layers": "vit_depth",
        "blocks": "vit_blocks_run",
        "heads": "vit_heads",
        "inter": "vit_mlp",
    }
    text = {"hidden": "bert_hidden", "layers": "bert_layers", "heads": "bert_heads", "inter": "bert_inter", "positions": "bert_positions"}
    own = {"atoms": "atoms", "prototypes": "prototypes", "heads": "heads", "dga_head": "dga_head_dim", "dga_inter": "dga_ffn"}
    own |= {"pgu_layers": "pgu_layers", "pgu_head": "pgu_head_dim", "pgu_inter": "pgu_ffn", "out": "out"}
    sets = [f"lgur.vit.{key}={c[name]}" for key, name in vit.items()] + [f"lgur.text.{key}={c[name]}" for key, name in text.items()]
    sets += [f"lgur.{key}={c[name]}" for key, name in own.items()]
    WordPiece.of([*SPECIAL, *(f"word{number}" for number in range(c["bert_vocab"] - len(SPECIAL)))]).save(folder / "words.json")
    size = [f"data.height={c['image'][0]}", f"data.width={c['image'][1]}", f"data.max_tokens={c['caption_length_max']}"]
    return [*sets, *size, f"data.tokenizer={folder / 'words.json'}"]


def of_ssan(file: Path) -> Path:
    """A checkpoint with the keys that SSAN's code writes: without the global classifiers."""
    state = authors("ssan")
    groups = {
        group: {name.removeprefix(f"{group}."): value for name, value in state.items() if name.startswith(f"{group}.")}
        for group in ("network", "WN", "WL")
    }
    torch.save({**groups, "test_best": np.float64(0.61), "epoch": 41}, file)
    return file


def ssan_sizes() -> list[str]:
    c = facts("ssan")
    own = {"word_width": "word_width", "width": "feature_length", "relation_width": "nonlocal_out", "parts": "parts"}
    vision = {"stem": "resnet_stem", "depths": "resnet_layers", "widths": "resnet_channels"}
    sets = [f"ssan.{key}={c[name]}" for key, name in own.items()] + [f"ssan.vision.{key}={c[name]}" for key, name in vision.items()]
    return [*sets, f"data.height={c['image'][0]}", f"data.width={c['image'][1]}", f"data.max_tokens={c['caption_length_max']}"]


@pytest.mark.golden
@pytest.mark.parametrize("where", ["beside", "named"])
def test_ssan_with_its_word_list(tmp_path: Path, where: str) -> None:
    file = of_ssan(tmp_path / "best.pth.tar")
    words = tmp_path / ("ind2word.pkl" if where == "beside" else "vocabulary.pkl")
    words.write_bytes(pickle.dumps([f"word{number}" for number in range(facts("ssan")["vocab"] - 5)]))
    named = [f"data.tokenizer={words}"] if where == "named" else []
    trained = read(str(file), [*ssan_sizes(), *named])
    v = tensors("ssan")
    mask = torch.arange(v["in.caption_ids"].shape[1]) < v["in.caption_lengths"][:, None]
    image, text = embeddings(trained, v["in.images"].float(), v["in.caption_ids"], mask)
    torch.testing.assert_close(text @ image.T, v["out.eval.similarity"], **CLOSE)
    assert trained.tokenizer.encode(["word0 unknown word2"], multiple=1).ids.tolist() == [[1, 3]]


@pytest.mark.golden
def test_ssan_without_its_word_list_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is a checkpoint of SSAN.*put ind2word\.pkl beside it, or name it with --set data"):
        read(str(of_ssan(tmp_path / "best.pth.tar")), ssan_sizes())


def near(scores: Tensor, vectors: Mapping[str, Tensor], name: str, image: Tensor, text: Tensor) -> None:
    """The scores of all texts and images are among the authors' outputs, in either order."""
    expected = [value for key, value in vectors.items() if key.startswith("out.") and name in key]
    assert any(
        (value.shape == scores.shape and torch.allclose(value, scores, **CLOSE)) or torch.allclose(value, scores.T, **CLOSE)
        for value in expected
    )


@pytest.fixture
def easydict(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library, which is not installed: a checkpoint can be written with it."""
    module = types.ModuleType("easydict")
    module.EasyDict = EasyDict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "easydict", module)

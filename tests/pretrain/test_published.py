"""Checkpoints of other projects, in their layouts, give their authors' outputs; what is no such checkpoint is refused in one sentence."""

import json
import logging
import os
import pickle
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from mals import settings
from mals.errors import UserError
from mals.settings import merge
from mals.world.make import make
from mals.world.settings import WorldSettings
from pretrain import methods, published
from pretrain import settings as training_settings
from pretrain.build import prepare
from pretrain.data.batch import Text
from pretrain.data.tokenizers import ClipBpe, WordPiece
from pretrain.data.tokenizers.clip import END, MASK, START, _byte_letters
from pretrain.data.tokenizers.vocabulary import SPECIAL
from pretrain.finetune import configure
from pretrain.method import Method
from pretrain.release import release
from pretrain.trained_method import Trained, inherited_sizes, read
from tests.conftest import Mals
from tests.pretrain.foreign import EasyDict
from tests.pretrain.methods.lgur_sizes import published_sizes

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
def test_clip_itself_sees_squares(tmp_path: Path) -> None:
    names = [name for name in authors("irra") if name.startswith("base_model.")]
    state = {name.removeprefix("base_model."): authors("irra")[name] for name in names}
    state["visual.positional_embedding"] = tensors("irra")["in.positional_embedding_square"]
    torch.save({**state, "logit_scale": torch.tensor(4.6)}, tmp_path / "ViT-B-16.pt")
    trained = read(str(tmp_path / "ViT-B-16.pt"), [clip_words("irra", tmp_path)])
    side = 4 * facts("irra")["patch"]
    assert (trained.config.data.height, trained.config.data.width) == (side, side)
    same = trained.method.state_dict()["base_model.visual.positional_embedding"]
    assert torch.equal(same, state["visual.positional_embedding"].float())


@pytest.mark.golden
@pytest.mark.parametrize(("name", "method"), [("sen", "uit"), ("rde", "rde")])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_sen_and_rde_with_modules_that_are_never_used(tmp_path: Path, name: str, method: str, prefix: str) -> None:
    """The share of the tokens that RDE selects is in its options."""
    trained = read(str(of_irra(name, tmp_path / "best.pth", prefix)), [clip_words(name, tmp_path)])
    v = tensors(name)
    image, text = embeddings(trained, v["in.images"], v["in.caption_ids"])
    torch.testing.assert_close(text @ image.T, v["out.similarity"], **CLOSE)
    assert trained.config.method == method and trained.config.data.max_tokens == facts(name)["context"]


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
    section = published_sizes(c)
    parts = {part: section.pop(part) for part in ("vit", "text")}
    sets = [f"lgur.{part}.{key}={value}" for part, values in parts.items() for key, value in values.items()]
    sets += [f"lgur.{key}={value}" for key, value in section.items()]
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
    published_score = len(trained.config.ssan.levels) * text @ image.T  # the sum of the levels' cosines, and ours is their mean
    torch.testing.assert_close(published_score, v["out.eval.similarity"], **CLOSE)
    assert trained.tokenizer.encode(["word0 unknown word2"], multiple=1).ids.tolist() == [[1, 3]]


@pytest.mark.golden
def test_ssan_without_its_word_list_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is a checkpoint of SSAN.*put ind2word\.pkl beside it, or name it with --set data"):
        read(str(of_ssan(tmp_path / "best.pth.tar")), ssan_sizes())


def tuned(file: Path, world: Path, out: Path, *sets: str) -> Method:
    """IRRA at the beginning of a fine-tuning from a checkpoint, with images of another size."""
    more = [clip_words("irra", out.parent), "data.height=128", "data.width=64", "data.workers=0", "irra.cross_layers=2", *sets]
    config = configure("irra-cuhk", None, more, str(file))
    assert (config.irra.vision.channels, config.irra.text.layers) == (128, 2)  # type: ignore[attr-defined]
    out.mkdir(exist_ok=True)
    return prepare(config, [str(world)], out).method


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three persons to train on."""
    folder = tmp_path_factory.mktemp("published") / "world"
    make(str(folder), WorldSettings.checked(persons=5, views=2, split="train=0.6,val=0.2,test=0.2", seed=5, height=64), workers=1)
    return folder


@pytest.mark.golden
def test_a_fine_tuning_starts_from_another_projects_checkpoint_with_a_new_classifier(tmp_path: Path, world: Path) -> None:
    method = tuned(of_irra("irra", tmp_path / "best.pth"), world, tmp_path / "out")
    own, theirs = method.state_dict(), authors("irra")
    table = own.pop("base_model.visual.positional_embedding")
    assert table.shape == (129, 128) and torch.equal(table[0], theirs["base_model.visual.positional_embedding"][0].float())
    assert own["classifier.weight"].shape == (3, 128) and theirs["classifier.weight"].shape == (9, 128)
    same = {name for name, value in own.items() if name in theirs and torch.equal(value, theirs[name].float())}
    assert same == own.keys() - {"classifier.weight", "classifier.bias"}


@pytest.mark.golden
def test_a_classifier_is_kept_on_request_where_the_persons_are_as_many(tmp_path: Path, world: Path) -> None:
    message = r"^start_heads: classifier\.bias has 3 classes, one for each person of the data, and \S+ has 9 classes; without start_heads"
    with pytest.raises(UserError, match=message):
        tuned(of_irra("irra", tmp_path / "best.pth"), world, tmp_path / "out", "start_heads=true")
    heads = {"classifier.weight": torch.full((3, 128), 0.5), "classifier.bias": torch.full((3,), 0.25)}
    method = tuned(of_irra("irra", tmp_path / "three.pth", **heads), world, tmp_path / "out", "start_heads=true")
    assert all(torch.equal(method.state_dict()[name], value) for name, value in heads.items())
    torch.save({"model": {name: value for name, value in authors("irra").items() if "base_model" in name}}, tmp_path / "towers.pth")
    with pytest.raises(UserError, match=r"classifier\.bias has 3 classes, one for each person of the data, and \S+ has none; "):
        tuned(tmp_path / "towers.pth", world, tmp_path / "out", "start_heads=true")


@pytest.mark.golden
def test_the_heads_that_a_checkpoint_has_not_begin_anew(tmp_path: Path, world: Path) -> None:
    towers = {name: value for name, value in authors("irra").items() if name.startswith("base_model.")}
    torch.save({"model": towers}, tmp_path / "towers.pth")
    method = tuned(tmp_path / "towers.pth", world, tmp_path / "out")
    assert torch.equal(method.state_dict()["base_model.visual.proj"], towers["base_model.visual.proj"].float())
    assert method.state_dict()["mlm_head.fc.weight"].std() > 0


@pytest.mark.golden
def test_the_commands_read_another_projects_checkpoint(tmp_path: Path, world: Path, mals: Mals) -> None:
    file, words = of_irra("irra", tmp_path / "best.pth"), clip_words("irra", tmp_path)
    done = mals("evaluate", file, "--data", world, "--set", words, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["retrieval"]["captions"] > 0 and "best.pth: 61 of 61 parameters" in done.stderr
    done = mals("release", file, "--to", tmp_path / "released", "--set", words)
    assert done.returncode == 0 and (tmp_path / "released/model.safetensors").is_file(), done.stderr
    torch.save({"model": {"visual_encoder_m.a": torch.ones(1)}}, tmp_path / "rasa.pth")
    for command in (
        ["evaluate", tmp_path / "rasa.pth"],
        ["finetune", "--preset", "irra-cuhk", "--out", "o", "--init", tmp_path / "rasa.pth"],
    ):
        done = mals(*command, "--data", world)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "is a checkpoint of RaSa" in done.stderr


@pytest.mark.golden
def test_a_fine_tuning_of_ssan_has_the_table_and_the_words_of_its_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "ind2word.pkl").write_bytes(pickle.dumps(["a", "man"]))
    config = configure("ssan-cuhk", None, [], str(of_ssan(tmp_path / "best.pth.tar")))
    assert config.ssan.table == facts("ssan")["vocab"]  # type: ignore[attr-defined]
    assert config.data.tokenizer == str(tmp_path / "ind2word.pkl")


@pytest.mark.golden
@pytest.mark.parametrize("preset", ["lgur-cuhk", "ssan-cuhk", "aptm-paper"])
def test_a_checkpoint_of_one_method_is_refused_by_another(tmp_path: Path, preset: str) -> None:
    (tmp_path / "words.txt").write_text("a man\n")
    WordPiece.of([*SPECIAL, "man"]).save(tmp_path / "pieces.json")
    words = tmp_path / ("words.txt" if preset == "ssan-cuhk" else "pieces.json")
    with pytest.raises(UserError, match=r"best\.pth (has 0 of the [\d,]+ parameters|is not a checkpoint of APTM)") as caught:
        read(str(of_irra("irra", tmp_path / "best.pth")), [f"data.tokenizer={words}", "data.height=384", "data.width=128"], preset)
    assert "\n" not in str(caught.value)


@pytest.mark.golden
@pytest.mark.parametrize(("name", "preset"), {"irra": "irra", "sen": "uit", "rde": "rde", "lgur": "lgur", "ssan": "ssan"}.items())
def test_checkpoints_of_full_size_are_recognised_and_give_the_sizes_of_the_preset(name: str, preset: str) -> None:
    groups = json.loads((GOLDEN / name / "facts.json").read_text())["optimizer_groups"]
    shapes = {name: torch.empty(shape, device="meta") for name, shape, *_ in groups}
    project = published.recognise(shapes)
    assert project is not None and project.preset == f"{preset}-cuhk"
    config = training_settings.check({"preset": project.preset})
    file = published.Checkpoint("best.pth", shapes, project, {})
    sizes = merge(config.model_dump(), inherited_sizes(file, config))
    assert training_settings.check(sizes) == config.model_copy(update={"data": type(config.data)(**sizes["data"])})
    assert published.image_size(file, config.data.height, config.data.width) == (384, 128)


@pytest.mark.golden
def test_a_release_of_another_projects_checkpoint_embeds_like_it(tmp_path: Path) -> None:
    file, words = of_irra("irra", tmp_path / "best.pth"), clip_words("irra", tmp_path)
    release(str(file), str(tmp_path / "released"), sets=[words])
    (tmp_path / published.CONFIG).unlink()
    released = read(str(tmp_path / "released"))
    same_towers(released)
    assert not any(name.startswith(("classifier", "mlm_head")) for name in load_file(tmp_path / "released/model.safetensors"))
    assert "converted by mals from best.pth, a checkpoint with the layout of IRRA" in (tmp_path / "released/README.md").read_text()
    with pytest.raises(UserError, match="is no file of weights: --preset and --set are for these"):
        release(str(tmp_path / "released"), str(tmp_path / "other"), preset="irra-cuhk")


@pytest.mark.golden
def test_weights_under_95_percent_are_refused_with_the_first_names_that_lack(tmp_path: Path) -> None:
    """A wrong prefix loads nothing: that is a mistake, not a result."""
    state = {name: value for name, value in authors("irra").items() if name.startswith("base_model.")}
    last = [name for name in state if not re.search(r"base_model\.transformer\.resblocks\.1\.(attn|mlp)", name)]
    torch.save({"model": {name: state[name] for name in last}}, tmp_path / "cut.pth")
    with pytest.raises(UserError, match=r"cut\.pth has 5\d of the 61 .* under 95%; it lacks base_model\.transformer\.resblocks\.1\.attn"):
        read(str(tmp_path / "cut.pth"), ["irra.text.layers=2", "data.height=64", "data.width=32", clip_words("irra", tmp_path)])
    torch.save({"model": {f"backbone.{name}": value for name, value in state.items()}}, tmp_path / "prefix.pth")
    with pytest.raises(UserError, match=r"is of no project that mals knows, its parameters are backbone\.base_model\..*--preset names"):
        read(str(tmp_path / "prefix.pth"))
    with pytest.raises(UserError, match=r"prefix\.pth has 0 of the 61 parameters .* under 95%; it lacks base_model\."):
        read(str(tmp_path / "prefix.pth"), [*irra_sizes(), clip_words("irra", tmp_path)], "irra-cuhk")


@pytest.mark.golden
def test_a_single_tensor_that_lacks_is_refused_by_name(tmp_path: Path) -> None:
    state = {name: value for name, value in authors("irra").items() if name != "base_model.ln_final.bias"}
    of_irra("irra", tmp_path / "best.pth")
    torch.save({"model": state}, tmp_path / "best.pth")
    with pytest.raises(UserError, match=r"best\.pth does not fit the model: without base_model\.ln_final\.bias$"):
        read(str(tmp_path / "best.pth"), [clip_words("irra", tmp_path)])


def irra_sizes() -> list[str]:
    c = facts("irra")
    vision = f"irra.vision={{patch: {c['patch']}, channels: {c['vision_width']}, layers: {c['vision_layers']}}}"
    text = f"irra.text={{channels: {c['text_width']}, layers: {c['text_layers']}, context: {c['context']}}}"
    size = [f"data.height={c['image'][0]}", f"data.width={c['image'][1]}", f"data.max_tokens={c['context']}"]
    return [vision, text, *size, f"irra.embed={c['embed']}"]


REFUSED = {
    "PLIP": {"ImgEncoder_state_dict": {"conv1.weight": 0}, "TxtEncoder_state_dict": {"a": 0}},
    "RaSa": {"model": dict.fromkeys(["visual_encoder.cls_token", "visual_encoder_m.cls_token", "prd_head.weight", "image_queue"], 0)},
    "CADA": {"model": dict.fromkeys(["visual_encoder.cls_token", "text_encoder.a", "text_decoder.a", "itm_local_head.weight"], 0)},
    "FAFA": {"epoch": 1, "model": dict.fromkeys(["query_tokens", "Qformer.bert.a", "visual_encoder.cls_token"], 0)},
    "SynTBPR": {"model": dict.fromkeys(["visual.cls_token", "visual.blocks.0.norm1.weight", "text.token_embedding.weight"], 0)},
    "WoRA": {"model": dict.fromkeys(["vision_encoder.layers.0.blocks.0.attn.qkv.lora.A", "text_encoder.bert.a", "itm_head.0.weight"], 0)},
    "CMP": {"model": dict.fromkeys(["vision_encoder.layers.0.blocks.0.norm1.weight", "text_encoder.a", "pose_block.0.weight"], 0)},
    "X-VLM": {"model": dict.fromkeys(["vision_encoder.layers.0.blocks.0.norm1.weight", "text_encoder.a", "bbox_head.0.weight"], 0)},
}


@pytest.mark.parametrize("project", list(REFUSED))
@pytest.mark.parametrize("preset", [None, "irra-cuhk", "aptm-paper"])
def test_projects_that_no_method_reads_are_refused_by_name(tmp_path: Path, project: str, preset: str | None) -> None:
    groups = REFUSED[project].items()
    content = {key: {name: torch.zeros(1) for name in value} if isinstance(value, dict) else value for key, value in groups}
    torch.save(content, tmp_path / "best.pth")
    with pytest.raises(UserError, match=rf"^\S+best\.pth is a checkpoint of {project}\b.*, which mals does not read: ") as caught:
        read(str(tmp_path / "best.pth"), preset=preset)
    assert "\n" not in str(caught.value)
    kind = methods.find("irra" if preset is None else preset.split("-")[0])
    with pytest.raises(UserError, match=f"is a checkpoint of {project}"):
        kind.read_weights(str(tmp_path / "best.pth"))


def test_every_project_that_is_read_has_a_preset_of_a_method() -> None:
    for project in published.PROJECTS:
        assert (project.preset is None) == bool(project.reason)
        if project.preset is not None and project.preset in settings.presets(training_settings.TRAINING):
            assert training_settings.check({"preset": project.preset}).method in methods.METHODS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("img_size: !!python/object/apply:os.system ['touch {marker}']", "could not determine a constructor for the tag"),
        ("a: !!python/name:os.system", "could not determine a constructor for the tag"),
        ("a: !!python/tuple {b: 1}", "a tuple that is no sequence"),
        ("- a", "holds no options of a training"),
        ("a: [", "cannot be read as the options of a training"),
    ],
)
def test_options_with_more_than_data_are_refused_and_run_nothing(tmp_path: Path, text: str, message: str) -> None:
    marker = tmp_path / "it_ran"
    (tmp_path / published.CONFIG).write_text(text.replace("{marker}", str(marker)))
    with pytest.raises(UserError, match=message) as caught:
        published.read_config(tmp_path / published.CONFIG)
    assert "\n" not in str(caught.value) and not marker.exists()


def test_options_have_tuples(tmp_path: Path) -> None:
    (tmp_path / published.CONFIG).write_text(yaml.dump({"img_size": (384, 128), "milestones": (20, 50), "lr": 1e-5}))
    assert "!!python/tuple" in (tmp_path / published.CONFIG).read_text()
    assert published.read_config(tmp_path / published.CONFIG) == {"img_size": (384, 128), "milestones": (20, 50), "lr": 1e-5}


def clip_checkpoint(positions: int, patch: int = 16, **config: Any) -> published.Checkpoint:
    shapes = {"visual.conv1.weight": (8, 3, patch, patch), "visual.positional_embedding": (positions, 8)}
    tensors = {name: torch.zeros(shape) for name, shape in shapes.items()}
    return published.Checkpoint("best.pth", tensors, next(project for project in published.PROJECTS if project.clip), config)


def test_the_size_of_images_is_that_of_the_options_of_a_square_or_of_the_preset() -> None:
    assert published.image_size(clip_checkpoint(193, img_size=(256, 192)), 384, 128) == (256, 192)
    assert published.image_size(clip_checkpoint(197, experiment={"input_resolution": [224, 224]}), 384, 128) == (224, 224)
    assert published.image_size(clip_checkpoint(193), 384, 128) == (384, 128)
    assert published.image_size(clip_checkpoint(197), 384, 128) == (224, 224)
    assert published.image_size(clip_checkpoint(257, 14), 384, 128) == (224, 224)
    with pytest.raises(UserError, match="patches of 16 pixels every 12 pixels"):
        published.image_size(clip_checkpoint(197, stride_size=12), 384, 128)


@pytest.fixture
def easydict(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library, which is not installed: a checkpoint can be written with it."""
    module = types.ModuleType("easydict")
    module.EasyDict = EasyDict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "easydict", module)

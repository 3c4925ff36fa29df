"""Adapters of the generator: ControlNet and T2I-Adapter by pose, IP-Adapter by the person's first image; small ones in the real formats."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mals import settings
from mals.errors import UserError
from mals.stages.generate import Generate, stage
from tests.mals.stages.test_generate import batch, pixels
from tests.small import diffusion

PROMPTS = ["a man in a red coat", "a man in a red coat at night", "a man in a red coat on a bridge"]
FIRST = {"id": "r0", "prompt": PROMPTS[0], "negative_prompt": None, "seed": 100}
VIEWS = {"first_view": [None, FIRST, FIRST], "id": ["r0", "r1", "r2"]}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Stable Diffusion, adapters for it, and a file of two poses."""
    folder = tmp_path_factory.mktemp("adapters")
    model = diffusion.build_stable_diffusion(folder / "sd")
    diffusion.build_controlnet(folder / "controlnet", model)
    diffusion.build_t2i_adapter(folder / "t2i_adapter", model)
    diffusion.build_ip_adapter(folder / "ip_adapter", model)
    rng = np.random.default_rng(0)
    poses = [{"keypoints": [[float(x), float(y), 0.9] for x, y in rng.uniform(0, 60, (17, 2))]} for _ in range(2)]
    (folder / "poses.jsonl").write_text("".join(json.dumps(pose) + "\n" for pose in poses))
    return folder


def ready(models: Path, **changes: Any) -> Generate:
    tree = {"model": str(models / "sd"), "height": 64, "width": 32, "steps": 3, "guidance": 2.0, "dtype": "fp32", "batch": 3, **changes}
    generate = stage(settings.check({"generate": tree, "plan": {"views": 3}}))
    generate.setup()
    return generate


def images(models: Path, **changes: Any) -> list[np.ndarray]:
    return [pixels(row) for row in ready(models, **changes)(batch(PROMPTS, **VIEWS)).to_pylist()]


def control(models: Path, kind: str = "controlnet", **changes: Any) -> dict[str, Any]:
    return {"control": {"model": str(models / kind), "kind": kind, "poses": str(models / "poses.jsonl"), **changes}}


def ip_adapter(models: Path, **changes: Any) -> dict[str, Any]:
    return {"ip_adapter": {"model": str(models / "ip_adapter"), "weight_name": "ip-adapter.safetensors", **changes}}


def same(first: list[np.ndarray], second: list[np.ndarray]) -> list[bool]:
    """For each row whether both images are equal up to rounding."""
    return [int(np.abs(one - other).max()) <= 1 for one, other in zip(first, second, strict=True)]


@pytest.mark.parametrize("kind", ["controlnet", "t2i_adapter"])
def test_a_pose_adapter_changes_the_images_as_far_as_its_scale_says(kind: str, models: Path) -> None:
    plain, none, full = (
        images(models),
        images(models, **control(models, kind, scale=0.0)),
        images(models, **control(models, kind, scale=1.0)),
    )
    assert same(plain, none) == [True] * 3
    assert same(plain, full) == [False] * 3


def test_the_pose_of_a_row_is_a_function_of_its_id(models: Path) -> None:
    generate = ready(models, **control(models))
    rows = generate(batch([PROMPTS[0]] * 3, id=["r0", "r3", "r0"], seed=[5, 5, 5])).to_pylist()
    again = ready(models, **control(models))(batch([PROMPTS[1], PROMPTS[0], PROMPTS[2]], id=["r7", "r3", "r9"], seed=[1, 5, 2])).to_pylist()
    assert rows[1]["image"] == again[1]["image"]
    skeletons = {generate.control.image(f"r{number}").tobytes() for number in range(20)} if generate.control else set()
    assert len(skeletons) == 2


def test_further_images_are_made_from_the_first_one_with_its_pose_and_theirs(models: Path) -> None:
    rows = ready(models, view_strength=0.7, **control(models))(batch(PROMPTS, **VIEWS)).to_pylist()
    assert [row["pipeline"] for row in rows] == ["StableDiffusionControlNetPipeline"] + ["StableDiffusionControlNetImg2ImgPipeline"] * 2
    alone = ready(models, view_strength=0.7, **control(models))
    others = {"first_view": [None, FIRST, None], "id": ["x", "r1", "y"]}
    assert alone(batch(["a", PROMPTS[1], "b"], **others)).to_pylist()[1]["image"] == rows[1]["image"]


def test_the_first_image_reaches_the_further_ones_by_an_ip_adapter(models: Path) -> None:
    plain, none, full = images(models), images(models, **ip_adapter(models, scale=0.0)), images(models, **ip_adapter(models, scale=1.0))
    assert same(plain, none) == [True] * 3
    assert same(plain, full) == [True, False, False]
    other = {**VIEWS, "first_view": [None, FIRST, {**FIRST, "seed": 7}]}
    changed = [pixels(row) for row in ready(models, **ip_adapter(models, scale=1.0))(batch(PROMPTS, **other)).to_pylist()]
    assert same(full, changed) == [True, True, False]


def test_what_an_adapter_changes_is_part_of_the_parameters(models: Path, tmp_path: Path) -> None:
    params = ready(models, **control(models)).params()
    assert params["control"]["model"] == "controlnet" and params["control"]["revision"].startswith("sha256:")
    (tmp_path / "poses.jsonl").write_text((models / "poses.jsonl").read_text() + "\n")
    assert ready(models, **control(models, poses=str(tmp_path / "poses.jsonl"))).params()["control"]["poses"] != params["control"]["poses"]
    assert ready(models, **ip_adapter(models)).params()["ip_adapter"]["weight_name"] == "ip-adapter.safetensors"


def test_poses_of_a_packed_set_are_read(models: Path, tmp_path: Path) -> None:
    keypoints = [json.loads(line)["keypoints"] for line in (models / "poses.jsonl").read_text().splitlines()]
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"keypoints": [*keypoints, None]}), tmp_path / "data/train-00000.parquet")
    assert all(same(images(models, **control(models)), images(models, **control(models, poses=str(tmp_path)))))


def test_a_t2i_adapter_goes_with_no_image_to_image_and_says_so(models: Path) -> None:
    generate = ready(models, view_strength=0.7, **control(models, "t2i_adapter"))
    with pytest.raises(
        UserError, match=r"no image-to-image pipeline for StableDiffusionAdapterPipeline, but generate\.view_strength is set"
    ):
        generate(batch(PROMPTS, **VIEWS))


@pytest.mark.parametrize("kind", ["controlnet", "t2i_adapter"])
def test_an_adapter_of_another_model_is_refused_in_one_sentence(kind: str, models: Path, tmp_path: Path) -> None:
    sdxl = diffusion.build_stable_diffusion_xl(tmp_path / "sdxl")
    build = {"controlnet": diffusion.build_controlnet, "t2i_adapter": diffusion.build_t2i_adapter}[kind]
    unet = sdxl / "unet/config.json"
    build(tmp_path / kind, sdxl if kind == "controlnet" else wider(sdxl, tmp_path))
    assert unet.is_file()
    with pytest.raises(UserError, match=r"generate\.control\.model = \w+ does not fit sd"):
        ready(models, **control(tmp_path, kind, poses=str(models / "poses.jsonl")))


def wider(model: Path, folder: Path) -> Path:
    """The same model with twice as many channels."""
    from diffusers import UNet2DConditionModel

    config = json.loads((model / "unet/config.json").read_text()) | {"block_out_channels": [32, 64], "addition_embed_type": None}
    unet: Any = UNet2DConditionModel.from_config(config)
    unet.save_pretrained(folder / "wide/unet")
    return folder / "wide"


def test_an_ip_adapter_of_another_model_is_refused_in_one_sentence(models: Path, tmp_path: Path) -> None:
    diffusion.build_ip_adapter(tmp_path / "ip_adapter", diffusion.build_stable_diffusion_xl(tmp_path / "sdxl"))
    with pytest.raises(UserError, match=r"generate\.ip_adapter\.model = ip_adapter"):
        ready(models, **ip_adapter(tmp_path))
    with pytest.raises(UserError, match=r"ip_adapter has no other\.safetensors; name it with generate\.ip_adapter\.weight_name"):
        ready(models, **ip_adapter(models, weight_name="other.safetensors"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"keypoints": [[1, 2, 3]]}\n', "17 lists of x, y and score"),
        ('{"points": []}\n', "no .jsonl or .parquet file with keypoints"),
        ("", "has no pose with 8 keypoints"),
    ],
)
def test_poses_that_cannot_be_used_are_refused_in_one_sentence(text: str, words: str, models: Path, tmp_path: Path) -> None:
    (tmp_path / "poses.jsonl").write_text(text)
    with pytest.raises(UserError, match=words):
        ready(models, **control(models, poses=str(tmp_path / "poses.jsonl")))


def test_adapters_that_need_more_settings_say_so(models: Path) -> None:
    tree = {"generate": {"model": str(models / "sd"), **ip_adapter(models)}}
    with pytest.raises(UserError, match=r"set plan\.views over 1"):
        settings.check(tree)

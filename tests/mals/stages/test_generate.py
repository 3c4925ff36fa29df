import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mals import settings
from mals.config import Config
from mals.errors import UserError
from mals.grid.stage import ERROR, REJECT
from mals.planning.views import FIRST_VIEW
from mals.stages.generate import Generate, read, stage
from tests.images_of_every_kind import write_images
from tests.small import diffusion

HEIGHT, WIDTH = 64, 32
Rows = list[dict[str, Any]]
MEN = [f"a man in a {colour} coat" for colour in ("red", "blue", "green", "white")]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return diffusion.build_stable_diffusion(tmp_path_factory.mktemp("models") / "sd")


@pytest.fixture(scope="session")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return diffusion.build_stable_diffusion_xl(tmp_path_factory.mktemp("models") / "sdxl")


def configured(model: Path | str, **changes: Any) -> Config:
    tree = {"model": str(model), "height": HEIGHT, "width": WIDTH, "steps": 2, "guidance": 2.0, "dtype": "fp32", "batch": 4, **changes}
    return settings.check({"generate": tree, "plan": {"views": 4 if "view_strength" in changes else 1}})


def ready(model: Path | str, **changes: Any) -> Generate:
    generate = stage(configured(model, **changes))
    generate.setup()
    return generate


def batch(prompts: list[str], **columns: list[Any]) -> pa.RecordBatch:
    none: list[Any] = [None] * len(prompts)
    values_by_name: dict[str, list[Any]] = {
        "prompt": prompts,
        "negative_prompt": none,
        "seed": list(range(100, 100 + len(prompts))),
        "init_image": none,
        **columns,
    }
    kinds: dict[str, pa.DataType] = {"seed": pa.int64(), "first_view": FIRST_VIEW.type}
    return pa.record_batch({name: pa.array(values, kinds.get(name, pa.string())) for name, values in values_by_name.items()})


def run(generate: Generate, prompts: list[str], **columns: list[Any]) -> Rows:
    return generate(batch(prompts, **columns)).to_pylist()


def pixels(row: dict[str, Any]) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(row["image"]))).astype(np.int16)


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """An image of 90 x 60: left half red, right half blue."""
    levels = np.zeros((60, 90, 3), np.uint8)
    levels[:, :45, 0], levels[:, 45:, 2] = 255, 255
    Image.fromarray(levels).save(tmp_path / "street.png")
    return tmp_path / "street.png"


@pytest.fixture
def changed(tmp_path: Path, sd: Path) -> Callable[[str, Callable[[dict[str, torch.Tensor]], None]], Path]:
    """A copy of the Stable Diffusion model with the weights of one component changed."""

    def change(component: str, how: Callable[[dict[str, torch.Tensor]], None]) -> Path:
        import shutil

        shutil.copytree(sd, tmp_path / "changed")
        file = next((tmp_path / "changed" / component).glob("*.safetensors"))
        weights = load_file(file)
        how(weights)
        save_file(weights, file, metadata={"format": "pt"})
        return tmp_path / "changed"

    return change


def test_a_stable_diffusion_model_gives_an_image_a_row_with_the_settings_that_made_it(sd: Path) -> None:
    generate = ready(sd)
    answer = generate(batch(MEN))
    assert answer.schema.equals(pa.schema([*generate.adds, REJECT, ERROR]))
    rows = answer.to_pylist()
    revision = generate.params()["revision"]
    for row in rows:
        assert pixels(row).shape == (HEIGHT, WIDTH, 3) == (row["height"], row["width"], 3)
        assert (row["model"], row["revision"], row["pipeline"]) == ("sd", revision, "StableDiffusionPipeline")
        assert (row["scheduler"], row["steps"], row["guidance"], row["dtype"], row["batch"]) == ("PNDMScheduler", 2, 2.0, "fp32", 4)
        assert row["strength"] is None and row["lora"] is None and row["reject"] is None and row["error"] is None
    assert revision.startswith("sha256:")
    assert len({row["image"] for row in rows}) == 4


def test_images_are_jpegs_of_quality_95_without_colour_subsampling(sd: Path) -> None:
    row = run(ready(sd), MEN)[0]
    image = Image.open(BytesIO(row["image"]))
    same = BytesIO()
    Image.new("RGB", (8, 8)).save(same, "JPEG", quality=95, subsampling=0)
    reference = Image.open(same)
    assert image.format == "JPEG"
    assert image.quantization == reference.quantization  # type: ignore[attr-defined]
    assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]


def test_the_pixels_are_those_of_the_pipeline_itself_with_the_safety_checker_left_out(sd: Path) -> None:
    """The checker in the model's own folder calls everything unsafe and would blank it."""
    from diffusers import StableDiffusionPipeline

    pipeline: Any = StableDiffusionPipeline.from_pretrained(sd, safety_checker=None, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    seeds = [torch.Generator().manual_seed(100 + at) for at in range(4)]
    expected = pipeline(MEN, num_inference_steps=2, guidance_scale=2.0, height=HEIGHT, width=WIDTH, generator=seeds).images
    for row, image in zip(run(ready(sd), MEN), expected, strict=True):
        sink = BytesIO()
        image.save(sink, "JPEG", quality=95, subsampling=0)
        assert row["image"] == sink.getvalue()


def test_a_row_does_not_depend_on_its_rows_around_it(sd: Path) -> None:
    generate = ready(sd)
    first = run(generate, MEN)
    other = run(generate, [MEN[0], "a dog", "two people", ""], seed=[100, 7, 8, 9])
    again = run(generate, MEN)
    assert first[0]["image"] == other[0]["image"]
    assert first[1]["image"] != other[1]["image"]
    assert [row["image"] for row in first] == [row["image"] for row in again]


def test_the_seed_and_the_prompt_and_the_negative_prompt_each_change_the_image(sd: Path) -> None:
    generate = ready(sd, guidance=7.0)
    rows = run(generate, [MEN[0], MEN[0], MEN[1], MEN[0]], seed=[1, 2, 1, 1], negative_prompt=[None, None, None, "a crowd of people"])
    assert len({row["image"] for row in rows}) == 4


def test_another_batch_size_changes_an_image_by_rounding_only(sd: Path) -> None:
    generate = ready(sd)
    whole = run(generate, MEN)
    half = run(generate, MEN[:2])
    assert half[0]["batch"] == 2
    assert np.abs(pixels(whole[1]) - pixels(half[1])).max() <= 3


def test_sdxl_runs_with_its_two_text_encoders_and_without_a_watermark(sdxl: Path) -> None:
    generate = ready(sdxl)
    rows = run(generate, MEN, negative_prompt=[None, "blurry", None, None])
    assert {row["pipeline"] for row in rows} == {"StableDiffusionXLPipeline"}
    assert all(pixels(row).shape == (HEIGHT, WIDTH, 3) for row in rows)
    assert len({row["image"] for row in rows}) == 4
    assert generate._text.watermark is None


def test_sdxl_in_half_precision_decodes_without_overflow(sdxl: Path) -> None:
    rows = run(ready(sdxl, dtype="fp16"), MEN[:2])
    assert [row["reject"] for row in rows] == [None, None]
    assert rows[0]["dtype"] == "fp16"
    full = run(ready(sdxl), MEN[:2])
    assert np.abs(pixels(rows[0]) - pixels(full[0])).mean() < 8


@pytest.mark.parametrize(("model", "name"), [("sd", "StableDiffusionImg2ImgPipeline"), ("sdxl", "StableDiffusionXLImg2ImgPipeline")])
def test_rows_with_an_initial_image_go_through_image_to_image(model: str, name: str, street: Path, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(model)
    plain = run(ready(folder, steps=4), MEN)
    rows = run(ready(folder, steps=4, strength=0.5), MEN, init_image=[None, str(street), None, street.as_uri()])
    assert [row["pipeline"] == name for row in rows] == [False, True, False, True]
    assert [row["strength"] for row in rows] == [None, 0.5, None, 0.5]
    assert {row["batch"] for row in rows} == {4}
    assert pixels(rows[1]).shape == (HEIGHT, WIDTH, 3)
    assert [row["image"] == other["image"] for row, other in zip(rows, plain, strict=True)] == [True, False, True, False]


def test_strength_changes_the_result_of_image_to_image(sd: Path, street: Path) -> None:
    weak, strong = (run(ready(sd, steps=4, strength=strength), MEN[:1], init_image=[str(street)])[0] for strength in (0.25, 1.0))
    assert weak["image"] != strong["image"]


def views(prompts: list[str], **columns: list[Any]) -> dict[str, list[Any]]:
    """The columns of rows of one person, whose first image has the first prompt and the seed 100."""
    first = {"id": "first", "prompt": prompts[0], "negative_prompt": None, "seed": 100}
    return {"first_view": [None] + [first] * (len(prompts) - 1), **columns}


def test_further_images_of_a_person_are_made_from_its_first_one(sd: Path) -> None:
    prompts = ["a man in a red coat"] + [f"a man in a red coat {where}" for where in ("at night", "on a bridge", "in a park")]
    columns = views(prompts)
    near, far = (run(ready(sd, steps=10, view_strength=strength), prompts, **columns) for strength in (0.2, 1.0))
    plain = run(ready(sd, steps=10), prompts)
    assert near[0]["image"] == far[0]["image"] == plain[0]["image"]
    assert [row["strength"] for row in near] == [None, *[pytest.approx(0.2)] * 3]
    assert {row["origin"] for row in near} == {"generated"}
    distances = [[np.abs(pixels(row) - pixels(rows[0])).mean() for row in rows[1:]] for rows in (near, far)]
    assert all(one < other for one, other in zip(*distances, strict=True))
    other_first = {**columns["first_view"][1], "seed": 7}
    changed = run(ready(sd, steps=10, view_strength=0.2), prompts, first_view=[None, other_first, *columns["first_view"][2:]])
    assert [row["image"] == now["image"] for row, now in zip(near, changed, strict=True)] == [True, False, True, True]


def test_a_further_image_of_a_person_does_not_depend_on_its_neighbours(sd: Path) -> None:
    prompts = [f"a man in a red coat {where}" for where in ("here", "at night", "on a bridge", "in a park")]
    columns = views(prompts)
    whole = run(ready(sd, view_strength=0.6), prompts, **columns)
    generate = ready(sd, view_strength=0.6)
    run(generate, ["another"] * 4, first_view=[{**columns["first_view"][1], "seed": seed} for seed in range(4)])  # fills what it keeps
    alone = ["a woman", prompts[1], "a child", "a dog"]  # the row keeps its place and nothing else
    rows = run(generate, alone, first_view=[None, columns["first_view"][1], None, None])
    assert rows[1]["image"] == whole[1]["image"]


def test_a_first_image_that_is_not_finite_costs_the_images_made_from_it(changed: Any) -> None:
    def poison(weights: dict[str, torch.Tensor]) -> None:
        weights["conv_out.bias"].fill_(float("nan"))

    rows = run(ready(changed("unet", poison), view_strength=0.9), MEN, **views(MEN))
    assert [row["reject"] for row in rows] == [["nan_latents"]] * 4


def test_fewer_than_one_step_from_a_first_image_is_refused_in_one_sentence(sd: Path) -> None:
    with pytest.raises(UserError, match=r"generate\.view_strength = 0\.4 is less than one step"):
        run(ready(sd, view_strength=0.4), MEN, **views(MEN))


def test_an_initial_image_that_cannot_be_read_fails_its_row_alone(sd: Path, street: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"not an image")
    good = run(ready(sd), MEN, init_image=[None, str(street), None, str(street)])
    rows = run(ready(sd), MEN, init_image=[str(tmp_path / "nowhere.png"), str(street), str(tmp_path / "broken.jpg"), str(street)])
    assert rows[0]["error"] == f"ValueError: cannot read init image {tmp_path / 'nowhere.png'} (FileNotFoundError)"
    assert rows[2]["error"] == f"ValueError: cannot read init image {tmp_path / 'broken.jpg'} (the file is no image of a kind that is read)"
    assert rows[0]["image"] is None and rows[2]["image"] is None
    assert [row["image"] for row in rows[1::2]] == [row["image"] for row in good[1::2]]


def test_a_batch_of_unreadable_initial_images_is_answered_without_a_call(sd: Path) -> None:
    rows = run(ready(sd), MEN[:2], init_image=["/nowhere/a.png", "nowhere://b.png"])
    assert all(row["error"].startswith("ValueError: cannot read init image") for row in rows)


def test_an_initial_image_is_cut_to_the_size_and_never_stretched(street: Path) -> None:
    """60 x 90, red and blue: 64 x 32 covers its middle third, so the border of the colours stays in the middle."""
    image = np.asarray(read(str(street), WIDTH, HEIGHT)).astype(int)
    assert image.shape == (HEIGHT, WIDTH, 3)
    red = image[HEIGHT // 2, :, 0] > 128
    assert red.sum() == WIDTH // 2 and red[: WIDTH // 2].all()
    wide = Image.new("RGB", (300, 100))
    wide.paste((255, 255, 255), (140, 40, 160, 60))  # a square of 20 x 20
    wide.save(street)
    ink = np.asarray(read(str(street), 50, 50))[..., 0] > 128
    assert ink.any(0).sum() == ink.any(1).sum() == 10


@pytest.mark.parametrize("name", ["exif_6.jpg", "grey_16.png", "alpha.png", "cmyk.jpg"])
def test_an_initial_image_of_any_kind_is_read_as_it_is_to_be_seen(name: str, tmp_path: Path) -> None:
    expected = write_images(tmp_path)[name]
    assert expected.differences(np.asarray(read(str(tmp_path / name), *expected.size))) == []


def test_fewer_than_one_step_from_an_initial_image_is_refused_in_one_sentence(sd: Path, street: Path) -> None:
    with pytest.raises(UserError, match=r"generate.steps = 2 times generate.strength = 0.3 is less than one step"):
        run(ready(sd, strength=0.3), MEN[:1], init_image=[str(street)])


def test_weights_that_are_not_numbers_are_refused_as_nan_latents(changed: Any) -> None:
    def poison(weights: dict[str, torch.Tensor]) -> None:
        weights["conv_out.bias"].fill_(float("nan"))

    rows = run(ready(changed("unet", poison)), MEN[:2])
    assert [row["reject"] for row in rows] == [["nan_latents"]] * 2
    assert all(row["image"] is None and row["error"] is None and row["model"] == "changed" for row in rows)


def test_infinite_latents_are_refused_too_though_clamping_would_hide_them(changed: Any) -> None:
    def burst(weights: dict[str, torch.Tensor]) -> None:
        weights["conv_out.bias"].fill_(float("inf"))

    assert run(ready(changed("unet", burst)), MEN[:1])[0]["reject"] == ["nan_latents"]


def test_a_decoder_that_overflows_is_refused_as_well(changed: Any) -> None:
    def poison(weights: dict[str, torch.Tensor]) -> None:
        weights["decoder.conv_out.bias"].fill_(float("nan"))

    assert run(ready(changed("vae", poison)), MEN[:1])[0]["reject"] == ["nan_latents"]


def test_an_image_of_one_colour_is_refused_as_constant_and_keeps_its_image(changed: Any) -> None:
    def flatten(weights: dict[str, torch.Tensor]) -> None:
        weights["decoder.conv_out.weight"].zero_()

    row = run(ready(changed("vae", flatten)), MEN[:1])[0]
    assert row["reject"] == ["constant_image"]
    assert np.ptp(pixels(row), axis=(0, 1)).max() <= 1


def test_the_scheduler_is_swapped_by_class_name_and_changes_the_images(sd: Path) -> None:
    own, other = run(ready(sd), MEN[:1]), run(ready(sd, scheduler="DPMSolverMultistepScheduler"), MEN[:1])
    assert other[0]["scheduler"] == "DPMSolverMultistepScheduler"
    assert own[0]["image"] != other[0]["image"]


def test_a_scheduler_that_draws_noise_at_every_step_draws_it_from_the_rows_own_seed(sd: Path) -> None:
    generate = ready(sd, scheduler="EulerAncestralDiscreteScheduler")
    first, other = run(generate, MEN), run(generate, [MEN[0], "a dog", "", "a cap"], seed=[100, 1, 2, 3])
    assert first[0]["image"] == other[0]["image"]


def test_an_unknown_scheduler_names_the_nearest(sd: Path) -> None:
    with pytest.raises(UserError, match="did you mean DPMSolverMultistepScheduler"):
        ready(sd, scheduler="DPMSolverMultiStepSchedular")


def test_a_scheduler_of_flow_matching_does_not_fit_a_diffusion_model(sd: Path) -> None:
    with pytest.raises(UserError, match="does not fit a model trained for PNDMScheduler"):
        ready(sd, scheduler="FlowMatchEulerDiscreteScheduler")


def test_a_lora_changes_the_images_with_its_scale_and_is_written_down(sd: Path, tmp_path: Path) -> None:
    folder = diffusion.build_lora(tmp_path / "style", sd)
    plain = run(ready(sd), MEN[:1])[0]
    rows = [run(ready(sd, lora={"model": str(folder), "scale": scale}), MEN[:1])[0] for scale in (0.0, 0.5, 1.0)]
    away = [np.abs(pixels(row) - pixels(plain)).mean() for row in rows]
    assert away[0] < 0.1 < away[1] < away[2]
    generate = stage(configured(sd, lora={"model": str(folder), "scale": 0.5}))
    revision = generate.params()["lora"]["revision"]
    assert rows[1]["lora"] == f"style@{revision} x 0.5"


def test_a_lora_of_another_model_is_refused(sd: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    save_file({"transformer.blocks.0.lora_A.weight": torch.ones(4, 8)}, folder / "pytorch_lora_weights.safetensors")
    with pytest.raises(UserError, match=r"generate\.lora\.model = other"):
        ready(sd, lora={"model": str(folder)})


def test_weights_saved_as_a_variant_are_loaded_by_its_name(tmp_path: Path) -> None:
    folder = diffusion.build_stable_diffusion(tmp_path / "half", variant="fp16")
    assert run(ready(folder, variant="fp16"), MEN[:1])[0]["reject"] is None
    with pytest.raises(UserError, match="cannot load half"):
        ready(folder)


def test_a_folder_of_another_library_is_no_pipeline(tmp_path: Path) -> None:
    folder = diffusion.build_classifier(tmp_path / "vit")
    with pytest.raises(UserError, match=r"vit is no diffusers pipeline: it has no model_index\.json"):
        ready(folder)


def test_parameters_hold_what_changes_results_and_not_the_batch(sd: Path) -> None:
    params = stage(configured(sd)).params()
    assert params == stage(configured(sd, batch=9)).params()
    for name, value in {"steps": 3, "guidance": 3.0, "strength": 0.9, "height": 128, "dtype": "fp16", "scheduler": "DDIMScheduler"}.items():
        assert stage(configured(sd, **{name: value})).params() != params
    assert str(sd) not in str(params)


def test_the_embedded_generator_makes_images_that_are_neither_constant_nor_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate = stage(settings.check({"preset": "tiny"}))
    generate.setup()
    rows = run(generate, MEN)
    assert [row["reject"] for row in rows] == [None] * 4
    assert len({row["image"] for row in rows}) == 4
    assert rows[0]["model"] == "embedded" and (rows[0]["height"], rows[0]["width"]) == (128, 64)


def test_the_embedded_generator_runs_image_to_image(street: Path) -> None:
    generate = ready("embedded", height=128, dtype="fp32", steps=4, strength=0.5, width=64)
    rows = run(generate, MEN, init_image=[str(street), None, str(street), None])
    assert [row["error"] or row["reject"] for row in rows] == [None] * 4
    assert [row["pipeline"] for row in rows] == ["StableDiffusionImg2ImgPipeline", "StableDiffusionPipeline"] * 2
    left, right = pixels(rows[0])[:, :16].mean((0, 1)), pixels(rows[0])[:, -16:].mean((0, 1))
    assert left[0] - left[2] > 30 and right[2] - right[0] > 30  # red and blue, as the initial image


def test_a_pipeline_that_cannot_go_image_to_image_is_refused_in_one_sentence(sd: Path, street: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(sd, tmp_path / "odd")
    config = tmp_path / "odd" / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"sample_size": "eight"}))
    generate = ready(tmp_path / "odd")
    with pytest.raises(UserError, match=r"no image-to-image pipeline can be made of odd .StableDiffusionPipeline.: '<' not supported"):
        run(generate, MEN[:1], init_image=[str(street)])


def test_building_the_stage_loads_no_library() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from mals import settings; from mals.stages.generate import stage; from mals.stages import safety; "
        "c = settings.check({}); stage(c); safety.stage(c); print([m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


GOLDEN = [  # mean colours of a 4 x 2 grid over the images of two rows
    [[125, 155, 111], [91, 181, 106], [127, 171, 112], [99, 188, 100], [155, 157, 112], [102, 179, 106], [103, 182, 105], [105, 182, 101]],
    [[117, 150, 106], [100, 183, 97], [142, 187, 114], [94, 189, 99], [121, 169, 97], [121, 160, 110], [126, 154, 113], [121, 182, 106]],
]


def test_the_same_rows_give_the_images_they_always_gave(tmp_path: Path) -> None:
    """Whoever changes them raises the stage's version, or the stand-in's, and these numbers."""
    from tests.small.untrained.generator import VERSION, build

    build(tmp_path / "model")
    rows = run(ready(tmp_path / "model", height=128, steps=4, width=64), MEN[:2], negative_prompt=["a crowd", None])
    colours = [pixels(row).reshape(4, 32, 2, 32, 3).mean((1, 3)).reshape(8, 3) for row in rows]
    np.testing.assert_allclose(colours, GOLDEN, atol=2)
    assert (Generate.version, VERSION) == (2, 1)

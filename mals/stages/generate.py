"""Stage `generate`: one image per prompt, by a diffusers pipeline; image to image if the plan gives an initial image.

A row's noise comes from its own random generator, seeded by the plan, and its position in the batch never changes, so the other rows of the
batch have no influence. Prompts that the text encoder truncates are flagged in the plan; they are used here as they are.

With `generate.view_strength`, the further images of a person start from its first one. That is made again from its own prompt and seed,
alone in a batch, wherever it is needed, so that no row depends on its neighbours; it equals the image of its own row up to rounding.
So it is for `generate.ip_adapter`, which shows the first image to the further ones; `generate.control` gives each row a pose.
"""

import difflib
import inspect
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageOps

from mals import config as settings
from mals import models
from mals.config import Config
from mals.device import device, dtype, hush
from mals.errors import UserError
from mals.grid.stage import Resources, Stage, output_batch
from mals.images import BadImage, decode_image
from mals.planning.image_source import is_url, require_package
from mals.stages.adapters import PoseControl, first_line, ip_adapter_model, ip_adapter_params, load_ip_adapter, show, try_adapters
from mals.stages.generated_images import ADDS, QUALITY, columns_of
from mals.stages.quantize import quantize_denoiser
from mals.stages.speed import LatentsWatch, compile_denoiser, set_up_decoder
from mals.stages.step_cache import LEAVE_OUT, NO_CONTEXT, decides_over_batch, enable_cache, reset_cache

NOT_FINITE = "nan_latents"  # the reason of a row whose image has a NaN or an infinity
FIRST_VIEWS = 64  # first images of persons that a worker keeps


@dataclass
class Images:
    """The images of one pipeline call; B is the batch."""

    pixels: np.ndarray  # [B, H, W, 3] uint8; meaningless where not finite
    finite: np.ndarray  # [B] bool: neither the latents nor the image had a NaN or an infinity
    pipeline: str


class Generate:
    """Images from the prompts of the plan."""

    name = "generate"
    version = 2
    needs: tuple[str, ...] = ("prompt", "negative_prompt", "seed", "init_image")
    adds = ADDS
    resources = Resources(gpus=1)

    def __init__(self, config: settings.Generate, seed: int = 0):
        self.config = config
        self.batch = config.batch
        self.control = PoseControl(config.control, config.width, config.height, seed) if config.control else None
        self._uses_first_view = config.view_strength is not None or config.ip_adapter is not None
        if self._uses_first_view:
            self.needs = (*self.needs, "first_view")
        if self.control:
            self.needs = (*self.needs, "id")
        self._one_by_one = decides_over_batch(config.cache)
        self._first_view = lru_cache(FIRST_VIEWS)(self._generate_first_view)
        self._text: Any = None
        self._image: Any = None  # shares every weight with _text
        self._device_seconds = 0.0

    def params(self) -> dict[str, Any]:
        params = self.config.model_dump(
            mode="json", exclude={"backend", "server", "batch", "model", "revision", "lora", "control", "ip_adapter"}
        )
        model = self._model()
        lora, adapter = self.config.lora, self._adapter()
        params["lora"] = None
        if lora and adapter:
            params["lora"] = {"model": adapter.name, "revision": adapter.revision, "weight_name": lora.weight_name, "scale": lora.scale}
        params["control"] = self.control.params() if self.control else None
        params["ip_adapter"] = ip_adapter_params(self.config.ip_adapter) if self.config.ip_adapter else None
        return params | {"model": model.name, "revision": model.revision, "jpeg_quality": QUALITY}

    def setup(self) -> None:
        model = self._model()
        self._columns = {  # the same for all rows
            "model": model.name,
            "revision": model.revision,
            "steps": self.config.steps,
            "guidance": self.config.guidance,
            "dtype": self.config.dtype,
        }
        self._text, self._image = None, None
        place = device()
        pipeline = load(model, self.config.dtype, self.config.variant, "cpu" if self.config.quantize else place)
        if self.config.scheduler:
            pipeline.scheduler = scheduler(self.config.scheduler, pipeline.scheduler)
        lora, adapter = self.config.lora, self._adapter()
        if lora and adapter:
            fuse(pipeline, adapter, lora)
            self._columns["lora"] = f"{adapter.name}@{adapter.revision} x {lora.scale:g}"
        self._columns["scheduler"] = type(pipeline.scheduler).__name__
        if self.control:
            pipeline = self.control.load(pipeline, self.config.dtype)
        if self.config.ip_adapter:
            load_ip_adapter(pipeline, self.config.ip_adapter)
        quantize_denoiser(pipeline, self.config, place)
        pipeline = pipeline.to(place)
        set_up_decoder(pipeline, self.config)
        compile_denoiser(pipeline, self.config)
        self._text = _quiet(pipeline)
        self._try_adapters()
        enable_cache(pipeline, self.config)

    def take_device_seconds(self) -> float:
        """Of pipeline calls since the last time; see mals.grid.stage.DeviceStage."""
        seconds, self._device_seconds = self._device_seconds, 0.0
        return seconds

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = batch.to_pylist()
        starts, errors = self._initial_images(rows)
        outputs: list[dict[str, Any]] = [{} for _ in rows]
        groups: dict[tuple[float | None, bool, int | None], list[int]] = {}
        references: dict[int, Image.Image] = {}  # the images that the IP-Adapter sees, by row
        for index, row in enumerate(rows):
            strength = self.config.strength if index in starts else None
            if self._uses_first_view and row["first_view"] and not row["init_image"]:
                first = self._first_view(**row["first_view"])
                if first is None:
                    outputs[index] = {**self._columns, "reject": [NOT_FINITE]}
                    continue
                if self.config.view_strength is not None:
                    strength, starts[index] = self.config.view_strength, first
                if self.config.ip_adapter:
                    references[index] = first
            if errors[index] is None:  # to some pipelines an empty negative prompt is not the same as none, so these rows go apart
                # a pipeline shows one image to all rows of a call, and some caches decide over all of them
                alone = index if index in references or self._one_by_one else None
                groups.setdefault((strength, bool(row["negative_prompt"]), alone), []).append(index)
        for (strength, negative, alone), members in groups.items():
            if alone is None:
                images = self._generate(rows, members, negative, strength, starts)
            else:
                images = self._generate([rows[alone]], [0], negative, strength, {0: starts.get(alone)}, references.get(alone))
            size = 1 if self._one_by_one else len(rows)
            for index in members:
                position = index if alone is None else 0
                outputs[index] = self._row(images, position, size, strength, bool(rows[index]["init_image"]))
        columns: dict[str, Sequence[Any]] = {field.name: [row.get(field.name) for row in outputs] for field in self.adds}
        return output_batch(self.adds, columns, [row.get("reject") for row in outputs], errors)

    def _model(self) -> models.ResolvedModel:
        return models.resolve(self.config.model, self.config.revision, "generator")

    def _adapter(self) -> models.ResolvedModel | None:
        lora = self.config.lora
        return models.resolve(lora.model, lora.revision, "lora") if lora else None

    def _initial_images(self, rows: list[dict[str, Any]]) -> tuple[dict[int, Image.Image], list[str | None]]:
        """The initial images by row, resized to the size of the settings, and the errors of those that cannot be read."""
        images: dict[int, Image.Image] = {}
        errors: list[str | None] = [None] * len(rows)
        for index, row in enumerate(rows):
            if row["init_image"]:
                try:
                    images[index] = read(row["init_image"], self.config.width, self.config.height)
                except UserError:  # of a package that is missing, for all rows
                    raise
                except Exception as error:  # any error of a file system or a broken file belongs to this row alone
                    reason = str(error) if isinstance(error, BadImage) else type(error).__name__
                    errors[index] = f"ValueError: cannot read init image {row['init_image']} ({reason})"
        return images, errors

    def _generate_first_view(self, **first_view: Any) -> Image.Image | None:
        """The first image of a person, in a batch of its own; None where it has a NaN or an infinity."""
        images = self._generate([first_view], [0], bool(first_view["negative_prompt"]), None, {})
        return Image.fromarray(images.pixels[0]) if images.finite[0] else None

    def _generate(
        self,
        rows: list[dict[str, Any]],
        members: list[int],
        negative: bool,
        strength: float | None,
        starts: Mapping[int, Image.Image | None],
        reference: Image.Image | None = None,
    ) -> Images:
        """One call of a pipeline with the full batch: `members` at their own positions, the first member at all others.

        With a `strength`, each member starts from its image in `starts`; without, from noise. `reference` is what the IP-Adapter sees.
        """
        import torch

        filled = [index if index in set(members) else members[0] for index in range(len(rows))]
        pipeline = self._text if strength is None else self._image_to_image(strength)
        watch = LatentsWatch()
        arguments = {
            "prompt": [rows[index]["prompt"] for index in filled],
            "negative_prompt": [rows[index]["negative_prompt"] for index in filled] if negative else None,
            "image": [starts[index] for index in filled] if strength is not None else None,
            "strength": strength,
            "height": self.config.height,
            "width": self.config.width,
            "num_inference_steps": self.config.steps,
            "guidance_scale": self.config.guidance,
            "generator": [torch.Generator().manual_seed(rows[index]["seed"]) for index in filled],
            "callback_on_step_end": watch,
            "output_type": "pt",
        }
        if self.control:
            arguments |= self.control.arguments([rows[index]["id"] for index in filled], from_noise=strength is None)
        if self.config.ip_adapter:
            arguments |= show(pipeline, reference, self.config.ip_adapter)
        accepted = inspect.signature(pipeline.__call__).parameters
        if negative and "negative_prompt" not in accepted:
            raise UserError(
                f"{type(pipeline).__name__} takes no negative prompt, but the plan has some; set plan.negative_prompt to an empty text"
            )
        clock = time.perf_counter()
        try:
            images = self._call(pipeline, {name: value for name, value in arguments.items() if name in accepted and value is not None})
            return self._pixels(images, watch, type(pipeline).__name__)
        finally:
            self._device_seconds += time.perf_counter() - clock

    def _call(self, pipeline: Any, arguments: dict[str, Any]) -> Any:
        """The images [B, 3, H, W] of one call, in [0, 1]; UserError where the denoiser cannot be compiled or cached in this pipeline."""
        import torch

        if self.config.cache:
            reset_cache(pipeline)
        try:
            with torch.inference_mode():
                images = pipeline(**arguments).images
        except torch._dynamo.exc.TorchDynamoException as error:
            problem = f"generate.compile = {self.config.compile} fails on {self._columns['model']} ({first_line(error)})"
            raise UserError(f"{problem}; set generate.compile = none") from error
        except ValueError as error:
            if not str(error).startswith(NO_CONTEXT):
                raise
            name = type(pipeline).__name__
            raise UserError(f"generate.cache is set, but the {name} of diffusers does not say what a call is for; {LEAVE_OUT}") from error
        if isinstance(images, np.ndarray):  # of the pipeline with a T2I-Adapter, which knows no tensors as output
            images = torch.from_numpy(images).permute(0, 3, 1, 2)
        return images

    def _try_adapters(self) -> None:
        """Make one image with the adapters, in two steps and not decoded; UserError where they are for another model."""
        arguments: dict[str, Any] = {"prompt": [""], "num_inference_steps": 2, "guidance_scale": self.config.guidance}
        arguments |= {"height": self.config.height, "width": self.config.width, "output_type": "latent"}
        names = []
        if self.control:
            names.append(f"generate.control.model = {self.control.model().name}")
            arguments |= self.control.arguments([""], from_noise=True)
        if self.config.ip_adapter:
            names.append(f"generate.ip_adapter.model = {ip_adapter_model(self.config.ip_adapter).name}")
            arguments |= show(self._text, None, self.config.ip_adapter)
        if names:
            try_adapters(self._text, arguments, f"{' or '.join(names)} does not fit {self._columns['model']}")

    def _pixels(self, images: Any, watch: LatentsWatch, pipeline: str) -> Images:
        """From a pipeline's [B, 3, H, W] in [0, 1] to pixels; UserError if their size is not that of the settings."""
        height, width = images.shape[-2:]
        if (height, width) != (self.config.height, self.config.width):
            raise UserError(
                f"{pipeline} returned {height} x {width} pixels for generate.height = {self.config.height}, "
                f"generate.width = {self.config.width}; set a size that it supports"
            )
        valid = watch.read(len(images)) & images.isfinite().flatten(1).all(1).cpu().numpy()
        levels = images.float().nan_to_num(0).mul(255).round().clamp(0, 255).byte()
        return Images(levels.permute(0, 2, 3, 1).cpu().numpy(), valid, pipeline)

    def _image_to_image(self, strength: float) -> Any:
        """The image-to-image pipeline, built when the first row needs it."""
        if int(self.config.steps * strength) < 1:
            of_view = strength == self.config.view_strength
            raise UserError(
                f"generate.steps = {self.config.steps} times generate.{'view_' if of_view else ''}strength = {strength:g} is less than one "
                f"step; raise either, because {'images of a person start from its first' if of_view else 'the plan has initial images'}"
            )
        if self._image is None:
            from diffusers import AutoPipelineForImage2Image

            name = type(self._text).__name__
            _give_one_sample_size(self._text)
            try:
                self._image = _quiet(AutoPipelineForImage2Image.from_pipe(self._text))
            except ValueError:
                reason = "the plan has initial images" if strength == self.config.strength else "generate.view_strength is set"
                raise UserError(f"diffusers has no image-to-image pipeline for {name}, but {reason}") from None
            except Exception as error:  # what a pipeline does with the settings of a foreign model is not known
                raise UserError(
                    f"no image-to-image pipeline can be made of {self._columns['model']} ({name}): {first_line(error)}"
                ) from error
        return self._image

    def _row(self, images: Images, index: int, batch: int, strength: float | None, from_image: bool) -> dict[str, Any]:
        row = {**self._columns, "pipeline": images.pipeline, "batch": batch, "strength": strength}
        row["origin"] = "image_to_image" if from_image else "generated"
        if not images.finite[index]:
            return row | {"reject": [NOT_FINITE]}
        pixels = images.pixels[index]
        return row | columns_of(pixels)


def stage(config: Config) -> Stage:
    """The stage with the settings of `config`; loads nothing."""
    if config.generate.backend == "openai":
        from mals.stages.server_images import ServerImages

        return ServerImages(config.generate, config.shard_rows)
    return Generate(config.generate, config.seed)


def read(url: str, width: int, height: int) -> Image.Image:
    """An image from a path or URL, upright, scaled to cover width x height and cropped around its centre; may raise BadImage."""
    import fsspec

    if is_url(url):
        require_package(url)
    with fsspec.open(url, "rb") as file:
        pixels = decode_image(file.read())
    return ImageOps.fit(Image.fromarray(pixels), (width, height), Image.Resampling.LANCZOS)


def load(model: models.ResolvedModel, precision: settings.Dtype, variant: str | None, place: str) -> Any:
    """The text-to-image pipeline of a folder, on the torch device `place`, without a safety checker: safety is a stage of its own."""
    hush("diffusers", "transformers")
    from diffusers import AutoPipelineForText2Image

    folder = Path(model.path)
    if not (folder / "model_index.json").is_file():
        raise UserError(f"{model.name} is no diffusers pipeline: it has no model_index.json")
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    without = {"safety_checker": None, "requires_safety_checker": False} if "safety_checker" in index else {}
    weights_dtype = dtype(precision)
    try:
        pipeline = AutoPipelineForText2Image.from_pretrained(
            model.path, dtype=weights_dtype, variant=variant, local_files_only=True, **without
        )
    except Exception as error:  # of any library that loads a part
        raise UserError(f"cannot load {model.name} ({index.get('_class_name')}): {first_line(error)}") from error
    return pipeline.to(place)


def scheduler(name: str, current: Any) -> Any:
    """The diffusers scheduler class `name` with the settings of the pipeline's `current` scheduler."""
    import diffusers

    schedulers = [entry for entry in dir(diffusers) if entry.endswith("Scheduler")]
    if name not in schedulers:
        near = difflib.get_close_matches(name, schedulers, 1, 0.3)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"generate.scheduler = {name!r}: diffusers has no such scheduler{hint}")
    replacement = getattr(diffusers, name).from_config(current.config)
    if _flow_matching(replacement) != _flow_matching(current):
        raise UserError(f"generate.scheduler = {name!r} does not fit a model trained for {type(current).__name__}")
    return replacement


def _flow_matching(scheduler: Any) -> bool:
    """Whether a scheduler is for flow matching, whose models predict another quantity than those of diffusion."""
    return "Flow" in type(scheduler).__name__ or bool(scheduler.config.get("use_flow_sigmas"))


def fuse(pipeline: Any, adapter: models.ResolvedModel, lora: settings.Lora) -> None:
    """Add a LoRA to the weights of the pipeline."""
    name = {"weight_name": lora.weight_name} if lora.weight_name else {}
    try:
        pipeline.load_lora_weights(adapter.path, local_files_only=True, **name)
    except Exception as error:  # of any library that reads an adapter
        raise UserError(f"cannot load generate.lora.model = {adapter.name}: {first_line(error)}") from error
    if not any(pipeline.get_list_adapters().values()):
        raise UserError(f"generate.lora.model = {adapter.name} has no weights for a {type(pipeline).__name__}")
    pipeline.fuse_lora(lora_scale=lora.scale)
    pipeline.unload_lora_weights()


def _give_one_sample_size(pipeline: Any) -> None:
    """Make a sample size of [height, width] in the denoiser's config one number, which image-to-image pipelines of diffusers need.

    It is their default size and nothing else; this stage always says the size.
    """
    unet: Any = getattr(pipeline, "unet", None)
    size = getattr(unet, "config", {}).get("sample_size")
    if isinstance(size, list | tuple):
        unet.register_to_config(sample_size=max(size))


def _quiet(pipeline: Any) -> Any:
    """A pipeline without progress bar and, for SDXL, without the invisible watermark that would change its pixels."""
    pipeline.set_progress_bar_config(disable=True)
    if hasattr(pipeline, "watermark"):
        pipeline.watermark = None
    return pipeline

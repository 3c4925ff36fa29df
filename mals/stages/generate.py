"""Stage `generate`: a picture a prompt, by a pipeline of diffusers; from a first picture where the plan gives one.

A row's noise comes from a generator of its own, seeded by the plan, and its place in the batch never changes: who its batch mates are
does not matter to it. Prompts that the text encoder cuts are flagged in the plan; here they pass as they are.
"""

import difflib
import inspect
import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
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
from mals.grid.stage import Resources, answer

QUALITY = 95  # of the JPEG, without colour subsampling
LEVELS = 1  # a picture whose channels all stay within so many levels of 255 is constant


@dataclass
class Drawn:
    """What one call of a pipeline gave; B is the batch."""

    pixels: np.ndarray  # [B, H, W, 3] uint8; meaningless where not finite
    finite: np.ndarray  # [B] bool: neither the latents nor the picture had a NaN or an infinity
    pipeline: str


class Generate:
    """See the module's docstring."""

    name = "generate"
    version = 1
    needs = ("prompt", "negative_prompt", "seed", "init_image")
    adds = pa.schema(
        [
            ("image", pa.binary()),
            ("width", pa.int32()),  # pixels
            ("height", pa.int32()),
            ("model", pa.string()),
            ("revision", pa.string()),
            ("pipeline", pa.string()),
            ("scheduler", pa.string()),
            ("steps", pa.int32()),
            ("guidance", pa.float32()),
            ("strength", pa.float32()),  # null where there was no first picture
            ("dtype", pa.string()),
            ("batch", pa.int32()),  # rows in the pipeline's call, padding included
            ("lora", pa.string()),
        ]
    )
    resources = Resources(gpus=1)

    def __init__(self, config: settings.Generate):
        self.config = config
        self.batch = config.batch
        self._text: Any = None
        self._image: Any = None  # shares every weight with _text

    def params(self) -> dict[str, Any]:
        kept = self.config.model_dump(mode="json", exclude={"batch", "model", "revision", "lora"})
        found = self._found()
        lora, adapter = self.config.lora, self._adapter()
        kept["lora"] = None
        if lora and adapter:
            kept["lora"] = {"model": adapter.name, "revision": adapter.revision, "weight_name": lora.weight_name, "scale": lora.scale}
        return kept | {"model": found.name, "revision": found.revision, "jpeg_quality": QUALITY}

    def setup(self) -> None:
        found = self._found()
        self._facts = {
            "model": found.name,
            "revision": found.revision,
            "steps": self.config.steps,
            "guidance": self.config.guidance,
            "dtype": self.config.dtype,
        }
        self._text, self._image = None, None
        pipeline = load(found, self.config.dtype, self.config.variant)
        if self.config.scheduler:
            pipeline.scheduler = scheduler(self.config.scheduler, pipeline.scheduler)
        lora, adapter = self.config.lora, self._adapter()
        if lora and adapter:
            fuse(pipeline, adapter, lora)
            self._facts["lora"] = f"{adapter.name}@{adapter.revision} x {lora.scale:g}"
        self._facts["scheduler"] = type(pipeline.scheduler).__name__
        self._text = _quiet(pipeline)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = batch.to_pylist()
        starts, errors = self._starts(rows)
        groups: dict[tuple[bool, bool], list[int]] = {}
        for at, row in enumerate(rows):
            if errors[at] is None:  # no negative prompt and an empty one are not the same to every pipeline, so they part as well
                groups.setdefault((at in starts, bool(row["negative_prompt"])), []).append(at)
        made: list[dict[str, Any]] = [{} for _ in rows]
        for (start, negative), members in groups.items():
            drawn = self._draw(rows, members, starts if start else None, negative)
            for at in members:
                made[at] = self._row(drawn, at, len(rows), start)
        columns: dict[str, Sequence[Any]] = {field.name: [row.get(field.name) for row in made] for field in self.adds}
        return answer(self.adds, columns, [row.get("reject") for row in made], errors)

    def _found(self) -> models.ResolvedModel:
        return models.find(self.config.model, self.config.revision, "generator")

    def _adapter(self) -> models.ResolvedModel | None:
        lora = self.config.lora
        return models.find(lora.model, lora.revision, "lora") if lora else None

    def _starts(self, rows: list[dict[str, Any]]) -> tuple[dict[int, Image.Image], list[str | None]]:
        """The first pictures by row, at the size of the run, and the errors of those that cannot be read."""
        starts: dict[int, Image.Image] = {}
        errors: list[str | None] = [None] * len(rows)
        for at, row in enumerate(rows):
            if row["init_image"]:
                try:
                    starts[at] = read(row["init_image"], self.config.width, self.config.height)
                except Exception as error:  # whatever a file system or a broken file brings up is this row's own fault
                    errors[at] = f"ValueError: cannot read init image {row['init_image']} ({type(error).__name__})"
        return starts, errors

    def _draw(self, rows: list[dict[str, Any]], members: list[int], starts: dict[int, Image.Image] | None, negative: bool) -> Drawn:
        """One call of a pipeline at the full batch: `members` at their own places, the first of them everywhere else."""
        import torch

        filled = [at if at in set(members) else members[0] for at in range(len(rows))]
        pipeline = self._text if starts is None else self._from_image()
        finite = torch.ones(len(filled), dtype=torch.bool)

        def watch(_pipeline: Any, _step: int, _time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            finite.logical_and_(torch.isfinite(tensors["latents"]).flatten(1).all(1).cpu())
            return tensors

        given = {
            "prompt": [rows[at]["prompt"] for at in filled],
            "negative_prompt": [rows[at]["negative_prompt"] for at in filled] if negative else None,
            "image": [starts[at] for at in filled] if starts is not None else None,
            "strength": self.config.strength if starts is not None else None,
            "height": self.config.height,
            "width": self.config.width,
            "num_inference_steps": self.config.steps,
            "guidance_scale": self.config.guidance,
            "generator": [torch.Generator().manual_seed(rows[at]["seed"]) for at in filled],
            "callback_on_step_end": watch,
            "output_type": "pt",
        }
        takes = inspect.signature(pipeline.__call__).parameters
        if negative and "negative_prompt" not in takes:
            raise UserError(f"{type(pipeline).__name__} takes no negative prompt, but the plan has some")
        with torch.inference_mode():
            pictures = pipeline(**{name: value for name, value in given.items() if name in takes and value is not None}).images
        return self._drawn(pictures, finite, type(pipeline).__name__)

    def _drawn(self, pictures: Any, finite: Any, pipeline: str) -> Drawn:
        """From a pipeline's [B, 3, H, W] in [0, 1] to pixels; UserError where it made another size than was asked for."""
        height, width = pictures.shape[-2:]
        if (height, width) != (self.config.height, self.config.width):
            raise UserError(
                f"{pipeline} made {height} x {width} pixels of generate.height = {self.config.height}, "
                f"generate.width = {self.config.width}; give a size that it can make"
            )
        good = finite.numpy() & pictures.isfinite().flatten(1).all(1).cpu().numpy()
        levels = pictures.float().nan_to_num(0).mul(255).round().clamp(0, 255).byte()
        return Drawn(levels.permute(0, 2, 3, 1).cpu().numpy(), good, pipeline)

    def _from_image(self) -> Any:
        """The image-to-image pipeline, made when the first row needs it."""
        if int(self.config.steps * self.config.strength) < 1:
            raise UserError(
                f"generate.steps = {self.config.steps} times generate.strength = {self.config.strength:g} is less than one step: "
                "pictures to start from need more of either"
            )
        if self._image is None:
            from diffusers import AutoPipelineForImage2Image

            try:
                self._image = _quiet(AutoPipelineForImage2Image.from_pipe(self._text))
            except ValueError:
                raise UserError(
                    f"diffusers has no image-to-image pipeline for {type(self._text).__name__}, but the plan has pictures"
                ) from None
        return self._image

    def _row(self, drawn: Drawn, at: int, batch: int, start: bool) -> dict[str, Any]:
        row = {**self._facts, "pipeline": drawn.pipeline, "batch": batch, "strength": self.config.strength if start else None}
        if not drawn.finite[at]:
            return row | {"reject": ["nan_latents"]}
        pixels = drawn.pixels[at]
        flat = int(np.ptp(pixels, axis=(0, 1)).max()) <= LEVELS
        return row | {
            "image": jpeg(pixels),
            "height": pixels.shape[0],
            "width": pixels.shape[1],
            "reject": ["constant_image"] if flat else None,
        }


def stage(config: Config) -> Generate:
    """The stage as the config wants it; loads nothing."""
    return Generate(config.generate)


def jpeg(pixels: np.ndarray) -> bytes:
    """[H, W, 3] uint8 as the JPEG that is kept."""
    sink = BytesIO()
    Image.fromarray(pixels).save(sink, "JPEG", quality=QUALITY, subsampling=0)
    return sink.getvalue()


def read(url: str, width: int, height: int) -> Image.Image:
    """A picture from a path or URL, upright, scaled to cover width x height and cut around its middle."""
    import fsspec

    with fsspec.open(url, "rb") as file, Image.open(file) as picture:
        return ImageOps.fit(ImageOps.exif_transpose(picture).convert("RGB"), (width, height), Image.Resampling.LANCZOS)


def load(found: models.ResolvedModel, precision: settings.Dtype, variant: str | None) -> Any:
    """The text-to-image pipeline of a folder, on the GPU where there is one, without a safety checker: that is a stage of its own."""
    from diffusers import AutoPipelineForText2Image

    folder = Path(found.path)
    if not (folder / "model_index.json").is_file():
        raise UserError(f"{found.name} is no pipeline of diffusers: it has no model_index.json")
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    without = {"safety_checker": None, "requires_safety_checker": False} if "safety_checker" in index else {}
    kind = dtype(precision)
    hush("diffusers", "transformers")
    try:
        pipeline = AutoPipelineForText2Image.from_pretrained(found.path, dtype=kind, variant=variant, local_files_only=True, **without)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot load {found.name} ({index.get('_class_name')}): {str(error).strip().splitlines()[0]}") from error
    if getattr(pipeline, "vae", None) is not None and hasattr(pipeline.vae, "enable_slicing"):
        pipeline.vae.enable_slicing()  # decodes one at a time: the decoder's memory is many times the denoiser's
    return pipeline.to(device())


def scheduler(name: str, own: Any) -> Any:
    """The scheduler class called `name` with the settings of the pipeline's `own`."""
    import diffusers

    known = [entry for entry in dir(diffusers) if entry.endswith("Scheduler")]
    if name not in known:
        near = difflib.get_close_matches(name, known, 1, 0.3)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"generate.scheduler = {name!r}: diffusers has no such scheduler{hint}")
    made = getattr(diffusers, name).from_config(own.config)
    if _flows(made) != _flows(own):
        raise UserError(f"generate.scheduler = {name!r} does not fit a model made for {type(own).__name__}")
    return made


def _flows(scheduler: Any) -> bool:
    """Whether a scheduler is one of flow matching, whose models predict another quantity than diffusion's."""
    return "Flow" in type(scheduler).__name__ or bool(scheduler.config.get("use_flow_sigmas"))


def fuse(pipeline: Any, adapter: models.ResolvedModel, lora: settings.Lora) -> None:
    """Add a LoRA to the pipeline's own weights."""
    name = {"weight_name": lora.weight_name} if lora.weight_name else {}
    try:
        pipeline.load_lora_weights(adapter.path, local_files_only=True, **name)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"cannot load generate.lora.model = {adapter.name}: {str(error).strip().splitlines()[0]}") from error
    if not any(pipeline.get_list_adapters().values()):
        raise UserError(f"generate.lora.model = {adapter.name} has no weights for a {type(pipeline).__name__}")
    pipeline.fuse_lora(lora_scale=lora.scale)
    pipeline.unload_lora_weights()


def _quiet(pipeline: Any) -> Any:
    """A pipeline without progress bar and, for SDXL, without the invisible watermark that would change its pixels."""
    pipeline.set_progress_bar_config(disable=True)
    if hasattr(pipeline, "watermark"):
        pipeline.watermark = None
    return pipeline

"""Adapters of the generator: a ControlNet or T2I-Adapter that takes a pose, and an IP-Adapter that takes the person's first image."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mals import config as settings
from mals import models
from mals.device import dtype
from mals.errors import UserError
from mals.grid.stage import row_seed
from mals.stages import pose_images


class PoseControl:
    """The pose of each row: one of a file, drawn by the seed of the run and the row's id."""

    def __init__(self, control: settings.Control, width: int, height: int, seed: int):
        self.control, self.width, self.height, self.seed = control, width, height, seed
        self._poses: Any = None

    def params(self) -> dict[str, Any]:
        model = self.model()
        poses = pose_images.digest(pose_images.pose_files(self.control.poses))
        return {"model": model.name, "revision": model.revision, "kind": self.control.kind, "scale": self.control.scale} | {
            "poses": poses,
            "seed": self.seed,
        }

    def model(self) -> models.ResolvedModel:
        return models.resolve(self.control.model, self.control.revision, "control")

    def load(self, pipeline: Any, precision: settings.Dtype) -> Any:
        """The pipeline with the adapter; UserError where there is none of its kind, or the adapter is for another model."""
        import diffusers

        model, name = self.model(), type(pipeline).__name__
        self._poses = pose_images.read_poses(pose_images.pose_files(self.control.poses))
        kind = diffusers.ControlNetModel if self.control.kind == "controlnet" else diffusers.T2IAdapter
        try:
            adapter: Any = kind.from_pretrained(model.path, dtype=dtype(precision), local_files_only=True)
        except Exception as error:  # of any library that reads weights
            raise UserError(f"cannot load generate.control.model = {model.name} as a {kind.__name__}: {first_line(error)}") from error
        adapter = adapter.to(pipeline.device, dtype(precision))
        try:
            if self.control.kind == "controlnet":
                return diffusers.AutoPipelineForText2Image.from_pipe(pipeline, controlnet=adapter)
            return getattr(diffusers, name.replace("Pipeline", "AdapterPipeline")).from_pipe(pipeline, adapter=adapter)
        except (ValueError, AttributeError):
            kinds = "ControlNet" if self.control.kind == "controlnet" else "T2I-Adapter"
            raise UserError(f"diffusers has no pipeline for {name} with a {kinds}, but generate.control is set") from None

    def arguments(self, row_ids: list[str], from_noise: bool) -> dict[str, Any]:
        """What a pipeline takes for these rows; image-to-image pipelines have another name for the pose."""
        images = [self.image(row_id) for row_id in row_ids]
        scale = {"controlnet_conditioning_scale": self.control.scale, "adapter_conditioning_scale": self.control.scale}
        return {"image" if from_noise else "control_image": images, **scale}

    def image(self, row_id: str) -> Image.Image:
        """The skeleton for a row."""
        pose = self._poses[row_seed(self.seed, row_id, "pose") % len(self._poses)]
        return pose_images.draw(pose, self.width, self.height)


def ip_adapter_model(adapter: settings.IpAdapter) -> models.ResolvedModel:
    """Where the adapter is on this machine."""
    return models.resolve(adapter.model, adapter.revision, "ip_adapter")


def ip_adapter_params(adapter: settings.IpAdapter) -> dict[str, Any]:
    """What results depend on."""
    model = ip_adapter_model(adapter)
    return adapter.model_dump(mode="json") | {"model": model.name, "revision": model.revision}


def show(pipeline: Any, image: Image.Image | None, adapter: settings.IpAdapter) -> dict[str, Any]:
    """What a pipeline with an IP-Adapter takes to show it an image, or none: then the adapter has no weight."""
    pipeline.set_ip_adapter_scale(adapter.scale if image else 0.0)
    return {"ip_adapter_image": image or Image.fromarray(np.zeros((8, 8, 3), np.uint8))}


def load_ip_adapter(pipeline: Any, adapter: settings.IpAdapter) -> None:
    """Add an IP-Adapter to the pipeline; UserError where the pipeline takes none, or one for another model."""
    name, model = type(pipeline).__name__, ip_adapter_model(adapter)
    if not hasattr(pipeline, "load_ip_adapter"):
        raise UserError(f"{name} takes no IP-Adapter, but generate.ip_adapter is set; take it out of the settings")
    if not (Path(model.path) / adapter.subfolder / adapter.weight_name).is_file():
        raise UserError(
            f"{model.name} has no {Path(adapter.subfolder) / adapter.weight_name}; name it with generate.ip_adapter.weight_name"
        )
    try:
        pipeline.load_ip_adapter(model.path, subfolder=adapter.subfolder, weight_name=adapter.weight_name, local_files_only=True)
        pipeline.image_encoder.to(pipeline.device)
        pipeline.unet.to(pipeline.device, pipeline.dtype)
    except Exception as error:  # of any library that reads weights
        raise UserError(f"cannot add generate.ip_adapter.model = {model.name} to a {name}: {first_line(error)}") from error


def try_adapters(pipeline: Any, arguments: dict[str, Any], problem: str) -> None:
    """One call of the pipeline with those of the arguments that it takes; UserError that begins with `problem` where it fails."""
    import torch

    accepted = inspect.signature(pipeline.__call__).parameters
    try:
        with torch.inference_mode():
            pipeline(**{name: value for name, value in arguments.items() if name in accepted})
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # what a pipeline does with an adapter of another model is not known
        raise UserError(f"{problem}: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """The first line of an error, or its type where it has no text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

"""Sections of the settings of a generator: a LoRA, adapters for poses and first images, and the cache of its steps."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mals.section import Section


class Lora(Section):
    """A LoRA adapter of the generator."""

    model: str  # hub id or folder
    revision: str | None = None  # of the adapter, at the hub
    weight_name: str | None = None  # the file, where the repository holds several
    scale: float = 1.0  # how much of the adapter is added


class Control(Section):
    """The pose of each image, by a ControlNet or a T2I-Adapter for OpenPose's skeletons."""

    model: str  # hub id or folder of the adapter
    revision: str | None = None  # a branch, a tag or, best, a commit
    kind: Literal["controlnet", "t2i_adapter"] = "controlnet"  # what the adapter is
    poses: str  # a .jsonl or .parquet file with keypoints (17 of x, y, score, as COCO orders them), or a packed set such as the world
    scale: Annotated[float, Field(ge=0)] = 1.0  # how much of the adapter is added


class IpAdapter(Section):
    """An IP-Adapter that shows the first image of a person to the further ones; needs plan.views."""

    model: str  # hub id or folder
    revision: str | None = None  # a branch, a tag or, best, a commit
    subfolder: str = ""  # of the weights and of image_encoder: "models" at h94/IP-Adapter
    weight_name: str = "ip-adapter_sd15.safetensors"  # the file with the weights
    scale: Annotated[float, Field(ge=0)] = 0.6  # how much of the adapter is added


class Cache(Section):
    """Steps that take results of earlier steps in place of computing them, by a cache of diffusers; images change."""

    kind: Literal["first_block", "taylor_seer"] = (
        "first_block"  # first_block: a step whose first block changes little skips the others; taylor_seer: attention is extrapolated
    )
    threshold: Annotated[float, Field(gt=0)] = 0.05  # first_block: the relative change of its output under which a step skips the others
    interval: Annotated[int, Field(ge=2)] = 5  # taylor_seer: of so many steps one is computed and the others are extrapolated
    first_steps: Annotated[int, Field(ge=2)] = 3  # taylor_seer: steps at the start that are computed, from which it extrapolates

    @model_validator(mode="after")
    def settings_are_of_the_kind(self) -> "Cache":
        others = ("interval", "first_steps") if self.kind == "first_block" else ("threshold",)
        if changed := [name for name in others if getattr(self, name) != type(self).model_fields[name].default]:
            raise ValueError(f"generate.cache.{changed[0]} is not of the kind {self.kind}; leave it out")
        return self

"""The settings of a run: one tree of types, whose comments are the manual.

A run keeps what its owner gave (a preset and what differs from it) in mals.yaml; this tree is what comes out of it. Unknown keys are
refused. Fields marked "no results" never change a row, or change it by rounding only, and stay out of the fingerprints.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Dtype = Literal["fp32", "fp16", "bf16"]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Grammar(Section):
    """Prompts phrased from attributes that are drawn from a distribution, so that a set is balanced by design."""

    space: str = "market1501"  # an attribute space by name, or a YAML file
    shares: dict[str, dict[str, float]] = {}  # attribute or group -> value, "other" colour or "unknown" -> share; uniform where not named
    joint: str | None = None  # a .csv or .parquet table: one column an attribute or group, and `weight`
    templates: list[str] = []  # sentences with {fields}, [left out] where a field is empty; none: those of mals/phrases.py

    @field_validator("shares", mode="before")
    @classmethod
    def yes_is_a_word(cls, shares: Any) -> Any:
        """YAML reads yes and no as true and false, which are values of attributes here."""
        words = {True: "yes", False: "no"}

        def spelled(given: Any) -> Any:
            return (
                {words[key] if isinstance(key, bool) else key: share for key, share in given.items()} if isinstance(given, dict) else given
            )

        return {name: spelled(given) for name, given in shares.items()} if isinstance(shares, dict) else shares


class Plan(Section):
    prefix: str = ""  # before every prompt
    suffix: str = ""  # after every prompt
    negative_prompt: str = ""  # where the captions file gives none
    attributes: Grammar | None = None


class Lora(Section):
    model: str  # hub id or folder
    revision: str | None = None
    weight_name: str | None = None
    scale: float = 1.0


class Generate(Section):
    model: str  # hub id, folder, or "embedded"
    revision: str | None = None  # a branch, a tag or, best, a commit
    variant: str | None = None  # "fp16" for weights saved so
    dtype: Dtype = "bf16"
    scheduler: str | None = None  # a diffusers class; none: the model's own
    steps: Count = 30
    guidance: Annotated[float, Field(ge=0)] = 7.5
    strength: Annotated[float, Field(gt=0, le=1)] = 0.6  # of an image-to-image run; 1 ignores the picture
    height: Annotated[int, Field(ge=8, multiple_of=8)] = 512  # pixels
    width: Annotated[int, Field(ge=8, multiple_of=8)] = 512
    batch: Count = 8  # no results (rounding)
    lora: Lora | None = None


class Safety(Section):
    model: str | None = None  # a safety checker of diffusers, or an image classifier; none: nothing is checked, and the card says so
    revision: str | None = None
    label: str = "nsfw"  # the classifier's label whose probability is the score
    threshold: float = 0.5  # a score above it refuses the picture
    batch: Count = 16  # no results (rounding)


class Filter(Section):
    reference_quality: Annotated[int, Field(ge=1, le=100)] = 75  # JPEG quality at which ref_bytes is counted
    min_bytes: Annotated[int, Field(ge=0)] | None = 24_000  # MALS (ACM MM 2023) removed files under 24 kB
    min_bits_per_pixel: Annotated[float, Field(ge=0)] | None = None  # 0.732 is 24,000 bytes at 512 x 512
    min_channel_variance: Annotated[float, Field(ge=0)] | None = (
        50.0  # near-grey pictures are under it; the paper keeps its number to itself
    )
    min_sharpness: Annotated[float, Field(ge=0)] | None = None  # variance of the Laplacian at sharpness_side
    sharpness_side: Annotated[int, Field(ge=32)] = 256  # pixels of the longer side at which sharpness is measured
    batch: Count = 32  # no results


class Crop(Section):
    backend: Literal["vitpose", "openpose"] = "vitpose"
    model: str
    revision: str | None = None
    detector: str = "none"  # person boxes for vitpose: an object detector of transformers; none: the whole picture
    detector_revision: str | None = None
    detector_score: Share = 0.5
    dtype: Dtype = "fp32"
    persons: Annotated[int, Field(ge=1)] = 1  # allowed in a picture; the one with the best keypoints is cut out
    score: Share = 0.3  # a keypoint under it is not visible
    min_keypoints: Annotated[int, Field(ge=1, le=17)] = 8
    min_head: Annotated[int, Field(ge=0, le=5)] = 1  # of nose, eyes, ears
    min_hip: Annotated[int, Field(ge=0, le=2)] = 1
    margin: Annotated[float, Field(ge=0, le=1)] = 0.1  # of the box's height, on every side
    min_side: Annotated[int, Field(ge=1)] = 90  # pixels of the crop's shorter side
    min_aspect: Annotated[float, Field(gt=0)] = 1.0  # height / width
    max_aspect: Annotated[float, Field(gt=0)] = 5.0
    batch: Count = 16  # no results (rounding)


class Captioner(Section):
    backend: Literal["blip", "vlm"] = "blip"
    model: str
    revision: str | None = None
    dtype: Dtype = "fp32"
    prompt: str = ""  # blip: what the caption begins with; vlm: the question
    beams: Count = 3
    sample: bool = False  # draw words instead of taking the likeliest
    temperature: Annotated[float, Field(gt=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9
    min_tokens: Annotated[int, Field(ge=0)] = 5
    max_tokens: Count = 60
    batch: Count = 16  # no results (rounding)


class Caption(Section):
    captioners: Annotated[list[Captioner], Field(min_length=1)]
    collapse: bool = True  # "with his hands on his hips and his hands on his hips" once; the raw text stays


class Label(Section):
    space: str = "market1501"  # an attribute space by name, or a YAML file
    batch: Count = 256  # no results


class Pack(Section):
    name: str = "persons"  # of the data set, in the card
    split: dict[str, Share] = {"train": 1.0}  # shares; they sum to 1
    split_by: Literal["share", "person"] = "share"  # person: all pictures of one person fall into one split
    rows_per_file: Count = 4096
    rows_per_group: Count = 128  # of 28 kB: a row at random takes 1.3 ms (512: 4.0 ms, 16: 0.9 ms), for files 0.8 % larger than with 512
    license: str = "other"
    contact: str = ""
    language: str = "en"  # of the captions, for the card

    @model_validator(mode="after")
    def shares_sum_to_one(self) -> "Pack":
        if abs(sum(self.split.values()) - 1) > 1e-6:
            raise ValueError(f"the shares of pack.split sum to {sum(self.split.values()):g}, not 1")
        return self


class Execution(Section):
    """How a run is worked off; nothing here changes a result but `threads`, by rounding."""

    workers: Annotated[int, Field(ge=1)] | Literal["auto"] = (
        "auto"  # auto: one a GPU; without GPUs one for models and one a core for the rest
    )
    threads: Count = 1  # of each worker
    max_error_rate: Share = 0.02  # of a shard's rows; with more the shard is not done
    attempts: Count = 2  # at a shard that failed


class Config(Section):
    preset: str = "tiny"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    shard_rows: Count = 512  # rows a shard: what a kill can cost
    stages: dict[str, str] = {}  # a stage of your own in place of ours: "generate: my_package.my_module:my_function"
    plan: Plan = Plan()
    generate: Generate
    safety: Safety = Safety()
    filter: Filter = Filter()
    crop: Crop
    caption: Caption
    label: Label = Label()
    pack: Pack = Pack()
    run: Execution = Execution()


def dump(config: Config) -> dict[str, Any]:
    """The whole tree as JSON values."""
    return config.model_dump(mode="json")

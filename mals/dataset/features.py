"""The columns of a packed data set, in one place: Arrow types, the features that `datasets` reads from the schema, the card's YAML.

A feature is written as `datasets` writes it to JSON ({"dtype": "string", "_type": "Value"}); a mapping without `_type` is a struct.
The library itself is not needed for that; it knows lists of this name, "List", from version 4.0 on.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

Feature = dict[str, Any]  # with "_type" a value, class, image or list; without it a struct: name -> feature of the member

REJECT_COLUMNS = ("reject_reason", "reject_all", "reject_stage", "error", "error_stage")
GENERATOR_FEATURES = {  # of one image; names of the generate stage's columns -> Arrow types
    "model": "string",
    "revision": "string",
    "pipeline": "string",
    "scheduler": "string",
    "steps": "int32",
    "guidance": "float32",
    "strength": "float32",
    "width": "int32",
    "height": "int32",
    "dtype": "string",
    "batch": "int32",
    "lora": "string",
}
GENERATOR_ONLY = [name for name in GENERATOR_FEATURES if name not in ("width", "height")]  # every image has a width and a height
RULE_COLUMNS = {  # the numbers by which rules refuse -> Arrow types
    "persons": "int32",
    "heads": "int32",
    "person_score": "float32",
    "visible_head": "int32",
    "visible_arms": "int32",
    "visible_hips": "int32",
    "visible_legs": "int32",
    "cut_keypoints": "int32",
    "ref_bytes": "int32",
    "bits_per_pixel": "float32",
    "channel_variance": "float32",
    "sharpness": "float32",
    "luminance": "float32",
    "overexposure": "float32",
    "watermark_score": "float32",
    "aesthetic_score": "float32",
    "nsfw_score": "float32",
}
SOURCE_CAPTION = "source_caption"  # the plan's column `caption`, whose name the caption stage uses too
ORIGIN = "origin"  # what made an image, see mals/origin.py
PIXEL_COLUMNS = ("image", "crop")  # read only for the packed image


def value(dtype: str) -> Feature:
    """A plain value of an Arrow type."""
    return {"dtype": dtype, "_type": "Value"}


def list_of(feature: Feature, length: int | None = None) -> Feature:
    """A list, of exactly `length` values if that is not None."""
    return {"feature": feature, **({} if length is None else {"length": length}), "_type": "List"}


def class_label(names: Sequence[str]) -> Feature:
    """A class, stored as its index in `names`; null if unknown."""
    return {"names": list(names), "_type": "ClassLabel"}


CAPTION_FEATURES = {
    "text": value("string"),
    "source": value("string"),  # the captioner's model, "prompt", or "collection": the caption that an image came with
    "revision": value("string"),
    "instruction": value("string"),  # the captioner's prompt beside the image
    "raw": value("string"),  # the text before repetitions were removed
    "repetition": value("float32"),  # share of the words of `raw` that were repetitions
}
RUN_CAPTION_FEATURES = CAPTION_FEATURES | {
    "kind": value("string"),  # of the instruction: static, template, style or questions
    "template": value("string"),  # the template or style example that was drawn
    "tries": value("int32"),
    "refused": value("string"),  # the rule that the last try failed, where the image's static caption takes its place
}


@dataclass(frozen=True)
class Column:
    """One packed column: the column of a stage (or of the plan) that it comes from, and its feature."""

    name: str
    source: str
    feature: Feature


@dataclass(frozen=True)
class Columns:
    """The columns of one config (`default` or `rejected`) of a packed data set."""

    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    def __contains__(self, name: str) -> bool:
        return name in self.names

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of every file, with the metadata from which `datasets` knows images and classes."""
        features = {column.name: column.feature for column in self.columns}
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        return pa.schema([pa.field(name, arrow_type(feature)) for name, feature in features.items()], metadata=metadata)

    def yaml(self) -> list[dict[str, Any]]:
        """The `features` of `dataset_info` in a card's front matter."""
        return _yaml_struct({column.name: column.feature for column in self.columns})


def arrow_type(feature: Feature) -> pa.DataType:
    """The Arrow type that stores a feature."""
    kind = feature.get("_type")
    if kind == "Value":
        return pa.type_for_alias(feature["dtype"])
    if kind == "ClassLabel":
        return pa.int64()
    if kind == "Image":
        return pa.struct({"bytes": pa.binary(), "path": pa.string()})
    if kind == "List":
        return pa.list_(arrow_type(feature["feature"]), feature.get("length", -1))
    return pa.struct({name: arrow_type(inner) for name, inner in feature.items()})


def kept_columns(planned: Sequence[str], adds: Mapping[str, pa.Schema], attributes: Mapping[str, Sequence[str]]) -> Columns:
    """The columns of kept rows.

    `planned`: the columns of the plan; `adds`: stage -> the schema that it adds; `attributes`: attribute -> the names of its two values.
    A column without a source is left out; `origin` and `synthetic` are always there, null where no stage knows what made an image. Without
    a caption stage `caption` is that of the plan. Plain columns that only a stage of the user's own adds keep their names.
    """
    added = {field.name: field.type for schema in adds.values() for field in schema}
    from_plan = {SOURCE_CAPTION if name == "caption" else name for name in planned}
    standard = [
        replace(column, source=SOURCE_CAPTION) if column.name == "caption" and "caption" not in added else column
        for column in _standard_columns(attributes)
    ]
    columns = [column for column in standard if column.source in from_plan | added.keys()]
    # columns that only a stage of the user's own adds
    used = {*(column.source for column in columns), *(column.name for column in columns), *GENERATOR_FEATURES, *PIXEL_COLUMNS, ORIGIN}
    extra = [Column(name, name, value(_dtype_name(dtype))) for name, dtype in added.items() if name not in used and _is_plain(dtype)]
    place = next((i for i, column in enumerate(columns) if column.name in ("person", "prompt")), len(columns))
    generator = {name: value(dtype) for name, dtype in GENERATOR_FEATURES.items() if name in added}
    if any(name in generator for name in GENERATOR_ONLY):
        tail = [Column("generator", next(iter(generator)), generator)]
    else:  # the size of an image that no generator made
        tail = [Column(f"source_{name}", name, value("int32")) for name in ("width", "height") if name in added]
    tail += [Column("image_sha256", "crop", value("string"))] if "crop" in added else []
    source = ORIGIN if ORIGIN in added else "id"
    tail += [Column(ORIGIN, source, value("string")), Column("synthetic", source, value("bool"))]
    return Columns((*columns[:place], *extra, *columns[place:], *tail))


def rejected_columns(kept: Columns) -> Columns:
    """The columns of refused and failed rows: the reasons, and the columns of kept rows without the image."""
    features = {"reject_all": list_of(value("string"))}
    reasons = [Column(name, "id", features.get(name, value("string"))) for name in REJECT_COLUMNS]
    rest = [column for column in kept.columns if column.name not in ("id", "image", "image_sha256")]
    return Columns((Column("id", "id", value("string")), *reasons, *rest))


def _standard_columns(attributes: Mapping[str, Sequence[str]]) -> list[Column]:
    """The columns that mals itself can fill, in the order in which people look at them."""
    classes = {name: class_label(values) for name, values in attributes.items()}
    return [
        Column("id", "id", value("string")),
        Column("image", "crop", {"_type": "Image"}),
        Column("caption", "caption", value("string")),
        Column("captions", "captions", list_of(RUN_CAPTION_FEATURES)),
        Column("attributes", "attributes", classes),
        Column("attribute_source", "attribute_source", {name: value("string") for name in classes}),
        Column("agreement_captions", "agreement_captions", value("float32")),
        Column("agreement_wanted", "agreement_wanted", value("float32")),
        Column("identity_agreement", "identity_agreement", value("float32")),
        Column("identity_similarity", "identity_similarity", value("float32")),
        Column("agree_score", "agree_score", value("float32")),
        Column("agree_rank", "agree_rank", value("int32")),
        Column("agree_references", "agree_references", value("int32")),
        Column("agree_scores", "agree_scores", list_of(value("float32"))),
        Column("width", "crop_width", value("int32")),
        Column("height", "crop_height", value("int32")),
        Column("bbox", "crop_box", list_of(value("int32"), 4)),
        Column("person_box", "person_box", list_of(value("float32"), 4)),
        Column("keypoints", "keypoints", list_of(list_of(value("float32"), 3), 17)),
        *(Column(name, name, value(dtype)) for name, dtype in RULE_COLUMNS.items()),
        Column("phash", "phash", value("uint64")),
        Column("heads_blurred", "heads_blurred", value("int32")),
        Column("person", "person", value("string")),
        Column("camera", "camera", value("string")),
        Column("wanted", "wanted", classes),
        Column("prompt", "prompt", value("string")),
        Column("negative_prompt", "negative_prompt", value("string")),
        Column(SOURCE_CAPTION, SOURCE_CAPTION, value("string")),
        Column("seed", "seed", value("int64")),
        Column("init_image", "init_image", value("string")),
        Column("first_view", "first_view", value("string")),  # the id of the first image of the person; null in its own row
        Column("prompt_tokens", "prompt_tokens", value("int32")),
        Column("prompt_cut", "prompt_cut", value("bool")),
        Column("source_name", "source_name", value("string")),
        Column("source_sha256", "source_sha256", value("string")),
        Column("reencoded", "reencoded", value("string")),
    ]


def _is_plain(dtype: pa.DataType) -> bool:
    return pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_boolean(dtype) or pa.types.is_string(dtype)


def _dtype_name(dtype: pa.DataType) -> str:
    """The name of a plain Arrow type in `datasets`."""
    return {"halffloat": "float16", "float": "float32", "double": "float64"}.get(str(dtype), str(dtype))


def _yaml_struct(features: Mapping[str, Feature]) -> list[dict[str, Any]]:
    return [{"name": name, **_yaml(feature)} for name, feature in features.items()]


def _yaml(feature: Feature) -> dict[str, Any]:
    kind = feature.get("_type")
    if kind == "Value":
        return {"dtype": feature["dtype"]}
    if kind == "Image":
        return {"dtype": "image"}
    if kind == "ClassLabel":
        return {"dtype": {"class_label": {"names": {str(i): name for i, name in enumerate(feature["names"])}}}}
    if kind == "List":
        inner = _yaml(feature["feature"])
        shape = {"length": feature["length"]} if "length" in feature else {}
        return {"list": inner.get("dtype", inner.get("struct", inner)), **shape}
    return {"struct": _yaml_struct(feature)}

"""The columns of a packed data set, in one place: Arrow types, what `datasets` reads from the schema, and the card's YAML.

A feature is written as `datasets` writes it to JSON ({"dtype": "string", "_type": "Value"}); a mapping without `_type` is a
struct. `datasets` itself is not needed to write one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

Feature = dict[str, Any]

REASONS = ("reject_reason", "reject_all", "reject_stage", "error", "error_stage")
GENERATOR = {  # of one picture, by the generate stage's own column names
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
SOURCE_CAPTION = "source_caption"  # the plan's `caption`, which the caption stage's hides
HEAVY = ("image", "crop")  # pixels: never read but for the packed picture


def value(dtype: str) -> Feature:
    return {"dtype": dtype, "_type": "Value"}


def several(feature: Feature, length: int | None = None) -> Feature:
    """A list; of exactly `length` values where that is given."""
    return {"feature": feature, **({} if length is None else {"length": length}), "_type": "List"}


def label(names: Sequence[str]) -> Feature:
    """A class, stored as its index in `names`; null: unknown."""
    return {"names": list(names), "_type": "ClassLabel"}


CAPTION = {
    "text": value("string"),
    "source": value("string"),  # the captioner's model, or "prompt"
    "revision": value("string"),
    "instruction": value("string"),  # what the captioner was given beside the picture
    "raw": value("string"),  # before repetitions were collapsed
    "repetition": value("float32"),
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
        """The Arrow schema of every file, with the metadata from which `datasets` knows pictures and classes."""
        features = {column.name: column.feature for column in self.columns}
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        return pa.schema([pa.field(name, arrow(feature)) for name, feature in features.items()], metadata=metadata)

    def yaml(self) -> list[dict[str, Any]]:
        """The `features` of `dataset_info` in a card's front matter."""
        return _yaml_struct({column.name: column.feature for column in self.columns})


def arrow(feature: Feature) -> pa.DataType:
    """The storage type of a feature."""
    kind = feature.get("_type")
    if kind == "Value":
        return pa.type_for_alias(feature["dtype"])
    if kind == "ClassLabel":
        return pa.int64()
    if kind == "Image":
        return pa.struct({"bytes": pa.binary(), "path": pa.string()})
    if kind == "List":
        return pa.list_(arrow(feature["feature"]), feature.get("length", -1))
    return pa.struct({name: arrow(inner) for name, inner in feature.items()})


def kept_columns(planned: Sequence[str], adds: Mapping[str, pa.Schema], attributes: Mapping[str, Sequence[str]]) -> Columns:
    """The columns of kept rows, for a plan with the columns `planned`, stages that add `adds` (stage -> schema) and an attribute space.

    `attributes` gives the two values of each attribute by its name. A column whose source nothing adds is left out; plain columns
    of a stage that is not ours travel under their own names.
    """
    found = {field.name: field.type for schema in adds.values() for field in schema}
    sources = {*found, *planned, *((SOURCE_CAPTION,) if "caption" in planned else ())} - ({"caption"} - set(found))
    known = [column for column in _known(attributes) if column.source in sources]
    used = {column.source for column in known} | {column.name for column in known} | set(GENERATOR) | set(HEAVY)
    extra = [Column(name, name, value(_alias(kind))) for name, kind in found.items() if name not in used and _plain(kind)]
    at = next((i for i, column in enumerate(known) if column.name in ("person", "prompt")), len(known))
    generator = {name: value(dtype) for name, dtype in GENERATOR.items() if name in found}
    tail = [Column("generator", "model", generator)] if generator else []
    tail += [Column("image_sha256", "crop", value("string"))] if "crop" in found else []
    return Columns((*known[:at], *extra, *known[at:], *tail, Column("synthetic", "id", value("bool"))))


def rejected_columns(kept: Columns) -> Columns:
    """The columns of refused and failed rows: those of kept rows without the picture, and why."""
    words = {"reject_all": several(value("string"))}
    reasons = [Column(name, "id", words.get(name, value("string"))) for name in REASONS]
    rest = [column for column in kept.columns if column.name not in ("id", "image", "image_sha256")]
    return Columns((Column("id", "id", value("string")), *reasons, *rest))


def _known(attributes: Mapping[str, Sequence[str]]) -> list[Column]:
    """What mals itself makes, in the order in which people look at it."""
    classes = {name: label(values) for name, values in attributes.items()}
    number = {name: value("float32") for name in ("bits_per_pixel", "channel_variance", "sharpness", "nsfw_score", "person_score")}
    return [
        Column("id", "id", value("string")),
        Column("image", "crop", {"_type": "Image"}),
        Column("caption", "caption", value("string")),
        Column("captions", "captions", several(CAPTION)),
        Column("attributes", "attributes", classes),
        Column("attribute_source", "attribute_source", {name: value("string") for name in classes}),
        Column("agreement_captions", "agreement_captions", value("float32")),
        Column("agreement_wanted", "agreement_wanted", value("float32")),
        Column("width", "crop_width", value("int32")),
        Column("height", "crop_height", value("int32")),
        Column("bbox", "crop_box", several(value("int32"), 4)),
        Column("person_box", "person_box", several(value("float32"), 4)),
        Column("keypoints", "keypoints", several(several(value("float32"), 3), 17)),
        Column("persons", "persons", value("int32")),
        Column("person_score", "person_score", number["person_score"]),
        Column("ref_bytes", "ref_bytes", value("int32")),
        Column("bits_per_pixel", "bits_per_pixel", number["bits_per_pixel"]),
        Column("channel_variance", "channel_variance", number["channel_variance"]),
        Column("sharpness", "sharpness", number["sharpness"]),
        Column("nsfw_score", "nsfw_score", number["nsfw_score"]),
        Column("phash", "phash", value("uint64")),
        Column("person", "person", value("string")),
        Column("camera", "camera", value("string")),
        Column("wanted", "wanted", classes),
        Column("prompt", "prompt", value("string")),
        Column("negative_prompt", "negative_prompt", value("string")),
        Column(SOURCE_CAPTION, SOURCE_CAPTION, value("string")),
        Column("seed", "seed", value("int64")),
        Column("init_image", "init_image", value("string")),
        Column("prompt_tokens", "prompt_tokens", value("int32")),
        Column("prompt_cut", "prompt_cut", value("bool")),
    ]


def _plain(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_string(kind)


def _alias(kind: pa.DataType) -> str:
    """The name that `datasets` has for a plain Arrow type."""
    return {"halffloat": "float16", "float": "float32", "double": "float64"}.get(str(kind), str(kind))


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

"""croissant.json: the packed data set described for machines, with the fields of responsible AI."""

import json
from typing import Any

import mlcroissant as mlc

from mals.dataset.card import TAGS, Facts, licence_chain, splits_of
from mals.dataset.features import Columns, Feature
from mals.dataset.pack import FOLDER

RAI = "http://mlcommons.org/croissant/RAI/1.0"
KINDS = {
    "string": mlc.DataType.TEXT,
    "bool": mlc.DataType.BOOL,
    "int8": mlc.DataType.INT8,
    "int16": mlc.DataType.INT16,
    "int32": mlc.DataType.INT32,
    "int64": mlc.DataType.INT64,
    "uint8": mlc.DataType.UINT8,
    "uint16": mlc.DataType.UINT16,
    "uint32": mlc.DataType.UINT32,
    "uint64": mlc.DataType.UINT64,
    "float16": mlc.DataType.FLOAT16,
    "float32": mlc.DataType.FLOAT32,
    "float64": mlc.DataType.FLOAT64,
}


def render(facts: Facts) -> str:
    """The JSON text; the same facts give the same text."""
    pack, kept = facts.run.config.pack, facts.counts["kept"]
    metadata = {
        "name": pack.name,
        "description": f"{kept:,} synthetic pictures of persons with captions and {len(facts.labels)} attributes, made by mals.",
        "license": [pack.license],
        "keywords": TAGS,
        "in_language": [pack.language],
    }
    return text(metadata | _responsible(facts), facts.columns, facts.files)


def text(metadata: dict[str, Any], columns: dict[str, Columns], files: list[dict[str, Any]]) -> str:
    """croissant.json of a set with `columns` by config and Parquet `files` as in Facts."""
    sets, distribution = [], []
    for config, folder in (("default", "data"), ("rejected", "rejected")):
        if not splits_of(files, config):
            continue
        distribution += [_file(file) for file in files if file["config"] == config]
        distribution.append(
            mlc.FileSet(id=f"{config}-files", name=f"{config}-files", encoding_formats=[PARQUET], includes=[f"{folder}/*.parquet"])
        )
        fields = [field for column in columns[config].columns for field in _fields(config, column.name, column.feature)]
        sets.append(mlc.RecordSet(id=config, name=config, key=[f"{config}/id"], fields=fields))
    tree = mlc.Metadata(
        version="1.0.0",
        conforms_to=["http://mlcommons.org/croissant/1.0", RAI],
        distribution=distribution,
        record_sets=sets,
        **metadata,
    ).to_json()
    tree["rai:hasSyntheticData"] = True  # asked for by venues, and not yet a field of the library
    return json.dumps(tree, indent=1, ensure_ascii=False, default=str) + "\n"


PARQUET = "application/x-parquet"


def _file(file: dict[str, Any]) -> mlc.FileObject:
    name = file["path"].removeprefix(f"{FOLDER}/")
    return mlc.FileObject(
        id=name, name=name, content_url=name, content_size=f"{file['bytes']} B", encoding_formats=[PARQUET], sha256=file["sha256"]
    )


def _fields(config: str, name: str, feature: Feature) -> list[mlc.Field]:
    """One field a plain column, one a member of a struct; lists of structs are left to Parquet's own schema."""
    if "_type" not in feature:
        return [
            _field(config, f"{name}.{inner}", name, member, mlc.Transform(json_path=inner))
            for inner, member in feature.items()
            if member.get("_type") in ("Value", "ClassLabel")
        ]
    if feature["_type"] == "Image":
        return [_field(config, name, name, feature, mlc.Transform(json_path="bytes"))]
    if feature["_type"] == "List":
        inner = feature["feature"]
        return [_field(config, name, name, inner, repeated=True)] if inner.get("_type") == "Value" else []
    return [_field(config, name, name, feature)]


def _field(config: str, name: str, column: str, feature: Feature, *transforms: mlc.Transform, repeated: bool = False) -> mlc.Field:
    if feature["_type"] == "Image":
        kind = mlc.DataType.IMAGE_OBJECT
    else:
        kind = mlc.DataType.INT64 if feature["_type"] == "ClassLabel" else KINDS[feature["dtype"]]
    described = f"0: {feature['names'][0]}, 1: {feature['names'][1]}" if feature["_type"] == "ClassLabel" else None
    source = mlc.Source(file_set=f"{config}-files", extract=mlc.Extract(column=column), transforms=list(transforms))
    return mlc.Field(
        id=f"{config}/{name}", name=f"{config}/{name}", description=described, data_types=[kind], source=source, is_array=repeated or None,
        array_shape=str(-1) if repeated else None,
    )  # fmt: skip


def _responsible(facts: Facts) -> dict[str, Any]:
    counts, config = facts.counts, facts.run.config
    tools = [f"{link['makes']}: {link['model']} ({link['revision']})" for link in licence_chain(facts.run)]
    rules = [f"{stage}: {reason}" for stage, flow in counts["stages"].items() for reason in flow["refused"]]
    contact = f" Contact: {config.pack.contact}." if config.pack.contact else ""
    return {
        "data_collection": f"{counts['planned']:,} pictures were planned as prompts and made by a generative model; no camera took any.",
        "data_collection_type": ["Software Collection"],
        "data_preprocessing_protocol": [
            f"{counts['refused']:,} rows were refused and {counts['failed']:,} failed; they are in the config rejected.",
            *(f"Rule that refused rows: {rule}" for rule in rules),
            "Kept pictures are cut to the person by keypoints.",
        ],
        "data_annotation_protocol": [
            f"Captions come from captioning models; attributes ({config.label.space}) are matched in their words, "
            "by explicit matching and implicit extension."
        ],
        "annotations_per_item": "as many captions as captioners, and one set of attributes",
        "machine_annotation_tools": tools or ["the stages that the card names"],
        "data_biases": [
            "Shares of attributes are those of the prompts, the generator and the filters; the card's attribute table tells both."
        ],
        "data_limitations": ["Nobody checked captions or attributes; generated people have wrong hands, faces and lettering."],
        "data_use_cases": ["Pretraining for text-based person search and attribute recognition; the study of synthetic data."],
        "data_social_impact": "It stands in for pictures of real people. It must not be used to identify or to search for real people.",
        "personal_sensitive_information": ["None was collected; gender and age are guesses from the looks of people who do not exist."],
        "data_release_maintenance_plan": f"A new version is a new pack with new hashes.{contact}",
    }

"""croissant.json: the packed data set described for machines, with the fields of Croissant's responsible-AI vocabulary."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import mlcroissant as mlc

from mals.dataset.card import CONFIGS, TAGS, DatasetCardFacts
from mals.dataset.features import Columns, Feature
from mals.dataset.receipts import FOLDER, FileReceipt

RAI = "http://mlcommons.org/croissant/RAI/1.0"
PARQUET = "application/x-parquet"
DATA_TYPES = {
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


def render(facts: DatasetCardFacts) -> str:
    """The JSON text; equal facts give equal texts."""
    pack, kept = facts.config.pack, facts.counts.kept
    metadata = {
        "name": pack.name,
        "description": f"{kept:,} synthetic images of persons with captions and {len(facts.attribute_values)} attributes, made by mals.",
        "license": [pack.license],
        "keywords": TAGS,
        "in_language": [pack.language],
    }
    return croissant_json(metadata | _responsible_ai(facts), facts.columns, facts.files)


def croissant_json(metadata: dict[str, Any], columns: Mapping[str, Columns], files: Sequence[FileReceipt]) -> str:
    """The JSON text for `files` with `columns` by config name; `metadata` are arguments of `mlcroissant.Metadata`."""
    record_sets, distribution = [], []
    for config_name, folder in CONFIGS:
        config_files = [file for file in files if file.config_name == config_name]
        if not config_files:
            continue
        distribution += [_file_object(file) for file in config_files]
        distribution.append(
            mlc.FileSet(
                id=f"{config_name}-files", name=f"{config_name}-files", encoding_formats=[PARQUET], includes=[f"{folder}/*.parquet"]
            )
        )
        fields = [field for column in columns[config_name].columns for field in _fields(config_name, column.name, column.feature)]
        record_sets.append(mlc.RecordSet(id=config_name, name=config_name, key=[f"{config_name}/id"], fields=fields))
    tree = mlc.Metadata(
        version="1.0.0",
        conforms_to=["http://mlcommons.org/croissant/1.0", RAI],
        distribution=distribution,
        record_sets=record_sets,
        **metadata,
    ).to_json()
    tree["rai:hasSyntheticData"] = True  # conferences ask for it; mlcroissant has no such field yet
    return json.dumps(tree, indent=1, ensure_ascii=False, default=str) + "\n"


def _file_object(file: FileReceipt) -> mlc.FileObject:
    name = file.path.removeprefix(f"{FOLDER}/")
    return mlc.FileObject(
        id=name, name=name, content_url=name, content_size=f"{file.bytes} B", encoding_formats=[PARQUET], sha256=file.sha256
    )


def _fields(config_name: str, name: str, feature: Feature) -> list[mlc.Field]:
    """One field for a plain column, one for each member of a struct; lists of structs are described only by Parquet's own schema."""
    if "_type" not in feature:
        return [
            _field(config_name, f"{name}.{inner}", name, member, mlc.Transform(json_path=inner))
            for inner, member in feature.items()
            if member.get("_type") in ("Value", "ClassLabel")
        ]
    if feature["_type"] == "Image":
        return [_field(config_name, name, name, feature, mlc.Transform(json_path="bytes"))]
    if feature["_type"] == "List":
        inner = feature["feature"]
        return [_field(config_name, name, name, inner, repeated=True)] if inner.get("_type") == "Value" else []
    return [_field(config_name, name, name, feature)]


def _field(config_name: str, name: str, column: str, feature: Feature, *transforms: mlc.Transform, repeated: bool = False) -> mlc.Field:
    if feature["_type"] == "Image":
        data_type = mlc.DataType.IMAGE_OBJECT
    else:
        data_type = mlc.DataType.INT64 if feature["_type"] == "ClassLabel" else DATA_TYPES[feature["dtype"]]
    return mlc.Field(
        id=f"{config_name}/{name}",
        name=f"{config_name}/{name}",
        description=f"0: {feature['names'][0]}, 1: {feature['names'][1]}" if feature["_type"] == "ClassLabel" else None,
        data_types=[data_type],
        source=mlc.Source(file_set=f"{config_name}-files", extract=mlc.Extract(column=column), transforms=list(transforms)),
        is_array=repeated or None,
        array_shape=str(-1) if repeated else None,
    )


def _responsible_ai(facts: DatasetCardFacts) -> dict[str, Any]:
    counts, config = facts.counts, facts.config
    tools = [f"{model.output}: {model.model} ({model.revision})" for model in facts.licences]
    rules = [f"{name}: {rule}" for name, stage in counts.stages.items() for rule in stage.refused]
    contact = f" Contact: {config.pack.contact}." if config.pack.contact else ""
    return {
        "data_collection": f"{counts.planned:,} images were planned as prompts and made by a generative model; none is a photograph.",
        "data_collection_type": ["Software Collection"],
        "data_preprocessing_protocol": [
            f"{counts.refused:,} rows were refused and {counts.failed:,} failed; they are in the config rejected.",
            *(f"Rule that refused rows: {rule}" for rule in rules),
            "Kept images are cropped to the person by keypoints.",
        ],
        "data_annotation_protocol": [
            f"Captions come from captioning models; attributes ({config.label.space}) are matched in their words, "
            "by explicit matching and implicit extension."
        ],
        "annotations_per_item": "as many captions as captioners, and one set of attributes",
        "machine_annotation_tools": tools or ["the stages that the card names"],
        "data_biases": [
            "Shares of attributes are those of the prompts, the generator and the filters; the card's attribute table shows them."
        ],
        "data_limitations": ["No person checked captions or attributes; generated people have wrong hands, faces and lettering."],
        "data_use_cases": ["Pretraining for text-based person search and attribute recognition; the study of synthetic data."],
        "data_social_impact": "It replaces images of real people. It must not be used to identify or to search for real people.",
        "personal_sensitive_information": ["None was collected; gender and age are guesses from the looks of people who do not exist."],
        "data_release_maintenance_plan": f"A new version is a new pack with new hashes.{contact}",
    }

"""croissant.json: the packed data set described for machines, with the fields of Croissant's responsible-AI vocabulary."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import mlcroissant as mlc

from mals.dataset.card import CONFIGS, TAGS, DatasetCardFacts
from mals.dataset.features import Columns, Feature
from mals.dataset.origins import MADE_BY
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
    pack, counts = facts.config.pack, facts.counts
    origins = ", ".join(f"{images:,} {MADE_BY[origin]}" for origin, images in counts.origins.images.items())
    metadata = {
        "name": pack.name,
        "description": (
            f"{counts.kept:,} images of persons with captions and {len(facts.attribute_values)} attributes, packed by mals: {origins}."
        ),
        "license": [pack.license],
        "keywords": [*counts.origins.tags(), *TAGS],
        "in_language": [pack.language],
    }
    return croissant_json(metadata | _responsible_ai(facts), facts.columns, facts.files, counts.origins.has_synthetic_data)


def croissant_json(
    metadata: dict[str, Any], columns: Mapping[str, Columns], files: Sequence[FileReceipt], has_synthetic_data: bool | None
) -> str:
    """The JSON text for `files` with `columns` by config name.

    `metadata` are arguments of `mlcroissant.Metadata`; `has_synthetic_data` is None where it is not known.
    """
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
    if has_synthetic_data is not None:
        tree["rai:hasSyntheticData"] = has_synthetic_data  # conferences ask for it; mlcroissant has no such field yet
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
    contact = f" Contact: {config.pack.contact}." if config.pack.contact else ""
    return {
        **_collection(facts),
        **_people(facts),
        "data_preprocessing_protocol": _preprocessing(facts),
        "data_annotation_protocol": [
            f"Captions come from captioning models{' or from the collection' if counts.origins.may_show_people else ''}; attributes "
            f"({config.label.space}) are matched in their words, by explicit matching and implicit extension."
        ],
        "annotations_per_item": "as many captions as instructions of all captioners, and one set of attributes",
        "machine_annotation_tools": tools or ["the stages that the card names"],
        "data_release_maintenance_plan": f"A new version is a new pack with new hashes.{contact}",
    }


def _collection(facts: DatasetCardFacts) -> dict[str, Any]:
    """Where the images come from, and what follows for their content."""
    origins, planned, source = facts.counts.origins, facts.counts.planned, facts.config.pack.source
    collection = [
        f"{images:,} of {facts.counts.kept:,} kept images (of {planned:,} planned): {MADE_BY[origin]}."
        for origin, images in origins.images.items()
    ]
    if origins.may_show_people:
        collection.append(f"Source of the photographs: {source or 'not stated'}.")
    kinds = [*(["Software Collection"] if origins.synthetic else []), *(["Others"] if origins.may_show_people else [])]
    makers = [*(["the prompts, the generator"] if origins.modelled else []), *(["the source"] if origins.may_show_people else [])]
    limits = ["No person checked captions or attributes."]
    if origins.modelled:
        limits.append("Generated people have wrong hands, faces and lettering.")
    uses = "Pretraining for text-based person search and attribute recognition"
    return {
        "data_collection": " ".join(collection),
        "data_collection_type": kinds,
        "data_biases": [f"Shares of attributes are those of {', '.join(makers)} and the filters; the card's attribute table shows them."],
        "data_limitations": limits,
        "data_use_cases": [f"{uses}; the study of synthetic data." if origins.synthetic else f"{uses}."],
    }


def _people(facts: DatasetCardFacts) -> dict[str, Any]:
    """What the images show of real people, and on what basis."""
    origins, heads = facts.counts.origins, facts.counts.heads
    if not origins.may_show_people:
        source = " An initial image may show a real person, who may be recognisable." if origins.from_images else ""
        return {
            "data_social_impact": "It replaces images of real people. It must not be used to identify or to search for real people.",
            "personal_sensitive_information": [
                f"None was collected; gender and age are guesses from the looks of people who do not exist.{source}"
            ],
        }
    sensitive = [
        f"{origins.may_show_people:,} images may show real people, and gender and age are guesses from their looks.",
        f"Basis on which people are shown: {facts.config.pack.consent or 'not stated'}.",
    ]
    if heads is not None:
        sensitive.append(f"{heads.heads:,} heads are blurred; in {heads.without:,} of {heads.images:,} images no head was there to blur.")
    return {
        "data_social_impact": "It shows people. It must not be used to identify, search for or track them or others.",
        "personal_sensitive_information": sensitive,
    }


def _preprocessing(facts: DatasetCardFacts) -> list[str]:
    counts = facts.counts
    rules = [f"{name}: {rule}" for name, stage in counts.stages.items() for rule in stage.refused]
    cut = facts.config.crop.backend != "none"
    return [
        f"{counts.refused:,} rows were refused and {counts.failed:,} failed; they are in the config rejected.",
        *(f"Rule that refused rows: {rule}" for rule in rules),
        "Kept images are cropped to the person by keypoints." if cut else "Images are whole: nothing was cropped.",
        *(f"{images:,} images were encoded again: {reason}." for reason, images in counts.reencoded.items()),
    ]

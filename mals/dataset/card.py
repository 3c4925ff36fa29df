"""The README.md of a packed data set: every number in it comes from the plan, the cells, the receipts or the packed files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, TypedDict

import jinja2
import yaml

from mals import models
from mals.config import Config
from mals.dataset.features import RULE_COLUMNS, Columns
from mals.dataset.receipts import REJECTED, FileReceipt
from mals.dataset.rows import file_name
from mals.dataset.scores import rules
from mals.dataset.source import result_settings
from mals.dataset.statistics import AttributeCounts, DatasetCounts
from mals.errors import UserError
from mals.grid.cells import Survey

TAGS = ["person-retrieval", "attribute-recognition", "mals", "croissant"]  # beside those that follow from the origins of the images
SIZE_CATEGORIES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"))
CONFIGS = (("default", "data"), (REJECTED, "rejected"))  # name of a config of `datasets`, its folder
MODEL_OUTPUTS = {  # part of the settings that names a model -> what the model adds to the data set
    "generator": "images",
    "lora": "images (LoRA)",
    "control": "poses of the images",
    "ip_adapter": "likeness of a person's images",
    "safety": "safety scores",
    "pose": "keypoints",
    "detector": "person boxes",
    "watermark": "scores of watermarks and text",
    "aesthetic": "aesthetic scores",
    "captioner": "captions",
    "scorer": "scores of images and captions",
}


class SplitSize(TypedDict):
    """A split in the YAML of a card, with the keys of `datasets`."""

    name: str
    num_bytes: int  # as Arrow tables
    num_examples: int


@dataclass(frozen=True)
class ModelLicence:
    """A model that produced a part of a data set; its licence is "unknown" if its card does not name one."""

    output: str  # the part: "images", "captions", ...
    model: str  # a name, never a path
    revision: str
    licence: str


@dataclass(frozen=True)
class FunnelStep:
    """Rows that are left after a step."""

    step: str
    left: int
    gone: int | None = None  # rows that left here
    fired: int | None = None  # rows on which the rule fired, those that an earlier rule refused included


@dataclass(frozen=True)
class AttributeShares:
    """One row of the attribute table; all shares are percentages as text."""

    name: str
    values: list[str]
    requested: list[str]  # of each value
    kept: list[str]  # of each value, and of unknown
    rate: list[str]  # kept rows of those that the value was requested for, of each value
    sources: list[str]  # explicit, implicit, unknown


@dataclass(frozen=True, kw_only=True)
class DatasetCardFacts:
    """Everything that the card and croissant.json are made from."""

    config: Config
    counts: DatasetCounts
    columns: dict[str, Columns]  # config name -> columns
    files: Sequence[FileReceipt]
    attribute_values: dict[str, list[str]]  # attribute -> the names of its two values
    licences: list[ModelLicence]
    versions: list[str]  # of libraries and devices
    agree: Mapping[str, Any] | None = None  # the params of the cells of the stage `agree`; None if the run has none
    benchmarks: Sequence[Mapping[str, Any]] = ()  # the sets that the rows were compared with: set, images, sha256


def render(facts: DatasetCardFacts) -> str:
    """The text of the card."""
    counts, config = facts.counts, facts.config
    columns = facts.columns["default"]
    creators = [*(["machine-generated"] if "captions" in columns else []), *(["found"] if counts.origins.original else [])]
    front = front_matter(
        name=config.pack.name,
        license=config.pack.license,
        language=config.pack.language,
        rows=counts.kept,
        columns=facts.columns,
        files=facts.files,
        tags=[*counts.origins.tags(), *TAGS],
        overrides={"language_creators": creators or ["found"]},
    )
    return load_template("dataset.md").render(
        front=front,
        counts=counts,
        origins=counts.origins,
        columns=columns.names,
        rule_columns=[name for name in RULE_COLUMNS if name in columns],
        config=config,
        splits=split_sizes(facts.files, "default"),
        licences=facts.licences,
        replaced_stages=dict(sorted(config.stages.items())),
        funnel=funnel(counts),
        attributes=attribute_shares(counts.attributes, facts.attribute_values),
        has_requested=any(sum(attribute.requested) for attribute in counts.attributes),
        versions=facts.versions,
        agree=facts.agree,
        agree_rules=rules(facts.agree or {}),
        settings=yaml.safe_dump(without_paths(result_settings(config)), sort_keys=False, allow_unicode=True).strip(),
        benchmarks=facts.benchmarks,
        embedder=file_name(config.dedup.scorer) if config.dedup and config.dedup.scorer else None,
        checker=config.stages.get("safety") or (file_name(config.safety.model) if config.safety.model else None),
    )


def load_template(name: str) -> jinja2.Template:
    """A template of the package data_cards."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
    )
    environment.filters |= {"count": lambda number: f"{number:,}", "cell": table_cell, "percent": percent, "file_name": file_name}
    return environment.from_string((resources.files("data_cards") / name).read_text(encoding="utf-8"))


def front_matter(
    *,
    name: str,
    license: str,
    language: str,
    rows: int,
    columns: Mapping[str, Columns],
    files: Sequence[FileReceipt],
    tags: Sequence[str],
    overrides: Mapping[str, Any] | None = None,
) -> str:
    """The YAML from which the hub and `datasets` know a data set.

    `columns` by config name; `overrides` replaces keys, for data sets that mals did not generate.
    """
    configs, infos = [], []
    for config_name, folder in CONFIGS:
        splits = split_sizes(files, config_name)
        if not splits:
            continue
        data_files = [{"split": split["name"], "path": f"{folder}/{split['name']}-*"} for split in splits]
        configs.append({"config_name": config_name, "data_files": data_files, **({"default": True} if config_name == "default" else {})})
        download_size = sum(file.bytes for file in files if file.config_name == config_name)
        sizes = {"splits": splits, "download_size": download_size, "dataset_size": sum(split["num_bytes"] for split in splits)}
        infos.append({"config_name": config_name, "features": columns[config_name].yaml(), **sizes})
    tree: dict[str, Any] = {"license": license}
    if license == "other":
        tree |= {"license_name": "see-licence-chain", "license_link": "README.md"}
    tree |= {
        "language": [language],
        "pretty_name": name,
        "size_categories": [next((size for limit, size in SIZE_CATEGORIES if rows < limit), "n>10M")],
        "task_categories": ["image-to-text", "text-to-image", "image-feature-extraction"],
        "tags": list(tags),
        "annotations_creators": ["machine-generated"],
        "language_creators": ["machine-generated"],
        "source_datasets": ["original"],
        "configs": configs,
        "dataset_info": infos,
    }
    tree |= overrides or {}
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=1000).strip()


def split_sizes(files: Sequence[FileReceipt], config_name: str) -> list[SplitSize]:
    """The splits of one config, in the order of the files."""
    splits: dict[str, SplitSize] = {}
    for file in files:
        if file.config_name == config_name:
            split = splits.setdefault(file.split, {"name": file.split, "num_bytes": 0, "num_examples": 0})
            split["num_bytes"] += file.memory_bytes
            split["num_examples"] += file.rows
    return list(splits.values())


def licence_chain(config: Config) -> list[ModelLicence]:
    """The models of mals' own stages that produced a part of the data set."""
    chain = []
    for need in models.required_models(config):
        try:
            model = models.resolve(need.model, need.revision, need.role)
            name, revision, licence = model.name, model.revision, models.licence(model) or "unknown"
        except UserError:  # a finished run can be packed on a machine without its models
            name, revision, licence = file_name(need.model), need.revision or "unknown", "unknown"
        chain.append(ModelLicence(MODEL_OUTPUTS.get(need.role, need.role), name, revision, licence))
    served = [
        ModelLicence(MODEL_OUTPUTS[one.role], one.model, f"{one.revision}, by a server", "unknown") for one in models.served_models(config)
    ]
    return [*chain, *served]


def funnel(counts: DatasetCounts) -> list[FunnelStep]:
    """Rows after each step, from planned to kept, and why rows left; the first stage is the one that has the images."""
    left, first = counts.planned, next(iter(counts.stages), None)
    steps = [FunnelStep("planned", left)]
    for name, stage in counts.stages.items():
        if stage.failed:
            left -= stage.failed
            steps.append(FunnelStep(f"{name}: failed", left, gone=stage.failed))
        for rule in [*stage.refused, *(rule for rule in stage.fired if rule not in stage.refused)]:
            left -= stage.refused[rule]
            steps.append(FunnelStep(f"{name}: {rule}", left, gone=stage.refused[rule], fired=stage.fired[rule]))
        if name == first:
            steps.append(FunnelStep("generated" if counts.origins.modelled == counts.kept else "images", left))
    return [*steps, FunnelStep("kept", left)]


def attribute_shares(attributes: Sequence[AttributeCounts], attribute_values: Mapping[str, list[str]]) -> list[AttributeShares]:
    """The attribute table, in the order of the attribute space."""
    return [
        AttributeShares(
            name=attribute.name,
            values=attribute_values[attribute.name],
            requested=[percent(attribute.requested[value], sum(attribute.requested)) for value in range(2)],
            kept=[percent(attribute.labelled[value], sum(attribute.labelled)) for value in range(3)],
            rate=[percent(attribute.requested_kept[value], attribute.requested[value]) for value in range(2)],
            sources=[percent(attribute.sources.get(source, 0), sum(attribute.labelled)) for source in ("explicit", "implicit", "unknown")],
        )
        for attribute in attributes
    ]


def versions(survey: Survey) -> list[str]:
    """Names and versions of libraries and devices, from the receipts of all cells."""
    environments = [receipt.env for receipts in survey.receipts.values() for receipt in receipts.values()]
    return sorted({f"{name} {version}" for environment in environments for name, version in environment.items()})


def agree_params(survey: Survey) -> Mapping[str, Any] | None:
    """What the results of the stage `agree` depend on, from its receipts; None if the run has no such stage."""
    receipts = survey.receipts.get("agree")
    return receipts[0].params if receipts else None


def benchmarks(survey: Survey) -> list[Mapping[str, Any]]:
    """The sets that the stage `dedup` compared the rows with, from the receipts of its cells."""
    receipts = survey.receipts.get("dedup", {})
    return next((receipt.params.get("against", []) for receipt in receipts.values()), [])


def without_paths(tree: Any) -> Any:
    """The same tree with absolute paths cut to their last part."""
    if isinstance(tree, dict):
        return {name: without_paths(part) for name, part in tree.items()}
    if isinstance(tree, list):
        return [without_paths(part) for part in tree]
    return file_name(tree) if isinstance(tree, str) and "\n" not in tree and " " not in tree else tree


def percent(part: float, whole: float) -> str:
    """A share in percent, such as "12.5"; a dash if `whole` is 0."""
    return f"{100 * part / whole:.1f}" if whole else "–"


def table_cell(value: Any) -> str:
    """A value as the cell of a Markdown table."""
    return "–" if value is None else str(value).replace("|", "\\|").replace("\n", " ")

"""The README.md of a packed data set: every number in it comes from the plan, the cells, the receipts or the packed files."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jinja2
import yaml

from mals import models
from mals.config import dump
from mals.dataset.features import Columns
from mals.dataset.rows import file_name
from mals.errors import UserError
from mals.grid.cells import Survey
from mals.grid.run import Run

TAGS = ["synthetic", "person-retrieval", "attribute-recognition", "diffusion", "mals", "croissant"]
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"))
PARTS = {
    "generator": "pictures",
    "lora": "pictures (LoRA)",
    "safety": "safety scores",
    "pose": "keypoints",
    "detector": "person boxes",
    "captioner": "captions",
}


@dataclass(frozen=True)
class Facts:
    """What the card and croissant.json are made from."""

    run: Run
    survey: Survey
    counts: dict[str, Any]  # Census.facts()
    columns: dict[str, Columns]  # config -> columns
    files: list[dict[str, Any]]  # the Parquet files: path, bytes, sha256, rows, config, split, memory
    labels: dict[str, list[str]]  # attribute -> its two values

    def splits(self, config: str) -> list[dict[str, Any]]:
        """Split -> bytes in memory and rows, in the order of the files."""
        return splits_of(self.files, config)


def splits_of(files: list[dict[str, Any]], config: str) -> list[dict[str, Any]]:
    """Split -> bytes in memory and rows of one config, in the order of the files."""
    found: dict[str, dict[str, Any]] = {}
    for file in files:
        if file["config"] == config:
            split = found.setdefault(file["split"], {"name": file["split"], "num_bytes": 0, "num_examples": 0})
            split["num_bytes"] += file["memory"]
            split["num_examples"] += file["rows"]
    return list(found.values())


def template(name: str) -> jinja2.Template:
    """A card's template of data_cards/."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
    )
    environment.filters |= {"count": lambda number: f"{number:,}", "cell": cell, "percent": percent}
    return environment.from_string((resources.files("data_cards") / name).read_text(encoding="utf-8"))


def render(facts: Facts) -> str:
    """The card's whole text."""
    counts, config = facts.counts, facts.run.config
    return template("dataset.md").render(
        front=front_matter(facts),
        c=counts,
        config=config,
        splits=facts.splits("default"),
        chain=licence_chain(facts.run),
        replaced=dict(sorted(config.stages.items())),
        funnel=list(funnel(counts)),
        attributes=list(attribute_rows(counts, facts.labels)),
        asked=any(sum(row["wanted"]) for row in counts["attributes"]),
        negative=config.plan.negative_prompt,
        versions=versions(facts.survey),
        settings=yaml.safe_dump(without_paths(settings(facts.run)), sort_keys=False, allow_unicode=True).strip(),
        checker=config.stages.get("safety") or (file_name(config.safety.model) if config.safety.model else None),
    )


def front_matter(facts: Facts) -> str:
    """The YAML at the head of the card of a run's pack."""
    pack = facts.run.config.pack
    return front(pack.name, pack.license, pack.language, facts.counts["kept"], facts.columns, facts.files, TAGS)


def front(
    name: str,
    license: str,
    language: str,
    rows: int,
    columns: dict[str, Columns],
    files: list[dict[str, Any]],
    tags: list[str],
    told: Mapping[str, Any] | None = None,
) -> str:
    """The YAML by which the hub and `datasets` know a set of `rows` rows; `columns` by config, `files` as in Facts.

    `told` takes the place of what is so in sets that mals made.
    """
    downloads = dict.fromkeys(("default", "rejected"), 0)
    for file in files:
        downloads[file["config"]] += file["bytes"]
    configs, infos = [], []
    for config, folder in (("default", "data"), ("rejected", "rejected")):
        splits = splits_of(files, config)
        if not splits:
            continue
        data_files = [{"split": split["name"], "path": f"{folder}/{split['name']}-*"} for split in splits]
        configs.append({"config_name": config, "data_files": data_files, **({"default": True} if config == "default" else {})})
        memory = sum(split["num_bytes"] for split in splits)
        sizes = {"splits": splits, "download_size": downloads[config], "dataset_size": memory}
        infos.append({"config_name": config, "features": columns[config].yaml(), **sizes})
    tree: dict[str, Any] = {"license": license}
    if license == "other":
        tree |= {"license_name": "see-licence-chain", "license_link": "README.md"}
    tree |= {
        "language": [language],
        "pretty_name": name,
        "size_categories": [next((size for most, size in SIZES if rows < most), "n>10M")],
        "task_categories": ["image-to-text", "text-to-image", "image-feature-extraction"],
        "tags": tags,
        "annotations_creators": ["machine-generated"],
        "language_creators": ["machine-generated"],
        "source_datasets": ["original"],
        "configs": configs,
        "dataset_info": infos,
    }
    tree |= told or {}
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=1000).strip()


def licence_chain(run: Run) -> list[dict[str, str]]:
    """Each model of our own stages: what it made, its name (no path), revision and licence, "unknown" where its card does not say."""
    chain = []
    for need in models.needs(run.config):
        try:
            found = models.find(need.model, need.revision, need.part)
            name, revision, licence = found.name, found.revision, models.licence(found) or "unknown"
        except UserError:  # a finished grid can be packed where its models are not
            name, revision, licence = file_name(need.model), need.revision or "unknown", "unknown"
        chain.append(
            {"makes": PARTS.get(need.part, need.part), "setting": need.key, "model": name, "revision": revision, "licence": licence}
        )
    return chain


def funnel(counts: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows after each step, from planned to kept, and why rows left."""
    left = counts["planned"]
    lines: list[dict[str, Any]] = [{"step": "planned", "left": left, "gone": None, "all": None}]
    for stage, flow in counts["stages"].items():
        if flow["failed"]:
            left -= flow["failed"]
            lines.append({"step": f"{stage}: failed", "left": left, "gone": flow["failed"], "all": None})
        for reason in [*flow["refused"], *(reason for reason in flow["fired"] if reason not in flow["refused"])]:
            gone = flow["refused"].get(reason, 0)
            left -= gone
            lines.append({"step": f"{stage}: {reason}", "left": left, "gone": gone, "all": flow["fired"][reason]})
        if stage == "generate":
            lines.append({"step": "generated", "left": left, "gone": None, "all": None})
    return [*lines, {"step": "kept", "left": left, "gone": None, "all": None}]


def attribute_rows(counts: dict[str, Any], labels: dict[str, list[str]]) -> list[dict[str, Any]]:
    """One line an attribute: shares of each value as planned and as kept, how the values are known, and how many of the asked were kept."""
    rows = []
    for found in counts["attributes"]:
        wanted, kept_of, now = found["wanted"], found["wanted_kept"], found["labels"]
        rows.append(
            {
                "name": found["name"],
                "values": labels[found["name"]],
                "planned": [percent(wanted[at], sum(wanted)) for at in range(2)],
                "kept": [percent(now[at], sum(now)) for at in range(3)],
                "rate": [percent(kept_of[at], wanted[at]) for at in range(2)],
                "sources": [percent(found["sources"].get(name, 0), sum(now)) for name in ("explicit", "implicit", "unknown")],
            }
        )
    return rows


def versions(survey: Survey) -> list[str]:
    """Library and device names with versions that the receipts tell, of all cells together."""
    found = {
        f"{name} {value}" for receipts in survey.receipts.values() for receipt in receipts.values() for name, value in receipt.env.items()
    }
    return sorted(found)


def settings(run: Run) -> dict[str, Any]:
    """The settings that results depend on: all but how the work was spread over a machine."""
    return {name: part for name, part in dump(run.config).items() if name != "run"}


def without_paths(tree: Any) -> Any:
    """The same tree with absolute paths cut down to their last part."""
    if isinstance(tree, dict):
        return {name: without_paths(part) for name, part in tree.items()}
    if isinstance(tree, list):
        return [without_paths(part) for part in tree]
    return file_name(tree) if isinstance(tree, str) and "\n" not in tree and " " not in tree else tree


def percent(part: float, whole: float) -> str:
    """ "12.5" of a hundred, or a dash where there is nothing to be a part of."""
    return f"{100 * part / whole:.1f}" if whole else "–"


def cell(value: Any) -> str:
    """A value as it may stand in a Markdown table."""
    return "–" if value is None else str(value).replace("|", "\\|").replace("\n", " ")

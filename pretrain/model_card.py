"""The model card, README.md of a release: training data, scores and use of a method; every number in it comes from its files."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mals.attributes import load_space
from mals.dataset.card import load_template
from pretrain import provenance
from pretrain.method import Method
from pretrain.methods import METHODS
from pretrain.results import AttributeScores, DatasetScores, IdentificationScores, RetrievalScores, evaluations_in
from pretrain.tables import notes, table
from pretrain.trained_method import Trained

TAGS = ["text-based-person-search", "person-retrieval", "attribute-recognition", "mals"]
EMBEDDED = "embedded"  # names the weights that ship with mals, in every setting
METRICS = ("R1", "R5", "R10", "mAP", "mINP")


@dataclass(frozen=True)
class ModelCardFacts:
    """The content of a card."""

    name: str
    place: str  # the argument of `pretrain.load`
    trained: Trained
    metrics: Mapping[str, Any]  # the last ones of the training
    unfinished: bool
    rows: Sequence[DatasetScores]
    onnx: Mapping[str, float]  # ONNX file -> largest difference to PyTorch
    license: str | None = None  # None: derived from the licences of the data


def render(facts: ModelCardFacts) -> str:
    """The text of the card."""
    trained, config = facts.trained, facts.trained.config
    data, abilities = provenance.all_data(trained.origins), trained.method.abilities
    space = load_space(trained.method.needs.space) if trained.method.needs.space else None
    licence = facts.license or licence_of(data)
    return load_template("model.md").render(
        front=front(facts, licence),
        name=facts.name,
        place=facts.place,
        attribute=(space.names[0], space.values[0][0]) if space and {"recognise", "classify"} & abilities else None,
        steps=list(_steps(trained.origins)),
        initial_weights=list(_initial_weights(trained)),
        synthetic=_synthetic(trained),
        abilities=abilities,
        title=trained.method.title or type(trained.method).__name__,
        width=trained.width() if {"embed", "identify"} & abilities else None,
        metrics=facts.metrics,
        unfinished=facts.unfinished,
        rows=facts.rows,
        table=table(facts.rows),
        notes=notes(facts.rows),
        sizes=sizes(trained.method),
        config=config,
        mean=", ".join(map(str, config.data.mean)),
        std=", ".join(map(str, config.data.std)),
        tokenizer=trained.tokenizer,
        onnx=facts.onnx,
        license=licence,
    )


def front(facts: ModelCardFacts, licence: str) -> str:
    """The YAML front matter that the hub reads."""
    tree: dict[str, Any] = {"license": licence}
    method = facts.trained.config.method
    if licence == "other":
        tree |= {"license_name": "see-data-licences", "license_link": "README.md"}
    tree |= {
        "language": ["en"],
        "library_name": "mals",
        "pipeline_tag": "feature-extraction",
        "tags": [*TAGS, *([method] if method in METHODS else []), *(["onnx"] if facts.onnx else [])],
        "metrics": ["recall", "mean_average_precision", "accuracy"],
    }
    if facts.rows:
        tree["model-index"] = [{"name": facts.name, "results": [result for row in facts.rows for result in _hub_results(row)]}]
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=1000).strip()


def licence_of(data: Sequence[Mapping[str, Any]]) -> str:
    """The licence that all data sets share, or "other", also if it has a name that the hub does not know."""
    licences = {row["licence"] for row in data}
    shared = next(iter(licences)) if len(licences) == 1 else None
    return shared if shared is not None and not any(row["link"] or shared.startswith("see-") for row in data) else "other"


def scores_in(tree: Any) -> Iterator[DatasetScores]:
    """Every evaluation in a result of `mals evaluate`, `zeroshot` or `finetune`, however deep."""
    for context, evaluation in evaluations_in(tree):
        data = context.get("data", "")
        places = [data] if isinstance(data, str) else list(map(str, data))
        name = context.get("name") or " + ".join(provenance.about(place)["name"] for place in places)
        yield DatasetScores(str(name), str(context.get("split", "test")), evaluation, trained_on=context.get("trained_on"))


def sizes(method: Method) -> dict[str, int]:
    """Number of parameters of each part, and of all."""
    counts = {
        name: sum(parameter.numel() for module in modules for parameter in module.parameters()) for name, modules in method.parts().items()
    }
    whole = sum(parameter.numel() for parameter in method.parameters())
    return counts | {"heads" if counts else "whole": whole - sum(counts.values()), "all": whole}


def _hub_results(row: DatasetScores) -> Iterator[dict[str, Any]]:
    """The scores of one data set as the hub reads them."""
    data = {"name": row.name, "type": row.name.lower().replace(" ", "-"), "split": row.split}
    parts: list[tuple[str, RetrievalScores | AttributeScores | IdentificationScores | None, Sequence[str]]] = [
        ("text-to-image-retrieval", row.evaluation.retrieval, METRICS),
        ("image-classification", row.evaluation.attributes, ("mA", "f1")),
        ("image-to-image-retrieval", row.evaluation.identification, METRICS),
    ]
    for task, scores, names in parts:
        if scores is not None:
            metrics = [{"type": name, "name": name, "value": round(100 * getattr(scores, name), 2)} for name in names]
            yield {"task": {"type": task}, "dataset": dict(data), "metrics": metrics}


def _steps(origins: Mapping[str, Any] | None) -> Iterator[list[dict[str, Any]]]:
    """The data sets of each training, the latest first."""
    while origins:
        yield origins["data"]
        origins = origins.get("before")


def _synthetic(trained: Trained) -> bool:
    """Whether the method is known to be trained on synthetic images alone, its initial weights included."""
    config, origins = trained.config, trained.origins
    while origins is not None and origins.get("before") is not None and all(data["synthetic"] for data in origins["data"]):
        origins = origins["before"]
    unknown_start = config.start is not None and (trained.origins or {}).get("before") is None
    photographs = any(seen for _, seen in trained.method.initial_weights(config).values())
    return origins is not None and all(data["synthetic"] for data in origins["data"]) and not unknown_start and not photographs


def _initial_weights(trained: Trained) -> Iterator[str]:
    """A sentence for each part that did not start from random weights."""
    config = trained.config
    parts = {name: start for name, (start, _) in trained.method.initial_weights(config).items()}
    for part, start in ({"The whole method": config.start} if config.start else parts).items():
        if start == EMBEDDED:
            yield f"{part} was initialised with the weights that ship with mals, trained on drawn images of people."
        elif start:
            yield f"{part} was initialised with {Path(start).name if Path(start).is_absolute() else start}."

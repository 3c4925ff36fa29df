"""The README.md of a release: what the method learnt from, what was measured, how it is used; every number in it is from its files."""

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
from pretrain.methods.aptm.initial_weights import EMBEDDED
from pretrain.tables import Row, notes, table
from pretrain.trained_method import Trained

TAGS = ["text-based-person-search", "person-retrieval", "attribute-recognition", "mals"]
METRICS = ("R1", "R5", "R10", "mAP", "mINP")


@dataclass(frozen=True)
class Facts:
    """What the card is made from."""

    name: str
    place: str  # where it will be loaded from
    trained: Trained
    ended: Mapping[str, Any]  # the last metrics of the training
    unfinished: bool
    rows: Sequence[Row]  # what was measured
    onnx: Mapping[str, float]  # the towers as ONNX -> their difference to PyTorch
    license: str | None = None  # None: what the data's licences say


def render(facts: Facts) -> str:
    """The card's whole text."""
    trained, config = facts.trained, facts.trained.config
    sets, can = provenance.every(trained.origins), trained.method.abilities
    space = load_space(trained.method.needs.space) if trained.method.needs.space else None
    licence = facts.license or licence_of(sets)
    return load_template("model.md").render(
        front=front(facts, licence),
        name=facts.name,
        place=facts.place,
        attribute=(space.names[0], space.values[0][0]) if space and {"recognise", "classify"} & can else None,
        steps=list(_steps(trained.origins)),
        begun=list(_begun(trained)),
        synthetic=_synthetic(trained),
        can=can,
        title=trained.method.title or type(trained.method).__name__,
        width=trained.width() if "embed" in can else None,
        ended=facts.ended,
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


def front(facts: Facts, licence: str) -> str:
    """The YAML by which the hub knows a model."""
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
        tree["model-index"] = [{"name": facts.name, "results": [one for row in facts.rows for one in _results(row)]}]
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=1000).strip()


def licence_of(sets: Sequence[Mapping[str, Any]]) -> str:
    """The licence that all data have in common, or "other"; names of "other" licences are not the hub's."""
    found = {one["licence"] for one in sets}
    only = next(iter(found)) if len(found) == 1 else None
    return only if only is not None and not any(one["link"] or only.startswith("see-") for one in sets) else "other"


def measured(tree: Any, **known: Any) -> Iterator[Row]:
    """Every evaluation in a result of `mals evaluate`, `zeroshot` or `finetune`, however deep."""
    if isinstance(tree, Mapping):
        known |= {key: tree[key] for key in ("name", "split", "data") if key in tree}
        if any(isinstance(tree.get(part), Mapping) and "protocol" in tree[part] for part in ("retrieval", "attributes")):
            data = known.get("data", "")
            places = [data] if isinstance(data, str) else list(map(str, data))
            name = known.get("name") or " + ".join(provenance.about(place)["name"] for place in places)
            yield {**tree, "name": str(name), "split": str(known.get("split", "test"))}
            return
        tree = list(tree.values())
    if isinstance(tree, list):
        for part in tree:
            yield from measured(part, **known)


def sizes(method: Method) -> dict[str, int]:
    """Parameters of each part, and of all."""
    counts = {name: sum(one.numel() for part in some for one in part.parameters()) for name, some in method.parts().items()}
    whole = sum(one.numel() for one in method.parameters())
    return counts | {"heads" if counts else "whole": whole - sum(counts.values()), "all": whole}


def _results(row: Row) -> Iterator[dict[str, Any]]:
    """What the hub reads of one data set's scores."""
    data = {"name": row["name"], "type": row["name"].lower().replace(" ", "-"), "split": row["split"]}
    parts = {"retrieval": ("text-to-image-retrieval", METRICS), "attributes": ("image-classification", ("mA", "f1"))}
    for part, (task, names) in parts.items():
        if part in row:
            metrics = [{"type": name, "name": name, "value": round(100 * row[part][name], 2)} for name in names]
            yield {"task": {"type": task}, "dataset": dict(data), "metrics": metrics}


def _steps(found: Mapping[str, Any] | None) -> Iterator[list[dict[str, Any]]]:
    """The data sets of each training, the latest first."""
    while found:
        yield found["data"]
        found = found.get("before")


def _synthetic(trained: Trained) -> bool:
    """Whether the method is known to have seen no photograph."""
    config, found = trained.config, trained.origins
    while found is not None and found.get("before") is not None and all(one["synthetic"] for one in found["data"]):
        found = found["before"]
    begun = config.start is not None and (trained.origins or {}).get("before") is None
    photographs = any(known for _, known in trained.method.initial_weights(config).values())
    return found is not None and all(one["synthetic"] for one in found["data"]) and not begun and not photographs


def _begun(trained: Trained) -> Iterator[str]:
    """With which weights the training began."""
    config = trained.config
    towers = {name: start for name, (start, _) in trained.method.initial_weights(config).items()}
    for what, start in ({"The whole method": config.start} if config.start else towers).items():
        if start == EMBEDDED:
            yield f"{what} began with the one that comes with mals, trained on the parts of drawn people."
        elif start:
            yield f"{what} began with {Path(start).name if Path(start).is_absolute() else start}."

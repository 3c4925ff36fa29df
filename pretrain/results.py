"""Results of an evaluation as records, and as the JSON that `mals evaluate`, `zeroshot` and `finetune` write.

All scores are shares from 0 to 1. A part that was not measured is None in a record and absent from its JSON.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

MoreScores = Mapping[str, Mapping[str, Any]]  # protocol of a method's own -> its scores and facts, as JSON takes them


@dataclass(frozen=True)
class RetrievalScores:
    """How well captions retrieve images, see `pretrain.metrics.retrieval`."""

    R1: float
    R5: float
    R10: float
    mAP: float
    mINP: float
    unmatched: int  # captions without an image of their identity in the gallery, left out of the means
    captions: int  # queries
    images: int  # in the gallery
    identities: int  # in the gallery
    protocol: str
    mSD: float | None = None  # see `pretrain.similarity_distribution`; None where it was not measured
    mSD_as_published: float | None = None


@dataclass(frozen=True)
class IdentificationScores:
    """How well images retrieve images of the same person by other cameras, see `pretrain.metrics.retrieval`."""

    R1: float
    R5: float
    R10: float
    mAP: float
    mINP: float
    unmatched: int  # queries without an image of their person by another camera in the gallery, left out of the means
    queries: int  # images
    images: int  # in the gallery
    identities: int  # in the gallery; each distractor counts as one
    protocol: str


@dataclass(frozen=True)
class AttributeScores:
    """How well attributes are recognised, see `pretrain.metrics.attributes`."""

    mA: float
    accuracy: float
    precision: float
    recall: float
    f1: float
    images: int
    space: str  # the attribute space
    protocol: str
    per_attribute: Mapping[str, Mapping[str, float | None]]  # attribute -> its scores; None where no label is known


@dataclass(frozen=True)
class SearchScores:
    """The attribute precision of search, see `pretrain.search_precision`; None where the gallery has no image that a sentence names."""

    one: float | None  # of the best images for sentences with one colour, the share that has it
    two: float | None  # the same for sentences with two colours
    chance_one: float | None  # of a random order
    chance_two: float | None
    images: int
    space: str  # the attribute space
    protocol: str

    def sentence(self) -> str:
        """The shares for a reader, in percent."""
        parts = {"one colour": (self.one, self.chance_one), "two colours": (self.two, self.chance_two)}
        shown = [
            f"{name} {100 * share:.2f} (chance: {100 * chance:.1f})"
            for name, (share, chance) in parts.items()
            if share is not None and chance is not None
        ]
        return ", ".join(shown) or "the gallery has no image that a sentence names"


@dataclass(frozen=True)
class Evaluation:
    """All scores of a method on one split."""

    retrieval: RetrievalScores | None = None
    attributes: AttributeScores | None = None
    more: MoreScores = field(default_factory=dict)
    unreadable: int = 0  # images that could not be read and were left out
    identification: IdentificationScores | None = None
    search: SearchScores | None = None

    @property
    def images(self) -> int | None:
        """Images of the gallery; None where nothing was measured in one."""
        part = self.retrieval or self.attributes or self.identification or self.search
        return None if part is None else part.images

    @property
    def protocols(self) -> dict[str, str]:
        """What was measured, as a reader knows it -> how."""
        parts: dict[str, RetrievalScores | AttributeScores | IdentificationScores | SearchScores | None] = {
            "Retrieval": self.retrieval,
            "Recognition": self.attributes,
            "Identification": self.identification,
            "Attribute precision of search": self.search,
        }
        return {name: part.protocol for name, part in parts.items() if part is not None}

    @property
    def left_out(self) -> list[str]:
        """Sentences, without a full stop, about queries and images that do not count."""
        counts = [
            (self.retrieval and self.retrieval.unmatched, "captions have no image of their person in the gallery"),
            (self.identification and self.identification.unmatched, "queries have no image of their person by another camera"),
            (self.unreadable, "images could not be read"),
        ]
        return [f"{count:,} {reason} and were left out" for count, reason in counts if count]

    def to_json(self) -> dict[str, Any]:
        return _present(
            {
                "retrieval": self.retrieval and _present(asdict(self.retrieval)),
                "attributes": self.attributes and asdict(self.attributes),
                "identification": self.identification and asdict(self.identification),
                "search": self.search and asdict(self.search),
                "more": {name: dict(scores) for name, scores in self.more.items()} or None,
                "unreadable": self.unreadable,
            }
        )

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Self:
        """Raises KeyError or TypeError if the tree is not an evaluation."""
        names = ("retrieval", "attributes", "identification", "search")
        retrieval, attributes, identification, search = (tree.get(name) for name in names)
        if all(tree.get(name) is None for name in names):
            raise KeyError("retrieval")
        return cls(
            retrieval=None if retrieval is None else RetrievalScores(**retrieval),
            attributes=None if attributes is None else AttributeScores(**attributes),
            identification=None if identification is None else IdentificationScores(**identification),
            search=None if search is None else SearchScores(**search),
            more=tree.get("more", {}),
            unreadable=tree.get("unreadable", 0),
        )


@dataclass(frozen=True)
class DatasetScores:
    """The scores of a method on one data set: a row of a table."""

    name: str
    split: str
    evaluation: Evaluation
    data: str | None = None  # the data set's place; None if the result does not say
    trained_on: bool | None = None  # whether the method was trained on this data set; None if unknown

    def to_json(self) -> dict[str, Any]:
        return _present({"name": self.name, "data": self.data, "split": self.split, "trained_on": self.trained_on}) | (
            self.evaluation.to_json()
        )


@dataclass(frozen=True)
class ZeroShotResult:
    """The scores of a method on several data sets without fine-tuning."""

    split: str  # which was measured where a data set has it; each of `sets` names its own
    rerank: str
    k: int  # images of a caption that the cross encoder re-ranks
    sets: tuple[DatasetScores, ...]

    def to_json(self) -> dict[str, Any]:
        return {"split": self.split, "rerank": self.rerank, "k": self.k, "sets": [row.to_json() for row in self.sets]}


@dataclass(frozen=True)
class Measurement:
    """The scores of one checkpoint of a fine-tuning on the split that selects."""

    step: int
    epoch: float
    split: str
    scores: Mapping[str, float]  # the first one selects

    def to_json(self) -> dict[str, Any]:
        return {"step": self.step, "epoch": self.epoch, "split": self.split, **self.scores}

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Self:
        scores = {name: value for name, value in tree.items() if name not in ("step", "epoch", "split")}
        return cls(tree["step"], tree["epoch"], tree["split"], scores)


@dataclass(frozen=True)
class SelectionResult:
    """The best checkpoint of a fine-tuning, and its scores on the test split."""

    name: str  # of the data sets
    data: tuple[str, ...]
    selected_on: str  # the split, or a warning that it was the test split
    selected: Measurement  # without scores if evaluations.jsonl has lost them
    start: str | None  # the initial weights; None: trained from scratch
    evaluation: Evaluation
    split: str = "test"

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "data": list(self.data),
            "split": self.split,
            "selected_on": self.selected_on,
            "selected": self.selected.to_json(),
            "start": self.start,
            **self.evaluation.to_json(),
        }


def evaluations_in(tree: Any, **context: Any) -> Iterator[tuple[Mapping[str, Any], Evaluation]]:
    """Every evaluation in a JSON result, however deep, with the innermost "name", "split", "data" and "trained_on" around it."""
    if isinstance(tree, Mapping):
        context |= {key: tree[key] for key in ("name", "split", "data", "trained_on") if key in tree}
        try:
            evaluation = Evaluation.from_json(tree)
        except (KeyError, TypeError):
            tree = list(tree.values())
        else:
            yield context, evaluation
            return
    if isinstance(tree, list):
        for part in tree:
            yield from evaluations_in(part, **context)


def _present(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The tree without its None values."""
    return {name: value for name, value in tree.items() if value is not None}

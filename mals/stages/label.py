"""Stage `label`: the attribute labels of each image, from all its captions; where nothing is captioned, from the caption of the plan."""

from typing import Any

import pyarrow as pa

from mals.attributes import load_space
from mals.config import Config
from mals.grid.stage import Resources, Stage, output_batch
from mals.labeller.decision import SOURCES
from mals.labeller.labeller import Labeller
from mals.labeller.merge import agreement, agreement_with, merge
from mals.row_captions import good_captions


class LabelStage:
    """Attribute labels by the rules of mals/labeller."""

    name: str = "label"
    version: int = 3
    adds = pa.schema(
        [
            ("attributes", pa.list_(pa.int8())),  # in the order of the attribute space; -1: unknown
            ("attribute_source", pa.list_(pa.string())),  # explicit, implicit or unknown
            ("agreement_captions", pa.float32()),
            ("agreement_wanted", pa.float32()),
        ]
    )
    resources = Resources()

    def __init__(self, space: str = "market1501", batch: int = 256, needs: tuple[str, ...] = ("caption", "captions", "wanted")):
        self.space, self.batch, self.needs = space, batch, needs
        self.labeller: Labeller | None = None

    def params(self) -> dict[str, Any]:
        return {"space": self.space, "space_sha256": load_space(self.space).sha256}

    def setup(self) -> None:
        self.labeller = Labeller(self.space)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self.labeller is None:
            self.setup()
        assert self.labeller is not None
        texts = [
            good_captions(captions) or [caption or ""]
            for caption, captions in zip(batch["caption"].to_pylist(), _column(batch, "captions"), strict=True)
        ]
        labels = self.labeller.label([text for row in texts for text in row])
        columns: dict[str, list[Any]] = {field.name: [] for field in self.adds}
        start = 0
        for row, requested in zip(texts, _column(batch, "wanted"), strict=True):
            captions = slice(start, start := start + len(row))
            values, sources = merge(labels.values[captions], labels.source_codes[captions])
            if not any(text.strip() for text in row):  # without a caption, nothing follows from what is not said
                values, sources = [-1] * len(values), [SOURCES.index("unknown")] * len(sources)
            columns["attributes"].append(values)
            columns["attribute_source"].append([SOURCES[source] for source in sources])
            columns["agreement_captions"].append(agreement(labels.values[captions]))
            columns["agreement_wanted"].append(agreement_with(requested, values))
        return output_batch(self.adds, columns)


def stage(config: Config) -> Stage:
    """The stage with the settings of `config`; loads nothing."""
    captions = ("captions",) if config.caption else ()
    requests = ("wanted",) if config.source == "generate" else ()
    return LabelStage(config.label.space, config.label.batch, ("caption", *captions, *requests))


def _column(batch: pa.RecordBatch, name: str) -> list[Any]:
    """The values of a column that not every run has; None in each row where it is missing."""
    return batch[name].to_pylist() if name in batch.schema.names else [None] * len(batch)

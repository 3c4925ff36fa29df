"""Stage `identity`: whether the images of a person show one person. A global stage.

The attribute labels of each image are compared with those that most images of its person have, and with `identity.scorer` its embedding
with that of the person's first image (mals/stages/persons.py). What falls out is refused as `other_person`. Where clothes change between
the images of a person, only the attributes of the body count. Rows without a person are left alone.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mals.attributes import load_space
from mals.config import Config
from mals.config import Identity as Settings
from mals.errors import UserError
from mals.grid.stage import Resources, output_batch
from mals.stages.matrices import to_lists, to_matrix
from mals.stages.persons import Labels, Persons, agreements, first_images
from mals.stages.row_images import read_images
from mals.stages.stage_scorer import StageScorer

OTHER_PERSON = "other_person"
Embeddings = NDArray[np.float32]


class Identity:
    """Refuses images of another person."""

    name = "identity"
    version = 1
    adds = pa.schema([("identity_agreement", pa.float32()), ("identity_similarity", pa.float32())])

    def __init__(self, settings: Settings, space: str, *, body_only: bool, threads: int):
        self.settings, self.space, self.body_only = settings, space, body_only
        self.batch = settings.batch
        self.resources = Resources(gpus=1 if settings.scorer else 0)
        self.needs: tuple[str, ...] = ("person", "attributes", *(["crop"] if settings.scorer else []))
        self.summary_needs = self.needs
        self.numbers: dict[str, int] = {}  # person -> line of the summary
        self.consensus: Labels = np.zeros((0, 0), np.int8)  # [lines, attributes that are compared]
        self.embeddings: Embeddings = np.zeros((0, 0), np.float32)  # [lines, D] of the first images; zeros where there is no image
        self._scorer = StageScorer(settings, self.name, threads) if settings.scorer else None

    def params(self) -> dict[str, Any]:
        params = self.settings.model_dump(mode="json", exclude={"batch", "scorer"})
        scorer = self._scorer.model() if self._scorer else None
        params["scorer"] = {"model": scorer.name, "revision": scorer.revision} if scorer else None
        space = load_space(self.space)
        return params | {"compared": [space.names[number] for number in self._compared()]}

    def summarise(self, batches: Iterator[pa.RecordBatch]) -> pa.Table:
        """A line for each person: `person`, the `consensus` of its labels, and with a scorer the `embedding` of its first image."""
        persons = Persons(len(self._compared()))
        vectors: dict[int, Embeddings | None] = {}
        if self._scorer:
            firsts = first_images(map(self._block, batches), persons, self.settings.min_agreement)
            while chunk := list(islice(firsts, self.batch)):
                numbers, images = zip(*chunk, strict=True)
                vectors |= zip(numbers, read_images(images).apply(self._scorer.embed_images), strict=True)
        else:
            for batch in batches:
                persons.add(batch["person"].to_pylist(), self._labels(batch))
        if persons.rows and not persons.numbers:
            raise UserError(
                "the stage identity compares the images of a person, and no row has one; set plan.views, give the captions file a column "
                "person, or take the section identity out of the settings"
            )
        columns = {"person": pa.array(list(persons.numbers), pa.string()), "consensus": to_lists(persons.consensus())}
        if self._scorer:
            columns["embedding"] = to_lists(_filled([vectors[number] for number in range(len(vectors))]).astype(np.float16))
        return pa.table(columns)

    def setup(self, summary: pa.Table) -> None:
        self.numbers = {person: number for number, person in enumerate(summary["person"].to_pylist())}
        self.consensus = to_matrix(summary["consensus"])
        if self._scorer:
            self._scorer.load()
            self.embeddings = to_matrix(summary["embedding"]).astype(np.float32)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        names = batch["person"].to_pylist()
        rows = [row for row, name in enumerate(names) if name is not None]
        lines = [self.numbers[names[row]] for row in rows]
        outputs: list[dict[str, Any]] = [{} for _ in names]
        for row, share in zip(rows, agreements(self._labels(batch)[rows], self.consensus[lines]), strict=True):
            outputs[row]["identity_agreement"] = share
        if self._scorer:
            crops = zip(batch["crop"].to_pylist(), names, strict=True)
            images = read_images(None if name is None else crop for crop, name in crops)
            vectors = images.apply(self._scorer.embed_images)
            for row, line in zip(rows, lines, strict=True):
                outputs[row] |= {"reject": images.reject[row], "error": images.errors[row]}
                if (vector := vectors[row]) is not None and self.embeddings[line].any():
                    outputs[row]["identity_similarity"] = float(np.float32((vector * self.embeddings[line]).sum()))
        for output in outputs:
            if self._falls_out(output):
                output["reject"] = [OTHER_PERSON]
        columns = {name: [output.get(name) for output in outputs] for name in (*self.adds.names, "reject", "error")}
        return output_batch(self.adds, columns, columns["reject"], columns["error"])

    def _falls_out(self, output: dict[str, Any]) -> bool:
        limits = {"identity_agreement": self.settings.min_agreement, "identity_similarity": self.settings.min_similarity}
        numbers = [(output.get(name), least) for name, least in limits.items()]
        return any(number is not None and least is not None and number < least for number, least in numbers)

    def _block(self, batch: pa.RecordBatch) -> tuple[list[str | None], Labels, pa.Array]:
        return batch["person"].to_pylist(), self._labels(batch), batch["crop"]

    def _labels(self, batch: pa.RecordBatch) -> Labels:
        """[rows, attributes that are compared]"""
        return np.array(batch["attributes"].to_pylist(), np.int8).reshape(len(batch), len(load_space(self.space).names))[
            :, self._compared()
        ]

    def _compared(self) -> Sequence[int]:
        """The numbers of the attributes that are compared."""
        space = load_space(self.space)
        return space.body_attributes if self.body_only else range(len(space.names))


def stage(config: Config) -> Identity:
    """The stage with the settings of `config`; loads nothing."""
    assert config.identity is not None
    return Identity(config.identity, config.label.space, body_only=config.plan.change_clothes, threads=config.run.threads)


def _filled(vectors: Sequence[Embeddings | None]) -> Embeddings:
    """[N, D], with zeros in the lines of None."""
    width = next((len(vector) for vector in vectors if vector is not None), 1)
    return np.array([np.zeros(width, np.float32) if vector is None else vector for vector in vectors], np.float32).reshape(-1, width)

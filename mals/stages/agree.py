"""Stage `agree`: how well an image agrees with its caption, by a model that compares both, and with the attributes that were requested.

    agree_score       the cosine of the embeddings of the image and of the caption that is trained on, in [-1, 1]
    agree_rank        the place of this score among those of the image with reference captions of other rows; 1 is best
    agree_references  how many they are
    agree_scores      the cosine of each of the row's `captions` with a text, in their order

A row without a caption has none of them. These rules refuse a row:

    low_agreement     agree_score is under `min_score`, or there is none
    low_rank          agree_rank is behind `best_rank`, or there is none
    other_attributes  agreement_wanted is under `min_wanted`; rows that requested no attributes pass
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from mals import config as settings
from mals.config import LOADER, Config
from mals.grid.stage import Resources, output_batch, row_seed
from mals.row_captions import good_captions
from mals.stages.matrices import to_lists, to_matrix
from mals.stages.references import References, cosines, draw_texts
from mals.stages.row_images import RowImages, read_images
from mals.stages.stage_scorer import StageScorer

log = logging.getLogger(__name__)

TEXTS = 256  # references that are embedded together
SCORES = pa.schema([("agree_score", pa.float32()), ("agree_rank", pa.int32()), ("agree_references", pa.int32())])
SCORES_OF_CAPTIONS = pa.field("agree_scores", pa.list_(pa.float32()))
ABSENT: dict[str, Any] = dict.fromkeys([*SCORES.names, SCORES_OF_CAPTIONS.name])  # of a row without a score


class Agree:
    """Scores, ranks, and the rules that refuse by them."""

    name = "agree"
    version = 1

    def __init__(self, config: settings.Agree, *, seed: int = 0, several: bool = False, threads: int = 1):
        """`seed` and `threads` are the run's; `several`: rows have a column `captions`."""
        self.config, self.seed, self.batch = config, seed, config.batch
        scored = config.scorer is not None
        self.summary_needs = ("caption",) if scored else ()
        captions = ("crop", "caption", *(["captions"] if several else [])) if scored else ()
        self.needs = (*captions, *(["agreement_wanted"] if config.min_wanted is not None else []))
        self.adds = pa.schema([]) if not scored else SCORES.append(SCORES_OF_CAPTIONS) if several else SCORES
        self.resources = Resources(gpus=1 if scored else 0)
        self._scorer = StageScorer(config, self.name, threads)
        self._references: References | None = None

    def params(self) -> dict[str, Any]:
        rules = {"min_score": self.config.min_score, "best_rank": self.config.best_rank, "min_wanted": self.config.min_wanted}
        if self.config.scorer is None:
            return rules
        model = self._scorer.model()
        loader = {} if self.config.loader == LOADER else {"loader": self.config.loader}
        scorer = {"scorer": model.name, "revision": model.revision, **loader, "references": self.config.references, "seed": self.seed}
        return scorer | rules

    def summarise(self, batches: Iterator[pa.RecordBatch]) -> pa.Table:
        """The reference captions and their embeddings: `text`, `embedding` [list of D float32]."""
        if self.config.scorer is None:
            return pa.table({"text": pa.array([], pa.string())})
        texts = draw_texts(self._captions(batches), self.config.references + 1)
        if not texts:
            return pa.table({"text": pa.array([], pa.string()), "embedding": pa.array([], pa.list_(pa.float32(), 1))})
        if len(texts) <= self.config.references:
            log.warning(
                "the rows have %s different captions: each image is compared with the others, not with %s",
                f"{len(texts):,}",
                f"{self.config.references:,}",
            )
        chunks = [texts[start : start + TEXTS] for start in range(0, len(texts), TEXTS)]
        embeddings = np.concatenate([self._scorer.embed_texts(chunk) for chunk in chunks]).astype(np.float32)
        return pa.table({"text": texts, "embedding": to_lists(embeddings)})

    def _captions(self, batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[str, int]]:
        """Each caption with the seed of its row."""
        for batch in batches:
            for row_id, caption in zip(batch["id"].to_pylist(), batch["caption"].to_pylist(), strict=True):
                if caption and caption.strip():
                    yield caption, row_seed(self.seed, row_id, self.name)

    def setup(self, summary: pa.Table) -> None:
        if self.config.scorer is None:
            return
        self._references = References(summary["text"].to_pylist(), to_matrix(summary["embedding"]), self.config.references)
        self._scorer.load()

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = batch.to_pylist()
        if self.config.scorer is None:
            return output_batch(self.adds, {}, [self._refusals(row) for row in rows])
        read = read_images(batch["crop"].to_pylist())
        scores = self._scores(rows, read)
        columns = {field.name: [values[field.name] for values in scores] for field in self.adds}
        refusals = [self._refusals(row | values) for row, values in zip(rows, scores, strict=True)]
        reject = [damage or refusal for damage, refusal in zip(read.reject, refusals, strict=True)]
        return output_batch(self.adds, columns, reject, read.errors)

    def _scores(self, rows: Sequence[Mapping[str, Any]], images: RowImages) -> list[dict[str, Any]]:
        """The columns of each row; all None where it has no caption or its image is bad."""
        assert self._references is not None
        texts = [[text if text.strip() else "" for text in (row["caption"] or "", *good_captions(row.get("captions")))] for row in rows]
        unique = list(dict.fromkeys(text for row in texts for text in row if text))
        vectors = images.apply(self._scorer.embed_images) if unique else []
        embedded = {row: vector for row, vector in enumerate(vectors) if vector is not None and texts[row][0]}
        results = [ABSENT] * len(rows)
        if not embedded:
            return results
        matrix, captions = np.stack(list(embedded.values())), [texts[row][0] for row in embedded]
        columns = {text: place for place, text in enumerate(unique)}
        scores = cosines(matrix, self._scorer.embed_texts(unique))  # [rows with a score, texts]
        own = [float(line[columns[caption]]) for line, caption in zip(scores, captions, strict=True)]
        ranks, compared = self._references.rank(matrix, captions, own)
        for row, line, score, rank, count in zip(embedded, scores, own, ranks, compared, strict=True):
            others = [float(line[columns[text]]) if text else None for text in texts[row][1:]]
            results[row] = {"agree_score": score, "agree_rank": rank, "agree_references": count, "agree_scores": others}
        return results

    def _refusals(self, row: Mapping[str, Any]) -> list[str]:
        """The rules that refuse a row, which has the columns of `needs` and `adds`."""
        config = self.config
        score, rank, confirmed = row.get("agree_score"), row.get("agree_rank"), row.get("agreement_wanted")
        rules = {
            "low_agreement": config.min_score is not None and (score is None or score < config.min_score),
            "low_rank": config.best_rank is not None and (rank is None or rank > config.best_rank),
            "other_attributes": config.min_wanted is not None and confirmed is not None and confirmed < config.min_wanted,
        }
        return [rule for rule, refuses in rules.items() if refuses]


def stage(config: Config) -> Agree:
    """The stage with the settings of `config`; loads nothing."""
    assert config.agree is not None
    return Agree(config.agree, seed=config.seed, several=config.caption is not None, threads=config.run.threads)

"""Stage `dedup`: near-duplicates among all rows, and rows that stand in a named set, such as a benchmark's test split. A global stage.

Two images are near-duplicates if their crops' hashes differ in at most `distance` bits and their embeddings have a cosine of at least
`similarity` (mals/stages/embed.py). Clusters are the connected components of this relation. Of a cluster the row is kept that has the most
of the number `dedup.best`, of equals the first one of the plan; the others are refused as `near_duplicate`.

A row is refused as `in_benchmark` if its image is a near-duplicate of an image of a set in `dedup.against`, or if one of its captions, or
its prompt, is a caption there: the same words in the same order, whatever their case and what stands between them. Only what is itself near
to the set is refused so, not the whole cluster; of the rest of the cluster one is kept as of any other.
"""

import logging
import re
import unicodedata
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import pyarrow as pa

from mals.config import Config
from mals.config import Dedup as Settings
from mals.grid.stage import PLAN_ROW, Resources, output_batch
from mals.images import Pixels
from mals.planning.packed_splits import PackedSplit, open_split
from mals.row_captions import good_captions
from mals.stages.duplicates import Images, find_duplicates
from mals.stages.embed import Embedder, image_hash
from mals.stages.row_images import read_images
from mals.stages.stored_numbers import check_number

log = logging.getLogger(__name__)

NEAR_DUPLICATE, IN_BENCHMARK = "near_duplicate", "in_benchmark"
SUMMARY = pa.schema(
    [(PLAN_ROW, pa.int64()), ("duplicate_cluster", pa.int64()), ("duplicate_of", pa.string()), ("benchmark_match", pa.string())]
)
BATCH = 64  # images of a benchmark that are embedded at once


class Dedup:
    """Refuses near-duplicates and what stands in benchmarks."""

    name = "dedup"
    version = 1
    adds = pa.schema(
        [
            ("duplicate_cluster", pa.int64()),  # the place in the plan of the first row of its cluster; null: no near-duplicate
            ("duplicate_of", pa.string()),  # the id of the row that was kept of its cluster; null: this one, or none, or no cluster
            ("benchmark_match", pa.string()),  # the set and the id of its row, or "caption"; null: none
        ]
    )
    batch = 1024
    resources = Resources()

    def __init__(self, settings: Settings, texts: tuple[str, ...], around: tuple[str, str], threads: int):
        """`texts`: the columns with captions and prompts; `around`: what the plan put before and behind a caption to make its prompt."""
        self.settings, self.texts, self.around, self.threads = settings, texts if settings.against else (), around, threads
        self.needs = (PLAN_ROW,)
        self.summary_needs = (PLAN_ROW, "crop_phash", "image_embedding", settings.best, *self.texts)
        self.rows: dict[int, dict[str, Any]] = {}

    def params(self) -> dict[str, Any]:
        sets = [split.params() for split in self._against()]
        return self.settings.model_dump(mode="json", include={"distance", "similarity", "best"}) | {"against": sets}

    def summarise(self, batches: Iterator[pa.RecordBatch]) -> pa.Table:
        """A line for every row that has a near-duplicate or stands in a benchmark."""
        captions: dict[bytes, str] = {}
        with Images() as images:
            leaks: dict[int, str] = {}
            names = self._read_benchmarks(images, captions)
            for batch in batches:
                images.add_rows(batch, self.settings.best)
                leaks |= {row: match for row, texts in self._captions(batch) if (match := _match(texts, captions))}
            duplicates = find_duplicates(images, self.settings.distance, self.settings.similarity)
        leaks |= {row: names[number] for row, number in duplicates.benchmark.items()}
        clusters = duplicates.clusters(leaks.keys())
        rows = sorted(clusters.keys() | leaks.keys())
        columns = {
            PLAN_ROW: rows,
            "duplicate_cluster": [clusters[row].number if row in clusters else None for row in rows],
            "duplicate_of": [clusters[row].kept if row in clusters else None for row in rows],
            "benchmark_match": [leaks.get(row) for row in rows],
        }
        return pa.table(columns, SUMMARY)

    def setup(self, summary: pa.Table) -> None:
        self.rows = {row.pop(PLAN_ROW): row for row in summary.to_pylist()}

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = [self.rows.get(row, {}) for row in batch[PLAN_ROW].to_pylist()]
        columns = {name: [row.get(name) for row in rows] for name in self.adds.names}
        return output_batch(self.adds, columns, list(map(_reasons, rows)))

    def _captions(self, batch: pa.RecordBatch) -> Iterator[tuple[int, list[str]]]:
        """The place in the plan of each row, and its texts; nothing without benchmarks."""
        before, behind = self.around
        for row in batch.select([PLAN_ROW, *self.texts]).to_pylist() if self.texts else ():
            prompt = row.get("prompt") or ""
            texts = [row["caption"], *good_captions(row.get("captions")), prompt.removeprefix(before).removesuffix(behind)]
            yield row[PLAN_ROW], [text for text in texts if text]

    def _against(self) -> list[PackedSplit]:
        return [open_split(address, "dedup.against") for address in self.settings.against]

    def _read_benchmarks(self, images: Images, captions: dict[bytes, str]) -> list[str]:
        """Add the images of the sets to `images` and their captions to `captions`; the names of the images, as rows state them."""
        names: list[str] = []
        sets = self._against()
        if not sets:
            return names
        embedder = Embedder(self.settings, self.threads)
        embedder.setup()
        for split in sets:
            waiting: list[Pixels] = []
            first = len(names)
            for row in split.rows():
                captions |= {key: f"{split.name}: caption" for text in row.captions if (key := _normalized(text))}
                (pixels,) = read_images([row.image]).pixels
                if pixels is not None:
                    names.append(f"{split.name}: {row.name}")
                    waiting.append(pixels)
                if len(waiting) == BATCH:
                    _embed(waiting, embedder, images)
                    waiting = []
            if waiting:
                _embed(waiting, embedder, images)
            if unread := split.images - (len(names) - first):
                log.warning(
                    "dedup.against: %s of the %s images of %s cannot be read: no row is compared with them",
                    unread,
                    split.images,
                    split.name,
                )
        return names


def stage(config: Config) -> Dedup:
    """The stage with the settings of `config`; loads nothing. Raises UserError where `dedup.best` is no number of a stage before."""
    assert config.dedup is not None
    check_number(config, "dedup", "dedup.best", config.dedup.best)
    captions = ("captions",) if config.caption else ()
    prompt = ("prompt",) if config.source == "generate" else ()
    return Dedup(config.dedup, ("caption", *captions, *prompt), (config.plan.prefix, config.plan.suffix), config.run.threads)


def _reasons(row: dict[str, Any]) -> list[str]:
    in_benchmark = [IN_BENCHMARK] if row.get("benchmark_match") else []
    return in_benchmark + ([NEAR_DUPLICATE] if row.get("duplicate_of") else [])


def _embed(pixels: list[Pixels], embedder: Embedder, images: Images) -> None:
    """Add images of a benchmark."""
    images.add_benchmark(list(map(image_hash, pixels)), embedder.embed(pixels))


def _match(texts: list[str], captions: dict[bytes, str]) -> str | None:
    """What the first of the texts that is a caption of a benchmark is called there."""
    return next((captions[key] for text in texts if (key := _normalized(text)) in captions), None)


def _normalized(text: str) -> bytes:
    """The words of a text, whatever their case and what stands between them, as a hash; empty for a text without words."""
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())
    return blake2b(" ".join(words).encode(), digest_size=16).digest() if words else b""

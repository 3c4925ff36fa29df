"""How much the captions of a run differ, measured on a sample of bounded size.

The sample is the rows whose ids have the smallest hashes, so it follows from the rows alone, whatever their order and the shards. All
numbers take linear time, and self-BLEU is exact over the sample: each caption against all captions of other rows. Numbers of samples of
different sizes cannot be compared, since distinct n-grams and self-BLEU move with the number of captions.
"""

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mals.dataset.splits import hash64
from mals.grid.cells import Damaged
from mals.grid.run import Run

ROWS = 1000  # of the sample, at most
SHARDS = 8  # that `mals status` reads
ORDERS = (1, 2, 3, 4)  # of the n-grams of BLEU
COLUMNS = ["caption", "captions"]
Ngram = tuple[str, ...]


@dataclass(frozen=True)
class Diversity:
    """The diversity of a sample of captions; shares and distances are in [0, 1]."""

    rows: int
    captions: int  # of these rows
    distinct: dict[str, float]  # "1", "2", "3" -> different n-grams as a share of all n-grams
    self_bleu: float  # mean BLEU-4 of each caption against those of other rows; 1: all captions are alike
    distance: float  # mean over pairs of captions of 1 - cosine of their counts of words and word pairs
    distance_same_image: float | None  # the same over pairs of captions of one image; None where no image has two
    templates: int  # different ones that were drawn
    top_template: float | None  # share of the commonest template among captions with one; None where no caption has one
    top_opening: float  # share of the commonest first three words
    refused: dict[str, int]  # rule -> captions of these rows that failed it after all tries

    def sentence(self) -> str:
        """The numbers in one line."""
        distinct = ", ".join(f"distinct-{size} {share:.3f}" for size, share in self.distinct.items())
        text = f"{self.captions:,} captions of {self.rows:,} rows: {distinct}, self-BLEU {self.self_bleu:.3f}"
        text += f", mean distance {self.distance:.3f}"
        if self.distance_same_image is not None:
            text += f" ({self.distance_same_image:.3f} within an image)"
        if self.top_template is not None:
            text += f", {self.templates:,} templates (the commonest {100 * self.top_template:.1f} %)"
        text += f", commonest opening {100 * self.top_opening:.1f} %"
        refused = ", ".join(f"{count:,} {rule}" for rule, count in self.refused.items())
        return f"{text}; refused: {refused}" if refused else text


class DiversitySample:
    """Collects the rows with the smallest hashes of their ids."""

    def __init__(self, size: int = ROWS):
        self.size = size
        self.heap: list[tuple[int, str, list[dict[str, Any]]]] = []

    def add(self, table: pa.Table) -> None:
        """Offer rows with the columns id and captions, or id and caption where there are no others."""
        ids = table["id"].to_pylist()
        ranks = [-hash64(row) for row in ids]
        limit = self.heap[0][:2] if len(self.heap) >= self.size else None
        places = [at for at, rank in enumerate(ranks) if limit is None or (rank, ids[at]) > limit]
        captions = _entries(table.select([name for name in COLUMNS if name in table.column_names]).take(pa.array(places, pa.int64())))
        for at, entries in zip(places, captions, strict=True):
            item = (ranks[at], ids[at], entries)
            if len(self.heap) < self.size:
                heapq.heappush(self.heap, item)
            else:
                heapq.heappushpop(self.heap, item)

    def measure(self) -> Diversity | None:
        """The diversity of the sample; None where it has no caption."""
        rows = [entries for _, _, entries in sorted(self.heap, reverse=True)]
        texts = [[_words(entry["text"]) for entry in entries if entry["text"]] for entries in rows]
        captions = [words for of_one in texts for words in of_one]
        if not captions:
            return None
        templates = Counter(entry["template"] for entries in rows for entry in entries if entry["text"] and entry.get("template"))
        openings = Counter(tuple(words[:3]) for words in captions)
        refused = Counter(entry["refused"] for entries in rows for entry in entries if entry.get("refused"))
        return Diversity(
            rows=len(rows),
            captions=len(captions),
            distinct={str(size): _distinct(captions, size) for size in ORDERS[:3]},
            self_bleu=self_bleu(texts),
            distance=mean_distance(captions) or 0.0,
            distance_same_image=_mean([mean_distance(of_one) for of_one in texts]),
            templates=len(templates),
            top_template=max(templates.values()) / templates.total() if templates else None,
            top_opening=max(openings.values()) / openings.total(),
            refused=dict(sorted(refused.items())),
        )


def run_diversity(run: Run, stage: str = "caption") -> Diversity | None:
    """The diversity of the finished captions of a run, from at most SHARDS of its shards, evenly spread; None where there is none."""
    stages = list(run.grid.stages)
    if stage not in stages:
        return None
    before = next(iter(stages[stages.index(stage) + 1 :]), None)
    names = [field.name for field in run.grid.stages[stage].adds if field.name in COLUMNS]
    survey = run.grid.survey()
    done = [shard for shard in range(run.grid.shards) if survey.state(stage, shard) == "done"]
    sample = DiversitySample()
    for shard in done[:: math.ceil(len(done) / SHARDS)] if done and names else []:
        with suppress(Damaged):  # `mals verify` names the cell
            table = run.grid.table(shard, names, before=before, sources=survey.sources(before, shard))
            sample.add(table.filter(table[names[-1]].is_valid()))
    return sample.measure()


def self_bleu(rows: Sequence[Sequence[Sequence[str]]]) -> float:
    """The mean BLEU-4 of each caption (words) against the captions of all other rows, smoothed by adding one from pairs on.

    The clipped count of an n-gram is the most that a caption of another row has of it; the two greatest counts of different rows suffice.
    """
    captions = [(row, words) for row, of_one in enumerate(rows) for words in of_one]
    if len({row for row, _ in captions}) < 2:
        return 0.0
    greatest: dict[Ngram, list[tuple[int, int]]] = {}  # n-gram -> [(count, row)] of up to two rows, the greatest first
    counts = [[Counter(ngrams(words, size)) for size in ORDERS] for _, words in captions]
    for (row, _), of_sizes in zip(captions, counts, strict=True):
        for counter in of_sizes:
            for ngram, count in counter.items():
                _keep_two(greatest.setdefault(ngram, []), count, row)
    lengths = sorted({len(words) for _, words in captions})
    scores = []
    for (row, words), of_sizes in zip(captions, counts, strict=True):
        logs = 0.0
        for size, counter in zip(ORDERS, of_sizes, strict=True):
            clipped = sum(
                min(count, next((most for most, other in greatest[ngram] if other != row), 0)) for ngram, count in counter.items()
            )
            smooth = 1 if size > 1 else 0
            logs += math.log(max(clipped + smooth, 1e-9) / max(counter.total() + smooth, 1)) / len(ORDERS)
        nearest = min(lengths, key=lambda length: (abs(length - len(words)), length))
        scores.append(math.exp(logs) * math.exp(min(0.0, 1 - nearest / max(1, len(words)))))
    return sum(scores) / len(scores)


def mean_distance(captions: Sequence[Sequence[str]]) -> float | None:
    """The mean over all pairs of 1 - cosine of the counts of words and word pairs; None for fewer than two captions.

    The mean cosine of N vectors of length 1 is (|sum|² - N) / (N² - N).
    """
    if len(captions) < 2:
        return None
    total: defaultdict[Ngram, float] = defaultdict(float)
    for words in captions:
        counter = Counter([*ngrams(words, 1), *ngrams(words, 2)])
        length = math.sqrt(sum(count * count for count in counter.values())) or 1.0
        for ngram, count in counter.items():
            total[ngram] += count / length
    squares, number = float(np.square(np.fromiter(total.values(), np.float64)).sum()), len(captions)
    return min(1.0, max(0.0, 1 - (squares - number) / (number * number - number)))


def ngrams(words: Sequence[str], size: int) -> Iterator[Ngram]:
    """The n-grams of a caption, in order."""
    return (tuple(words[at : at + size]) for at in range(len(words) - size + 1))


def _keep_two(counts: list[tuple[int, int]], count: int, row: int) -> None:
    """Put (count, row) among the greatest counts of two different rows."""
    counts.append((count, row))
    best: dict[int, int] = {}
    for number, of_row in counts:
        best[of_row] = max(number, best.get(of_row, 0))
    counts[:] = sorted(((number, of_row) for of_row, number in best.items()), reverse=True)[:2]


def _entries(table: pa.Table) -> list[list[dict[str, Any]]]:
    """The captions of each row, those that failed a rule included."""
    if "captions" in table.column_names:
        return [list(entries or ()) for entries in table["captions"].to_pylist()]
    return [[{"text": text}] for text in table["caption"].to_pylist()]


def _words(text: str) -> list[str]:
    """A caption in lower case, without stops and commas."""
    return [word for part in text.lower().split() if (word := part.strip(".,;:!?\"'()"))]


def _distinct(captions: Sequence[Sequence[str]], size: int) -> float:
    counts = Counter(ngram for words in captions for ngram in ngrams(words, size))
    return len(counts) / counts.total() if counts else 0.0


def _mean(numbers: Iterable[float | None]) -> float | None:
    present = [number for number in numbers if number is not None]
    return sum(present) / len(present) if present else None

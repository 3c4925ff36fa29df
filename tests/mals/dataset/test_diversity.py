"""The numbers that say how much captions differ."""

import math
import random
from collections import Counter
from itertools import combinations

import pyarrow as pa
import pytest

from mals.dataset.diversity import DiversitySample, mean_distance, ngrams, run_diversity, self_bleu
from tests.small import cells

WORDS = "a man woman in red blue coat with hat bag".split()  # noqa: SIM905


def drawn(rows: int, per_row: int = 2, seed: int = 0) -> list[list[list[str]]]:
    source = random.Random(seed)
    return [[source.choices(WORDS, k=source.randint(3, 9)) for _ in range(per_row)] for _ in range(rows)]


def table(rows: list[list[str]], **fields: str) -> pa.Table:
    entries = [[{"text": text, **fields} for text in texts] for texts in rows]
    return pa.table({"id": [f"row-{at}" for at in range(len(rows))], "captions": entries})


def bleu(words: list[str], references: list[list[str]]) -> float:
    """BLEU-4 by its definition, with one added to numerator and denominator from pairs on."""
    logs = 0.0
    for size in (1, 2, 3, 4):
        own = Counter(ngrams(words, size))
        clipped = sum(min(count, max(Counter(ngrams(other, size))[ngram] for other in references)) for ngram, count in own.items())
        smooth = 1 if size > 1 else 0
        logs += math.log(max(clipped + smooth, 1e-9) / max(own.total() + smooth, 1)) / 4
    return math.exp(logs)


def test_self_bleu_equals_its_definition_over_captions_of_other_rows() -> None:
    rows = drawn(12)
    scores = []
    for at, of_one in enumerate(rows):
        references = [words for other, of_other in enumerate(rows) if other != at for words in of_other]
        for words in of_one:
            lengths = {len(words) for one in rows for words in one}
            nearest = min(lengths, key=lambda length: (abs(length - len(words)), length))
            scores.append(bleu(words, references) * math.exp(min(0.0, 1 - nearest / len(words))))
    assert self_bleu(rows) == pytest.approx(sum(scores) / len(scores), abs=1e-12)


def test_equal_captions_have_self_bleu_one_and_no_distance() -> None:
    rows = [["a man in a red coat"]] * 5
    diversity = DiversitySample()
    diversity.add(table(rows))
    measured = diversity.measure()
    assert measured is not None
    assert measured.self_bleu == pytest.approx(1.0) and measured.distance == pytest.approx(0.0, abs=1e-12)
    assert measured.distinct["1"] == 5 / 30 and measured.top_opening == 1.0


def test_the_mean_distance_equals_that_over_all_pairs() -> None:
    captions = [words for of_one in drawn(10) for words in of_one]

    def cosine(first: list[str], second: list[str]) -> float:
        counts = [Counter([*ngrams(words, 1), *ngrams(words, 2)]) for words in (first, second)]
        dot = sum(count * counts[1][ngram] for ngram, count in counts[0].items())
        return dot / math.prod(math.sqrt(sum(count**2 for count in counter.values())) for counter in counts)

    distances = [1 - cosine(first, second) for first, second in combinations(captions, 2)]
    assert mean_distance(captions) == pytest.approx(sum(distances) / len(distances), abs=1e-12)
    assert mean_distance(captions[:1]) is None


def test_the_sample_is_the_same_in_any_order_and_in_any_shards() -> None:
    rows = table([[" ".join(words) for words in of_one] for of_one in drawn(300)])
    whole, parts = DiversitySample(50), DiversitySample(50)
    whole.add(rows)
    for start in reversed(range(0, 300, 70)):
        parts.add(rows.slice(start, 70))
    parts.add(rows.slice(0, 0))  # a shard of which no row is kept
    assert whole.measure() == parts.measure()
    measured = whole.measure()
    assert measured is not None and (measured.rows, measured.captions) == (50, 100)


def test_rows_of_which_none_is_for_the_sample_and_no_rows_leave_it_as_it_is() -> None:
    rows = table([[" ".join(words) for words in of_one] for of_one in drawn(300)])
    sample = DiversitySample(5)
    sample.add(rows)
    measured = sample.measure()
    inside = {row_id for _, row_id, _ in sample.heap}
    for at in range(0, 300, 10):
        if f"row-{at}" not in inside:
            sample.add(rows.slice(at, 1))
    sample.add(rows.slice(0, 0))
    assert measured is not None and sample.measure() == measured


def test_templates_and_refused_captions_are_counted() -> None:
    sample = DiversitySample()
    entries = [
        [{"text": "a man in red", "template": "t1", "refused": None}, {"text": None, "template": "t2", "refused": "slot_caption"}],
        [{"text": "a woman in blue", "template": "t1", "refused": None}, {"text": "she wears red", "template": "t3", "refused": None}],
    ]
    sample.add(pa.table({"id": ["a", "b"], "captions": entries}))
    measured = sample.measure()
    assert measured is not None
    assert (measured.captions, measured.templates, measured.top_template) == (3, 2, 2 / 3)
    assert measured.refused == {"slot_caption": 1}
    assert "refused: 1 slot_caption" in measured.sentence() and "2 templates" in measured.sentence()


def test_without_captions_there_is_no_diversity() -> None:
    sample = DiversitySample()
    sample.add(pa.table({"id": ["a"], "caption": pa.array([None], pa.string())}))
    assert sample.measure() is None


def test_a_run_tells_the_diversity_of_its_captions_before_later_stages_are_done(tmp_path) -> None:
    run = cells.small_run(tmp_path / "run", 100)
    for cell in (tmp_path / "run" / "label").iterdir():
        cell.unlink()
    measured = run_diversity(run)
    assert measured is not None and measured.rows >= 78
    assert 0 < measured.distance < 1 and measured.top_template is None

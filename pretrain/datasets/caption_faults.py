"""Faults of captions that are known of RSTPReid (NjtechCVLab/RSTPReid-Dataset, issue 5), counted: nothing is changed or left out.

They are one sentence attached to several persons, characters of Chinese, Japanese or Korean, and fragments of program code.
"""

import re
from collections.abc import Callable, Iterable, Mapping

from mals.errors import quoted
from pretrain.datasets.layout import BenchmarkRow

NAMED = 3  # images that a sentence names
CJK = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")
CODE = re.compile(r"[{}<>=\\|_\[\]]|\w\(\S*\)")  # what no sentence about a person has: "x = y", "print(x)"


def caption_faults(splits: Mapping[str, Iterable[BenchmarkRow]]) -> list[str]:
    """Sentences about the faults that captions have, if they have any."""
    rows = [row for part in splits.values() for row in part]
    kinds: dict[str, Callable[[str], object]] = {
        "captions with Chinese, Japanese or Korean characters": CJK.search,
        "captions with what looks like program code": CODE.search,
    }
    notes = _shared_sentences(rows)
    for kind, has_fault in kinds.items():
        images = [row.image for row in rows for caption in row.captions if has_fault(caption)]
        if images:
            notes.append(f"{kind}: {len(images):,}, of {_examples(images)}")
    return notes


def _shared_sentences(rows: Iterable[BenchmarkRow]) -> list[str]:
    """A sentence about those that captions of several persons are, whatever their case and spaces."""
    uses: dict[str, list[BenchmarkRow]] = {}
    for row in rows:
        for caption in row.captions:
            uses.setdefault(" ".join(caption.casefold().split()), []).append(row)
    shared = {text: rows for text, rows in uses.items() if len({row.identity for row in rows}) > 1}
    if not shared:
        return []
    text, worst = max(shared.items(), key=lambda pair: len({row.identity for row in pair[1]}))
    count = len({row.identity for row in worst})
    return [
        f"sentences that are captions of several persons: {len(shared):,}, of {sum(map(len, shared.values())):,} captions; most often "
        f"{quoted(text, 100)}, of {count:,} persons ({_examples([row.image for row in worst])})"
    ]


def _examples(images: list[str]) -> str:
    return ", ".join(images[:NAMED]) + (", ..." if len(images) > NAMED else "")

"""Lists that are too long for memory: their rows are read from the files each time that they are iterated.

They are read once when a set is opened, so that a fault is known before anything is packed; what grows with the list then is eight bytes
for each row.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from pretrain.datasets.layout import BenchmarkRow

SAMPLED = 1000  # images by which their folder is recognised


@dataclass
class Irregularities:
    """What is odd in a list, counted."""

    counts: Counter[str] = field(default_factory=Counter)  # sentence -> how often
    examples: dict[str, str] = field(default_factory=dict)  # sentence -> the first image

    def add(self, sentence: str, image: str) -> None:
        """Count an image of which the sentence is true."""
        self.counts[sentence] += 1
        self.examples.setdefault(sentence, image)

    def notes(self) -> list[str]:
        """A sentence for each kind, with its number and an example."""
        return [f"{sentence}: {count:,}, such as {self.examples[sentence]}" for sentence, count in self.counts.items()]


@dataclass(frozen=True)
class StreamedRows:
    """Rows that are read again in each iteration."""

    read: Callable[[], Iterator[BenchmarkRow]]  # reads them from the start

    def __iter__(self) -> Iterator[BenchmarkRow]:
        return self.read()


ReadRows = Callable[[Irregularities], Iterator[BenchmarkRow]]  # reads a list from its start, and adds what is odd in it


@dataclass(frozen=True)
class LongList:
    """The rows of a list, read again in each iteration, each with its own id: an id that comes again has a number appended."""

    read: ReadRows
    repeated: frozenset[int]  # hashes of all ids that come again, of hardly any other

    def __iter__(self) -> Iterator[BenchmarkRow]:
        counts: Counter[str] = Counter()
        for row in self.read(Irregularities()):
            if hash(row.id) in self.repeated:
                counts[row.id] += 1
                row = row if counts[row.id] == 1 else replace(row, id=f"{row.id}#{counts[row.id]}")
            yield row


def open_long_list(read: ReadRows) -> tuple[LongList, list[str], list[str]]:
    """The rows of a list, up to SAMPLED of their images from all its parts, and sentences about what is odd in it."""
    hashes, sample, step, odd = array("q"), [], 1, Irregularities()  # type: array[int], list[str], int, Irregularities
    for number, row in enumerate(read(odd)):
        hashes.append(hash(row.id))
        if number % step == 0:
            sample.append(row.image)
            if len(sample) > SAMPLED:
                sample, step = sample[::2], 2 * step
    values = np.frombuffer(hashes, np.int64)
    values.sort()
    again = values[1:][values[1:] == values[:-1]]
    notes = odd.notes() + ([f"rows of images that are listed before, packed once for each: {len(again):,}"] if len(again) else [])
    return LongList(read, frozenset(again.tolist())), sample, notes


def open_long_lists(lists: Mapping[str, ReadRows]) -> tuple[dict[str, LongList], list[str], list[str]]:
    """The rows of each split, images of all of them, and sentences about what is odd, see `open_long_list`."""
    opened = {split: open_long_list(read) for split, read in lists.items()}
    samples = [image for _, sample, _ in opened.values() for image in sample]
    notes = [f"{split}: {note}" if len(opened) > 1 else note for split, (_, _, notes) in opened.items() for note in notes]
    return {split: rows for split, (rows, _, _) in opened.items()}, samples, notes

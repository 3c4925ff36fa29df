"""Lists that are read again in each iteration: their ids, the sample of their images, what is counted, and their memory."""

import tracemalloc
from collections.abc import Iterator
from itertools import pairwise

from pretrain.datasets.layout import BenchmarkRow
from pretrain.datasets.long_lists import SAMPLED, Irregularities, open_long_list


def listed(*names: str):
    """A function that reads a list of these images, in which those named "odd" are odd."""

    def read(odd: Irregularities) -> Iterator[BenchmarkRow]:
        for name in names:
            if name.startswith("odd"):
                odd.add("odd images", name)
            yield BenchmarkRow(id=name, image=f"{name}.jpg")

    return read


def test_an_id_that_comes_again_is_numbered_and_counted() -> None:
    rows, sample, notes = open_long_list(listed("a", "b", "a", "c", "a", "b"))
    ids = ["a", "b", "a#2", "c", "a#3", "b#2"]
    assert [row.id for row in rows] == ids and [row.id for row in rows] == ids
    assert [row.image for row in rows] == sample == [f"{name}.jpg" for name in "abacab"]
    assert notes == ["rows of images that are listed before, packed once for each: 3"]


def test_what_is_odd_is_counted_once_however_often_the_list_is_read() -> None:
    rows, _, notes = open_long_list(listed("a", "odd1", "b", "odd2"))
    assert len(list(rows)) == len(list(rows)) == 4 and notes == ["odd images: 2, such as odd1"]


def test_the_sample_is_of_all_parts_of_the_list() -> None:
    _, sample, _ = open_long_list(listed(*map(str, range(5_000))))
    numbers = [int(name.removesuffix(".jpg")) for name in sample]
    assert SAMPLED / 2 <= len(sample) <= SAMPLED and numbers[0] == 0 and numbers[-1] >= 4_990
    assert len({after - before for before, after in pairwise(numbers)}) == 1


def test_a_row_takes_eight_bytes_while_a_list_is_opened() -> None:
    def read(odd: Irregularities) -> Iterator[BenchmarkRow]:
        return (BenchmarkRow(id=f"folder/{at}", image=f"folder/{at}.jpg") for at in range(count))

    peaks = {}
    for count in (10_000, 100_000):
        tracemalloc.start()
        open_long_list(read)
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert (peaks[100_000] - peaks[10_000]) / 90_000 < 40  # with what NumPy needs to find those that come again

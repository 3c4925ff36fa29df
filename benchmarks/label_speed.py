"""How fast the labeller is: `python -m benchmarks.label_speed [CAPTIONS] [PROCESSES]`, one JSON line.

Labels 1,500,000 captions of about 27 words in two processes by default, like two workers of a run. The captions are drawn block by block
from random phrases in the style of BLIP; the time for drawing them is not counted.
"""

import json
import multiprocessing
import random
import resource
import sys
import time
from collections.abc import Iterator

from mals.labeller.labeller import Labeller

BLOCK = 4096
PERSONS = [
    "a woman",
    "a man",
    "there is a man that is",
    "a young woman",
    "a little girl",
    "a boy",
    "a person",
    "arafed man",
    "an older man",
]
COLORS = [
    "black",
    "white",
    "red",
    "blue",
    "green",
    "gray",
    "pink",
    "brown",
    "yellow",
    "purple",
    "orange",
    "navy",
    "beige",
    "teal",
    "tan",
    "maroon",
]
UPPERS = [
    "shirt",
    "t - shirt",
    "jacket",
    "coat",
    "sweater",
    "hoodie",
    "blouse",
    "tank top",
    "leather jacket",
    "polo shirt",
    "suit",
    "long sleeved shirt",
    "dress",
]
LOWERS = [
    "pants",
    "jeans",
    "shorts",
    "skirt",
    "leggings",
    "trousers",
    "sweatpants",
    "mini skirt",
    "cargo pants",
    "black and white striped skirt",
]
ITEMS = [
    "a backpack",
    "a red hat",
    "a handbag on her arm",
    "a baseball cap",
    "a phone in his hand",
    "an umbrella",
    "sunglasses",
    "a black purse",
    "a dog",
]
ACTIONS = [
    "walking down a street",
    "standing in front of a brick wall",
    "sitting on a wooden bench",
    "posing for a picture",  # lint: data
    "leaning on a fence",
]
PLACES = [
    "with a parked car in the background",
    "next to a man in a blue shirt",
    "in front of a store window",
    "on a city sidewalk",
    "near a tree",
]


def captions(count: int, seed: int) -> Iterator[list[str]]:
    """Blocks of random captions, `count` in total."""
    pick = random.Random(seed).choice
    drawn = 0
    while drawn < count:
        size = min(BLOCK, count - drawn)
        yield [
            f"{pick(PERSONS)} {pick(('wearing', 'in', 'with'))} a {pick(COLORS)} {pick(UPPERS)} and {pick(COLORS)} {pick(LOWERS)} "
            f"{pick(ACTIONS)} {pick(PLACES)} with {pick(ITEMS)} and {pick(ITEMS)}"
            for _ in range(size)
        ]
        drawn += size


def measure(task: tuple[int, int]) -> tuple[int, float, int, int]:
    """Label (count, seed) captions: their number, seconds, words, and the growth of peak memory in KiB after the first tenth."""
    count, seed = task
    labeller = Labeller()
    seconds, words, done, early = 0.0, 0, 0, 0
    for block in captions(count, seed):
        start = time.perf_counter()
        labeller.label(block)
        seconds += time.perf_counter() - start
        words += sum(len(caption.split()) for caption in block)
        done += len(block)
        if not early and done >= count / 10:
            early = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return done, seconds, words, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - early


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_500_000
    processes = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    tasks = [(count * (at + 1) // processes - count * at // processes, at) for at in range(processes)]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        results = pool.map(measure, tasks)
    seconds = max(row[1] for row in results)
    print(
        json.dumps(
            {
                "captions": count,
                "processes": processes,
                "words_per_caption": round(sum(row[2] for row in results) / count, 1),
                "seconds": round(seconds, 1),
                "captions_per_second_and_process": round(count / processes / seconds),
                "peak_memory_growth_mib": round(max(row[3] for row in results) / 1024, 1),
            }
        )
    )


if __name__ == "__main__":
    main()

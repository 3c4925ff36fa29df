"""Peak memory of `mals import` on sets of two lengths, which should be the same. JSON lines.

python -m benchmarks.import_memory [SET] [ROWS] [ROWS]    synth-pedes (the default), luperson-mllm, ham-pedes or webperson

The default is 20,000 and 200,000 rows. Each import is a process of its own. The images are hard links to a few small files, so that
disk and time go to what a row costs.
"""

import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

FILES = 64  # different images
FOLDER = 1000  # images in a folder
CAPTION = "The woman has long brown hair and wears a red coat over black trousers and white shoes; she carries a bag, number"


def synth_pedes(folder: Path, rows: int) -> None:
    attributes = ["woman,brown hair,red coat,black trousers,white shoes,unknown"]
    texts = {"captions": [f"{CAPTION} one.", f"{CAPTION} two."], "prompt_caption": ["A woman with brown hair."]}
    entries = (
        {"id": at // 15, "file_path": name, "attributes": attributes, **texts} for at, name in enumerate(linked(folder, rows, "Part1"))
    )
    write_list(folder / "synthpedes_dataset.json", entries)


def luperson_mllm(folder: Path, rows: int) -> None:
    names = list(linked(folder, rows, "LUPerson-MLLM"))
    for source in ("Ts-qwen", "Td-qwen", "Ts-shikra", "Td-shikra"):
        write_object(folder / f"{source}.json", ((name, f"{CAPTION} {source}") for name in names))


def ham_pedes(folder: Path, rows: int) -> None:
    write_object(folder / "random100w_2HAMcaptions.json", ((name, [CAPTION, CAPTION]) for name in linked(folder, rows, "Part1")))


def webperson(folder: Path, rows: int) -> None:
    entries = ({name: {"caption1": CAPTION, "caption2": CAPTION}} for name in linked(folder, rows, "images"))
    write_list(folder / "100w.json", ({name.removeprefix("images/"): value for name, value in entry.items()} for entry in entries))


SETS: dict[str, Callable[[Path, int], None]] = {
    "synth-pedes": synth_pedes,
    "luperson-mllm": luperson_mllm,
    "ham-pedes": ham_pedes,
    "webperson": webperson,
}


def linked(folder: Path, rows: int, inner: str) -> Iterator[str]:
    """Make as many images as there are rows, and give their paths in the folder."""
    originals = folder / "originals"
    originals.mkdir()
    for number in range(FILES):
        pixels = np.random.default_rng(number).integers(0, 255, (32, 16, 3), np.uint8)
        Image.fromarray(pixels).save(originals / f"{number}.jpg")
    for at in range(rows):
        name = f"{inner}/{at // FOLDER}/{at:07d}.jpg"
        if at % FOLDER == 0:
            (folder / name).parent.mkdir(parents=True)
        os.link(originals / f"{at % FILES}.jpg", folder / name)
        yield name


def write_list(file: Path, entries: Iterator[Any]) -> None:
    with file.open("w") as stream:
        join(stream, "[", (json.dumps(entry) for entry in entries), "]")


def write_object(file: Path, entries: Iterator[tuple[str, Any]]) -> None:
    with file.open("w") as stream:
        join(stream, "{", (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in entries), "}")


def join(stream: io.TextIOBase | Any, start: str, texts: Iterator[str], end: str) -> None:
    for number, text in enumerate(texts):
        stream.write(f"{',' if number else start}\n{text}")
    stream.write(f"\n{end}\n")


def imported(name: str, folder: str, to: str) -> None:
    """In a process of its own: one import, and its peak memory as a JSON line."""
    from pretrain.datasets.importing import import_benchmark

    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    report = import_benchmark(name, folder, to)
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = {"set": name, "rows": report.rows, "peak_mib": peak / 1024, "before_mib": before / 1024, "processor_seconds": seconds}
    print(json.dumps({key: round(value, 1) if isinstance(value, float) else value for key, value in line.items()}))


def main(name: str = "synth-pedes", *rows: str) -> None:
    peaks = []
    for count in map(int, rows or ("20000", "200000")):
        with tempfile.TemporaryDirectory() as folder:
            source, to = Path(folder) / "set", Path(folder) / "packed"
            source.mkdir()
            SETS[name](source, count)
            command = [sys.executable, "-m", "benchmarks.import_memory", "import", name, str(source), str(to)]
            line = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            print(line, end="", flush=True)
            peaks.append((count, json.loads(line)["peak_mib"]))
    (first, low), (last, high) = peaks[0], peaks[-1]
    print(json.dumps({"set": name, "ratio": round(high / low, 2), "bytes_per_row": round((high - low) * 2**20 / max(1, last - first), 1)}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["import"]:
        imported(*sys.argv[2:])
    else:
        main(*sys.argv[1:])

"""Pictures a second of the filter stage, against decoding alone: `python -m benchmarks.filter`, one JSON line.

Single thread; 512 x 512 pictures with the statistics of photographs (benchmarks/pictures.py), as generate writes them (JPEG quality 95,
4:4:4). The stage and the decoders run in turn in one process; medians of the rounds. `ratio` is the stage's throughput over the decoder's;
`compiled` tells whether mals/jpeg was compiled.
"""

import json
import statistics
import time
from collections.abc import Callable
from io import BytesIO

import cv2
import numpy as np
import pyarrow as pa
import simplejpeg
from PIL import Image

from benchmarks.pictures import encoded, photograph
from mals import settings
from mals.stages.filter import stage
from mals.stages.recode import native

ROUNDS = 15


def main() -> None:
    cv2.setNumThreads(1)
    images = [encoded(photograph(seed)) for seed in range(64)]
    batch = pa.record_batch({"image": pa.array(images, pa.binary())})
    made = stage(settings.check({"preset": "mals"}))
    made.setup()
    runs: dict[str, Callable[[], object]] = {
        "filter": lambda: made(batch),
        "pillow": lambda: [np.asarray(Image.open(BytesIO(image))) for image in images],
        "opencv": lambda: [cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR) for image in images],
        "simplejpeg": lambda: [simplejpeg.decode_jpeg(image) for image in images],
    }
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS + 1):
        for name, run in runs.items():
            clock = time.perf_counter()
            run()
            taken[name].append(time.perf_counter() - clock)
    rates = {name: len(images) / statistics.median(times[1:]) for name, times in taken.items()}
    ratios = {f"ratio_to_{name}": round(rates["filter"] / rate, 3) for name, rate in rates.items() if name != "filter"}
    size = round(statistics.mean(map(len, images)))
    facts = {"benchmark": "filter", "compiled": native() is not None, "picture_bytes": size}
    print(json.dumps({**facts, **{f"{k}_per_s": round(v) for k, v in rates.items()}, **ratios}))


if __name__ == "__main__":
    main()

"""Images per second of the filter stage, against decoding alone: `python -m benchmarks.filter`, one JSON line.

Single thread; 512 x 512 images with the statistics of photographs (benchmarks/images.py), as the generate stage writes them (JPEG quality
95, 4:4:4). The stage and the decoders run in turn in one process; medians over the rounds. `ratio_to_X` is the stage's throughput divided
by decoder X's.
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

from benchmarks.images import encoded, photograph
from mals import settings
from mals.stages.filter import stage

ROUNDS = 15


def main() -> None:
    cv2.setNumThreads(1)
    images = [encoded(photograph(seed)) for seed in range(64)]
    batch = pa.record_batch({"image": pa.array(images, pa.binary())})
    filter_stage = stage(settings.check({"preset": "mals"}))
    filter_stage.setup()
    runs: dict[str, Callable[[], object]] = {
        "filter": lambda: filter_stage(batch),
        "pillow": lambda: [np.asarray(Image.open(BytesIO(image))) for image in images],
        "opencv": lambda: [cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR) for image in images],
        "simplejpeg": lambda: [simplejpeg.decode_jpeg(image) for image in images],
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    rates = {name: len(images) / statistics.median(times[1:]) for name, times in seconds.items()}
    ratios = {f"ratio_to_{name}": round(rates["filter"] / rate, 3) for name, rate in rates.items() if name != "filter"}
    size = round(statistics.mean(map(len, images)))
    print(json.dumps({"benchmark": "filter", "image_bytes": size, **{f"{k}_per_s": round(v) for k, v in rates.items()}, **ratios}))


if __name__ == "__main__":
    main()

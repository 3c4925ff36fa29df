"""Near-duplicates: planted copies of drawn images that `dedup` recognises, and the time of 1.5 million hashes; a JSON line each.

    python -m benchmarks.dedup                          # 2,000 images, their copies, and 1,500,000 hashes
    python -m benchmarks.dedup --images 300 --seed 0    # as thresholds were chosen
    python -m benchmarks.dedup --hashes 0 --scorer embedded --similarity 0.98

Images are persons of the drawn world, each from one view; of each there is one copy of every kind. `recall` is the share of copies that are
near-duplicates of their image, `proposed` the share whose hashes are near enough, so that embeddings decide; `precision` is the share of
pairs of an image and its copy among all pairs that are taken for near-duplicates, of the images and their copies of the first three kinds.
Hashes are random, with a copy at a random distance of every hundredth.
"""

import json
import resource
import time
from typing import Annotated

import cv2
import numpy as np
import typer

from mals.config import Dedup
from mals.stages.duplicates import cosines
from mals.stages.embed import Embedder, image_hash
from mals.stages.near_hashes import near_pairs
from mals.world.camera import jpeg_pixels
from mals.world.scene import draw_image

HEIGHT = 256  # pixels of a drawn image
KINDS = ("re-encoded", "resized", "resized and re-encoded", "brighter", "shifted", "cropped", "mirrored")
COPIES = KINDS[:3]  # that must be recognised
Pixels = np.ndarray


def copy(pixels: Pixels, kind: str, draw: np.random.Generator) -> Pixels:
    """A copy of an image [H, W, 3]."""
    height, width = pixels.shape[:2]
    if kind == "re-encoded":
        return jpeg_pixels(pixels, int(draw.integers(40, 96)))
    if kind == "resized":
        scale = draw.uniform(0.4, 1.6)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    if kind == "resized and re-encoded":
        return copy(copy(pixels, "resized", draw), "re-encoded", draw)
    if kind == "brighter":
        return np.clip(pixels * draw.uniform(0.8, 1.25), 0, 255).astype(np.uint8)
    if kind == "shifted":  # by up to 4 % of each side, the border repeated
        x, y = round(draw.uniform(-0.04, 0.04) * width), round(draw.uniform(-0.04, 0.04) * height)
        return cv2.warpAffine(pixels, np.array([[1, 0, x], [0, 1, y]], np.float32), (width, height), borderMode=cv2.BORDER_REPLICATE)
    if kind == "cropped":  # up to 6 % of each side are cut off
        left, right, top, bottom = (draw.uniform(0, 0.06, 4) * (width, width, height, height)).round().astype(int)
        return np.ascontiguousarray(pixels[top : height - bottom, left : width - right])
    return np.ascontiguousarray(pixels[:, ::-1])


def planted(images: int, seed: int, settings: Dedup) -> None:
    """Print recall of every kind, and precision."""
    draw, embedder = np.random.default_rng(seed), Embedder(settings, threads=1)
    distance, similarity = settings.distance, settings.similarity
    hashes, vectors = [], []
    for number in range(images):
        pixels = draw_image(seed, number, 0, HEIGHT).pixels
        versions = [pixels, *(copy(pixels, kind, draw) for kind in KINDS)]
        hashes += [image_hash(version) for version in versions]
        vectors.append(embedder.embed(versions))
    words, each = np.array(hashes, np.uint64), len(KINDS) + 1
    embeddings = np.concatenate(vectors)
    originals = np.arange(images) * each
    for kind, name in enumerate(KINDS, 1):
        bits = np.bitwise_count(words[originals] ^ words[originals + kind])
        cosine = cosines(embeddings, originals, originals + kind)
        near = (bits <= distance) & (cosine >= similarity)
        shares = {"recall": round(float(near.mean()), 4), "proposed": round(float((bits <= distance).mean()), 4)}
        line = {"copies": name, "images": images, "seed": seed, **shares}
        spread = {"bits_99": float(np.quantile(bits, 0.99)), "cosine_01": round(float(np.quantile(cosine, 0.01)), 4)}
        print(json.dumps(line | spread), flush=True)
    right = wrong = compared = 0
    distinct = np.unique(words)
    for person in range(images):  # each image against all, by a brute force
        first = person * each
        bits = np.bitwise_count(words[first] ^ words)
        near = np.flatnonzero(bits <= distance)
        near = near[(near != first) & (near % each <= len(COPIES))]
        same = cosines(embeddings, np.full(len(near), first), near) >= similarity
        compared += len(near)
        right += int((same & (near // each == person)).sum())
        wrong += int((same & (near // each != person)).sum())
    precision = round(right / max(1, right + wrong), 5)
    print(json.dumps({"pairs": right + wrong, "wrong": wrong, "precision": precision, "proposed": compared, "distinct": len(distinct)}))


def timed(rows: int, distance: int) -> None:
    """Print the time of all pairs of so many hashes, and whether the planted ones are among them."""
    draw = np.random.default_rng(0)
    hashes = draw.integers(0, 2**64, rows, np.uint64)
    places = np.arange(0, rows - 1, 100)
    for place in places.tolist():
        bits = draw.choice(64, int(draw.integers(0, distance + 1)), replace=False)
        hashes[place + 1] = hashes[place] ^ np.bitwise_or.reduce(np.uint64(1) << bits.astype(np.uint64), initial=np.uint64(0))
    begun, worked = time.perf_counter(), time.process_time()
    distinct, inverse = np.unique(hashes, return_inverse=True)
    pairs = {
        pair for i, j in near_pairs(distinct, distance) for pair in zip(np.minimum(i, j).tolist(), np.maximum(i, j).tolist(), strict=True)
    }
    seconds, processor = round(time.perf_counter() - begun, 1), round(time.process_time() - worked, 1)
    ends = [(int(min(a, b)), int(max(a, b))) for a, b in zip(inverse[places], inverse[places + 1], strict=True)]
    missing = sum(a != b and (a, b) not in pairs for a, b in ends)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    line = {"hashes": rows, "distance": distance, "seconds": seconds, "processor_seconds": processor, "pairs": len(pairs)}
    line |= {"missing": missing, "peak_MB": peak}
    print(json.dumps(line), flush=True)


def main(
    images: Annotated[int, typer.Option(help="Drawn images, each with one copy of every kind; 0: none.")] = 2000,
    hashes: Annotated[int, typer.Option(help="Hashes that are compared; 0: none.")] = 1_500_000,
    seed: Annotated[int, typer.Option(help="Of the drawn images; thresholds were chosen with 0.")] = 1,
    distance: Annotated[int, typer.Option(help="As dedup.distance.")] = Dedup().distance,
    similarity: Annotated[float, typer.Option(help="As dedup.similarity.")] = Dedup().similarity,
    scorer: Annotated[str | None, typer.Option(help="As dedup.scorer.")] = None,
) -> None:
    if images:
        planted(images, seed, Dedup(distance=distance, similarity=similarity, scorer=scorer))
    if hashes:
        timed(hashes, distance)


if __name__ == "__main__":
    typer.run(main)

"""Whether a scorer tells right captions from wrong ones: a JSON line for each source of the captions of a packed set.

    python -m benchmarks.scorer --data RUN/dataset                        # the embedded scorer
    python -m benchmarks.scorer --data RUN/dataset --scorer my-method
    python -m benchmarks.world --part scorer                              # the embedded one on drawn persons, whose captions are true

`r1` and `r10` are the shares of captions whose image is the first, or among the first ten, of all images. `best` is the share of captions
that are within the best 0.5 % among captions of others, for their image: Filtering-WoRA's best 49 of 10,001. `auc` is the area under the
curve of the scores of right captions against those of wrong ones, which are of others or have one attribute exchanged; 0.5 is chance.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow.parquet as pq
import typer
from scipy.stats import rankdata

from mals import models
from mals.images import Pixels, decode_image
from mals.scorer import Scorer, load_scorer
from mals.world.captions import STYLES, write_caption
from mals.world.exchange import exchange_attribute
from mals.world.person import Person, create_person

REFERENCES = 1000  # captions of others with which each image is scored too
BEST = 0.005
FIRST_REFERENCE = 500_000  # number of the person that the first of them is about
SIMILARITY = 0.75  # as identity.min_similarity
BATCH = 64  # images embedded at once


def drawn_scores(crops: Sequence[Pixels], views: Sequence[Pixels], people: Sequence[Person], seed: int) -> dict[str, Any]:
    """The embedded scorer on crops of drawn persons of the world `seed`, and on crops of another view of each.

    By complete captions, by captions of each style, by captions with an attribute exchanged, and by images alone.
    """
    scorer = load_scorer(models.resolve("embedded", role="scorer").path, device="cpu")
    images, rng = embed(scorer, crops), np.random.default_rng(seed)
    others = [write_caption(create_person(seed, FIRST_REFERENCE + number), rng).text for number in range(REFERENCES)]
    references = scorer.embed_texts(others)
    scores: dict[str, Any] = {"crops": len(crops)}
    for name, complete, style in (("complete", True, None), *((style, False, style) for style in STYLES)):
        captions = [write_caption(person, rng, style=style, complete=complete).text for person in people]
        scores[name] = own_scores(images, scorer.embed_texts(captions), references)
    right, wrong = zip(*(exchanged_captions(person, (seed, person.number)) for person in people), strict=True)
    own, other = ((images * scorer.embed_texts(captions)).sum(1) for captions in (right, wrong))
    scores["exchanged"] = {"auc": area(own, other), "right": round(float((own > other).mean()), 4)}
    return scores | {"persons": person_scores(images, embed(scorer, views))}


def person_scores(images: np.ndarray, views: np.ndarray) -> dict[str, float]:
    """Shares of other views of the person that are kept, and of views of others that are refused, with the threshold SIMILARITY."""
    near = views @ images.T >= SIMILARITY
    kept, refused = near.diagonal().mean(), 1 - near[~np.eye(len(near), dtype=bool)].mean()
    return {"similarity": SIMILARITY, "kept": round(float(kept), 4), "refused": round(float(refused), 4)}


def packed_scores(data: Path, scorer: Scorer, most: int) -> dict[str, dict[str, Any]]:
    """Scores of the first `most` images by the source of their captions."""
    files = sorted((data / "data").glob("*.parquet"))
    rows = [row for file in files for row in pq.read_table(file, columns=["image", "captions"]).to_pylist()][:most]
    images = embed(scorer, [decode_image(row["image"]["bytes"]) for row in rows])
    scores = {}
    for source in sorted({caption["source"] for row in rows for caption in row["captions"]}):
        captions = [next((caption["text"] for caption in row["captions"] if caption["source"] == source), None) for row in rows]
        has = np.array([caption is not None for caption in captions])
        texts = scorer.embed_texts([caption for caption in captions if caption is not None])
        scores[source] = {"images": int(has.sum()), "different": len(set(captions) - {None})} | own_scores(images[has], texts)
    return scores


def embed(scorer: Scorer, images: Sequence[Pixels]) -> np.ndarray:
    """[N, D] of N images."""
    return np.concatenate([scorer.embed_images(images[start : start + BATCH]) for start in range(0, len(images), BATCH)])


def own_scores(images: np.ndarray, texts: np.ndarray, references: np.ndarray | None = None) -> dict[str, float]:
    """Scores of N images and their own captions, both [N, D]; without references [R, D] those are the captions of the other images."""
    cosines = texts @ images.T  # [N captions, N images]
    own = cosines.diagonal()
    ranks = 1 + (cosines > own[:, None]).sum(1)
    others = cosines[~np.eye(len(own), dtype=bool)]
    if references is None:
        places, count = 1 + (cosines > own).sum(0), len(own)
    else:
        places, count = 1 + (images @ references.T > own[:, None]).sum(1), 1 + len(references)
    best = places <= max(1, int(BEST * count))
    shares = {"r1": ranks == 1, "r10": ranks <= 10, "best": best}
    return {name: round(float(share.mean()), 4) for name, share in shares.items()} | {"auc": area(own, others)}


def area(right: np.ndarray, wrong: np.ndarray) -> float:
    """The share of pairs of a right and a wrong score in which the right one is higher; ties count half."""
    ranks = rankdata(np.concatenate([right, wrong]))[: len(right)]
    return round(float((ranks.sum() - len(right) * (len(right) + 1) / 2) / (len(right) * len(wrong))), 4)


def exchanged_captions(person: Person, seed: tuple[int, int]) -> tuple[str, str]:
    """A complete caption of a person, and one that starts from the same random numbers and has one attribute exchanged."""
    wrong = exchange_attribute(person, np.random.default_rng(seed))
    right, other = (write_caption(one, np.random.default_rng(seed), complete=True) for one in (person, wrong))
    return right.text, other.text


def main(
    data: Annotated[Path, typer.Option(help="A packed set.")],
    scorer: Annotated[str, typer.Option(help="As agree.scorer.")] = "embedded",
    images: Annotated[int, typer.Option(help="The first so many images.")] = 1000,
) -> None:
    loaded = load_scorer(models.resolve(scorer, role="scorer").path, device="cpu")
    for source, scores in packed_scores(data, loaded, images).items():
        print(json.dumps({"scorer": scorer, "captions": source, **scores}), flush=True)


if __name__ == "__main__":
    typer.run(main)

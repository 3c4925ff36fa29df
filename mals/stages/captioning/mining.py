"""`mals templates`: templates from real captions, one or a few of each cluster of sentences of one shape.

Clusters are those of k-means (scipy) over hashed word pairs and triples of the templates, so that what differs is the order and the wording
of the slots.
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mals.errors import UserError
from mals.files import replacing
from mals.planning.caption_files import AS_IT_IS, CaptionsForm
from mals.stages.captioning.slots import template
from mals.stages.captioning.templates import generated
from mals.stages.label_file import read_captions

BUCKETS = 512  # of hashed n-grams
SIZES = (2, 3)  # words of an n-gram
ROUNDS = 20  # of k-means


@dataclass(frozen=True)
class MinedTemplates:
    """The result of `mals templates`."""

    captions: int  # that were read
    usable: int  # of them that a template could be made of
    distinct: int  # different templates
    clusters: int  # 0: the templates were not clustered
    templates: int  # that were written

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def write_templates(
    source: str | None, target: Path, clusters: int = 1000, keep: int = 1, seed: int = 0, form: CaptionsForm = AS_IT_IS
) -> MinedTemplates:
    """Write templates into `target`, one a line: those of the captions of `source`, or without one those of the generator.

    `keep` templates of each of `clusters` clusters are kept, those nearest to the middle, of equally near ones the commonest. Raises
    UserError where no caption has a template. The file appears whole.
    """
    if not target.parent.is_dir():
        raise UserError(f"there is no folder {target.parent} for {target.name}")
    if target.is_dir():
        raise UserError(f"{target} is a folder; name the file that is to be written")
    if source is None:
        chosen, mined = list(generated()), MinedTemplates(0, 0, len(generated()), 0, len(generated()))
    else:
        counts, captions = mine(read_captions(source, form))
        if not counts:
            raise UserError(f"no caption of {source} has a template: each needs a person and clothes that the labeller understands")
        texts = sorted(counts, key=lambda text: (-counts[text], text))
        chosen = choose(texts, clusters, keep, seed)
        mined = MinedTemplates(captions, counts.total(), len(texts), clusters if len(texts) > clusters else 0, len(chosen))
    with replacing(target) as path:
        path.write_text("\n".join(chosen) + "\n", encoding="utf-8")
    return mined


def mine(captions: Iterable[str]) -> tuple[Counter[str], int]:
    """How often each template is that of a caption, and the number of captions."""
    counts: Counter[str] = Counter()
    number = 0
    for caption in captions:
        number += 1
        if (text := template(caption)) is not None:
            counts[text] += 1
    return counts, number


def choose(texts: Sequence[str], clusters: int, keep: int, seed: int) -> list[str]:
    """Up to `keep` texts of each cluster, in the order of `texts`; all of them if there are no more than `clusters`."""
    from scipy.cluster.vq import kmeans2

    if len(texts) <= clusters:
        return list(texts)
    points = vectors(texts)
    centres, labels = kmeans2(points, clusters, iter=ROUNDS, minit="++", missing="warn", rng=np.random.default_rng(seed))
    distances = np.linalg.norm(points - centres[labels], axis=1)
    order = np.lexsort((np.arange(len(texts)), distances.round(6), labels))
    place = np.arange(len(texts)) - np.searchsorted(labels[order], labels[order])  # within its cluster
    return [texts[at] for at in sorted(order[place < keep].tolist())]


def vectors(texts: Sequence[str]) -> NDArray[np.float64]:
    """[N, BUCKETS] counts of hashed n-grams, weighted by how rare they are, of length 1."""
    points = np.zeros((len(texts), BUCKETS))
    for row, text in enumerate(texts):
        words = ["<", *text.lower().replace(",", " ,").replace(".", " .").split(), ">"]
        for size in SIZES:
            for at in range(len(words) - size + 1):
                points[row, zlib.crc32(" ".join(words[at : at + size]).encode()) % BUCKETS] += 1
    points *= np.log((1 + len(texts)) / (1 + (points > 0).sum(0)))
    return points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)

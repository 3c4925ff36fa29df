"""How retrieval is measured on a data set where its authors do it in their own way; `mals import` records which data set it packed."""

from collections.abc import Sequence
from dataclasses import dataclass

from pretrain import provenance
from pretrain.data.captions import Reduction
from pretrain.data.sources import DatasetAddress
from pretrain.datasets import READERS
from pretrain.datasets.layout import BenchmarkInfo


@dataclass(frozen=True)
class RetrievalProtocol:
    """What differs from: captions as they are; R@k, mAP and mINP."""

    reduction: Reduction = "none"  # of captions
    similarity_distribution: bool = False  # mSD is measured too
    gallery: str = ""  # which images are the gallery, in words; empty: all images of the split


def retrieval_protocol(
    data: Sequence[DatasetAddress], split: str, *, plain: bool = False, similarity_distribution: bool | None = None
) -> RetrievalProtocol:
    """The protocol of the authors of the data sets, which are measured as one gallery.

    With `plain`, captions are reduced as the authors do it in their published evaluation, or to letters and digits where the sets' authors
    differ or reduce none. `similarity_distribution` None: if it is in the protocol of one of the sets.
    """
    infos = [info for place in data if (info := benchmark_of(place))]
    reductions = {info.published_captions for info in infos} - {"none"}
    galleries = list(dict.fromkeys(info.galleries[split] for info in infos if split in info.galleries))
    measured = any(info.similarity_distribution for info in infos) if similarity_distribution is None else similarity_distribution
    return RetrievalProtocol(
        reduction=(reductions.pop() if len(reductions) == 1 else "letters") if plain else "none",
        similarity_distribution=measured,
        gallery=" and ".join(galleries),
    )


def benchmark_of(place: DatasetAddress) -> BenchmarkInfo | None:
    """The benchmark that `mals import` packed there; None for other data."""
    key = provenance.about(place)["benchmark"]
    return READERS[key][0] if key in READERS else None

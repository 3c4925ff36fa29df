"""How retrieval is measured on a data set where its authors do it in their own way; `mals import` records which data set it packed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mals.errors import UserError
from pretrain import provenance
from pretrain.data.captions import Reduction
from pretrain.data.packed import split_names
from pretrain.data.sources import DatasetAddress, local_path
from pretrain.datasets import READERS
from pretrain.datasets.layout import BenchmarkInfo


@dataclass(frozen=True)
class RetrievalProtocol:
    """What differs from: captions as they are; R@k, mAP and mINP."""

    reduction: Reduction = "none"  # of captions
    similarity_distribution: bool = False  # mSD is measured too
    gallery: str = ""  # which images are the gallery, in words; empty: all images of the split


@dataclass(frozen=True)
class NamedProtocol:
    """A test split of a benchmark, which is measured as published: with its captions reduced where its authors do it."""

    name: str  # for --protocol
    title: str  # in a table
    info: BenchmarkInfo
    split: str

    @property
    def plain(self) -> bool:
        """Whether captions are reduced."""
        return self.info.published_captions != "none"


def _protocols() -> Iterator[NamedProtocol]:
    """Those of all benchmarks with captions and a test split."""
    for info, _ in READERS.values():
        if info.caption_source is not None and "test" in info.sizes:
            yield NamedProtocol(info.key, info.name, info, "test")
            yield from (NamedProtocol(split, title, info, split) for split, title in info.other_tests.items())


PROTOCOLS = {protocol.name: protocol for protocol in _protocols()}


def protocols_of(place: DatasetAddress) -> list[NamedProtocol]:
    """The named protocols of the benchmark that `mals import` packed there, of the splits that it has."""
    info, splits = benchmark_of(place), split_names(local_path(place)[0])
    return [protocol for protocol in PROTOCOLS.values() if protocol.info is info and protocol.split in splits]


def named_protocol(name: str, data: Sequence[DatasetAddress], split: str | None = None) -> NamedProtocol:
    """The protocol of a name; UserError if there is none, if one of the data sets is another one, or if another split is requested."""
    if name not in PROTOCOLS:
        raise UserError(f"there is no protocol {name!r}; there are {', '.join(PROTOCOLS)}")
    protocol = PROTOCOLS[name]
    for place in data:
        if protocol not in protocols_of(place):
            packed = f"the split {protocol.split} of {protocol.info.name}, as `mals import {protocol.info.key}` packs it"
            raise UserError(f"--protocol {name} measures {packed}, which {place} does not hold")
    if split not in (None, protocol.split):
        raise UserError(f"--protocol {name} measures the split {protocol.split}, not {split}; leave --split out")
    return protocol


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

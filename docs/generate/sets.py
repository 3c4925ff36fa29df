"""The table of all sets that `mals import` reads, from their readers."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from pretrain.datasets import READERS
from pretrain.datasets.layout import BenchmarkInfo, SplitSize
from pretrain.retrieval_protocol import PROTOCOLS

PAGES = Path(__file__).parent.parent / "sets"
TESTED = ("test", "query", "ucc")  # splits that are evaluated
HEAD = ("set", "images", "captions", "captions an image", "train split", "test split", "protocol", "attributes", "identities")


def page() -> Iterator[str]:
    """Markdown: a line for each set, the numbers those that its authors state."""
    yield "# Sets that can be imported\n\nGenerated from the readers. `mals import NAME DIR --to OUT` packs each in one format, see "
    yield "[public benchmarks](../benchmarks.md). Numbers are those that the authors state, ? where they state none, and – where there is "
    yield "nothing to count. Each loads with `datasets.load_dataset`, those with a train split train a method, and those with a test split "
    yield "are measured: `mals evaluate` and `mals zeroshot` take the name of the protocol with `--protocol`.\n\n"
    yield f"| {' | '.join(HEAD)} |\n|---|---:|---:|---:|---:|---:|---|---|---:|\n"
    for info, _ in READERS.values():
        yield f"| {' | '.join(line(info))} |\n"
    yield "\nSplits are counted in images.\n"


def line(info: BenchmarkInfo) -> list[str]:
    """The cells of a set."""
    sizes = info.sizes
    target = f"{info.key}.md" if (PAGES / f"{info.key}.md").is_file() else "../benchmarks.md"
    attributes = [f"space `{info.space}`"] if info.space else []
    if columns := ", ".join(f"`{name}`" for name in info.extra_columns):
        attributes.append(f"columns {columns}")
    persons = [size.identities for split, size in sizes.items() if split != "query"]  # whose persons are those of test
    return [
        f"[{info.name}]({target}) (`{info.key}`)",
        number([info.total.images] if info.total.images else (size.images for size in sizes.values())),
        number([info.total.captions] if info.total.captions else (size.captions for size in sizes.values()))
        if info.caption_source
        else "–",
        captions_each(info),
        split_size(sizes.get("train")),
        split_size(next((sizes[split] for split in TESTED if split in sizes), None)),
        protocols(info),
        "; ".join(attributes) or "–",
        number([info.total.identities] if info.total.identities else (count for count in persons if count is not None))
        if info.has_identities
        else "–",
    ]


def captions_each(info: BenchmarkInfo) -> str:
    """How many captions an image has, as its reader says or as the numbers of its authors give; "–" if there are none."""
    if info.caption_source is None:
        return "–"
    sizes = [info.total] if info.total.images else list(info.sizes.values())
    images, captions = (sum(getattr(size, name) or 0 for size in sizes) for name in ("images", "captions"))
    return info.captions_each or f"{captions / images:.1f}".removesuffix(".0")


def protocols(info: BenchmarkInfo) -> str:
    """The names of a set's protocols, or what is measured where there are no captions."""
    names = [f"`{protocol.name}`" for protocol in PROTOCOLS.values() if protocol.info is info]
    if info.caption_source is None:
        names = [*(["identification"] if info.has_cameras else []), *(["recognition"] if info.space else [])]
    return ", ".join(names) or "–"


def number(counts: Iterable[int | None]) -> str:
    """The sum of counts; "?" if one is not stated."""
    known = list(counts)
    return f"{sum(count or 0 for count in known):,}" if known and None not in known else "?"


def split_size(size: SplitSize | None) -> str:
    """The images of a split; "–" if there is no such split."""
    return "–" if size is None else number([size.images])

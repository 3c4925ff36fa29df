"""LUPerson-MLLM: captions of a million images of LUPerson by two models with two prompts each, in four files; the images are elsewhere.

A file is one object: path -> caption. Images are known by their base names. A caption in which a part of the prompt's template is left is
replaced by a static one of the image, as the authors do while they train (they draw one; here it is the same captioner's, if that is good).
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from pretrain.data.image_folder import ImageFolder
from pretrain.datasets.joined_captions import JoinedCaptions
from pretrain.datasets.layout import NAMES_KEPT, Benchmark, BenchmarkInfo, BenchmarkRow, Reader, SplitSize, annotation_folders, first_file
from pretrain.datasets.long_lists import Irregularities, LongList

FILES = {
    "qwen static": "Ts-qwen.json",
    "qwen dynamic": "Td-qwen.json",
    "shikra static": "Ts-shikra.json",
    "shikra dynamic": "Td-shikra.json",
}
STATIC = ("qwen static", "shikra static")
INFO = BenchmarkInfo(
    key="luperson-mllm",
    name="LUPerson-MLLM",
    folder="LUPerson-MLLM",
    sizes={"train": SplitSize(1_020_022)},
    annotation_files=tuple(FILES.values()),
    description="Captions of images of LUPerson by Qwen-VL-Chat and Shikra, each with a static prompt and with templates.",
    terms="Not known to us for the captions; the terms of LUPerson apply to the images.",
    citation="W. Tan, C. Ding, J. Jiang, F. Wang, Y. Zhan, D. Tao: Harnessing the Power of MLLMs for Transferable Text-to-Image Person "
    "ReID. CVPR 2024.",
    url="https://github.com/WentaoTan/MLLM4Text-ReID",
    caption_source="Qwen-VL-Chat, Shikra",
    captions_each="3 or 4",
    has_identities=False,
    images_elsewhere=True,
    column_notes=(
        "The sources of captions are `qwen` and `shikra`, each `static` (one prompt for all) or `dynamic` (a template of many).",
    ),
)


def read(folder: Path) -> Benchmark | None:
    """The data set in `folder`, of those of its four files that are there; None if none is."""
    places = [*annotation_folders(folder, INFO), folder / "caption", folder / INFO.folder / "caption"]
    files = {source: file for source, name in FILES.items() if (file := first_file(place / name for place in places))}
    if not files:
        return None
    joined, odd = JoinedCaptions(folder, files), Irregularities()
    for _ in _read_rows(joined, odd):
        pass
    missing = [name for source, name in FILES.items() if source not in files]
    notes = (
        [f"files of captions that are not there: {', '.join(missing)}; the same command packs their captions once they are"]
        if missing
        else []
    )
    rows = LongList(partial(_read_rows, joined), frozenset())
    return Benchmark(INFO, ImageFolder(folder, NAMES_KEPT), {"train": rows}, [*notes, *joined.notes, *odd.notes()])


READER = Reader(INFO, read)


def _read_rows(joined: JoinedCaptions, odd: Irregularities) -> Iterator[BenchmarkRow]:
    for name, path, captions in joined:
        texts = [_repaired(source, captions, name, odd) for source in captions]
        image = name if path is None else path
        yield BenchmarkRow(id=name, image=image, captions=tuple(text for _, text in texts), sources=tuple(source for source, _ in texts))


def _repaired(source: str, captions: Mapping[str, str], image: str, odd: Irregularities) -> tuple[str, str]:
    """A caption and its source, or those of the static caption that takes its place."""
    if not _is_damaged(captions[source]):
        return source, captions[source]
    own = [static for static in STATIC if static.split()[0] == source.split()[0]]
    for static in dict.fromkeys((*own, *STATIC)):
        if static in captions and not _is_damaged(captions[static]):
            odd.add("captions with a rest of their template, replaced by a static caption of the image", image)
            return static, captions[static]
    odd.add("captions with a rest of their template, kept since the image has no static caption", image)
    return source, captions[source]


def _is_damaged(caption: str) -> bool:
    """Whether a caption holds a slot of its template, or markup."""
    return "description]" in caption or "<" in caption

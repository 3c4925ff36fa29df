"""A preview of the images that the filter's rules would refuse: histograms with the thresholds, contact sheets, and one HTML page.

The run's state does not change: files are written under report/filter-preview/ only. With `privacy.blur_faces` there are no contact sheets:
the images are those before their faces are blurred.
"""

import random
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np

from mals.config import Filter as Settings
from mals.errors import UserError
from mals.grid.run import Run
from mals.images import BadImage, Pixels, decode_image
from mals.stages.filter import RULES, Rule, refusals
from mals.stages.measures import measure
from mals.stages.row_images import DAMAGED, bad_row

FOLDER = "report/filter-preview"
SAMPLE = 2000  # images measured at most
SHARDS = 64  # shards opened at most: with one image from each of thousands of shards, reading would take longer than measuring
CHUNK = 32  # images in memory at once
SHEET = 40  # images on a contact sheet
THUMBNAIL = 144  # pixels of its longer side
Chunks = Iterable[tuple[list[str], list[bytes]]]  # ids and encoded images

TITLES = {
    "ref_bytes": "bytes as JPEG at the reference quality",
    "bits_per_pixel": "bits per pixel at the reference quality",
    "channel_variance": "variance of the channels' differences",
    "sharpness": "variance of the Laplacian",
    "luminance": "mean luma",
    "overexposure": "share of overexposed pixels",
    "width": "width in pixels",
    "height": "height in pixels",
    "aspect": "height / width",
}
HEAD = """<!doctype html><html lang=en><meta charset=utf-8><title>Filter preview</title><style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1240px; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse }
td, th { border: 1px solid #ccc; padding: .2em .7em; text-align: right }
th { font-weight: 600; background: #f5f5f5 }
img { max-width: 100%; display: block; margin: .5em 0 }
</style>"""


@dataclass
class Sample:
    """One image of the sample: its measures, the rules that refuse it, and a small copy of it."""

    id: str
    measures: dict[str, Any]
    refused: list[str]
    thumbnail: Pixels | None  # None if no image is to be shown


def preview_run(url: str, assignments: Iterable[str] = ()) -> tuple[dict[str, int], str]:
    """Preview of the images of the run at `url`: the counts of preview(), and the URL of the page.

    Raises UserError if the run has no images.
    """
    run = Run.open(url, assignments)
    with tempfile.TemporaryDirectory(prefix="mals-") as scratch:
        counts = preview(sample_images(run), run.config.filter, Path(scratch), sheets=not run.config.privacy.blur_faces)
        if not counts["images"]:
            raise UserError(f"{run.store.url} has no images yet; `mals {run.grid.first} {run.store.url}` makes them")
        for path in run.store.list(FOLDER):
            run.store.remove(path)
        for file in sorted(Path(scratch).iterdir()):
            run.store.commit(f"{FOLDER}/{file.name}", file.read_bytes())
    return counts, f"{run.store.url.rstrip('/')}/{FOLDER}/index.html"


def sample_images(run: Run, most: int = SAMPLE, shards: int = SHARDS) -> Iterator[tuple[list[str], list[bytes]]]:
    """Up to `most` images of the first stage, the same each time, from up to `shards` shards; ids and encoded images, a few at a time."""
    receipts = run.grid.receipts(run.grid.first)
    chosen = sorted(random.Random(run.config.seed).sample(sorted(receipts), min(shards, len(receipts))))
    rows = {shard: receipts[shard].active for shard in chosen}
    quota = dict(zip(chosen, _shares(list(rows.values()), most), strict=True))
    for shard in chosen:
        cell = run.store.parquet(run.grid.cell_name(run.grid.first, shard))
        statuses = cell.read(columns=["reject", "error"]).to_pylist()
        kept = [index for index, row in enumerate(statuses) if not row["reject"] and not row["error"]]
        picked = sorted(random.Random(f"{run.config.seed} {shard}").sample(kept, min(quota[shard], len(kept))))
        yield from _rows(cell, picked)


def _shares(sizes: list[int], most: int) -> list[int]:
    """`most` divided into shares as equal as possible, none above its entry in `sizes`."""
    shares, left = [0] * len(sizes), most
    for done, index in enumerate(sorted(range(len(sizes)), key=sizes.__getitem__)):
        shares[index] = min(sizes[index], left // (len(sizes) - done))
        left -= shares[index]
    return shares


def _rows(cell: Any, picked: list[int]) -> Iterator[tuple[list[str], list[bytes]]]:
    """Rows of an open Parquet file by their numbers, at most CHUNK at once; only the row groups that contain them are read."""
    starts = [0]
    for group in range(cell.num_row_groups):
        starts.append(starts[-1] + cell.metadata.row_group(group).num_rows)
    for group, (first, end) in enumerate(pairwise(starts)):
        inside = [row - first for row in picked if first <= row < end]
        for start in range(0, len(inside), CHUNK):
            table = cell.read_row_group(group, columns=["id", "image"]).take(inside[start : start + CHUNK])
            pairs = [(name, image) for name, image in zip(*table.to_pydict().values(), strict=True) if image is not None]
            yield [name for name, _ in pairs], [image for _, image in pairs]


def preview(chunks: Chunks, settings: Settings, to: Path, sheets: bool = True) -> dict[str, int]:
    """Measure the images of `chunks` and write index.html with its histograms and, with `sheets`, contact sheets into the folder `to`.

    Counts: `images`, `kept`, `damaged_image`, one per rule (several rules can refuse one image), `unreadable`.
    """
    to.mkdir(parents=True, exist_ok=True)
    samples: list[Sample] = []
    bad: dict[str, list[str]] = {DAMAGED: [], "unreadable": []}  # ids, and what is wrong with the image
    for names, images in chunks:
        for name, image in zip(names, images, strict=True):
            try:
                pixels = decode_image(image)
                measures = measure(pixels, settings)
                samples.append(Sample(name, measures, refusals(measures, settings), _thumbnail(pixels) if sheets else None))
            except BadImage as error:
                reasons, _ = bad_row(error)
                bad[reasons[0] if reasons else "unreadable"].append(f"{name}: {error}")
    refused = Counter(reason for sample in samples for reason in sample.refused)
    kept = [sample for sample in samples if not sample.refused]
    counts = {"images": len(samples) + sum(map(len, bad.values())), "kept": len(kept), DAMAGED: len(bad[DAMAGED])}
    counts |= {reason: refused[reason] for reason in RULES} | {"unreadable": len(bad["unreadable"])}
    if samples:
        _write(samples, kept, settings, to)
    (to / "index.html").write_text(_page(samples, counts, bad, settings, sheets), encoding="utf-8")
    return counts


def _write(samples: list[Sample], kept: list[Sample], settings: Settings, to: Path) -> None:
    for reason, rule in RULES.items():
        name = rule.measure
        _histogram([sample.measures[name] for sample in samples], name, rule.limits(settings), to / f"histogram-{name}.png")
        if refused := [sample for sample in samples if reason in sample.refused and sample.thumbnail is not None]:
            _sheet(sorted(refused, key=lambda sample: (sample.measures[name], sample.id)), name, to / f"sheet-{reason}.jpg")
    if kept and kept[0].thumbnail is not None:
        _sheet(sorted(kept, key=lambda sample: (sample.measures["ref_bytes"], sample.id)), "ref_bytes", to / "sheet-kept.jpg")


def _thumbnail(pixels: Pixels) -> Pixels:
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return np.array(image)


def _histogram(values: list[float], name: str, limits: tuple[float | None, float | None], to: Path) -> None:
    """A histogram of all values, with the thresholds if there are any; values that they refuse are red."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 2.8), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _, edges, bars = axes.hist(values, bins=60, color="#5b7fa6")
    for limit, word, sign in zip(limits, ("least", "greatest"), (1, -1), strict=True):
        if limit is None:
            continue
        for bar, left in zip(cast(Any, bars), edges, strict=False):
            if sign * (left + bar.get_width() / 2) < sign * limit:
                bar.set_facecolor("#c0504d")
        axes.axvline(limit, color="#c0504d", linewidth=1.5, label=f"{word}: {limit:g}")
        axes.legend(frameon=False)
    axes.set_xlabel(TITLES[name])
    axes.set_ylabel("images")
    figure.savefig(to, metadata={"Software": None})


def _sheet(ranked: list[Sample], name: str, to: Path) -> None:
    """A contact sheet of images at equal distances in `ranked`, the first and the last included, each with its id and measure."""
    from PIL import Image, ImageDraw, ImageFont

    most = min(SHEET, len(ranked))
    chosen = [ranked[place * (len(ranked) - 1) // max(1, most - 1)] for place in range(most)]
    columns, text_height, gap = min(8, most), 30, 6
    rows = -(-most // columns)
    cell = THUMBNAIL + gap
    sheet = Image.new("RGB", (columns * cell + gap, rows * (cell + text_height) + gap), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for place, sample in enumerate(chosen):
        x, y = gap + place % columns * cell, gap + place // columns * (cell + text_height)
        assert sample.thumbnail is not None
        small = Image.fromarray(sample.thumbnail)
        sheet.paste(small, (x + (THUMBNAIL - small.width) // 2, y + (THUMBNAIL - small.height) // 2))
        draw.text((x, y + THUMBNAIL + 2), _fitting(sample.id, draw, font), "black", font)
        draw.text((x, y + THUMBNAIL + 15), _digits(sample.measures[name]), "#555555", font)
    sheet.save(to, quality=88)


def _fitting(text: str, draw: Any, font: Any) -> str:
    """`text`, or its end after "…" if it is wider than a thumbnail: ids differ at their ends."""
    end = text
    while len(end) > 1 and draw.textlength(end if end == text else "…" + end, font) > THUMBNAIL:
        end = end[1:]
    return end if end == text else "…" + end


def _digits(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _page(samples: list[Sample], counts: dict[str, int], bad: dict[str, list[str]], settings: Settings, sheets: bool) -> str:
    total = max(1, counts["images"])
    parts = [
        HEAD,
        f"<h1>Filter preview</h1><p>{counts['images']:,} images, of which {counts['kept']:,} "
        f"({counts['kept'] / total:.1%}) would be kept. The filter itself has not run.</p>",
        _overlap(samples, counts),
        "" if sheets else "<p>No image is shown, because <code>privacy.blur_faces</code> is on and faces are blurred after the filter.</p>",
    ]
    for reason, rule in RULES.items():
        parts.append(f"<h2>{reason}</h2><p>{_rule(rule, settings)}; {counts[reason]:,} refused ({counts[reason] / total:.1%})</p>")
        if samples:
            parts.append(f'<img src="histogram-{rule.measure}.png" alt="histogram of {rule.measure}">')
        if counts[reason] and sheets:
            parts.append(f'<img src="sheet-{reason}.jpg" alt="images that {reason} would refuse, by {rule.measure}">')
    if counts["kept"] and sheets:
        parts.append('<h2>kept</h2><img src="sheet-kept.jpg" alt="images that would be kept, by ref_bytes">')
    for reason, sentence in {DAMAGED: "are refused, because pixels are missing", "unreadable": "could not be read"}.items():
        if bad[reason]:
            lines = "".join(f"<li>{escape(line)}" for line in bad[reason][:SHEET])
            parts.append(f"<h2>{reason}</h2><p>{len(bad[reason]):,} images {sentence}.</p><ul>{lines}</ul>")
    return "\n".join(parts) + "\n"


def _rule(rule: Rule, settings: Settings) -> str:
    """The settings of a rule with their values: `<code>filter.min_width</code>: width &lt; 90 is refused`."""
    signs = zip((rule.least, rule.greatest), rule.limits(settings), ("&lt;", "&gt;"), strict=True)
    return ", ".join(
        f"<code>filter.{setting}</code>: " + ("off" if limit is None else f"{rule.measure} {sign} {limit:g} is refused")
        for setting, limit, sign in signs
        if setting
    )


def _overlap(samples: list[Sample], counts: dict[str, int]) -> str:
    """A table of how many images two rules both refuse; each rule's total on the diagonal, what it alone refuses in the last column."""
    names = list(RULES)
    both = Counter((a, b) for sample in samples for a in sample.refused for b in sample.refused)
    alone = Counter(sample.refused[0] for sample in samples if len(sample.refused) == 1)
    head = "".join(f"<th>{name}" for name in ["rule", *names, "no other"])
    body = "".join(f"<tr><th>{a}" + "".join(f"<td>{both[a, b]:,}" for b in names) + f"<td>{alone[a]:,}" for a in names if counts["images"])
    return f"<table><tr>{head}{body}</table>"

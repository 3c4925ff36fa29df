"""What the filter's rules would refuse, shown before the filter runs: histograms with the thresholds drawn in, contact sheets, one page.

Nothing of the run's state changes: files appear under report/filter-preview/ only.
"""

import random
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from mals.config import Filter as Settings
from mals.errors import UserError
from mals.grid.run import Run
from mals.grid.stage import describe
from mals.stages.filter import RULES, refusals
from mals.stages.measures import decode, measure

PLACE = "report/filter-preview"
SAMPLE = 2000  # pictures measured at most
SHARDS = 64  # and shards opened at most: one picture out of each of thousands would take longer to find than to measure
CALL = 32  # pictures held at once
SHEET = 40  # pictures on a contact sheet
THUMBNAIL = 144  # pixels of its longer side
Pictures = Iterable[tuple[list[str], list[bytes]]]

TITLES = {
    "ref_bytes": "bytes as JPEG at the reference quality",
    "bits_per_pixel": "bits per pixel at the reference quality",
    "channel_variance": "variance of the channels' differences",
    "sharpness": "variance of the Laplacian",
}
HEAD = """<!doctype html><html lang=en><meta charset=utf-8><title>Filter preview</title><style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1240px; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse }
td, th { border: 1px solid #ccc; padding: .2em .7em; text-align: right }
th { font-weight: 600; background: #f5f5f5 }
img { max-width: 100%; display: block; margin: .5em 0 }
</style>"""


@dataclass
class Shown:
    """One picture of the sample: its numbers, the rules that refuse it, and a small JPEG of it."""

    id: str
    numbers: dict[str, Any]
    refused: list[str]
    thumbnail: bytes


def preview_run(url: str, sets: Iterable[str] = ()) -> tuple[dict[str, int], str]:
    """Preview of the generated pictures of the run at `url`: what preview() counts, and where the page is; UserError without pictures."""
    run = Run.open(url, sets)
    with tempfile.TemporaryDirectory(prefix="mals-") as scratch:
        counts = preview(sample(run), run.config.filter, Path(scratch))
        if not counts["pictures"]:
            raise UserError(f"{run.store.url} has no generated pictures to look at yet; make some with `mals generate {run.store.url}`")
        for old in run.store.list(PLACE):
            run.store.remove(old)
        for file in sorted(Path(scratch).iterdir()):
            run.store.commit(f"{PLACE}/{file.name}", file.read_bytes())
    return counts, f"{run.store.url.rstrip('/')}/{PLACE}/index.html"


def sample(run: Run, most: int = SAMPLE, shards: int = SHARDS) -> Iterator[tuple[list[str], list[bytes]]]:
    """Up to `most` generated pictures at random, the same ones each time, from up to `shards` of the shards there are, a few at once."""
    made = run.grid.receipts("generate")
    chosen = sorted(random.Random(run.config.seed).sample(sorted(made), min(shards, len(made))))
    rows = {shard: made[shard].worked for shard in chosen}
    quota = dict(zip(chosen, _shares(list(rows.values()), most), strict=True))
    for shard in chosen:
        cell = run.store.parquet(run.grid.cell("generate", shard))
        verdicts = cell.read(columns=["reject", "error"]).to_pylist()
        good = [at for at, row in enumerate(verdicts) if not row["reject"] and not row["error"]]
        picked = sorted(random.Random(f"{run.config.seed} {shard}").sample(good, min(quota[shard], len(good))))
        yield from _rows(cell, picked)


def _shares(sizes: list[int], most: int) -> list[int]:
    """How many of `most` each of `sizes` gives: as evenly as they allow."""
    given, left = [0] * len(sizes), most
    for done, at in enumerate(sorted(range(len(sizes)), key=sizes.__getitem__)):
        given[at] = min(sizes[at], left // (len(sizes) - done))
        left -= given[at]
    return given


def _rows(cell: Any, picked: list[int]) -> Iterator[tuple[list[str], list[bytes]]]:
    """Rows of an open Parquet file by their numbers, CALL at most at once; only the row groups that hold some are read."""
    starts = [0]
    for group in range(cell.num_row_groups):
        starts.append(starts[-1] + cell.metadata.row_group(group).num_rows)
    for group, (first, end) in enumerate(pairwise(starts)):
        inside = [at - first for at in picked if first <= at < end]
        for at in range(0, len(inside), CALL):
            table = cell.read_row_group(group, columns=["id", "image"]).take(inside[at : at + CALL])
            pictures = [(name, image) for name, image in zip(*table.to_pydict().values(), strict=True) if image is not None]
            yield [name for name, _ in pictures], [image for _, image in pictures]


def preview(pictures: Pictures, settings: Settings, to: Path) -> dict[str, int]:
    """Measure `pictures` and write index.html with its pictures into the folder `to`.

    Counts: `pictures`, `kept`, one for each rule (a picture can count for several), `unreadable`.
    """
    to.mkdir(parents=True, exist_ok=True)
    shown: list[Shown] = []
    unreadable: list[str] = []
    for names, images in pictures:
        for name, image in zip(names, images, strict=True):
            try:
                numbers = measure(image, settings)
                shown.append(Shown(name, numbers, refusals(numbers, settings), _thumbnail(image)))
            except (OSError, ValueError, SyntaxError) as error:
                unreadable.append(f"{name}: {describe(error)}")
    refused = Counter(reason for one in shown for reason in one.refused)
    kept = [one for one in shown if not one.refused]
    counts = {"pictures": len(shown) + len(unreadable), "kept": len(kept), **{reason: refused[reason] for reason in RULES}}
    counts["unreadable"] = len(unreadable)
    if shown:
        _write(shown, kept, settings, to)
    (to / "index.html").write_text(_page(shown, counts, unreadable, settings), encoding="utf-8")
    return counts


def _write(shown: list[Shown], kept: list[Shown], settings: Settings, to: Path) -> None:
    for reason, (number, setting) in RULES.items():
        least = getattr(settings, setting)
        _histogram([one.numbers[number] for one in shown], number, least, to / f"histogram-{number}.png")
        if bad := [one for one in shown if reason in one.refused]:
            _sheet(sorted(bad, key=lambda one: (one.numbers[number], one.id)), number, to / f"sheet-{reason}.jpg")
    if kept:
        _sheet(sorted(kept, key=lambda one: (one.numbers["ref_bytes"], one.id)), "ref_bytes", to / "sheet-kept.jpg")


def _thumbnail(image: bytes) -> bytes:
    from PIL import Image

    pixels = Image.fromarray(decode(image))
    pixels.thumbnail((THUMBNAIL, THUMBNAIL))
    sink = BytesIO()
    pixels.save(sink, "JPEG", quality=85)
    return sink.getvalue()


def _histogram(values: list[float], number: str, least: float | None, to: Path) -> None:
    """A histogram of all values, with the threshold where there is one; what it refuses is red."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 2.8), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _, edges, bars = axes.hist(values, bins=60, color="#5b7fa6")
    if least is not None:
        for bar, left in zip(cast(Any, bars), edges, strict=False):
            if left + bar.get_width() / 2 < least:
                bar.set_facecolor("#c0504d")
        axes.axvline(least, color="#c0504d", linewidth=1.5, label=f"least: {least:g}")
        axes.legend(frameon=False)
    axes.set_xlabel(TITLES[number])
    axes.set_ylabel("pictures")
    figure.savefig(to, metadata={"Software": None})


def _sheet(ranked: list[Shown], number: str, to: Path) -> None:
    """A contact sheet of pictures evenly spaced over `ranked`, the first and the last among them, each with its id and number."""
    from PIL import Image, ImageDraw, ImageFont

    most = min(SHEET, len(ranked))
    chosen = [ranked[at * (len(ranked) - 1) // max(1, most - 1)] for at in range(most)]
    across, caption, gap = min(8, most), 30, 6
    down = -(-most // across)
    cell = THUMBNAIL + gap
    sheet = Image.new("RGB", (across * cell + gap, down * (cell + caption) + gap), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for at, one in enumerate(chosen):
        x, y = gap + at % across * cell, gap + at // across * (cell + caption)
        small = Image.open(BytesIO(one.thumbnail))
        sheet.paste(small, (x + (THUMBNAIL - small.width) // 2, y + (THUMBNAIL - small.height) // 2))
        draw.text((x, y + THUMBNAIL + 2), _fitting(one.id, draw, font), "black", font)
        draw.text((x, y + THUMBNAIL + 15), _digits(one.numbers[number]), "#555555", font)
    sheet.save(to, quality=88)


def _fitting(text: str, draw: Any, font: Any) -> str:
    """The end of `text`, which tells ids apart, as far as it is no wider than a thumbnail."""
    kept = text
    while len(kept) > 1 and draw.textlength(kept if kept == text else "…" + kept, font) > THUMBNAIL:
        kept = kept[1:]
    return kept if kept == text else "…" + kept


def _digits(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _page(shown: list[Shown], counts: dict[str, int], unreadable: list[str], settings: Settings) -> str:
    total = max(1, counts["pictures"])
    parts = [
        HEAD,
        f"<h1>Filter preview</h1><p>{counts['pictures']:,} generated pictures, of which {counts['kept']:,} "
        f"({counts['kept'] / total:.1%}) would be kept. Nothing has been refused yet.</p>",
        _overlap(shown, counts),
    ]
    for reason, (number, setting) in RULES.items():
        least = getattr(settings, setting)
        rule = "off" if least is None else f"{number} &lt; {least:g} refuses {counts[reason]:,} ({counts[reason] / total:.1%})"
        parts.append(f"<h2>{reason}</h2><p><code>filter.{setting}</code>: {rule}</p>")
        if shown:
            parts.append(f'<img src="histogram-{number}.png" alt="histogram of {number}">')
        if counts[reason]:
            parts.append(f'<img src="sheet-{reason}.jpg" alt="pictures that {reason} would refuse, by {number}">')
    if counts["kept"]:
        parts.append('<h2>kept</h2><img src="sheet-kept.jpg" alt="pictures that would be kept, by ref_bytes">')
    if unreadable:
        lines = "".join(f"<li>{escape(line)}" for line in unreadable[:SHEET])
        parts.append(f"<h2>unreadable</h2><p>{len(unreadable):,} pictures could not be read.</p><ul>{lines}</ul>")
    return "\n".join(parts) + "\n"


def _overlap(shown: list[Shown], counts: dict[str, int]) -> str:
    """A table: how many pictures two rules refuse together; on the diagonal each rule, and beside it what it alone refuses."""
    names = list(RULES)
    both = Counter((a, b) for one in shown for a in one.refused for b in one.refused)
    alone = Counter(one.refused[0] for one in shown if len(one.refused) == 1)
    head = "".join(f"<th>{name}" for name in ["rule", *names, "no other"])
    body = "".join(
        f"<tr><th>{a}" + "".join(f"<td>{both[a, b]:,}" for b in names) + f"<td>{alone[a]:,}" for a in names if counts["pictures"]
    )
    return f"<table><tr>{head}{body}</table>"

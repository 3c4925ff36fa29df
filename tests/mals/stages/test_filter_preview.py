import json
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from benchmarks.images import encoded, photograph
from mals.config import Filter as Settings
from mals.errors import UserError
from mals.grid.run import Run, run_stages
from mals.stages.filter_preview import _shares, preview, preview_run, sample_images

MEASURES = ("ref_bytes", "bits_per_pixel", "channel_variance", "sharpness", "luminance", "overexposure", "width", "height", "aspect")
RULES = Settings(min_bytes=1000, min_channel_variance=50.0, min_sharpness=5.0)


@pytest.fixture(scope="module")
def chunks():
    images = [encoded(photograph(seed, 96, 64)) for seed in range(3)]
    grey = encoded(photograph(3, 96, 64)[..., 0])
    blank = encoded(np.full((96, 64, 3), 90, np.uint8))
    return [
        (["good-0", "good-1", "grey"], [images[0], images[1], grey]),
        (["blank", "good-2", "torn <b>", "text"], [blank, images[2], images[0][:900], b"text"]),
    ]


def test_the_counts_are_those_of_the_rules(chunks, tmp_path):
    counts = preview(chunks, RULES, tmp_path)
    refused = {"small_file": 1, "low_bits": 0, "grey": 2, "blurred": 1, "dark": 0, "overexposed": 0}
    refused |= {"odd_width": 0, "odd_height": 0, "odd_aspect": 0}
    assert counts == {"images": 7, "kept": 3, "damaged_image": 1, **refused, "unreadable": 1}


def test_a_rule_with_two_limits_shows_both_and_the_images_beyond_either(tmp_path):
    dark, wide, good = (np.full((96, 64, 3), 3, np.uint8), np.full((64, 96, 3), 128, np.uint8), photograph(1, 96, 64))
    rules = Settings(min_bytes=None, min_channel_variance=None, min_luminance=10.0, min_aspect=1.0, max_aspect=2.0)
    counts = preview([(["dark", "wide", "good"], [encoded(pixels) for pixels in (dark, wide, good)])], rules, tmp_path)
    assert {reason: counts[reason] for reason in ("kept", "dark", "odd_aspect")} == {"kept": 1, "dark": 1, "odd_aspect": 1}
    page = (tmp_path / "index.html").read_text()
    assert "filter.min_aspect</code>: aspect &lt; 1 is refused, <code>filter.max_aspect</code>: aspect &gt; 2 is refused" in page
    assert "filter.max_overexposure</code>: off" in page and (tmp_path / "sheet-odd_aspect.jpg").exists()
    histogram = np.asarray(Image.open(tmp_path / "histogram-aspect.png").convert("RGB")).astype(int)
    red = ((histogram[..., 0] - histogram[..., 2]) > 90).any(0)
    assert (np.diff(np.flatnonzero(red)) > 50).any(), "two lines, far from each other"


def test_the_page_shows_what_was_written_and_nothing_else(chunks, tmp_path):
    preview(chunks, RULES, tmp_path)
    page = (tmp_path / "index.html").read_text()
    images = {path.name for path in tmp_path.iterdir()} - {"index.html"}
    assert images == {part.split('"')[0] for part in page.split('src="')[1:]}
    assert images == {
        *(f"histogram-{name}.png" for name in MEASURES),
        *(f"sheet-{name}.jpg" for name in ("small_file", "grey", "blurred", "kept")),
    }
    for name in images:
        with Image.open(tmp_path / name) as image:
            image.load()
    assert "torn &lt;b&gt;" in page
    assert "<b>" not in page


def test_a_threshold_is_drawn_in_its_histogram(chunks, tmp_path):
    preview(chunks, RULES, tmp_path / "on")
    preview(chunks, RULES.model_copy(update={"min_sharpness": None}), tmp_path / "off")
    on, off = (np.asarray(Image.open(tmp_path / side / "histogram-sharpness.png").convert("RGB")).astype(int) for side in ("on", "off"))
    red = [int(((p[..., 0] - p[..., 2]) > 90).sum()) for p in (on, off)]
    assert red[0] > 50
    assert red[1] == 0


def test_the_overlap_of_rules_is_in_the_page(chunks, tmp_path):
    preview(chunks, RULES, tmp_path)
    rows = (tmp_path / "index.html").read_text().split("<tr>")[1:]
    grey = next(row for row in rows if row.startswith("<th>grey"))
    assert grey.split("</table>")[0] == "<th>grey<td>1<td>0<td>2<td>1<td>0<td>0<td>0<td>0<td>0<td>1"


def test_the_same_images_give_the_same_files(chunks, tmp_path):
    for side in ("a", "b"):
        preview(chunks, RULES, tmp_path / side)
    assert {p.name: p.read_bytes() for p in (tmp_path / "a").iterdir()} == {p.name: p.read_bytes() for p in (tmp_path / "b").iterdir()}


def test_without_images_all_counts_are_zero(tmp_path):
    counts = preview([], RULES, tmp_path)
    assert set(counts.values()) == {0}
    assert "0 images" in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize(
    ("sizes", "most", "shares"), [([], 5, []), ([9, 9], 100, [9, 9]), ([9, 1, 9], 9, [4, 1, 4]), ([5, 5, 5], 2, [0, 1, 1])]
)
def test_a_sample_is_spread_evenly_over_shards(sizes, most, shares):
    assert _shares(sizes, most) == shares


def test_a_run_is_previewed_before_it_is_filtered_and_its_state_stays_as_it_was(planned):
    run = planned()
    with pytest.raises(UserError, match="no images"):
        preview_run(str(run))
    run_stages(Run.open(run), "generate")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    counts, place = preview_run(str(run), ["filter.min_bytes=1500"])
    assert place == f"{run}/report/filter-preview/index.html"
    assert counts["images"] == 40
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and "filter-preview" not in path.parts}
    assert after == before
    assert not (run / "filter").exists()


def test_files_of_an_earlier_preview_go(planned):
    run = planned()
    run_stages(Run.open(run), "generate")
    preview_run(str(run), ["filter.min_bytes=1000000"])
    assert (run / "report/filter-preview/sheet-small_file.jpg").exists()
    preview_run(str(run), ["filter.min_bytes=null"])
    assert not (run / "report/filter-preview/sheet-small_file.jpg").exists()


def test_a_sample_is_the_same_each_time_and_no_larger_than_requested(planned):
    run = planned()
    run_stages(Run.open(run), "generate")
    takes = [[name for names, _ in sample_images(Run.open(run), 12, 3) for name in names] for _ in range(2)]
    assert takes[0] == takes[1]
    assert len(takes[0]) == len(set(takes[0])) == 12
    full = [name for names, images in sample_images(Run.open(run)) for name in names]
    assert len(full) == 40
    assert set(takes[0]) < set(full)


def test_the_command_prints_where_the_page_is(mals, planned):
    run = planned()
    run_stages(Run.open(run), "generate")
    result = mals("filter", run, "--preview", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["images"] == 40
    assert Image.open(BytesIO((run / "report/filter-preview/histogram-ref_bytes.png").read_bytes())).format == "PNG"

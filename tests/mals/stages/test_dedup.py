"""The stage `dedup` in runs: planted copies, a planted test image of an imported benchmark, and what is refused clearly."""

import logging
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mals import settings
from mals.config import Config
from mals.dataset.pack import pack
from mals.errors import UserError
from mals.grid.cells import build_stage
from mals.grid.run import Run, run_stages
from mals.grid.stage import GlobalStage, Stage
from mals.grid.status import status
from mals.planning.create import create
from pretrain.datasets.importing import import_benchmark
from tests.fakes import Painter, block_image, jpeg, ours
from tests.pretrain.datasets import layouts
from tests.small.packed_set import packed_set

Planned = Callable[..., Path]


class Repeater(Painter):
    """Paints thirteen images again and again, each time as another JPEG."""

    def row(self, row: dict[str, Any]) -> dict[str, Any]:
        sink = BytesIO()
        image = Image.fromarray(block_image(row["seed"] % 13))
        image.save(sink, "JPEG", quality=60 + row["seed"] % 40)
        return super().row(row) | {"image": sink.getvalue()}


def repeater(config: Config) -> Stage:
    return Repeater("generate", ours("generate", config), ("seed",), config)


NO_FILTER = ("filter.min_bits_per_pixel=null", "filter.min_sharpness=null", "filter.min_channel_variance=null")
REPEATED = (
    "stages.generate=tests.mals.stages.test_dedup:repeater",
    "dedup.best=sharpness",
    "crop.backend=none",
    "stages.crop=mals.stages.crop:stage",
    *NO_FILTER,
)


def packed_rows(folder: Path, name: str = "data") -> list[dict[str, Any]]:
    return [row for path in sorted((folder / "dataset" / name).iterdir()) for row in pq.read_table(path).to_pylist()]


def test_of_planted_copies_the_sharpest_is_kept_with_the_same_bytes_by_workers(planned: Planned) -> None:
    one, two = planned("one", *REPEATED), planned("two", *REPEATED, "run.workers=2")
    for folder in (one, two):
        run = Run.open(folder)
        run_stages(run, quiet=True)
        pack(run)
    assert [path.read_bytes() for path in sorted((one / "dedup").glob("*.parquet"))] == [
        path.read_bytes() for path in sorted((two / "dedup").glob("*.parquet"))
    ]
    rows, refused = packed_rows(one), packed_rows(one, "rejected")
    seeds = {row["id"]: row["seed"] % 13 for row in [*rows, *refused]}
    assert len(rows) == len({row["seed"] % 13 for row in rows}) == len(set(seeds.values()))
    for row in refused:
        kept = next(other for other in rows if other["id"] == row["duplicate_of"])
        assert row["reject_reason"] == "near_duplicate" and seeds[row["id"]] == seeds[kept["id"]]
        assert row["sharpness"] <= kept["sharpness"] and row["duplicate_cluster"] == kept["duplicate_cluster"]
    card = (one / "dataset/README.md").read_text(encoding="utf-8")
    assert f"refused {len(refused)} rows as near-duplicates" in card and "compared with no benchmark" in card


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CUHK-PEDES as `mals import` packs it, a miniature."""
    source, to = layouts.cuhk(tmp_path_factory.mktemp("source")), tmp_path_factory.mktemp("imported") / "cuhk"
    import_benchmark("cuhk-pedes", source, str(to))
    return to


def photographs(folder: Path, benchmark: Path) -> tuple[Path, dict[str, str]]:
    """Own images and captions, among them a test image of the benchmark, larger and as a JPEG of another quality, and a test caption."""
    folder.mkdir()
    planted = pq.read_table(sorted((benchmark / "data").glob("test-*"))[0]).to_pylist()[0]["image"]["bytes"]
    image = Image.open(BytesIO(planted)).convert("RGB")
    image.resize((2 * image.width, 2 * image.height), Image.Resampling.BICUBIC).save(folder / "planted.jpg", quality=80)
    for number in range(6):
        (folder / f"own{number}.jpg").write_bytes(jpeg(block_image(number)))
    captions = {f"own{number}": f"Somebody, number {number}." for number in range(6)} | {
        "own4": "HER bag -- is blue",
        "planted": "A person.",
    }
    for name, text in captions.items():
        (folder / f"{name}.txt").write_text(text)
    return folder, captions


def test_a_planted_test_image_and_a_test_caption_of_an_imported_benchmark_are_refused(benchmark: Path, tmp_path: Path) -> None:
    folder, _ = photographs(tmp_path / "own", benchmark)
    sets = ["caption=none", "crop=none", f"dedup.against=[{benchmark}/test]", *NO_FILTER]
    create(str(tmp_path / "run"), ingest=str(folder), assignments=sets)
    run = Run.open(tmp_path / "run")
    run_stages(run, quiet=True)
    pack(run)
    refused = {row["source_name"]: row for row in packed_rows(tmp_path / "run", "rejected")}
    assert set(refused) == {"planted.jpg", "own4.jpg"}
    assert all(row["reject_reason"] == "in_benchmark" for row in refused.values())
    assert refused["planted.jpg"]["benchmark_match"] == "cuhk/test: Market/1004_c1s4_056461_00.jpg"
    assert refused["own4.jpg"]["benchmark_match"] == "cuhk/test: caption"
    card = (tmp_path / "run/dataset/README.md").read_text(encoding="utf-8")
    assert "| cuhk/test | 1 |" in card and str(tmp_path) not in card
    shutil.move(benchmark, tmp_path / "elsewhere")
    try:
        assert "there is no packed set" in status(Run.open(tmp_path / "run")).note, "a finished run is looked at without the benchmark"
        with pytest.raises(UserError, match=r"dedup\.against: there is no packed set in .*cuhk, which .*`mals import`"):
            run_stages(Run.open(tmp_path / "run"), quiet=True)
        moved = Run.open(tmp_path / "run", [f"dedup.against=[{tmp_path}/elsewhere/cuhk/test]"])
        shutil.move(tmp_path / "elsewhere", tmp_path / "cuhk")
    finally:
        shutil.move(tmp_path / "cuhk", benchmark)
    assert moved.config.dedup is not None


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("{set}/tset", "has no split tset; it has "),
        ("{set}", "there is no packed set in"),
        ("nothing", "is no FOLDER/SPLIT such as cuhk/test"),
        ("/no/such/folder/test", "there is no packed set in /no/such/folder"),
    ],
)
def test_a_set_that_is_not_there_is_one_sentence_before_any_work(address: str, words: str, benchmark: Path, planned: Planned) -> None:
    folder = planned("run", *REPEATED, f"dedup.against=[{address.format(set=benchmark)}]")
    with pytest.raises(UserError, match=r"^dedup\.against") as refusal:
        run_stages(Run.open(folder), quiet=True)
    assert words in str(refusal.value) and not (folder / "generate").exists()


def test_images_of_a_set_that_cannot_be_read_are_told_and_the_others_are_compared(
    planned: Planned, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = packed_set(tmp_path / "set", [jpeg(block_image(4)), b"no image", jpeg(block_image(99))])
    folder = planned("run", *REPEATED, f"dedup.against=[{images}/test]")
    with caplog.at_level(logging.WARNING):
        run_stages(Run.open(folder), quiet=True)
    assert "dedup.against: 1 of the 3 images of set/test cannot be read: no row is compared with them" in caplog.text
    cells = [pq.read_table(path).to_pylist() for path in sorted((folder / "dedup").glob("0*.parquet"))]
    assert {row["benchmark_match"] for rows in cells for row in rows} == {None, "set/test: test-0"}


def test_a_damaged_file_of_a_set_is_one_sentence_before_any_work(planned: Planned, tmp_path: Path) -> None:
    (file,) = (packed_set(tmp_path / "set", [jpeg(block_image(4))]) / "data").iterdir()
    file.write_bytes(file.read_bytes()[:-9])
    folder = planned("run", *REPEATED, f"dedup.against=[{tmp_path}/set/test]")
    with pytest.raises(UserError, match=r"^dedup\.against: .*00001\.parquet is no whole Parquet file; copy the set again$"):
        run_stages(Run.open(folder), quiet=True)
    assert not (folder / "generate").exists()


def test_a_scorer_of_numbers_that_are_not_finite_is_refused_for_the_images_of_a_set(tmp_path: Path) -> None:
    images = packed_set(tmp_path / "set", [jpeg(block_image(4))])
    scorer = {"scorer": "not-finite", "loader": "tests.mals.stages.test_agree:colors", "against": [f"{images}/test"]}
    stage = build_stage("dedup", settings.check({"dedup": scorer}))
    assert isinstance(stage, GlobalStage)
    with pytest.raises(UserError, match=r"the scorer not-finite: embed_images returned numbers that are not finite"):
        stage.summarise(iter([]))


def test_the_order_of_the_stages_is_embed_dedup_keep(planned: Planned) -> None:
    stages = list(Run.open(planned("run", "dedup.distance=4", "keep.by=sharpness")).grid.stages)
    assert stages[-4:] == ["label", "embed", "dedup", "keep"]


def test_thumbnails_are_the_same_bytes_again() -> None:
    from mals.stages.embed import thumbnail

    image = np.asarray(Image.open(BytesIO(jpeg(block_image(3)))))
    assert thumbnail(image).tobytes() == thumbnail(image.copy()).tobytes()

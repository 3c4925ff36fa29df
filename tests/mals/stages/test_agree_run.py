"""The stage `agree` in runs: the same bytes again, receipts, keep, the packed set with its card and report, `mals explain RUN ROW`."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mals.dataset.pack import pack
from mals.dataset.report import report
from mals.errors import UserError
from mals.grid.run import Run, run_stages
from tests.conftest import Mals
from tests.mals.stages.test_agree import method  # noqa: F401

Planned = Callable[..., Path]
CAPTIONS = ["stages.caption=tests.mals.stages.test_agree_run:captioner"]


def captioner(config):
    """A stage whose captions are as many as its images: with the three of the fake there would be no ranks."""
    from mals.grid.stage import row_seed
    from tests.fakes import Captioner, ours

    class Many(Captioner):
        def row(self, row):
            number = row_seed(0, row["id"], "caption") % 30
            entry = {"text": f"a person with {number} bags", "raw": "", "model": "many", "revision": "1", "prompt": "", "repetition": 0.0}
            return {"caption": entry["text"], "captions": [entry, entry | {"text": "a person"}]}

    return Many("caption", ours("caption", config), ("id",), config)


@pytest.fixture
def scored(planned: Planned, method: Path) -> Callable[..., Path]:  # noqa: F811
    def make(name: str, *sets: str) -> Path:
        return planned(name, *CAPTIONS, f"agree.scorer={method}", "agree.references=10", *sets)

    return make


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "agree").glob("*.parquet"))}


def test_cells_of_agree_are_the_same_bytes_with_one_worker_two_workers_and_after_a_loss(scored: Callable[..., Path]) -> None:
    one, two = scored("one"), scored("two", "run.workers=2")
    for folder in (one, two):
        assert run_stages(Run.open(folder), quiet=True).new_cells["agree"] == 5
    whole = files(one)
    assert len(whole) == 6 and files(two) == whole
    for name in ("00001.json", "00003.json", *(path.name for path in (one / "agree").glob("summary-*"))):
        (one / "agree" / name).unlink()
    assert run_stages(Run.open(one), quiet=True).new_cells == {"agree": 2}
    assert files(one) == whole


def test_receipts_and_the_packed_set_tell_what_was_refused_by_what(scored: Callable[..., Path], mals: Mals) -> None:
    folder = scored("run", "agree.best_rank=4", "keep.share=0.5")
    run_stages(Run.open(folder), quiet=True)
    run = Run.open(folder)
    pack(run)
    receipts = [run.grid.receipt("agree", shard) for shard in range(5)]
    ranks = [rank for at in range(5) for rank in pq.read_table(folder / f"agree/{at:05d}.parquet")["agree_rank"].drop_null().to_pylist()]
    refused = sum(rank > 4 for rank in ranks)
    assert sum(receipt.rejects["low_rank"] for receipt in receipts if receipt and receipt.rejects) == refused > 0
    assert sum(receipt.active for receipt in receipts if receipt) == len(ranks)

    rows = [row for path in sorted((folder / "dataset/data").iterdir()) for row in pq.read_table(path).to_pylist()]
    others = pq.read_table(next((folder / "dataset/rejected").iterdir())).to_pylist()
    assert len(rows) == -(-(len(ranks) - refused) // 2)
    assert all(row["agree_rank"] <= 4 and row["agree_references"] == 10 and row["agree_scores"][0] == row["agree_score"] for row in rows)
    worse = [row["agree_score"] for row in others if row["reject_reason"] == "not_best"]
    assert min(row["agree_score"] for row in rows) >= max(worse)

    card = (folder / "dataset/README.md").read_text()
    params = receipts[0].params if receipts[0] else {}
    assert f"by small-aptm, revision {params['revision']}; `agree_rank` is its place among the scores of the image with 10 captions" in card
    assert f"| scored | {len(ranks)} |" in card and f"| kept | {len(rows)} |" in card
    assert "Required of every row: `agree_rank` at most 4." in card
    assert "| scores of images and captions | small-aptm |" in card
    median = float(np.sort([row["agree_score"] for row in rows])[round(0.5 * (len(rows) - 1))])
    text = report(run).text()
    assert f"image and caption: cosine {median:.3f} at the median" in text and "required: agree_rank at most 4" in text

    row = next(row for row in others if row["reject_reason"] == "low_rank")
    shown = mals("explain", folder, row["id"]).stdout
    assert f"{row['id']}: refused by the stage agree: low_rank" in shown and f"agree_rank: {row['agree_rank']}\n" in shown
    facts = json.loads(mals("explain", folder, row["id"], "--json").stdout)
    assert facts["values"]["agree_score"] == pytest.approx(row["agree_score"]) and facts["labels"]["caption"] == row["caption"]


def test_a_scorer_that_cannot_be_read_is_a_sentence_and_loses_nothing(scored: Callable[..., Path], method: Path) -> None:  # noqa: F811
    folder = scored("run")
    run_stages(Run.open(folder), "label", quiet=True)
    with pytest.raises(UserError, match="returned a dict, which has not the methods"):
        run_stages(Run.open(folder, ["agree.loader=tests.mals.stages.test_agree:colors"]), quiet=True)
    assert run_stages(Run.open(folder, [f"agree.scorer={method}", "agree.loader=pretrain.scorer:load_scorer"]), quiet=True).new_cells == {
        "agree": 5
    }

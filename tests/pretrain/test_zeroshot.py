"""One table of several data sets: what is measured of each, by which prompts, and how the table explains itself."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from mals.attributes import load_space
from mals.errors import UserError
from pretrain.datasets.importing import import_benchmark
from pretrain.evaluate import evaluate, open_gallery
from pretrain.trained_method import Trained
from pretrain.zeroshot import markdown, zeroshot
from tests.conftest import Mals
from tests.pretrain.datasets import layouts
from tests.pretrain.packs import imported, rewritten

MADE = {"cuhk-pedes": layouts.cuhk, "rstpreid": layouts.rstp, "pa100k": layouts.pa100k, "market1501": layouts.market}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Miniatures of four benchmarks, packed by `mals import`."""
    return imported(tmp_path_factory.mktemp("sets"), MADE)


@pytest.mark.parametrize("name", ["pa100k", "market1501"])
def test_images_without_captions_are_recognised_by_the_prompts_of_their_own_space(
    trained: Trained, sets: dict[str, str], name: str
) -> None:
    gallery = open_gallery(trained, [sets[name]], "test")
    result = evaluate(trained, gallery)
    assert not gallery.has_captions and len(gallery.queries) == 0 and result.retrieval is None and result.attributes is not None
    assert list(result.attributes.per_attribute) == list(load_space(name).names) and f"space {name}" in result.attributes.protocol
    with pytest.raises(UserError, match="has no attribute labels"):
        open_gallery(trained, [sets["cuhk-pedes"]], "test", "required")


def test_images_with_neither_captions_nor_labels_are_refused(trained: Trained, sets: dict[str, str]) -> None:
    gallery = open_gallery(trained, [sets["market1501"]], "distractors")
    with pytest.raises(UserError, match="neither captions nor attribute labels"):
        evaluate(trained, gallery)


def test_images_that_cannot_be_read_are_left_out_of_recognition(trained: Trained, sets: dict[str, str], tmp_path: Path) -> None:
    own = tmp_path / "own"
    import_benchmark("pa100k", layouts.pa100k(tmp_path / "raw"), str(own))

    def broken(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        rows[0]["image"]["bytes"] = b"rubbish"
        return pa.Table.from_pylist(rows, schema=table.schema)

    result = evaluate(trained, open_gallery(trained, [rewritten(own, broken)], "test"))
    whole = evaluate(trained, open_gallery(trained, [sets["pa100k"]], "test"))
    assert result.attributes is not None and whole.attributes is not None
    assert (result.unreadable, result.attributes.images, whole.attributes.images) == (1, 2, 3)


def test_some_captions_are_not_taken_for_none(trained: Trained, sets: dict[str, str]) -> None:
    with pytest.raises(UserError, match="has no captions, which retrieval is measured with"):
        open_gallery(trained, [sets["cuhk-pedes"], sets["market1501"]], "test", "none")


def test_images_without_a_caption_are_searched_and_are_no_query(trained: Trained, sets: dict[str, str], tmp_path: Path) -> None:
    """Also where no row of a file of the set has one, as where distractors come last."""

    def silent(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        for row in rows:
            if row["id"].startswith("0001"):
                row |= {"caption": None, "captions": []}
        return pa.Table.from_pylist(rows, schema=table.schema)

    import_benchmark("rstpreid", layouts.rstp(tmp_path / "raw"), str(tmp_path / "own"), rows_per_file=2)
    whole = open_gallery(trained, [sets["rstpreid"]], "train")
    gallery = open_gallery(trained, [rewritten(tmp_path / "own", silent)], "train")
    assert (len(whole), len(whole.queries), len(gallery), len(gallery.queries)) == (4, 8, 4, 4)
    assert gallery.has_captions and [gallery.dataset.caption(row) for row in gallery.queries[:2].tolist()] == ["One of 0.", "Two of 0."]
    scores = evaluate(trained, gallery, "none").retrieval
    assert scores is not None and (scores.captions, scores.images, scores.identities, scores.unmatched) == (4, 4, 2, 0)


def test_the_table_has_a_row_a_data_set_and_says_how_it_was_measured(trained: Trained, sets: dict[str, str]) -> None:
    result = zeroshot(trained, list(sets.values()), k=3, rerank="published")
    sets_json = result.to_json()["sets"]
    by_name = {row["name"]: row for row in sets_json}
    assert list(by_name) == ["CUHK-PEDES", "RSTPReid", "PA-100K", "Market-1501"]
    assert [sorted(row.keys() & {"retrieval", "attributes"}) for row in sets_json] == 2 * [["retrieval"]] + 2 * [["attributes"]]
    stripped = "captions are reduced to letters a-z and digits"
    assert stripped in by_name["RSTPReid"]["retrieval"]["protocol"] and stripped not in by_name["CUHK-PEDES"]["retrieval"]["protocol"]
    table = markdown(result)
    lines = table.splitlines()
    assert lines[0] == "| data set | split | captions | images | R@1 | R@5 | R@10 | mAP | mINP | mA | one colour | two colours |"
    assert [line.count("|") for line in lines[:6]] == 6 * [13] and lines[4].startswith("| PA-100K | test | – | 3 | – | – |")
    assert "every caption is a query" in table and "logit + 8 x cosine" in table and "space market1501" in table
    assert "trained on" not in table


def test_a_data_set_that_the_method_was_trained_on_is_marked(data: Path, trained: Trained) -> None:
    result = zeroshot(trained, [str(data)], "train", rerank="none")
    assert result.sets[0].trained_on and "that is not zero-shot" in markdown(result) and "(trained on) |" in markdown(result)


def test_a_typing_mistake_in_the_last_data_set_is_refused_before_the_first_is_measured(trained: Trained, sets: dict[str, str]) -> None:
    started: list[str] = []
    with pytest.raises(UserError, match="there is no data set nowhere"):
        zeroshot(trained, [sets["pa100k"], "nowhere"], progress=started.append)
    assert started == []


def test_the_command_writes_json_and_a_markdown_table(out: Path, sets: dict[str, str], mals: Mals, tmp_path: Path) -> None:
    words = ["zeroshot", out, "--data", sets["cuhk-pedes"], "--data", sets["market1501"], "--workers", 0, "--to", "a.json"]
    result = mals(*words)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("| data set |") and "| CUHK-PEDES |" in result.stdout
    written = json.loads((tmp_path / "a.json").read_text())
    assert written["split"] == "test" and [row["name"] for row in written["sets"]] == ["CUHK-PEDES", "Market-1501"]
    result = mals("evaluate", out, "--data", sets["market1501"], "--workers", 0)
    assert result.returncode == 0 and result.stdout.startswith("mA "), result.stderr

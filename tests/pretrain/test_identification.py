"""Identification: images retrieve images of the same person by other cameras, as a command, as a selection, and as a search."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import pretrain
from cli import retrieval
from cli import search as searching
from cli.pretrain import training_settings
from mals.errors import UserError
from mals.images import decode_image
from mals.world.make import make
from mals.world.settings import WorldSettings
from pretrain.api import LoadedMethod
from pretrain.datasets.importing import import_benchmark
from pretrain.evaluate import evaluate, open_gallery
from pretrain.finetune import configure, finetune
from pretrain.gallery import open_persons
from pretrain.release import release
from pretrain.results import Evaluation
from pretrain.search import search_by_image
from pretrain.selection import summary
from pretrain.train import train
from pretrain.trained_method import Trained, read
from tests.conftest import environment
from tests.pretrain.datasets import layouts

SMALL = ["dpti.vision.stem=4", "dpti.vision.widths=[2,2,4,4]", "dpti.width=8", "dpti.heads=2", "dpti.parts=3", "dpti.images_per_person=2"]
SETS = [*SMALL, "data.height=64", "data.width=32", "batch=8", "steps=4", "save_every=2", "log_every=1"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("identification") / "world"
    settings = WorldSettings.checked(
        persons=16, views=3, split="train=0.5,val=0.25,test=0.25", seed=3, height=64, rows_per_file=16, occlude=True
    )
    make(str(folder), settings, workers=1)
    return folder


@pytest.fixture(scope="module")
def out(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("identification") / "out"
    train(training_settings("tiny-dpti", None, SETS), [str(world)], folder, "cpu")
    return folder


@pytest.fixture(scope="module")
def trained(out: Path) -> Trained:
    return read(str(out))


def rows(folder: Path, split: str) -> list[dict]:
    return [row for path in sorted((folder / "data").glob(f"{split}-*")) for row in pq.read_table(path).to_pylist()]


def rewritten(world: Path, folder: Path, change) -> Path:
    """The data set with the rows of every file changed."""
    (folder / "data").mkdir(parents=True)
    for file in sorted((world / "data").glob("*.parquet")):
        table = pq.read_table(file)
        pq.write_table(pa.Table.from_pylist([change(row) for row in table.to_pylist()], schema=table.schema), folder / "data" / file.name)
    return folder


def by_hand(trained: Trained, queries: list[dict], gallery: list[dict]) -> tuple[float, float, float]:
    """mAP, mINP and R1 by their definitions, one query at a time."""
    method = LoadedMethod(trained)
    images = [[decode_image(row["image"]["bytes"]) for row in part] for part in (queries, gallery)]
    cosines = (method.embed_image(images[0]) @ method.embed_image(images[1]).T).tolist()
    scores = []
    for query, line in zip(queries, cosines, strict=True):
        order = sorted(range(len(gallery)), key=lambda at, line=line: (-line[at], at))  # type: ignore[misc]
        seen = [gallery[at] for at in order if (gallery[at]["person"], gallery[at]["camera"]) != (query["person"], query["camera"])]
        places = [place for place, row in enumerate(seen, 1) if row["person"] == query["person"]]
        scores.append((np.mean([n / place for n, place in enumerate(places, 1)]), len(places) / places[-1], places[0] == 1))
    mean = np.mean(scores, axis=0)
    return float(mean[0]), float(mean[1]), float(mean[2])


@pytest.mark.parametrize("query", ["query", "query_occluded", "query_partial", "test"])
def test_scores_equal_the_definitions(trained: Trained, world: Path, query: str) -> None:
    gallery = open_gallery(trained, [str(world)], "test", query=query, batch=5)
    scores = evaluate(trained, gallery).identification
    assert scores is not None
    queries, searched = rows(world, query), rows(world, "test")
    expected = by_hand(trained, queries, searched)
    assert (scores.mAP, scores.mINP, scores.R1) == pytest.approx(expected, abs=1e-6)
    assert (scores.queries, scores.images, scores.identities, scores.unmatched) == (len(queries), len(searched), 4, 0)


def test_the_split_query_is_taken_where_there_is_one_and_every_image_elsewhere(trained: Trained, world: Path) -> None:
    own, splits = open_persons([str(world)], "test")
    assert splits == ("query", "test") and own.splits is not None and own.splits.bincount().tolist() == [8, 12]
    within = open_gallery(trained, [str(world)], "val")
    assert within.splits == ("val",) and within.query_images.all() and within.searched_images.all()
    protocol = evaluate(trained, within).identification
    assert protocol is not None and "every image of val is a query, all of them the gallery" in protocol.protocol


def test_distractors_are_searched_and_match_no_query(trained: Trained, world: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "data").mkdir(parents=True)
    for file in (world / "data").glob("*.parquet"):
        (own / "data" / file.name).write_bytes(file.read_bytes())
    table = pq.read_table(next((world / "data").glob("val-*")))
    distractors = [row | {"person": None} for row in table.to_pylist()]
    pq.write_table(pa.Table.from_pylist(distractors, schema=table.schema), own / "data/distractors-00000-of-00001.parquet")
    scores = evaluate(trained, open_gallery(trained, [str(own)], "test")).identification
    assert scores is not None and scores.images == 12 + len(distractors) and "test and distractors the gallery" in scores.protocol
    queries, searched = rows(world, "query"), rows(world, "test")
    nameless = [row | {"person": -1 - at} for at, row in enumerate(distractors)]
    expected = by_hand(trained, queries, [*searched, *nameless])
    assert scores.mAP == pytest.approx(expected[0], abs=1e-6) and scores.mAP < by_hand(trained, queries, searched)[0]


def test_market_has_queries_a_gallery_and_distractors_and_no_junk(tmp_path: Path) -> None:
    import_benchmark("market1501", layouts.market(tmp_path / "files"), str(tmp_path / "market"))
    pairs, splits = open_persons([str(tmp_path / "market")])
    assert splits == ("query", "test", "distractors") and pairs.splits is not None and pairs.cameras is not None
    assert pairs.splits.tolist() == [0, 0, 1, 1, 2] and len(pairs.persons.unique()) == 3
    assert pairs.persons[:2].tolist() == pairs.persons[2:4].tolist()  # the persons of query are those of test
    assert pairs.cameras.tolist() == [0, 0, 1, 2, 3]  # cameras 1, 1, 2, 4 and 6, numbered over the splits together


def test_data_without_cameras_or_persons_are_refused_in_one_sentence(world: Path, tmp_path: Path, trained: Trained) -> None:
    blind = rewritten(world, tmp_path / "blind", lambda row: row | {"camera": None if row["id"].endswith("1") else 1})
    with pytest.raises(UserError, match=r"blind: [\d,]+ of 20 images have no camera, which an identification needs: it leaves"):
        open_persons([str(blind)], "test")
    alone = rewritten(world, tmp_path / "alone", lambda row: row | {"person": None})
    with pytest.raises(UserError, match="no person has two images, as far as the column person says"):
        open_persons([str(alone)], "test")
    same = rewritten(world, tmp_path / "same", lambda row: row | {"camera": 4})
    with pytest.raises(UserError, match=r"there is nothing to measure: .* have no persons that two cameras have seen"):
        evaluate(trained, open_gallery(trained, [str(same)], "test"))


def test_two_processes_give_the_numbers_of_one(out: Path, world: Path, tmp_path: Path) -> None:
    options = {"batch": 3, "workers": 0, "task": "reid", "query": "query_partial"}
    retrieval.evaluate(str(out), [str(world)], to=tmp_path / "one.json", **options)
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "cli.main"]
    done = subprocess.run(
        [sys.executable, *torchrun, "evaluate", str(out), "--data", str(world), "--to", str(tmp_path / "two.json"), *words],
        env=environment(GLOO_SOCKET_IFNAME="lo"),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two"))
    assert one == two and "retrieval" not in one and Evaluation.from_json(one).identification is not None


def test_a_task_that_the_method_cannot_do_is_refused(out: Path, world: Path) -> None:
    for task, message in {
        "retrieval": "this method cannot do retrieval: it is able to identify",
        "counting": "--task takes retrieval, attributes, reid or search, not counting",
    }.items():
        with pytest.raises(UserError, match=message):
            retrieval.evaluate(str(out), [str(world)], task=task, workers=0)


def test_the_best_checkpoint_has_the_highest_map_and_is_released_with_its_scores(world: Path, out: Path, tmp_path: Path) -> None:
    config = configure("tiny-dpti", None, [*SETS, "steps=6"], str(out))
    assert config.start is not None
    result = finetune(config, [str(world)], tmp_path / "tuned", "cpu")
    lines = [json.loads(line) for line in (tmp_path / "tuned/evaluations.jsonl").read_text().splitlines()]
    assert [list(line)[3] for line in lines] == ["mAP"] * len(lines) and len(lines) > 1
    best = max(lines, key=lambda line: line["mAP"])
    assert result["selected"]["mAP"] == best["mAP"]
    written = json.loads((tmp_path / "tuned/result.json").read_text())
    assert written["identification"]["queries"] == 8 and "selected on val" in written["identification"]["protocol"]
    assert summary(written).startswith("mAP ")
    scores = evaluate(read(str(tmp_path / "tuned")), open_gallery(read(str(tmp_path / "tuned")), [str(world)], "test")).identification
    assert scores is not None and scores.mAP == pytest.approx(written["identification"]["mAP"], abs=1e-6)
    release(str(tmp_path / "tuned"), str(tmp_path / "released"))
    card = (tmp_path / "released/README.md").read_text()
    assert "retrieves images of a person by another image" in card and ", by image |" in card and "Embeddings have 32 dimensions" in card
    assert "tokens of `tokenizer.json`" not in card and "embed_text" not in card


def test_held_out_persons_select_too(world: Path, tmp_path: Path) -> None:
    config = configure("tiny-dpti", None, [*SETS, "steps=2"], None, val_share=0.25)
    result = finetune(config, [str(world)], tmp_path / "tuned", "cpu")
    assert result["selected"]["split"] == "val (held out of train)"


def test_a_killed_training_ends_with_the_same_bits(world: Path, out: Path, tmp_path: Path) -> None:
    train(training_settings("tiny-dpti", None, SETS), [str(world)], tmp_path / "again", "cpu")
    for name in ("model.safetensors", "tokenizer.json"):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()


def test_an_image_finds_images_and_a_sentence_does_not(
    trained: Trained, out: Path, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (row, *_) = rows(world, "test")
    (tmp_path / "query.jpg").write_bytes(row["image"]["bytes"])
    gallery = open_gallery(trained, [str(world)], "test", task="retrieval")
    hits = search_by_image(trained, gallery, tmp_path / "query.jpg", 5).hits
    assert hits[0].id == row["id"] and hits[0].score == pytest.approx(1, abs=1e-3) and len(hits) == 5
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    sheet = tmp_path / "sheet.jpg"
    searching.search(str(out), [str(world)], image=tmp_path / "query.jpg", top=2, to=[sheet], workers=0, as_json=True)
    assert json.loads(capsys.readouterr().out)["hits"][0]["id"] == row["id"] and sheet.is_file()
    for sentence, message in {
        "a man": "this method compares images alone and reads no sentence; give --image with an image of the person",
        None: "there is nothing to search for: give a sentence, --queries FILE, --attribute NAME=VALUE or --image FILE",
    }.items():
        with pytest.raises(UserError, match=message):
            searching.search(str(out), [str(world)], sentence, to=[sheet], workers=0)
    (tmp_path / "torn.jpg").write_bytes(row["image"]["bytes"][:60])
    with pytest.raises(UserError, match=r"torn\.jpg cannot be read as an image"):
        search_by_image(trained, gallery, tmp_path / "torn.jpg")


def test_a_method_of_images_alone_is_loaded_and_says_what_it_lacks(out: Path) -> None:
    method = pretrain.load(out)
    embeddings = method.embed_image([np.full((40, 20, 3), value, np.uint8) for value in (10, 200)])
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2))
    with pytest.raises(UserError, match="this method computes no embeddings of sentences"):
        method.embed_text("a man")

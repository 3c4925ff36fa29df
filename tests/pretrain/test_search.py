"""Search: the images that fit a sentence."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from cli.search import search as search_command
from mals.attributes import load_space
from mals.errors import UserError
from mals.images import decode_image
from pretrain.api import LoadedMethod
from pretrain.attribute_search import requested_attributes
from pretrain.evaluate import evaluate, open_gallery
from pretrain.gallery import tokenize
from pretrain.search import open_searched, search, search_attributes, search_sentences
from pretrain.text_scores import Embeddings, Rerank, default_rerank, embed_gallery, embed_images
from pretrain.trained_method import read
from tests.conftest import Mals
from tests.images_of_every_kind import write_images
from tests.pretrain.packs import packed
from tests.pretrain.releases import released


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("search") / "run", 40)


def test_the_cross_encoder_orders_the_best_by_cosine(out: Path, data: Path) -> None:
    trained = read(str(out))
    gallery = open_gallery(trained, [data], "train", "none", batch=8)
    ids = {name for file in (data / "data").glob("*.parquet") for name in pq.read_table(file, columns=["id"])["id"].to_pylist()}
    near, again = (search(trained, gallery, "a person in red", 5, mode, 5) for mode in ("none", "itm"))
    assert {hit.id for hit in near.hits} == {hit.id for hit in again.hits}
    for hits in (near.hits, again.hits):
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert all(hit.caption == gallery.dataset.caption(hit.row) and hit.id in ids for hit in hits)
    with pytest.raises(UserError, match="is empty"):
        search(trained, gallery, "  ")


def test_the_order_of_the_training_is_the_default_everywhere(data: Path, tmp_path: Path) -> None:
    orders: dict[str, Rerank] = {"itm": "itm", "none": "none"}
    for name, rerank in orders.items():
        trained = read(str(released(tmp_path / name, data, selection={"rerank": name})))
        gallery = open_gallery(trained, [data], "train", batch=8)
        other: Rerank = "none" if rerank == "itm" else "itm"
        assert default_rerank(trained) == rerank
        assert search(trained, gallery, "a man in red").hits == search(trained, gallery, "a man in red", 10, rerank).hits
        assert search(trained, gallery, "a man in red").hits != search(trained, gallery, "a man in red", 10, other).hits
        assert evaluate(trained, gallery, task="search") == evaluate(trained, gallery, rerank, task="search")
        assert evaluate(trained, gallery, task="retrieval") == evaluate(trained, gallery, rerank, task="retrieval")
    weights = {"itc": 1, "itm": 0, "mlm": 0, "iac": 0, "iam": 0, "mam": 0}
    alone = read(str(released(tmp_path / "alone", data, aptm={"loss_weights": weights})))  # no cross encoder
    gallery = open_gallery(alone, [data], "train", "none", batch=8)
    assert search(alone, gallery, "a man in red").hits == search(alone, gallery, "a man in red", 10, "none").hits
    with pytest.raises(UserError, match="--rerank itm: this method has no trained cross encoder"):
        search(alone, gallery, "a man in red", 10, "itm")


@pytest.mark.parametrize("mode", ["none", "itm", "published"])
def test_a_caption_gives_the_ranking_that_evaluate_gives_it_as_a_query(out: Path, data: Path, mode: Rerank) -> None:
    trained = read(str(out))
    gallery = open_gallery(trained, [data], "train", "none", batch=8)
    whole = embed_gallery(trained.method, gallery, mode, 6)
    query = 3
    alone = Embeddings(whole.texts[query : query + 1], whole.images, whole.candidates[query : query + 1], cosine_weight=whole.cosine_weight)
    alone.logits = None if whole.logits is None else whole.logits[query : query + 1]
    scores = torch.cat(list(alone.scores(mode)))[0]
    expected = scores.argsort(descending=True, stable=True)[:6]
    hits = search(trained, gallery, gallery.dataset.caption(int(gallery.queries[query])), 6, mode, 6).hits
    assert [hit.row for hit in hits] == gallery.rows[expected].tolist()
    assert [hit.score for hit in hits] == pytest.approx(scores[expected].tolist(), abs=1e-3)


def test_published_adds_the_scaled_cosine_to_the_matching_logit(out: Path, data: Path) -> None:
    trained, sentence = read(str(out)), "a woman in a red coat"
    gallery = open_gallery(trained, [data], "train", "none", batch=8)
    itm, published = ({hit.row: hit.score for hit in search(trained, gallery, sentence, 6, mode, 6).hits} for mode in ("itm", "published"))
    with torch.inference_mode():
        text = tokenize(trained.tokenizer, [sentence])
        cosine = (embed_images(trained.method, gallery) @ trained.method.embed_text(text).T)[:, 0]
    scaled = dict(zip(gallery.rows.tolist(), ((cosine - cosine.min()) / (cosine.max() - cosine.min())).tolist(), strict=True))
    assert published == pytest.approx({row: logit + 8 * scaled[row] for row, logit in itm.items()}, abs=1e-3)
    assert min(published[row] - itm[row] for row in itm) > 1


def test_hits_are_counted_by_the_attributes_that_the_sentence_names(out: Path, data: Path) -> None:
    trained, sentence = read(str(out)), "a person with a hat"
    gallery = open_gallery(trained, [data], "train", batch=8)
    counted = search(trained, gallery, sentence, 5, "none").by_attributes
    hits = search(trained, gallery, sentence, 5, "none").hits
    assert counted is not None and counted.attributes == {"hat": "yes"} and gallery.labels is not None
    hat, has = load_space("market1501").names.index("hat"), load_space("market1501").classes["hat"].index("yes")
    of_rows = dict(zip(gallery.rows.tolist(), gallery.labels[:, hat].tolist(), strict=True))
    known = [label for label in of_rows.values() if label >= 0]
    assert (counted.known_images, counted.matching_images) == (len(known), known.count(has))
    labels = [of_rows[hit.row] for hit in hits]
    assert (counted.known_hits, counted.matching_hits) == (sum(label >= 0 for label in labels), labels.count(has))
    assert counted.sentence().startswith(
        f"{counted.matching_hits} of {counted.known_hits} hits have all attributes that the sentence names (hat: yes); base rate: "
    )
    assert search(trained, gallery, "somebody", 5, "none").by_attributes is None
    assert search(trained, open_gallery(trained, [data], "train", "none"), sentence, 5, "none").by_attributes is None


def test_a_sentence_gives_a_table_and_a_contact_sheet(mals: Mals, out: Path, data: Path, tmp_path: Path) -> None:
    printed = mals("search", out, "a woman in a red coat", "--data", data, "--split", "train", "--count", 3, "--workers", 0, "--json")
    assert printed.returncode == 0, printed.stderr
    assert len(json.loads(printed.stdout)["hits"]) == 3
    assert Image.open(tmp_path / "search.jpg").size == (3 * 128, 256)
    assert mals("search", out, "a man", "--data", data, "--workers", 0).returncode == 0  # the only split
    wrong = mals("search", out, "a man", "--data", data, "--split", "test")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1) and "has no split test, only train" in wrong.stderr
    wrong = mals("evaluate", out, "--data", data, "--split", "train", "--rerank", "best")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1) and "--rerank takes itm, published, attributes or none" in wrong.stderr


def test_a_folder_of_images_of_every_kind_is_searched(mals: Mals, out: Path, tmp_path: Path) -> None:
    expected = write_images(tmp_path / "photos")
    readable = {name for name, what in expected.items() if what.reason is None}
    result = mals("search", out, "--data", "photos", "a man in red", "--top", 1000, "--workers", 0, "--json")
    assert result.returncode == 0, result.stderr
    value = json.loads(result.stdout)
    assert {hit["id"] for hit in value["hits"]} == readable and value["unreadable"] == len(expected) - len(readable)
    assert "it is left out" in result.stderr and "Traceback" not in result.stderr
    again = mals("search", out, "--data", "photos", "a man in red", "--top", 1000, "--workers", 0, "--json")
    assert json.loads(again.stdout) == value and list((tmp_path / "photos/.mals/embeddings").rglob("*.parquet"))


def test_names_of_images_are_one_line_of_what_can_be_printed(mals: Mals, out: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 16)).save(tmp_path / "photos/a\nb\x1b[2J.png")
    words = ["search", out, "--data", tmp_path / "photos", "a man", "--workers", 0, "--to"]
    result = mals(*words, "hits.json")
    assert result.stdout.splitlines()[0].endswith("  a\ufffdb\ufffd[2J.png") and result.returncode == 0
    assert json.loads((tmp_path / "hits.json").read_text())["hits"][0]["id"] == "a\nb\x1b[2J.png"


def test_a_contact_sheet_is_not_put_among_the_images_that_are_searched(mals: Mals, out: Path, tmp_path: Path) -> None:
    Image.new("RGB", (8, 16)).save(tmp_path / "a.png")
    words = ["search", out, "--data", ".", "a man", "--workers", 0]
    refused = mals(*words)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1) and "name a file elsewhere with --to" in refused.stderr
    assert not (tmp_path / "search.jpg").exists()
    assert mals(*words, "--to", "hits.csv").returncode == 0


def test_several_sentences_of_a_file_give_the_results_of_each_alone(mals: Mals, out: Path, data: Path, tmp_path: Path) -> None:
    sentences = ["a man in a red shirt", "a woman, with a bag", "somebody"]
    (tmp_path / "queries.txt").write_text("\n".join([*sentences, ""]))
    words = ["--data", data, "--top", 3, "--workers", 0, "--no-cache", "--k", 5]
    result = mals("search", out, *words, "--queries", "queries.txt", "--to", "all.json", "--to", "all.csv", "--to", "all.jpg")
    assert result.returncode == 0, result.stderr
    results = json.loads((tmp_path / "all.json").read_text())["results"]
    assert [one["query"] for one in results] == sentences
    trained = read(str(out))
    gallery = open_searched(trained, [data])
    for one in results:
        alone = search(trained, gallery, one["query"], 3, "itm", 5)
        assert [hit["id"] for hit in one["hits"]] == [hit.id for hit in alone.hits]
        assert [hit["score"] for hit in one["hits"]] == pytest.approx([hit.score for hit in alone.hits], abs=1e-3)
    table = list(csv.DictReader((tmp_path / "all.csv").open(newline="")))
    listed = [(one["query"], str(rank), hit["id"]) for one in results for rank, hit in enumerate(one["hits"], 1)]
    assert [(row["query"], row["rank"], row["id"]) for row in table] == listed
    assert Image.open(tmp_path / "all.jpg").size == (3 * 128, 3 * 256) and not (tmp_path / "search.jpg").exists()
    printed = mals("search", out, *words, "--queries", "queries.txt", "--format", "csv")
    assert printed.stdout == (tmp_path / "all.csv").read_text()


def test_images_are_ordered_by_the_probability_of_attributes(out: Path, data: Path) -> None:
    trained = read(str(out))
    gallery = open_searched(trained, [data])
    requested = requested_attributes(trained, ["hat=yes", "Sleeve Length=short"])
    assert requested is not None and requested.named() == {"hat": "yes", "sleeve_length": "short"}
    result = search_attributes(trained, gallery, requested, 5)
    assert result.query == "hat=yes, sleeve_length=short" and result.by_attributes is not None
    assert dict(result.by_attributes.attributes) == requested.named()
    predicted = LoadedMethod(trained).attributes([decode_image(gallery.dataset.image_bytes(row)) for row in gallery.rows.tolist()])

    def probability(one: dict[str, tuple[str, float]], name: str, value: str) -> float:
        return one[name][1] if one[name][0] == value else 1 - one[name][1]

    scores = [probability(one, "hat", "yes") * probability(one, "sleeve_length", "short") for one in predicted]
    assert [hit.score for hit in result.hits] == pytest.approx(sorted(scores, reverse=True)[:5], abs=1e-3)


def test_attributes_beside_a_sentence_are_fused_with_its_ranking_or_put_behind_it(
    out: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = read(str(out))
    gallery = open_searched(trained, [data])
    requested = requested_attributes(trained, ["hat=yes"])
    assert requested is not None
    (both,) = search_sentences(trained, gallery, ["a man in red"], 100, "none", attributes=requested)
    by_sentence = [hit.row for hit in search(trained, gallery, "a man in red", 100, "none").hits]
    by_attribute = [hit.row for hit in search_attributes(trained, gallery, requested, 100).hits]
    expected = {row: 1 / (61 + by_sentence.index(row)) + 1 / (61 + by_attribute.index(row)) for row in by_sentence}
    assert {hit.row: hit.score for hit in both.hits} == pytest.approx(expected, abs=1e-4)
    monkeypatch.setattr(trained.method, "abilities", frozenset({"embed"}))
    alone = search_attributes(trained, gallery, requested, 4, "none")
    assert alone.hits == search(trained, gallery, "the person with a hat", 4, "none").hits and alone.query == "hat=yes"
    (behind,) = search_sentences(trained, gallery, ["a man in red"], 4, "none", attributes=requested)
    assert behind.hits == search(trained, gallery, "a man in red, the person with a hat", 4, "none").hits


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "there is nothing to search for"),
        ({"sentence": "a man", "image": Path("a.jpg")}, "--image is searched for alone"),
        ({"sentence": "a man", "attribute": ["hat=maybe"]}, "--attribute hat=maybe: hat is yes or no, such as hat=yes"),
        ({"attribute": ["hut=yes"]}, "--attribute hut=yes: the attributes of market1501 are gender, age"),
        ({"attribute": ["hat=yes", "hat=no"]}, "hat was requested to be yes as well"),
        ({"sentence": "a man", "to": [Path("result.xml")]}, "the name ends in .jpg, .jpeg, .json, .csv, .txt"),
        ({"queries": Path("none.txt")}, "none.txt"),
        ({"sentence": "a man", "to": [Path("nowhere/a.json")]}, "there is no folder nowhere"),
    ],
)
def test_a_search_that_cannot_be_is_refused(
    out: Path, data: Path, tmp_path: Path, options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as refusal:
        search_command(str(out), [str(data)], **options, workers=0)
    assert message in str(refusal.value) and not list(tmp_path.iterdir())

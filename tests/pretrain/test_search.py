"""Search: the images that fit a sentence."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from mals.attributes import load_space
from mals.errors import UserError
from pretrain.evaluate import Embeddings, Rerank, embed_gallery, embed_images, open_gallery
from pretrain.gallery import tokenize
from pretrain.search import search
from pretrain.trained_method import read
from tests.conftest import Mals
from tests.pretrain.packs import packed
from tests.pretrain.releases import released


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("search") / "run", 40)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    return released(tmp_path_factory.mktemp("released") / "out", data)


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
    wrong = mals("search", out, "a man", "--data", data, "--split", "test")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1) and "has no split test, only train" in wrong.stderr
    wrong = mals("evaluate", out, "--data", data, "--split", "train", "--rerank", "best")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1) and "--rerank takes itm, published or none" in wrong.stderr

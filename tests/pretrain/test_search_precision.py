"""Attribute precision of search: the sentences, the count against the best possible, and where it is measured."""

import json
from pathlib import Path

import pytest
import torch

from mals.attributes import load_space
from mals.errors import UserError
from mals.labeller.labeller import Labeller
from pretrain.evaluate import evaluate, open_gallery
from pretrain.measure import scores
from pretrain.search import open_searched, search
from pretrain.search_precision import COUNT, ComposedSentence, composed_sentences, evaluate_search, precision_of, sentence_precisions
from pretrain.trained_method import Trained
from tests.conftest import Mals

SPACE = load_space("market1501")


def test_every_color_stands_with_four_garments_and_every_pair_of_colors_once() -> None:
    sentences = composed_sentences(SPACE)
    one, two = ([each for each in sentences if len(each.attributes) == count] for count in (1, 2))
    assert len(one) == 4 * 8 + 4 * 9 and len(two) == 8 * 9 and len({each.text for each in sentences}) == len(sentences)
    assert one[0].text == "a person in a black jacket" and two[0].text == "a person in a black jacket and black pants"
    assert len({each.attributes for each in two}) == len(two) and composed_sentences(load_space("pa100k")) == []


def test_the_labeller_reads_in_a_sentence_the_colors_that_it_asks_for_and_no_other() -> None:
    sentences = composed_sentences(SPACE)
    labels = Labeller().label([each.text for each in sentences])
    for sentence, values in zip(sentences, labels.values, strict=True):
        colors = {at for at in range(10, 27) if values[at] == 0}
        assert colors == set(sentence.attributes), sentence.text


def test_hits_count_against_the_images_that_there_are_and_unknown_labels_are_not_ranked() -> None:
    sentence = ComposedSentence("a person in a red jacket", (0,))
    labels = torch.tensor([[0]] * 3 + [[1]] * 20 + [[-1]] * 5)
    scores = torch.linspace(0, 1, 28)  # the last images are the best
    precision = precision_of(sentence, scores, labels)
    assert precision is not None and (precision.hits, precision.possible) == (0, 3)
    assert precision.expected == pytest.approx(10 * 3 / 23)
    best = precision_of(sentence, -scores, labels)
    assert best is not None and best.share == 1
    many = precision_of(sentence, scores, torch.zeros(28, 1))
    assert many is not None and (many.hits, many.possible, many.expected) == (COUNT, COUNT, COUNT)
    assert precision_of(sentence, scores, torch.ones(28, 1)) is None
    both = precision_of(ComposedSentence("both", (0, 1)), torch.arange(3.0), torch.tensor([[0, 0], [0, 1], [-1, 0]]))
    assert both is not None and (both.hits, both.possible) == (1, 1)


@pytest.mark.parametrize("rerank", ["none", "itm", "attributes"])
def test_the_precision_is_that_of_the_images_which_mals_search_finds(trained: Trained, data: Path, rerank: str) -> None:
    gallery = open_searched(trained, [data], "train", batch=8)
    precisions = sentence_precisions(trained, gallery, rerank, 128)  # type: ignore[arg-type]
    assert precisions and gallery.labels is not None
    of_row = dict(zip(gallery.rows.tolist(), gallery.labels, strict=True))
    for precision in precisions[::9]:
        hits = search(trained, gallery, precision.sentence.text, len(gallery), rerank).hits  # type: ignore[arg-type]
        labels = [of_row[hit.row][list(precision.sentence.attributes)] for hit in hits]
        ranked = [label for label in labels if (label >= 0).all()][:COUNT]
        assert precision.hits == sum(bool((label == 0).all()) for label in ranked)
    again = evaluate_search(trained, gallery, rerank, 128)  # type: ignore[arg-type]
    one = [each.share for each in precisions if len(each.sentence.attributes) == 1]
    assert again.one == pytest.approx(sum(one) / len(one)) and again.images == len(gallery) and again.chance_one is not None
    assert again == evaluate_search(trained, gallery, rerank, 128)  # type: ignore[arg-type]


def test_evaluate_prints_it_where_a_set_has_labels_and_compare_measures_it(mals: Mals, trained: Trained, out: Path, data: Path) -> None:
    printed = mals("evaluate", out, "--data", data, "--split", "train", "--task", "search", "--workers", 0, "--json")
    assert printed.returncode == 0, printed.stderr
    result = json.loads(printed.stdout)
    assert "retrieval" not in result and 0 <= result["search"]["one"] <= 1 and "of the 10 best images" in result["search"]["protocol"]
    gallery = open_gallery(trained, [data], "train", batch=8)
    search_scores = evaluate(trained, gallery).search
    assert search_scores is not None and "one colour" in search_scores.sentence()
    assert search_scores.one == pytest.approx(result["search"]["one"])
    assert scores(trained, [str(data)], "train")["one_color"] == pytest.approx(result["search"]["one"])
    silent = open_gallery(trained, [data], "train", "none")
    assert evaluate(trained, silent, "none").search is None
    with pytest.raises(UserError, match=r"have no labels of colours, which the task search needs"):
        evaluate(trained, silent, task="search")
    with pytest.raises(UserError, match="no labels of colours"):
        evaluate_search(trained, silent)

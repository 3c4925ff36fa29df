"""Retrieval and attribute scores: exact, and defined for every input."""

import json
import os
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from pretrain import metrics
from pretrain.metrics import attributes, per_attribute, retrieval

GOLDEN = Path(os.environ.get("MALS_GOLDEN") or Path(__file__).parents[1] / "golden") / "metrics"
NAMES = ["mA", "accuracy", "precision", "recall", "f1"]


def by_definition(scores, queries, gallery, query_cameras=None, gallery_cameras=None):
    """The definitions, one query at a time."""
    rows = []
    for q, line in enumerate(scores):
        order = sorted(range(len(gallery)), key=lambda g: (-line[g], g))
        if query_cameras:
            order = [g for g in order if gallery[g] != -1 and (gallery[g] != queries[q] or gallery_cameras[g] != query_cameras[q])]
        at = [place for place, g in enumerate(order, 1) if gallery[g] == queries[q]]
        if at:
            rows.append([at[0] <= 1, at[0] <= 5, at[0] <= 10, np.mean([n / p for n, p in enumerate(at, 1)]), len(at) / at[-1]])
    means = np.mean(rows, axis=0) if rows else np.zeros(5)
    return [*means, len(scores) - len(rows)]


@st.composite
def searches(draw):
    """Small rankings full of ties, some of whose queries have no match, with cameras, distractors (person 0) and junk (-1)."""
    queries, gallery = draw(st.integers(0, 6)), draw(st.integers(1, 14))

    def numbers(n, top, low=0):
        return draw(st.lists(st.integers(low, top), min_size=n, max_size=n))

    scores = [numbers(gallery, 5) for _ in range(queries)]
    return scores, numbers(queries, 4, 1), numbers(gallery, 3, -1), numbers(queries, 1), numbers(gallery, 1)


@settings(max_examples=150, deadline=None)
@given(searches(), st.integers(1, 40))
def test_retrieval_equals_the_definitions_for_any_chunks(search, cells):
    rows, queries, gallery, query_cameras, gallery_cameras = search
    scores = torch.tensor(rows, dtype=torch.float32).reshape(len(queries), len(gallery)) - 2.5  # negative scores count too
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "CELLS", cells)
        whole = retrieval(scores, queries, gallery)
        chunks = retrieval((scores[i : i + 2] for i in range(0, len(scores), 2)), torch.tensor(queries), torch.tensor(gallery))
        seen = retrieval(scores, queries, gallery, query_cameras=query_cameras, gallery_cameras=gallery_cameras)
    assert list(whole.values()) == pytest.approx(by_definition(rows, queries, gallery), abs=1e-12)
    assert chunks == whole
    assert list(seen.values()) == pytest.approx(by_definition(rows, queries, gallery, query_cameras, gallery_cameras), abs=1e-12)


def test_equal_scores_rank_in_the_gallerys_order():
    assert retrieval(torch.zeros(1, 300), [7], [7] + [0] * 299)["R1"] == 1
    assert retrieval(torch.zeros(1, 300), [7], [0] * 299 + [7])["mAP"] == pytest.approx(1 / 300)


def test_a_query_without_a_match_is_counted_and_left_out_of_the_means():
    scores = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert retrieval(scores, [0, 9], [0, 1]) == {"R1": 1, "R5": 1, "R10": 1, "mAP": 1, "mINP": 1, "unmatched": 1}
    assert retrieval(scores, [8, 9], [0, 1]) == {"R1": 0, "R5": 0, "R10": 0, "mAP": 0, "mINP": 0, "unmatched": 2}


def test_junk_has_no_place_in_a_ranking_by_cameras_and_a_distractor_has_one():
    scores, cameras = torch.tensor([[0.9, 0.8, 0.7, 0.6]]), {"query_cameras": [1], "gallery_cameras": [2, 2, 1, 2]}
    assert retrieval(scores, [5], [-1, -1, 5, 5], **cameras)["mAP"] == 1  # the third is of the query's camera
    assert retrieval(scores, [5], [-1, 0, 5, 5], **cameras)["mAP"] == 0.5
    assert retrieval(scores, [5], [-1, 0, 5, 7], **cameras)["unmatched"] == 1


@pytest.mark.parametrize(
    ("scores", "complaint"),
    [
        (torch.tensor([[float("nan"), 0]]), "NaN"),
        (torch.zeros(1, 3), r"shape \(1, 3\) for a gallery of 2"),
        (torch.zeros(2, 2), "more rows"),
        (torch.zeros(0, 2), "0 rows of scores for 1"),
    ],
)
def test_scores_that_cannot_be_ranked_are_refused(scores, complaint):
    with pytest.raises(ValueError, match=complaint):
        retrieval(scores, [0], [0, 1])


@pytest.mark.golden
def test_retrieval_equals_the_reference():
    vectors = np.load(GOLDEN / "retrieval.npz")
    ours = retrieval(torch.from_numpy(vectors["scores"]), torch.from_numpy(vectors["query_ids"]), torch.from_numpy(vectors["gallery_ids"]))
    expected = json.loads((GOLDEN / "expected.json").read_text())["retrieval"]
    assert {name: ours[name] for name in expected} == pytest.approx(expected, abs=1e-4)


@pytest.mark.golden
def test_attributes_equal_the_reference():
    vectors = np.load(GOLDEN / "attributes.npz")
    ours = attributes(torch.from_numpy(vectors["pred"]), torch.from_numpy(vectors["label"]))
    assert ours == pytest.approx(json.loads((GOLDEN / "expected.json").read_text())["attributes"], abs=1e-4)


@st.composite
def recognitions(draw):
    """Predictions and labels [N, A], also for N = 0."""
    shape = (draw(st.integers(0, 5)), draw(st.integers(1, 4)))
    return tuple(torch.from_numpy(draw(arrays(np.int64, shape, elements=st.integers(low, 1)))) for low in (0, -1))


@settings(max_examples=100, deadline=None)
@given(recognitions())
def test_attribute_scores_are_shares_and_never_nan(recognition):
    pred, label = recognition
    scores = attributes(pred, label)
    each = per_attribute(pred, label)
    assert list(scores) == NAMES and len(each) == pred.shape[1]
    assert all(0 <= value <= 1 for value in scores.values())
    for column, row in zip(label.T, each, strict=True):
        assert row["positives"] == (column == 1).sum() and row["negatives"] == (column == 0).sum()
        assert all((row[name] is None) == bool((column < 0).all()) for name in NAMES)
        assert all(0 <= row[name] <= 1 for name in NAMES if row[name] is not None)
    assert scores == attributes(1 - pred, torch.where(label < 0, label, 1 - label), positive=0)


def test_a_perfect_recognition_scores_one_and_a_wrong_one_zero():
    label = torch.tensor([[1, 0, -1], [0, 0, 0]])
    assert attributes(label.clamp(min=0), label) == dict.fromkeys(NAMES, 1.0)
    assert attributes(1 - label.clamp(min=0), label) == dict.fromkeys(NAMES, 0.0)


def test_unknown_labels_change_no_score():
    pred, label = torch.tensor([[1, 0], [1, 1], [0, 1]]), torch.tensor([[1, -1], [0, 1], [-1, -1]])
    other = torch.where(label < 0, 1 - pred, pred)
    assert attributes(pred, label) == attributes(other, label) == attributes(pred[:2], label[:2])


def test_each_attribute_may_have_its_own_positive_value():
    pred, label = torch.tensor([[0, 1], [0, 0], [1, 1]]), torch.tensor([[0, 1], [1, 1], [1, 0]])
    flipped = torch.tensor([1, 0])
    assert attributes(pred, label, positive=[0, 1]) == attributes(pred ^ flipped, label ^ flipped)
    first = per_attribute(pred, label, positive=[0, 1])[0]
    assert (first["mA"], first["precision"], first["recall"], first["positives"], first["negatives"]) == (0.75, 0.5, 1, 1, 2)
    assert first["accuracy"] == first["f1"] == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="3 positive values for 2 attributes"):
        attributes(pred, label, positive=[0, 1, 1])

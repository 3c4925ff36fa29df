"""The drawn reference captions and the ranks among them, against brute force."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mals.stages.references import References, cosines, draw_texts

TEXTS = st.sampled_from([f"caption {letter}" for letter in "abcdefghij"])


@settings(deadline=None)
@given(st.lists(st.tuples(TEXTS, st.integers(0, 30)), max_size=60), st.integers(1, 8), st.randoms())
def test_the_texts_with_the_smallest_seeds_are_drawn_each_once_whatever_the_order(rows, count, random) -> None:
    smallest = {text: min(seed for other, seed in rows if other == text) for text, _ in rows}
    expected = sorted(smallest, key=lambda text: (smallest[text], text))[:count]
    assert draw_texts(iter(rows), count) == expected
    random.shuffle(rows)
    assert draw_texts(rows, count) == expected


def brute_force(texts, embeddings, count, image, caption, score):
    """The rank and the number of references of one image, one reference after the other."""
    others = [place for place, text in enumerate(texts) if text != caption][:count]
    return 1 + sum(np.float32(embeddings[place].astype(float) @ image.astype(float)) >= score for place in others), len(others)


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1), st.data())
def test_the_rank_equals_a_brute_force_with_ties(size, count, seed, data) -> None:
    """Few small whole numbers as coordinates, so that many scores are the same."""
    random = np.random.default_rng(seed)
    texts = [f"text {place}" for place in range(min(size, count + 1))]
    embeddings = random.integers(-1, 2, (len(texts), 3)).astype(np.float32)
    images = random.integers(-1, 2, (5, 3)).astype(np.float32)
    captions = data.draw(st.lists(st.sampled_from([*texts, "a text that was not drawn"]), min_size=5, max_size=5))
    scores = random.integers(-2, 3, 5).astype(np.float32)
    ranks, compared = References(texts, embeddings, count).rank(images, captions, scores.tolist())
    expected = [brute_force(texts, embeddings, count, *row) for row in zip(images, captions, scores, strict=True)]
    assert list(zip(ranks, compared, strict=True)) == expected


def test_every_image_is_compared_with_as_many_references_whether_its_own_caption_is_one_or_not() -> None:
    references = References(["a", "b", "c"], np.eye(3, dtype=np.float32), 2)
    image = np.array([[0.2, 0.3, 0.9]], np.float32)
    assert references.rank(image, ["a"], [0.25]) == ([3], [2])  # after b and c
    assert references.rank(image, ["elsewhere"], [0.25]) == ([2], [2])  # after b; c is the one too many


def test_equal_scores_rank_before_the_own_caption() -> None:
    """So a scorer that finds all texts alike keeps no row, and not every row."""
    references = References(["a", "b", "c"], np.ones((3, 1), np.float32), 2)
    assert references.rank(np.ones((1, 1), np.float32), ["a"], [1.0]) == ([3], [2])


def test_equal_embeddings_have_equal_scores_wherever_they_stand() -> None:
    random = np.random.default_rng(0)
    texts = random.normal(size=(501, 96)).astype(np.float32)
    texts[[77, 230, 500]] = texts[3]
    scores = cosines(random.normal(size=(7, 96)).astype(np.float32), texts)
    assert all(np.array_equal(scores[:, place], scores[:, 3]) for place in (77, 230, 500))

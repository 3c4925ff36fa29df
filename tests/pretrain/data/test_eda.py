"""EDA: what each operation keeps, and that chance is the generator's alone."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pretrain.data.eda import FUNCTION, OPERATIONS, eda, inserted, plain, replaced, swapped, thinned

WORDS = ["a", "man", "in", "red", "coat", "shoes", "the", "walks"]
SYNONYMS = {"man": ["guy", "male person"], "red": ["scarlet"], "coat": ["jacket", "long jacket"], "the": ["never"]}
sentences = st.lists(st.sampled_from(WORDS), min_size=1, max_size=40)
seeds = st.integers(0, 2**32)


def draw(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(sentences, seeds)
def test_swapping_keeps_the_multiset_of_words(words: list[str], seed: int) -> None:
    assert Counter(swapped(words, draw(seed), SYNONYMS)) == Counter(words)


@given(sentences, seeds)
def test_leaving_out_keeps_the_order_and_never_empties(words: list[str], seed: int) -> None:
    found = thinned(words, draw(seed), SYNONYMS)
    rest = iter(words)
    assert found and all(word in rest for word in found)


@given(sentences, seeds)
def test_insertion_adds_only_synonyms_of_content_words(words: list[str], seed: int) -> None:
    found = Counter(inserted(words, draw(seed), SYNONYMS))
    assert not Counter(words) - found
    added = found - Counter(words)
    assert set(added) <= {part for word in {*words} - FUNCTION for other in SYNONYMS.get(word, ()) for part in other.split()}
    able = any(word in SYNONYMS and word not in FUNCTION for word in words)
    tenth = max(1, len(words) // 10)
    assert (tenth <= sum(added.values()) <= 2 * tenth) if able else not added


@given(sentences, seeds)
def test_replacement_puts_one_synonym_wherever_a_word_stood(words: list[str], seed: int) -> None:
    found = replaced(words, draw(seed), SYNONYMS)
    assert len(SYNONYMS.keys() & {*words} & {*found}) >= len(SYNONYMS.keys() & {*words}) - max(1, len(words) // 10)
    gone = {*words} - {*found}
    assert gone <= SYNONYMS.keys() - FUNCTION
    fits = [" " + " ".join(words) + " "]
    for word in gone:
        fits = [text.replace(f" {word} ", f" {other} ").replace(f" {word} ", f" {other} ") for text in fits for other in SYNONYMS[word]]
    assert " " + " ".join(found) + " " in fits
    assert bool(gone) == any(word in SYNONYMS and word not in FUNCTION for word in words)


@given(st.text(max_size=60), seeds)
def test_any_text_gives_letters_and_spaces_or_itself_and_the_same_for_the_same_seed(text: str, seed: int) -> None:
    found = eda(text, draw(seed), SYNONYMS)
    assert found == eda(text, draw(seed), SYNONYMS)
    assert found == text if not plain(text) else set(found) <= set("abcdefghijklmnopqrstuvwxyz ") and found


def test_a_sentence_is_reduced_to_letters_first() -> None:
    assert plain("The man's T-shirt,\nNo. 5 is  RED") == "the mans t shirt no is red"


def test_the_four_operations_are_equally_likely() -> None:
    caption = "man red coat man red coat man red coat walks"
    counts: Counter[str] = Counter()
    for seed in range(2000):
        found = eda(caption, draw(seed), SYNONYMS).split()
        kind = "swapped" if Counter(found) == Counter(caption.split()) and len(found) == 10 else "shorter" if len(found) < 10 else "other"
        counts[kind] += 1
    # a tenth of the swaps changes equal words, and a third of the deletions deletes nothing
    assert 600 <= counts["swapped"] <= 760 and 260 <= counts["shorter"] <= 390 and 900 <= counts["other"] <= 1100, counts
    assert len(OPERATIONS) == 4

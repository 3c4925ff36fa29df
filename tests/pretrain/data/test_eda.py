"""EDA: what each operation keeps; the generator alone decides the result."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pretrain.data.eda import FUNCTION_WORDS, OPERATIONS, delete_words, eda, insert_synonyms, plain, replace_synonyms, swap_words

WORDS = ["a", "man", "in", "red", "coat", "shoes", "the", "walks"]
SYNONYMS = {"man": ["guy", "male person"], "red": ["scarlet"], "coat": ["jacket", "long jacket"], "the": ["never"]}
sentences = st.lists(st.sampled_from(WORDS), min_size=1, max_size=40)
seeds = st.integers(0, 2**32)


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(sentences, seeds)
def test_swapping_keeps_the_words_and_their_counts(words: list[str], seed: int) -> None:
    assert Counter(swap_words(words, generator(seed), SYNONYMS)) == Counter(words)


@given(sentences, seeds)
def test_deletion_keeps_the_order_and_at_least_one_word(words: list[str], seed: int) -> None:
    kept = delete_words(words, generator(seed), SYNONYMS)
    rest = iter(words)
    assert kept and all(word in rest for word in kept)


@given(sentences, seeds)
def test_insertion_adds_only_synonyms_of_content_words(words: list[str], seed: int) -> None:
    counts = Counter(insert_synonyms(words, generator(seed), SYNONYMS))
    assert not Counter(words) - counts
    added = counts - Counter(words)
    assert set(added) <= {part for word in {*words} - FUNCTION_WORDS for other in SYNONYMS.get(word, ()) for part in other.split()}
    able = any(word in SYNONYMS and word not in FUNCTION_WORDS for word in words)
    tenth = max(1, len(words) // 10)
    assert (tenth <= sum(added.values()) <= 2 * tenth) if able else not added


@given(sentences, seeds)
def test_replacement_uses_one_synonym_for_all_occurrences_of_a_word(words: list[str], seed: int) -> None:
    changed = replace_synonyms(words, generator(seed), SYNONYMS)
    assert len(SYNONYMS.keys() & {*words} & {*changed}) >= len(SYNONYMS.keys() & {*words}) - max(1, len(words) // 10)
    gone = {*words} - {*changed}
    assert gone <= SYNONYMS.keys() - FUNCTION_WORDS
    fits = [" " + " ".join(words) + " "]
    for word in gone:
        fits = [text.replace(f" {word} ", f" {other} ").replace(f" {word} ", f" {other} ") for text in fits for other in SYNONYMS[word]]
    assert " " + " ".join(changed) + " " in fits
    assert bool(gone) == any(word in SYNONYMS and word not in FUNCTION_WORDS for word in words)


@given(st.text(max_size=60), seeds)
def test_the_result_is_letters_and_spaces_or_the_text_itself_and_equal_for_equal_seeds(text: str, seed: int) -> None:
    changed = eda(text, generator(seed), SYNONYMS)
    assert changed == eda(text, generator(seed), SYNONYMS)
    assert changed == text if not plain(text) else set(changed) <= set("abcdefghijklmnopqrstuvwxyz ") and changed


def test_a_sentence_is_reduced_to_letters_first() -> None:
    assert plain("The man's T-shirt,\nNo. 5 is  RED") == "the mans t shirt no is red"


def test_the_four_operations_are_equally_likely() -> None:
    caption = "man red coat man red coat man red coat walks"
    counts: Counter[str] = Counter()
    for seed in range(2000):
        words = eda(caption, generator(seed), SYNONYMS).split()
        kind = "swapped" if Counter(words) == Counter(caption.split()) and len(words) == 10 else "shorter" if len(words) < 10 else "other"
        counts[kind] += 1
    # a tenth of the swaps changes equal words, and a third of the deletions deletes nothing
    assert 600 <= counts["swapped"] <= 760 and 260 <= counts["shorter"] <= 390 and 900 <= counts["other"] <= 1100, counts
    assert len(OPERATIONS) == 4

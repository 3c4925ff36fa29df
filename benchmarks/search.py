"""Attribute precision of search, by cosine and re-ranked: `python -m benchmarks.search METHOD --data SET`, JSON lines.

    METHOD         the folder of a training or release
    --data DIR     a packed set with labels of colours; `mals world make` draws one whose labels are true
    --split NAME   default: test, or the only one
    --k N          images of a sentence that are re-ranked (default 128)
    --each         a line for each sentence too

A line for each order: of the ten best images for sentences such as "a person in a red jacket", the share that has the colour ("one"), and
for two colours the share of as many as there are ("two"), with those of a random order; see `pretrain.search_precision`. With the rows of
the training as data it tells whether a method that knows its captions by heart understands their words. A last line has the mean cosine of
the embeddings of the data's captions (the first 1,000 of the images) with the same captions of which one attribute word is exchanged, a
colour, a garment or the sex: near 1 where the method does not tell the words apart.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from mals.errors import UserError
from mals.labeller.labeller import Labeller
from pretrain.data.wordings.exchange import exchanged
from pretrain.gallery import TEXTS_PER_BATCH, batch_slices, tokenize
from pretrain.search import open_searched
from pretrain.search_precision import evaluate_search, sentence_precisions
from pretrain.text_scores import Rerank, possible_rerank
from pretrain.trained_method import Trained, read

CAPTIONS = 1000  # whose words are exchanged


def lines(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The lines of each order that the method has."""
    trained = read(options.method)
    gallery = open_searched(trained, [options.data], options.split)
    every: tuple[Rerank, ...] = ("none", "itm", "attributes")
    orders = [rerank for rerank in every if rerank == "none" or possible_rerank(trained, rerank) == rerank]
    facts = {"benchmark": "search", "method": options.method, "data": options.data}
    for rerank in orders:
        for row in sentence_precisions(trained, gallery, rerank, options.k) if options.each else ():
            yield facts | {"rerank": rerank, "sentence": row.sentence.text, "hits": row.hits, "possible": row.possible}
        yield facts | {"rerank": rerank} | asdict(evaluate_search(trained, gallery, rerank, options.k))
    pairs = exchanged_captions([gallery.dataset.caption(row) for row in gallery.rows[:CAPTIONS].tolist()])
    if pairs:
        yield facts | {"captions": len(pairs), "cosine_of_exchanged": exchanged_cosine(trained, pairs)}


def exchanged_captions(captions: Sequence[str]) -> list[tuple[str, str]]:
    """Captions with their wrong ones, where they have any."""
    labeller = Labeller()
    wrong = [exchanged(caption, np.random.default_rng(number), labeller) for number, caption in enumerate(captions)]
    return [(caption, text) for caption, text in zip(captions, wrong, strict=True) if text is not None]


@torch.inference_mode()
def exchanged_cosine(trained: Trained, pairs: Sequence[tuple[str, str]]) -> float:
    """The mean cosine of the embeddings of pairs of captions."""
    total = 0.0
    with trained.precision():
        for part in batch_slices(len(pairs), TEXTS_PER_BATCH):
            texts = [text for pair in pairs[part] for text in pair]
            rows = trained.method.embed_text(tokenize(trained.tokenizer, texts, trained.device)).float()
            total += float((rows[0::2] * rows[1::2]).sum())
    return total / len(pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method")
    parser.add_argument("--data", required=True)
    parser.add_argument("--split")
    parser.add_argument("--k", type=int, default=128)
    parser.add_argument("--each", action="store_true")
    try:
        for line in lines(parser.parse_args()):
            print(json.dumps(line), flush=True)
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

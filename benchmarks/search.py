"""Attribute precision of search, by cosine and re-ranked: `python -m benchmarks.search METHOD --data SET`, JSON lines.

    METHOD         the folder of a training or release
    --data DIR     a packed set with labels of colours; `mals world make` draws one whose labels are true
    --split NAME   default: test, or the only one
    --k N          images of a sentence that the cross encoder re-ranks (default 128)
    --each         a line for each sentence too

A line for each order: of the ten best images for sentences such as "a person in a red jacket", the share that has the colour ("one"), and
for two colours the share of as many as there are ("two"), with those of a random order; see `pretrain.search_precision`. With the rows of
the training as data it tells whether a method that knows its captions by heart understands their words.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from pretrain.search import open_searched
from pretrain.search_precision import evaluate_search, sentence_precisions
from pretrain.text_scores import Rerank
from pretrain.trained_method import read


def lines(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The lines of each order that the method has."""
    trained = read(options.method)
    gallery = open_searched(trained, [options.data], options.split)
    orders: tuple[Rerank, ...] = ("none", "itm") if "match" in trained.method.abilities else ("none",)
    facts = {"benchmark": "search", "method": options.method, "data": options.data}
    for rerank in orders:
        for row in sentence_precisions(trained, gallery, rerank, options.k) if options.each else ():
            yield facts | {"rerank": rerank, "sentence": row.sentence.text, "hits": row.hits, "possible": row.possible}
        yield facts | {"rerank": rerank} | asdict(evaluate_search(trained, gallery, rerank, options.k))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method")
    parser.add_argument("--data", required=True)
    parser.add_argument("--split")
    parser.add_argument("--k", type=int, default=128)
    parser.add_argument("--each", action="store_true")
    for line in lines(parser.parse_args()):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()

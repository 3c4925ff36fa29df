"""The benchmark of search, at toy size: its lines are those of the library."""

import json
import sys

import pytest

from benchmarks import search
from pretrain.search import open_searched
from pretrain.search_precision import evaluate_search
from pretrain.trained_method import read
from tests.pretrain.packs import packed, rewritten
from tests.pretrain.releases import released


def test_data_without_colours_are_refused_in_a_sentence(monkeypatch, tmp_path):
    method = released(tmp_path / "out", packed(tmp_path / "run", 20))
    silent = rewritten(packed(tmp_path / "silent", 8), lambda table: table.drop_columns(["attributes"]))
    monkeypatch.setattr(sys, "argv", ["search", str(method), "--data", str(silent), "--split", "train"])
    with pytest.raises(SystemExit, match="no labels of colours of clothes"):
        search.main()


def test_both_orders_are_printed_as_the_library_measures_them(monkeypatch, capsys, tmp_path):
    data = packed(tmp_path / "run", 20)
    method = released(tmp_path / "out", data)
    monkeypatch.setattr(sys, "argv", ["search", str(method), "--data", str(data), "--split", "train", "--each"])
    search.main()
    *lines, cosine = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert cosine["captions"] > 5 and -1 <= cosine["cosine_of_exchanged"] < 1
    trained = read(str(method))
    for rerank in ("none", "itm"):
        *each, whole = [line for line in lines if line["rerank"] == rerank]
        scores = evaluate_search(trained, open_searched(trained, [data], "train"), rerank)
        assert (whole["one"], whole["two"]) == (scores.one, scores.two)
        assert each and all(line["hits"] <= line["possible"] <= 10 for line in each)

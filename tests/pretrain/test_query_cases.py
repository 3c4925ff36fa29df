"""The best and worst queries are those of a brute force over all scores, and their pages open from a disk."""

import re
from pathlib import Path

import pytest
import torch

from mals.errors import UserError
from mals.look.training import Training
from mals.look.training_report import write
from pretrain.evaluate import evaluate, open_gallery
from pretrain.query_cases import query_cases
from pretrain.text_scores import embed_gallery
from pretrain.trained_method import Trained
from tests.conftest import Mals
from tests.mals.look.test_training import write as write_training


def test_the_cases_are_those_of_a_brute_force(trained: Trained, data: Path) -> None:
    cases, gallery = query_cases(trained, [data], count=3, hits=4)
    other = open_gallery(trained, [data], None, "none")
    with torch.inference_mode():
        scores = torch.cat(list(embed_gallery(trained.method, other, "itm", 128).scores("itm")))
    ranks = []
    for query in range(len(scores)):
        order = scores[query].argsort(descending=True, stable=True)
        right = other.identities[order] == other.query_identities[query]
        ranks.append(int(right.nonzero()[0, 0]) + 1)
    assert [case.rank for case in cases.best] == sorted(ranks)[:3] and [case.rank for case in cases.worst] == sorted(ranks)[::-1][:3]
    assert (cases.queries, cases.images, cases.first) == (len(ranks), len(other), ranks.count(1))
    retrieval = evaluate(trained, open_gallery(trained, [data], None, "none")).retrieval
    assert retrieval is not None and abs(retrieval.R1 - cases.first / cases.queries) < 1e-9
    for case in (*cases.best, *cases.worst):
        query = [other.dataset.caption(int(row)) for row in other.queries].index(case.caption)
        order = scores[query].argsort(descending=True, stable=True)[:4]
        assert [hit.image for hit in case.hits] == other.rows[order].tolist()
        assert case.first.right and (case.rank > 4 or case.hits[case.rank - 1] == case.first)
        assert gallery.dataset.image_id(case.first.image) == case.first.name
        assert all(not hit.right for hit in case.hits[: case.rank - 1])


def test_the_pages_of_a_training_open_from_a_disk(trained: Trained, data: Path, tmp_path: Path) -> None:
    training, other = (Training(str(write_training(tmp_path / name))) for name in ("out", "other"))
    cases, gallery = query_cases(trained, [data], count=3)
    assert write(training, cases, gallery.dataset.image_bytes, [other]) == f"{tmp_path}/out/report/index.html"
    folder = tmp_path / "out/report"
    for page in ("index.html", "queries.html"):
        text = (folder / page).read_text()
        assert "<script" not in text and "hx-" not in text and "://" not in text
        for link in re.findall(r'(?:href|src)="([^"#]*)"', text):
            assert (folder / link).is_file(), (page, link)
    assert "Sum of the losses" in (folder / "index.html").read_text() and ">other<" in (folder / "index.html").read_text().replace(" ", "")
    assert (folder / "queries.html").read_text().count("First right image at rank") == 6


def test_the_command_writes_curves_and_queries(out: Path, data: Path, mals: Mals) -> None:
    (out / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    alone = mals("report", out)
    assert alone.returncode == 0 and alone.stdout.strip() == f"pages: {out}/report/index.html", alone.stderr
    assert not (out / "report/queries.html").exists()
    assert mals("report", out, "--data", data).returncode == 0 and (out / "report/queries.html").is_file()
    wrong = mals("report", data.parent, "--data", data)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1) and "is no training" in wrong.stderr


def test_a_method_that_reads_no_sentence_has_no_queries(trained: Trained, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained.method, "abilities", frozenset({"identify"}))
    with pytest.raises(UserError, match="reads no sentence"):
        query_cases(trained, [data])

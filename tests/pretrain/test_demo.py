"""The end of the demo: scores beside chance, and hits beside the base rate."""

from pathlib import Path

import pytest

from pretrain.demo import SENTENCES, VIEWS, demo, draw_test_set, measure
from tests.pretrain.releases import released


def test_the_demo_ends_with_scores_beside_chance_and_hits_beside_the_base_rate(trainable: Path, tmp_path: Path) -> None:
    test_set = draw_test_set(tmp_path / "test-set", persons=10)
    result = measure(released(tmp_path / "out", trainable), test_set, tmp_path / "shown", count=5)
    assert result.chance_R1 == pytest.approx(VIEWS / (10 * VIEWS))
    assert result.evaluation.retrieval is not None and result.evaluation.attributes is not None
    for search in result.searches:
        hits = search.result.by_attributes
        assert (
            search.sheet.is_file() and hits is not None and (hits.known_hits, hits.known_images) == (5, 40) and 0 <= hits.matching_hits <= 5
        )
        assert hits.base_rate == hits.matching_images / 40
    text = result.text()
    assert "R@1 " in text and "(chance: 10.0)" in text and "(chance: 50) for 27 attributes" in text
    assert all(sentence in text for sentence in SENTENCES) and text.count("of 5 hits have all attributes that the sentence names (") == 3
    assert text.count("base rate") == 3 and str(tmp_path / "shown/search-3.jpg") in text


def test_the_steps_come_in_order_and_the_report_of_the_data_set_is_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    for name in ("make_data_set", "train_method", "draw_test_set", "measure"):
        monkeypatch.setattr(f"pretrain.demo.{name}", lambda *words, name=name: called.append(name) or FakeReport())
    announced: list[str] = []
    demo(tmp_path, announced.append)
    assert called == ["make_data_set", "train_method", "draw_test_set", "measure"]
    assert [line.split(":")[0] for line in announced] == [
        "step 1 of 4",
        "the report",
        *(f"step {number} of 4" for number in (2, 3, 4)),
    ]


class FakeReport:
    def text(self) -> str:
        return "the report"

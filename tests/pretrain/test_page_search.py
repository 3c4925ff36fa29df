"""Search for pages: over a run, a packed set and a folder, with the scores of `mals search`, and which words raise them."""

from pathlib import Path

import pytest
import torch

from mals.errors import UserError
from mals.look.folder_source import FolderSource
from mals.look.run_source import RunSource
from mals.look.search import SearchQuery, SearchState
from mals.look.set_source import SetSource
from mals.look.source import Source
from pretrain.page_search import TrainedSearch
from pretrain.search import open_searched, search, word_evidence
from pretrain.text_scores import embed_images, sentence_scores
from pretrain.trained_method import Trained
from tests.small import cells

SENTENCE = "a man in a red shirt"


@pytest.fixture(scope="module")
def searched(trained: Trained, data: Path) -> TrainedSearch:
    method = TrainedSearch("small", trained, SetSource(str(data)), batch=8)
    assert method.wait().ready
    return method


def ids(source: Source, rows: list[int]) -> list[str]:
    return [line["id"] for line in source.take(rows, ["id"])]


def test_a_sentence_finds_what_the_command_finds(searched: TrainedSearch, trained: Trained, data: Path) -> None:
    expected = search(trained, open_searched(trained, [data]), SENTENCE, 12)
    (result,) = searched.search(SearchQuery((SENTENCE,)), 12)
    assert ids(searched.source, [hit.row for hit in result.hits]) == [hit.id for hit in expected.hits]
    assert [hit.score for hit in result.hits] == pytest.approx([hit.score for hit in expected.hits], abs=1e-3)
    assert result.title == SENTENCE and result.note == (expected.by_attributes.sentence() if expected.by_attributes else "")


def test_the_change_by_a_word_is_that_of_the_score_without_it(searched: TrainedSearch, trained: Trained, data: Path) -> None:
    (result,) = searched.search(SearchQuery((SENTENCE,)), 5)
    assert result.words == ("a", "man", "in", "a", "red", "shirt") and len(result.hits) == 5
    gallery = open_searched(trained, [data])
    images = embed_images(trained.method, gallery)
    with torch.inference_mode():
        whole, without = sentence_scores(trained, gallery, images, [SENTENCE, "a man in a shirt"], len(gallery), "itm")
    of_id = {gallery.dataset.image_id(int(row)): at for at, row in enumerate(gallery.rows)}
    for hit, name in zip(result.hits, ids(searched.source, [hit.row for hit in result.hits]), strict=True):
        assert hit.words[4] == pytest.approx(float(whole[of_id[name]] - without[of_id[name]]), abs=1e-3)
    assert result.mean(4) == pytest.approx(sum(hit.words[4] for hit in result.hits) / 5)
    assert any(abs(change) > 1e-6 for hit in result.hits for change in hit.words)
    for sentence in ("man", "man -", "a " * 200):
        assert word_evidence(trained, gallery, images, sentence, torch.arange(2), "none")[0] == []


def test_several_sentences_attributes_and_images_are_searched_for(searched: TrainedSearch) -> None:
    titles = [result.title for result in searched.search(SearchQuery((SENTENCE, "a woman")), 3)]
    assert titles == [SENTENCE, "a woman"]
    (by_attributes,) = searched.search(SearchQuery(attributes=("hat=yes",)), 3)
    assert by_attributes.title == "hat=yes" and len(by_attributes.hits) == 3 and by_attributes.words == ()
    assert "hits have all attributes" in by_attributes.note
    (both,) = searched.search(SearchQuery((SENTENCE,), ("hat=yes",)), 3)
    assert len(both.hits) == 3 and both.words == ()
    image = searched.source.image(4)
    (by_image,) = searched.search(SearchQuery(image=image), 3)
    assert by_image.hits[0].row == 4 and by_image.hits[0].score == pytest.approx(1, abs=1e-3)
    with pytest.raises(UserError, match="cannot be read as an image"):
        searched.search(SearchQuery(image=b"no image"), 3)
    with pytest.raises(UserError, match="the attributes of market1501 are"):
        searched.search(SearchQuery(attributes=("hut=yes",)), 3)


def test_attributes_are_prompts_among_very_many_images(searched: TrainedSearch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretrain.page_search.PROMPTED", 3)
    (result,) = searched.search(SearchQuery((SENTENCE,), ("hat=yes",)), 3)
    assert result.title.startswith(f"{SENTENCE}, ") and result.words[:2] == ("a", "man")


def test_a_run_that_goes_on_and_a_folder_are_searched_and_what_is_made_later_is_taken_up(trained: Trained, tmp_path: Path) -> None:
    run = cells.planned_run(tmp_path / "run", 40)
    source = RunSource(run.store.url)
    method = TrainedSearch("small", trained, source)
    assert "is kept yet" in method.wait().problem
    with pytest.raises(UserError, match="not embedded yet"):
        method.search(SearchQuery((SENTENCE,)), 3)
    cells.make_cells(run)
    source.receipts._read_at = 0
    source.refresh()
    assert method.wait() == SearchState(1, 1)
    (result,) = method.search(SearchQuery((SENTENCE,)), 60)
    assert len(result.hits) == 31 and {line["row_state"] for line in source.take([hit.row for hit in result.hits], ["row_state"])} == {
        "kept"
    }
    assert list((tmp_path / "run/.mals/embeddings").rglob("images-*.parquet"))
    (tmp_path / "photos").mkdir()
    for name in ("b", "a", "ä"):
        (tmp_path / f"photos/{name}.jpg").write_bytes(cells.small_jpeg(name, 32, 64))
    (tmp_path / "photos/torn.jpg").write_bytes(b"\xff\xd8 no image")
    folder = TrainedSearch("small", trained, FolderSource(str(tmp_path / "photos")))
    assert folder.wait().ready
    (result,) = folder.search(SearchQuery((SENTENCE,)), 10)
    assert sorted(ids(folder.source, [hit.row for hit in result.hits])) == ["a.jpg", "b.jpg", "ä.jpg"]


def test_embeddings_are_kept_and_made_again_for_changed_images(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jpg").write_bytes(cells.small_jpeg(name, 32, 64))
    assert TrainedSearch("small", trained, FolderSource(str(tmp_path))).wait().ready
    read = list[int]()
    whole = FolderSource.image
    monkeypatch.setattr(FolderSource, "image", lambda source, row: read.append(row) or whole(source, row))
    assert TrainedSearch("small", trained, FolderSource(str(tmp_path))).wait().ready and read == []
    (tmp_path / "b.jpg").write_bytes(cells.small_jpeg("another", 32, 64))
    assert TrainedSearch("small", trained, FolderSource(str(tmp_path))).wait().ready and read

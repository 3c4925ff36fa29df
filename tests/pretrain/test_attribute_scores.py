"""Re-ranking by the attributes that a text names: which these are, their probabilities, and the order that comes out."""

from pathlib import Path

import pytest
import torch

from mals.attributes import FOLDER, load_space
from mals.errors import UserError
from pretrain.attribute_scores import log_probabilities, named_attribute_logits
from pretrain.attribute_search import attribute_probabilities, requested_attributes
from pretrain.evaluate import evaluate, open_gallery
from pretrain.gallery import Gallery
from pretrain.search import search
from pretrain.text_scores import embed_gallery, resolve_rerank
from pretrain.trained_method import Trained, read
from tests.pretrain.packs import packed
from tests.pretrain.releases import released

SPACE = load_space("market1501")
RED_HAT = "a woman with a hat in a red jacket"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("attribute_scores") / "run", 40)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    return released(tmp_path_factory.mktemp("released") / "out", data, selection={"rerank": "attributes"})


@pytest.fixture(scope="module")
def trained(out: Path) -> Trained:
    return read(str(out))


@pytest.fixture
def gallery(trained: Trained, data: Path) -> Gallery:
    return open_gallery(trained, [data], "train", batch=8)


def test_both_values_of_an_attribute_are_as_probable_as_its_prompts_score(trained: Trained, gallery: Gallery) -> None:
    hat, red = SPACE.names.index("hat"), SPACE.names.index("upper_red")
    both = log_probabilities(trained.method, gallery, SPACE, [hat, red])
    assert both.shape == (len(gallery), 2, 2)
    torch.testing.assert_close(both.exp().sum(2), torch.ones(len(gallery), 2))
    requested = requested_attributes(trained, ["hat=yes", "upper_red=yes"])
    assert requested is not None and list(requested.values) == [hat, red]
    product = both[:, 0, requested.values[hat]] + both[:, 1, requested.values[red]]
    torch.testing.assert_close(attribute_probabilities(trained, gallery, requested), product.exp())


def test_a_text_asks_for_the_attributes_that_it_names_and_for_no_sleeves_of_a_jacket(trained: Trained, gallery: Gallery) -> None:
    candidates = torch.tensor([[0, 3, 5], [2, 1, 4]])
    logits = named_attribute_logits(trained.method, gallery, candidates, [RED_HAT, "somebody"])
    claimed = {
        "gender": "woman",
        "age": "adult",
        "hat": "yes",
        **{name: "yes" if name == "upper_red" else "no" for name in SPACE.names if is_upper(name)},
    }
    places = [SPACE.names.index(name) for name in claimed]
    each = log_probabilities(trained.method, gallery, SPACE, places)
    values = [SPACE.values[at].index(value) for at, value in zip(places, claimed.values(), strict=True)]
    expected = sum((each[:, place, value] for place, value in enumerate(values)), torch.zeros(len(gallery)))
    torch.testing.assert_close(logits[0], expected[candidates[0]], atol=1e-4, rtol=1e-4)
    assert not logits[1].any()
    assert not named_attribute_logits(trained.method, gallery, candidates, ["somebody", "nobody"]).any()


def is_upper(name: str) -> bool:
    return name.startswith("upper_") and name != "upper_length"


def test_the_best_images_are_ordered_by_cosine_and_attributes_and_the_others_by_cosine(trained: Trained, gallery: Gallery) -> None:
    k = 6
    embeddings = embed_gallery(trained.method, gallery, "attributes", k)
    assert embeddings.logits is not None and embeddings.logits.any()
    scores, cosine = torch.cat(list(embeddings.scores("attributes"))), torch.cat(list(embeddings.cosines()))
    best = embeddings.candidates
    scale = 1 / trained.method.temp.detach()  # type: ignore[operator]
    torch.testing.assert_close(scores.gather(1, best), scale * cosine.gather(1, best) + embeddings.logits, atol=1e-4, rtol=1e-4)
    assert torch.equal(scores.argsort(1, descending=True)[:, k:], cosine.argsort(1, descending=True)[:, k:])


def test_a_sentence_that_names_no_attribute_finds_what_the_cosine_finds(trained: Trained, gallery: Gallery) -> None:
    one, other = (search(trained, gallery, "somebody", 7, mode).hits for mode in ("none", "attributes"))
    assert [hit.row for hit in one] == [hit.row for hit in other]
    assert [hit.score for hit in other] == pytest.approx([trained.method.cosine_scale() * hit.score for hit in one], abs=2e-3)  # rounded
    one, other = (search(trained, gallery, RED_HAT, 7, mode, 9).hits for mode in ("none", "attributes"))
    assert {hit.score for hit in one}.isdisjoint({hit.score for hit in other})


def test_attributes_of_a_space_of_ones_own_are_read_by_its_own_words(data: Path, tmp_path: Path) -> None:
    own = tmp_path / "spaces/own.yaml"
    own.parent.mkdir()
    own.write_text((FOLDER / "market1501.yaml").read_text().replace("name: market1501", "name: mine"))
    trained = read(str(released(tmp_path / "out", data, aptm={"space": str(own)})))
    assert search(trained, open_gallery(trained, [data], "train", "none", batch=8), RED_HAT, 3, "attributes").hits


def test_a_training_that_chose_it_has_it_in_evaluation_and_search(trained: Trained, data: Path, tmp_path: Path) -> None:
    assert resolve_rerank(trained, None) == "attributes" and resolve_rerank(trained, "none") == "none"
    retrieval = evaluate(trained, open_gallery(trained, [data], "train", batch=8), resolve_rerank(trained, None), 5).retrieval
    assert retrieval is not None and "the log-probabilities of the attributes that the caption names" in retrieval.protocol
    classifier = read(str(released(tmp_path / "classifier", data, selection={"rerank": "attributes"}, aptm={"classifier": True})))
    assert resolve_rerank(classifier, None) == "none"
    with pytest.raises(UserError, match="--rerank attributes: this method was trained without attributes"):
        resolve_rerank(classifier, "attributes")

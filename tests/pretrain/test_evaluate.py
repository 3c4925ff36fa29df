"""Evaluation of a trained method: rankings, re-rankings and attributes, by any number of processes."""

import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from cli.retrieval import score_lines
from mals.attributes import load_space
from mals.errors import UserError
from pretrain import metrics
from pretrain.evaluate import evaluate, open_gallery, predict_by_prompts, score_attributes, score_ranking, score_retrieval
from pretrain.gallery import Gallery, tokenize
from pretrain.method import Text
from pretrain.results import Evaluation
from pretrain.retrieval_protocol import RetrievalProtocol
from pretrain.text_scores import Embeddings, Rerank, embed_gallery
from pretrain.trained_method import Trained, read
from tests.conftest import environment
from tests.pretrain.packs import packed, pictures, rewritten, written
from tests.pretrain.releases import released
from tests.pretrain.trainings import SIZES

SHARED = ((0, 1), (0, 2), (1, 3))  # images and their persons in a list


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluate")


@pytest.fixture(scope="module")
def data(folder: Path) -> Path:
    return packed(folder / "run", 40)


@pytest.fixture(scope="module")
def trained(folder: Path, data: Path) -> Trained:
    return read(str(released(folder / "out", data)))


def gallery_of(trained: Trained, data: Path, **options: int) -> Gallery:
    return open_gallery(trained, [data], "train", batch=options.get("batch", 8))


def test_a_gallery_has_each_image_once_and_each_caption_as_a_query(trained: Trained, data: Path) -> None:
    gallery = gallery_of(trained, data)
    assert len(gallery) == len(gallery.dataset.images.unique()) < len(gallery.queries) == len(gallery.dataset)
    seen = [(numbers, images) for numbers, images in gallery.image_batches()]
    assert torch.cat([numbers for numbers, _ in seen]).tolist() == list(range(len(gallery))) and seen[0][1].shape == (8, 3, 64, 32)
    assert torch.cat([numbers for numbers, _ in gallery.caption_batches()]).tolist() == list(range(len(gallery.queries)))


def pair_logit(trained: Trained, gallery: Gallery, query: int, picture: int) -> float:
    """The matching score of one text and one image, computed alone."""
    method = trained.method
    with torch.no_grad():
        text = tokenize(trained.tokenizer, [gallery.dataset.caption(int(gallery.queries[query]))])
        ((_, image),) = gallery.subset(torch.tensor([picture])).image_batches()
        return float(method.match(method.bert.text(text.ids, text.mask), text.mask, method.bert.project(method.swin(image).tokens))[0, 1])


def test_the_best_are_ordered_by_the_cross_encoder_and_the_tail_by_the_cosine_below_them(trained: Trained, data: Path) -> None:
    gallery = gallery_of(trained, data)
    embeddings = embed_gallery(trained.method, gallery, "itm", 4)
    assert embeddings.logits is not None
    scores, cosine = torch.cat(list(embeddings.scores("itm"))), torch.cat(list(embeddings.cosines()))
    for query in (0, 7, len(cosine) - 1):
        best = cosine[query].topk(4).indices.tolist()
        logits = [pair_logit(trained, gallery, query, picture) for picture in best]
        assert scores[query][best].tolist() == pytest.approx(logits, abs=1e-5)
        order = scores[query].argsort(descending=True, stable=True).tolist()
        assert set(order[:4]) == set(best)
        assert order[4:] == [g for g in cosine[query].argsort(descending=True, stable=True).tolist() if g not in best]


@pytest.mark.parametrize("cells", [1 << 24, 7000, 100])
def test_of_equal_cosines_the_first_images_are_reranked(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretrain.text_scores.CELLS", cells)
    draw = torch.Generator().manual_seed(1)
    texts, images = torch.randn(12, 4, generator=draw).sign(), torch.randn(3000, 4, generator=draw).sign()
    embeddings = Embeddings(texts, images, torch.empty(12, 0))
    for row, (cosine, best) in enumerate(zip(texts @ images.T, embeddings.nearest(150), strict=True)):
        expected = sorted(range(3000), key=lambda picture, cosine=cosine: (-float(cosine[picture]), picture))  # type: ignore[misc]
        assert best.tolist() == expected[:150] and cosine[expected[149]] == cosine[expected[150]], row
    assert embeddings.nearest(5000).shape == (12, 3000)


def test_each_query_is_ranked_by_one_of_the_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretrain.text_scores.CELLS", 100)
    ranked: list[list[int]] = []

    class Counted(metrics.Matches):
        def score(self, scores: torch.Tensor, start: int = 0) -> torch.Tensor:
            ranked[-1] += range(start, start + len(scores))
            return super().score(scores, start)

    draw = torch.Generator().manual_seed(1)
    embeddings = Embeddings(torch.randn(37, 4, generator=draw), torch.randn(20, 4, generator=draw), torch.empty(37, 0))
    monkeypatch.setattr("pretrain.ranks.world_size", lambda: 3)
    monkeypatch.setattr("pretrain.ranks.sum_over_ranks", lambda part: part)
    for rank in range(3):
        monkeypatch.setattr("pretrain.ranks.rank", lambda rank=rank: rank)
        ranked.append([])
        score_ranking(embeddings, Counted(torch.arange(37) % 20, torch.arange(20)))
    assert sorted(itertools.chain(*ranked)) == list(range(37)) and min(map(len, ranked)) >= 10


def test_copies_of_an_image_are_reranked_in_their_order(trained: Trained, tmp_path: Path) -> None:
    def copied(table: pa.Table) -> pa.Table:
        return pa.Table.from_pylist([row | {"image": table["image"][0].as_py()} for row in table.to_pylist()], schema=table.schema)

    gallery = gallery_of(trained, rewritten(packed(tmp_path / "run", 12), copied))
    embeddings = embed_gallery(trained.method, gallery, "itm", 3)
    cosine = torch.cat(list(embeddings.cosines()))
    order = cosine.argsort(dim=1, descending=True, stable=True)
    assert embeddings.candidates.equal(order[:, :3])
    assert any((row[at[2]] == row[at[3]]).item() for row, at in zip(cosine, order, strict=True))


def test_the_published_order_adds_eight_times_the_scaled_cosine() -> None:
    torch.manual_seed(0)
    texts, images = torch.nn.functional.normalize(torch.randn(5, 6), dim=1), torch.nn.functional.normalize(torch.randn(9, 6), dim=1)
    cosine = texts @ images.T
    best = cosine.topk(3).indices
    logits = torch.randn(5, 3)
    scores = torch.cat(list(Embeddings(texts, images, best, logits, cosine_weight=8.0).scores("published")))
    scaled = (cosine - cosine.min()) / (cosine.max() - cosine.min())
    torch.testing.assert_close(scores.gather(1, best), logits + 8 * scaled.gather(1, best))
    assert torch.equal(scores.argsort(1, descending=True)[:, 3:], cosine.argsort(1, descending=True)[:, 3:])
    assert torch.equal(torch.cat(list(Embeddings(texts, images, best, logits).scores("none"))), cosine)


def test_scores_and_logits_do_not_depend_on_how_images_are_batched(trained: Trained, data: Path) -> None:
    one, two = (embed_gallery(trained.method, gallery_of(trained, data, batch=batch), "itm", 5) for batch in (3, 64))
    torch.testing.assert_close(one.texts @ one.images.T, two.texts @ two.images.T)
    assert one.logits is not None and two.logits is not None
    torch.testing.assert_close(one.logits, two.logits, atol=1e-5, rtol=1e-4)


def test_cosines_are_float32_where_products_are_bf16() -> None:
    draw = torch.Generator().manual_seed(0)
    texts, images = (torch.nn.functional.normalize(torch.randn(rows, 8, generator=draw)) for rows in (3, 400))
    with torch.autocast("cpu", torch.bfloat16):
        (scores,) = Embeddings(texts, images, torch.empty(3, 0)).cosines()
    assert scores.dtype == torch.float32 and scores.equal(texts @ images.T)


@pytest.mark.parametrize(
    ("mode", "trained_with", "judged_by"),
    [
        ("itm", ("itc", "itm", "iac", "iam"), {"contrast", "match"}),
        ("published", ("itc", "itm", "iac", "iam"), {"match"}),
        ("none", ("itc", "iac"), {"contrast"}),
        ("itm", ("iam",), {"match"}),
        ("published", ("iac",), {"contrast"}),
    ],
)
def test_each_attribute_is_the_prompt_that_is_truer_by_what_was_trained(
    trained: Trained, data: Path, monkeypatch: pytest.MonkeyPatch, mode: Rerank, trained_with: tuple[str, ...], judged_by: set[str]
) -> None:
    gallery, method = gallery_of(trained, data), trained.method
    weights = method.own.loss_weights
    changed = {name: float(name in trained_with) for name in type(weights).model_fields}
    monkeypatch.setattr(method, "own", method.own.model_copy(update={"loss_weights": weights.model_copy(update=changed)}))
    prompts = Text(method.prompt_ids, method.prompt_mask)
    predicted = predict_by_prompts(method, gallery, prompts, mode)
    assert predicted.shape == (len(gallery), 27) and set(predicted.unique().tolist()) <= {0, 1}
    with torch.no_grad():
        states = method.bert.text(prompts.ids, prompts.mask)
        for number, images in zip(range(3), next(gallery.image_batches())[1], strict=False):
            keys, cosines = (
                method.bert.project(method.swin(images[None]).tokens),
                method.embed_image(images[None]) @ method.text_features(states).T,
            )
            for attribute in (0, 13, 26):
                at = slice(2 * attribute, 2 * attribute + 2)
                matches = method.match(states[at], prompts.mask[at], keys, torch.zeros(2, dtype=torch.int64))[:, 1]
                says = {"match": matches, "contrast": cosines[0, at] / method.temp}
                no, yes = sum(says[judge] for judge in judged_by)
                assert predicted[number, attribute] == int(yes > no)


def test_the_result_names_its_protocol_and_has_attributes_if_there_are_labels(trained: Trained, data: Path) -> None:
    result = evaluate(trained, gallery_of(trained, data), "itm", 4)
    assert result.retrieval is not None and "best 4 of a caption" in result.retrieval.protocol and result.attributes is not None
    assert {"R1", "R5", "R10", "mAP", "mINP", "protocol"} <= result.to_json()["retrieval"].keys()
    assert list(result.attributes.per_attribute) == list(load_space("market1501").names)
    assert 0 <= result.attributes.mA <= 1 and result.unreadable == 0 and Evaluation.from_json(result.to_json()) == result
    silent = open_gallery(trained, [data], "train", "none")
    assert "attributes" not in evaluate(trained, silent, "none").to_json()


def test_a_protocol_of_the_methods_own_is_measured_and_without_any_there_is_nothing_to_measure(
    trained: Trained, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = gallery_of(trained, data)
    monkeypatch.setattr(trained.method, "abilities", frozenset())
    with pytest.raises(UserError, match="there is nothing to measure"):
        evaluate(trained, gallery)
    monkeypatch.setattr(type(trained.method), "evaluate_more", lambda self, trained, gallery: {"counted": {"images": len(gallery)}})
    result = evaluate(trained, gallery)
    assert result.to_json() == {"more": {"counted": {"images": len(gallery)}}, "unreadable": 0}
    assert score_lines(result) == [f"counted: images {len(gallery)}"]


def test_a_query_of_a_person_whose_image_is_another_persons_is_left_out_and_printed(
    trained: Trained, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pictures(tmp_path, 2)
    entries = [{"file_path": f"{image}.jpg", "captions": [f"a man {at}"], "id": person} for at, (image, person) in enumerate(SHARED)]
    data = written(tmp_path / "list.json", entries)
    result = evaluate(trained, open_gallery(trained, [f"{data}:{tmp_path / 'images'}"], "test"), "none")
    assert result.retrieval is not None and result.retrieval.unmatched == 1 and result.retrieval.images == 2
    assert score_lines(result)[-1] == "1 captions have no image of their person in the gallery and were left out"
    assert "1 of the 2 images of" in caplog.text and "are listed under several persons, such as 0.jpg ('1' and '2')" in caplog.text


def test_a_perfect_embedding_finds_everything() -> None:
    persons = torch.tensor([0, 1, 2, 3])
    facts = {"queries": persons, "query_identities": persons, "identities": persons, "__len__": lambda self: 4}
    gallery = type("Gallery", (), facts | {"protocol": RetrievalProtocol(similarity_distribution=True)})()
    scores = score_retrieval(Embeddings(torch.eye(4), torch.eye(4), torch.empty(4, 0)), gallery, "none", 1)
    assert (scores.R1, scores.mAP, scores.mINP) == (1, 1, 1) and scores.mSD == pytest.approx(1 - math.exp(-2))  # s of 1 and of 1/2
    labels = torch.tensor([[0, 1], [1, -1]])
    scored = score_attributes(labels.clamp(min=0), labels, space="own", names=["a", "b"], positive=[1, 1], protocol="by hand")
    assert scored.mA == 1


def test_images_that_cannot_be_read_are_left_out_with_their_captions(
    trained: Trained, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        rows[2]["image"]["bytes"] = rows[2]["image"]["bytes"][:40]
        return pa.Table.from_pylist(rows, schema=table.schema)

    own = rewritten(packed(tmp_path / "run", 40), broken)
    gallery = gallery_of(trained, own)
    images, queries = len(gallery), len(gallery.queries)
    lost = int((gallery.dataset.images == 2).sum())
    result = evaluate(trained, gallery, "itm", 3)
    assert result.retrieval is not None
    assert (result.unreadable, result.retrieval.images, result.retrieval.captions) == (1, images - 1, queries - lost)
    assert "row 2: the image cannot be read" in caplog.text
    with pytest.raises(UserError, match="no image can be read"):
        evaluate(trained, gallery_of(trained, rewritten(own, empty)), "none")


def empty(table: pa.Table) -> pa.Table:
    rows = [row | {"image": {"bytes": b"rubbish", "path": None}} for row in table.to_pylist()]
    return pa.Table.from_pylist(rows, schema=table.schema)


@pytest.mark.parametrize("rerank", ["itm", "attributes"])
def test_two_processes_give_the_numbers_of_one(rerank: str, folder: Path, data: Path, trained: Trained) -> None:
    results = []
    for world in (1, 2):
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(world)] if world > 1 else []
        words = ["-m", "cli.main", "evaluate", str(folder / "out"), "--data", str(data), "--split", "train", "--k", "5", "--rerank", rerank]
        to = folder / f"{rerank}-{world}.json"
        result = subprocess.run(
            [sys.executable, *torchrun, *words, "--batch", "8", "--workers", str(world - 1), "--to", str(to)],
            env=environment(GLOO_SOCKET_IFNAME="lo"),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert result.returncode == 0, result.stderr[-3000:]
        results.append(json.loads(to.read_text()))
    assert results[0] == results[1] and math.isfinite(results[0]["retrieval"]["mAP"])


def test_weights_are_read_from_a_training_a_checkpoint_or_a_file_and_other_things_are_refused(
    trained: Trained, folder: Path, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="neither a file, a folder nor a hub id"):
        read(str(tmp_path / "nothing" / "here"), [f"data.tokenizer={folder / 'out/tokenizer.json'}"], "tiny")
    (tmp_path / "begun/checkpoints").mkdir(parents=True)
    with pytest.raises(UserError, match="has no checkpoint yet"):
        read(str(tmp_path / "begun"))
    with pytest.raises(UserError, match="does not fit the model"):
        read(str(folder / "out"), ["aptm.text.hidden=48"])
    with pytest.raises(UserError, match="--preset is for files of weights alone"):
        read(str(folder / "out"), preset="tiny")
    sets = [*SIZES, f"data.tokenizer={folder / 'out/tokenizer.json'}"]
    alone = read(str(folder / "out/model.safetensors"), sets, "tiny")
    one, two = alone.method.state_dict(), trained.method.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in two)

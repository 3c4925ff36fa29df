"""Data sets are measured as their authors do it: what is left of captions, images without a caption, mSD, all in one table; they train."""

import json
from pathlib import Path

import pytest
import torch

from cli.retrieval import score_lines
from mals.errors import UserError
from pretrain.evaluate import evaluate, open_gallery
from pretrain.finetune import finetune
from pretrain.gallery import Gallery
from pretrain.results import Evaluation
from pretrain.retrieval_protocol import PROTOCOLS, RetrievalProtocol, named_protocol, retrieval_protocol
from pretrain.similarity_distribution import distributions
from pretrain.text_scores import embed_gallery
from pretrain.trained_method import Trained
from pretrain.zeroshot import markdown, zeroshot
from tests.conftest import Mals
from tests.pretrain.datasets import layouts
from tests.pretrain.methods.small import Small
from tests.pretrain.packs import imported

MADE = {
    "rstpreid": layouts.rstp,
    "ufine6926": layouts.ufine6926,
    "ufine3c": layouts.ufine3c,
    "tag-pedes": layouts.tag,
    "aeri-pedes": layouts.aeri,
    "pab": layouts.pab,
}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Miniatures of the benchmarks, packed by `mals import`."""
    return imported(tmp_path_factory.mktemp("sets"), MADE)


def test_each_data_set_has_the_protocol_of_its_authors(sets: dict[str, str], trainable: Path) -> None:
    assert retrieval_protocol([trainable], "train") == RetrievalProtocol()
    assert retrieval_protocol([sets["ufine3c"]], "test") == RetrievalProtocol(similarity_distribution=True)
    assert retrieval_protocol([sets["ufine3c"]], "test", similarity_distribution=False) == RetrievalProtocol()
    aeri = retrieval_protocol([sets["aeri-pedes"]], "test")
    assert aeri == RetrievalProtocol(gallery="the aerial images of the test alone")
    assert retrieval_protocol([sets["aeri-pedes"]], "train") == RetrievalProtocol()
    reductions = {name: retrieval_protocol([place], "test", plain=True).reduction for name, place in sets.items()}
    assert reductions == dict.fromkeys(sets, "letters") | {"tag-pedes": "punctuation"}
    assert retrieval_protocol([sets["tag-pedes"], sets["rstpreid"]], "test", plain=True).reduction == "letters"


def test_the_captions_of_tag_pedes_are_cleaned_on_request_alone(trained: Trained, sets: dict[str, str]) -> None:
    def first_caption(plain: bool) -> Gallery:
        return open_gallery(trained, [sets["tag-pedes"]], "test", plain=plain)

    texts = ["a man  about 30   a  red  coat  black shoes  image a/9 jpg", 'A man (about 30): a "red" coat; black shoes! Image a/9.jpg.']
    for plain, text in zip((True, False), texts, strict=True):
        _, tokens = next(first_caption(plain).caption_batches())
        expected = trained.tokenizer.encode([text])
        length = int(expected.mask.sum())
        assert tokens.ids[0, :length].equal(expected.ids[0, :length]) and int(tokens.mask[0].sum()) == length
    assert "the first 77 words count" in evaluate(trained, first_caption(True)).protocols["Retrieval"]


def test_images_without_a_caption_are_searched_and_ask_nothing(trained: Trained, sets: dict[str, str]) -> None:
    gallery = open_gallery(trained, [sets["aeri-pedes"]], "test")
    retrieval = evaluate(trained, gallery).retrieval
    assert retrieval is not None and (retrieval.captions, retrieval.images, retrieval.identities, retrieval.unmatched) == (4, 4, 2, 0)
    assert "every caption is a query, the aerial images of the test alone are the gallery" in retrieval.protocol
    assert gallery.identities.tolist() == [gallery.query_identities[0], gallery.query_identities[0], *[gallery.query_identities[1]] * 2]


def test_ground_images_can_ask_for_the_aerial_images_of_their_person(trained: Trained, sets: dict[str, str]) -> None:
    gallery = open_gallery(trained, [sets["aeri-pedes"]], "test", task="reid", query="ground_test")
    scores = evaluate(trained, gallery, task="reid").identification
    assert scores is not None and (scores.queries, scores.images, scores.unmatched) == (2, 4, 0)


@pytest.mark.parametrize("rerank", ["none", "itm"])
def test_the_similarity_distribution_is_measured_where_the_authors_measure_it(rerank: str, trained: Trained, sets: dict[str, str]) -> None:
    result = evaluate(trained, open_gallery(trained, [sets["ufine3c"]], "test"), rerank, 2)
    gallery = open_gallery(trained, [sets["ufine3c"]], "test")
    embeddings = embed_gallery(trained.method, gallery)
    matches = gallery.query_identities[:, None] == gallery.identities
    expected = distributions(torch.cat(list(embeddings.cosines())), matches).mean(0)
    assert result.retrieval is not None and [result.retrieval.mSD, result.retrieval.mSD_as_published] == expected.tolist()
    assert "mSD by the cosine" in result.retrieval.protocol and Evaluation.from_json(result.to_json()) == result
    assert f"mSD {100 * expected[0]:.2f}  mSD_as_published {100 * expected[1]:.2f}" in score_lines(result)[0]
    others = evaluate(trained, open_gallery(trained, [sets["rstpreid"]], "test"))
    assert others.retrieval is not None and others.retrieval.mSD is None and "mSD" not in others.to_json()["retrieval"]


def test_one_table_has_all_sets_with_the_protocol_of_each(trained: Trained, sets: dict[str, str]) -> None:
    table = markdown(zeroshot(trained, list(sets.values()), k=2, rerank="published"))
    lines = table.splitlines()
    assert lines[0] == "| data set | split | captions | images | R@1 | R@5 | R@10 | mAP | mINP | mSD | mSD as published | mA |"
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:9]]
    assert [row[:4] for row in rows] == [
        ["RSTPReid", "test", "4", "2"],
        ["UFine6926", "test", "4", "2"],
        ["UFine3C", "test", "18", "4"],
        ["TAG-PEDES", "test", "4", "2"],
        ["AERI-PEDES", "test", "4", "4"],
        ["PAB", "test", "2", "2"],
        ["UCC", "ucc", "3", "3"],  # both test splits of PAB
    ]
    assert [row[9] != "–" for row in rows] == [False, False, True, False, False, False, False]
    names = ("RSTPReid", "UFine6926", "TAG-PEDES", "AERI-PEDES")
    notes = {name: next(line for line in lines if line.startswith("- Retrieval (") and name in line.partition(":")[0]) for name in names}
    assert "letters a-z" in notes["RSTPReid"] and "as published for TAG-PEDES" in notes["TAG-PEDES"]
    assert "captions are" not in notes["UFine6926"] and "aerial images of the test alone" in notes["AERI-PEDES"]


def test_protocols_have_names_for_a_split_and_its_captions(trained: Trained, sets: dict[str, str]) -> None:
    assert {"cuhk-pedes", "ufine6926", "ufine3c", "tag-pedes", "aeri-pedes", "tbapr", "pab", "ucc", "itcpr"} <= set(PROTOCOLS)
    assert "synth-pedes" not in PROTOCOLS and "market1501" not in PROTOCOLS  # no test, no captions
    assert (PROTOCOLS["ucc"].split, PROTOCOLS["ucc"].plain, PROTOCOLS["tag-pedes"].plain) == ("ucc", False, True)
    result = zeroshot(trained, [sets["pab"], sets["tag-pedes"]], rerank="none", protocols=["tag-pedes", "ucc"])
    assert [(row.name, row.split) for row in result.sets] == [("UCC", "ucc"), ("TAG-PEDES", "test")]
    scores = result.sets[0].evaluation.retrieval
    assert scores is not None and (scores.captions, scores.images, scores.identities) == (3, 3, 2)  # two images of one image_id
    assert "as published for TAG-PEDES" in result.sets[1].evaluation.protocols["Retrieval"]
    assert named_protocol("ucc", [sets["pab"]]) is named_protocol("ucc", [sets["pab"]], "ucc") is PROTOCOLS["ucc"]


@pytest.mark.parametrize(
    ("names", "split", "words"),
    [
        (["coco"], None, "there is no protocol 'coco'; there are cuhk-pedes"),
        (["ucc"], "test", "--protocol ucc measures the split ucc; leave --split out"),
        (["pab", "itcpr"], None, "--protocol itcpr: no --data is the split test of ITCPR, as imported"),
        (["ucc"], None, "tag-pedes has none of the protocols ucc; it has tag-pedes"),
    ],
)
def test_a_protocol_that_cannot_be_measured_is_refused(
    names: list[str], split: str | None, words: str, trained: Trained, sets: dict[str, str]
) -> None:
    with pytest.raises(UserError, match=words):
        zeroshot(trained, [sets["pab"], sets["tag-pedes"]], split, protocols=names)


def test_a_protocol_of_another_set_or_split_is_refused(sets: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"--protocol ucc measures the split ucc of PAB, as `mals import pab` packs it, which .* does not"):
        named_protocol("ucc", [sets["rstpreid"]])
    with pytest.raises(UserError, match="--protocol pab measures the split test, not ucc; leave --split out"):
        named_protocol("pab", [sets["pab"]], "ucc")
    with pytest.raises(UserError, match="there is no protocol 'PAB'; there are "):
        named_protocol("PAB", [sets["pab"]])


def test_the_command_measures_a_protocol_by_its_name(out: Path, sets: dict[str, str], mals: Mals) -> None:
    result = mals("evaluate", out, "--data", sets["tag-pedes"], "--workers", 0, "--protocol", "tag-pedes", "--json")
    scores = json.loads(result.stdout)
    assert result.returncode == 0 and (scores["protocol"], scores["split"]) == ("tag-pedes", "test"), result.stderr
    assert "as published for TAG-PEDES" in scores["retrieval"]["protocol"]
    refused = mals("evaluate", out, "--data", sets["tag-pedes"], "--protocol", "tag-pedes", "--task", "reid")
    assert refused.returncode == 2 and "--protocol tag-pedes measures retrieval, not reid; leave --task out" in refused.stderr


def test_a_fine_tuning_is_measured_on_a_test_whose_images_have_not_all_a_caption(sets: dict[str, str], tmp_path: Path) -> None:
    config = Small("irra").config("batch=2", "selection.on=test", "selection.rerank=none")
    finetune(config, [sets["aeri-pedes"]], tmp_path / "tuned", "cpu")
    result = json.loads((tmp_path / "tuned/result.json").read_text())
    assert (result["retrieval"]["captions"], result["retrieval"]["images"]) == (4, 4)


def test_evaluate_measures_msd_of_any_set_with_captions_on_request(out: Path, sets: dict[str, str], mals: Mals) -> None:
    result = mals("evaluate", out, "--data", sets["ufine6926"], "--workers", 0, "--msd")
    assert result.returncode == 0 and "mSD_as_published" in result.stdout, result.stderr

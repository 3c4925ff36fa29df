"""Stage `agree`: scores by a method as `mals pretrain` leaves it, ranks against brute force, rules, and what is refused."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mals import settings
from mals.config import Config
from mals.errors import ModelMissing, UserError
from mals.grid.stage import row_seed
from mals.images import decode_image
from mals.scorer import load_scorer
from mals.stages.agree import Agree, stage
from tests.fakes import block_image, jpeg
from tests.pretrain.packs import packed
from tests.pretrain.releases import released
from tests.small.open_clip_folder import open_clip_folder

COLORS = ("red", "green", "blue", "white", "black", "grey", "pink")
CAPTIONS = [f"a {kind} in a {color} coat" for color in COLORS for kind in ("man", "woman", "child")]
HERE = "tests.mals.stages.test_agree"


@pytest.fixture(scope="module")
def method(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small APTM in the folder of a finished training."""
    return released(tmp_path_factory.mktemp("method") / "small-aptm", packed(tmp_path_factory.mktemp("packed") / "run"))


def configured(scorer: Path | str | None, **changes: Any) -> Config:
    return settings.check({"agree": {"scorer": None if scorer is None else str(scorer), **changes}})


def rows(count: int = 24) -> list[dict[str, Any]]:
    """Rows with different images, of which some share a caption; each with two captions."""
    return [
        {
            "id": f"row-{at}",
            "crop": jpeg(block_image(at)),
            "caption": CAPTIONS[at % 20],
            "captions": [{"text": CAPTIONS[at % 20]}, {"text": f"somebody number {at}"}],
        }
        for at in range(count)
    ]


def table(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{name: row.get(name) for name in names} for row in rows])


def ready(config: Config, data: Sequence[dict[str, Any]]) -> Agree:
    """The stage after its summary of these rows."""
    agree = stage(config)
    parts = [data[:7], data[7:]]
    agree.setup(agree.summarise(iter(table(part, ["id", *agree.summary_needs]) for part in parts if part)))
    return agree


def results(agree: Agree, data: Sequence[dict[str, Any]], size: int = 8) -> list[dict[str, Any]]:
    batches = [agree(table(data[start : start + size], agree.needs)) for start in range(0, len(data), size)]
    return pa.Table.from_batches(batches).to_pylist()


def test_scores_and_ranks_are_those_of_every_image_with_every_caption(method: Path) -> None:
    data, count = rows(), 9
    scored = results(ready(configured(method, references=count), data), data)
    scorer = load_scorer(method, device="cpu")
    seeds: dict[str, int] = {}
    for row in data:
        seed = row_seed(0, row["id"], "agree")
        seeds[row["caption"]] = min(seed, seeds.get(row["caption"], seed))
    texts = sorted(seeds, key=seeds.__getitem__)[: count + 1]
    references = scorer.embed_texts(texts).astype(float)
    for start in range(0, len(data), 8):
        part = data[start : start + 8]
        images = scorer.embed_images([decode_image(row["crop"]) for row in part]).astype(float)
        own_texts = list(dict.fromkeys(text for row in part for text in (row["caption"], row["captions"][1]["text"])))
        own = dict(zip(own_texts, scorer.embed_texts(own_texts).astype(float), strict=True))
        for row, image, result in zip(part, images, scored[start : start + 8], strict=True):
            score = np.float32(image @ own[row["caption"]])
            others = [np.float32(image @ references[place]) for place, text in enumerate(texts) if text != row["caption"]][:count]
            assert result["agree_score"] == score and result["agree_references"] == count
            assert result["agree_scores"] == [score, np.float32(image @ own[row["captions"][1]["text"]])]
            assert result["agree_rank"] == 1 + sum(other >= score for other in others)
            assert result["reject"] == [] and result["error"] is None


def test_another_batch_size_gives_the_same_scores_but_for_rounding(method: Path) -> None:
    data = rows()
    agree = ready(configured(method, references=9), data)
    for one, other in zip(results(agree, data, 8), results(agree, data, 5), strict=True):
        assert one["agree_score"] == pytest.approx(other["agree_score"], abs=1e-6)


def test_a_clip_of_open_clip_scores_too(tmp_path: Path) -> None:
    data, folder = rows(6), open_clip_folder(tmp_path / "clip")
    scorer = load_scorer(folder, device="cpu")
    for row, result in zip(data, results(ready(configured(folder, references=3), data), data), strict=True):
        assert result["agree_score"] == pytest.approx(scorer.match([row["caption"]], [decode_image(row["crop"])])[0, 0], abs=1e-6)
        assert 1 <= result["agree_rank"] <= 4


class Colors:
    """Compares the mean colour of an image with the colour in a text: exact, and without weights."""

    def embed_images(self, images: Sequence[Any]) -> np.ndarray:
        return np.stack([np.eye(3, dtype=np.float32)[np.asarray(image, np.float32).mean((0, 1)).argmax()] for image in images])

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack([np.array([color in text for color in COLORS[:3]], np.float32) for text in texts])

    def match(self, texts: Sequence[str], images: Sequence[Any]) -> np.ndarray:
        return self.embed_texts(texts) @ self.embed_images(images).T


class OneTooMany(Colors):
    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        return super().embed_texts([*texts, "red"])


class NotFinite(Colors):
    def embed_images(self, images: Sequence[Any]) -> np.ndarray:
        return super().embed_images(images) * np.nan


def colors(target: str, device: str) -> object:
    return {"colors": Colors, "one-too-many": OneTooMany, "not-finite": NotFinite}.get(target, dict)()


def painted(color: tuple[int, int, int], caption: str | None, **more: Any) -> dict[str, Any]:
    return {"id": f"{color} {caption}", "crop": jpeg(np.full((32, 16, 3), color, np.uint8)), "caption": caption, "captions": [], **more}


RED, BLUE = (255, 0, 0), (0, 0, 255)
PEOPLE = [painted(RED, "a red coat"), painted(BLUE, "a green coat"), painted(RED, "a green hat"), painted(BLUE, "a blue hat")]


def by_colors(scorer: str = "colors", **changes: Any) -> Config:
    return configured(scorer, loader=f"{HERE}:colors", **changes)


@pytest.mark.parametrize(
    ("rules", "refused"),
    [
        ({}, [[], [], [], []]),
        ({"min_score": 0.5}, [[], ["low_agreement"], ["low_agreement"], []]),
        ({"best_rank": 1}, [[], ["low_rank"], ["low_rank"], []]),
        ({"min_score": 1.0, "best_rank": 3}, [[], ["low_agreement", "low_rank"], ["low_agreement", "low_rank"], []]),
    ],
)
def test_the_rules_refuse_by_score_and_by_rank(rules: dict[str, Any], refused: list[list[str]]) -> None:
    """The blue image with a green coat is behind the blue hat, and behind the two captions that score 0 as its own does."""
    agree = ready(by_colors(references=3, **rules), PEOPLE)
    scored = results(agree, PEOPLE)
    assert [row["agree_score"] for row in scored] == [1, 0, 0, 1]
    assert [row["agree_rank"] for row in scored] == [1, 4, 4, 1] and {row["agree_references"] for row in scored} == {3}
    assert [row["reject"] for row in scored] == refused


def test_a_row_without_a_caption_has_no_score_and_is_refused_by_rules_about_scores_alone() -> None:
    data = [*PEOPLE, painted(RED, None), painted(RED, "  ")]
    for rules, expected in (({}, []), ({"min_score": -1.0}, ["low_agreement"]), ({"best_rank": 3}, ["low_rank"])):
        without = results(ready(by_colors(references=3, **rules), data), data)[4:]
        assert [(row["agree_score"], row["agree_rank"], row["reject"]) for row in without] == [(None, None, expected)] * 2


def test_captions_that_their_rules_refused_have_no_score_so_that_scores_stand_beside_the_packed_captions() -> None:
    several = [{"text": "a red coat"}, {"text": None}, {"text": "a blue coat"}]
    data = [*PEOPLE[1:], painted(RED, "a red coat", captions=several)]
    assert results(ready(by_colors(references=3), data), data)[3]["agree_scores"] == [1, 0]


def test_a_damaged_image_costs_its_row_alone() -> None:
    data = [*PEOPLE, PEOPLE[0] | {"crop": PEOPLE[0]["crop"][:300]}]
    scored = results(ready(by_colors(references=3), data), data)
    assert scored[4]["agree_score"] is None and scored[4]["reject"] == ["damaged_image"] and scored[0]["agree_score"] == 1


def test_with_fewer_captions_than_references_all_others_count_and_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        scored = results(ready(by_colors(), PEOPLE), PEOPLE)
    assert {row["agree_references"] for row in scored} == {3}
    assert "the rows have 4 different captions: each image is compared with the others, not with 10,000" in caplog.text


def test_rows_of_which_none_has_a_caption_are_scored_by_nothing() -> None:
    data = [painted(RED, None), painted(BLUE, "")]
    assert [row["agree_rank"] for row in results(ready(by_colors(), data), data)] == [None, None]


def test_requested_attributes_alone_need_no_scorer() -> None:
    config = settings.check({"agree": {"min_wanted": 0.75}, "plan": {"attributes": {}}})
    agree = stage(config)
    assert agree.resources.gpus == 0 and agree.needs == ("agreement_wanted",) and agree.adds.names == []
    data = [{"id": str(share), "agreement_wanted": share} for share in (0.5, 0.75, None)]
    agree.setup(agree.summarise(iter([table(data, ["id"])])))
    assert [row["reject"] for row in results(agree, data)] == [["other_attributes"], [], []]


@pytest.mark.parametrize(
    ("agree", "message"),
    [
        ({}, "the stage agree needs a scorer: set agree.scorer to a training or release of `mals pretrain`, or to a CLIP of open_clip"),
        ({"min_wanted": 0.5, "best_rank": 3}, "needs a scorer"),
        ({"scorer": "x", "references": 40, "best_rank": 49}, "agree.best_rank = 49 is over agree.references = 40"),
        ({"min_wanted": 0.5}, "only a plan with plan.attributes requests some"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_a_sentence(agree: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        settings.check({"agree": agree})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        ("nothing", r"agree\.loader = '.*:colors' returned a dict, which has not the methods of mals\.scorer\.Scorer"),
        ("one-too-many", r"the scorer one-too-many: embed_texts returned the shape \(5, 3\) for 4, not \[4, D\]"),
        ("not-finite", r"the scorer not-finite: embed_images returned numbers that are not finite"),
    ],
)
def test_what_is_no_scorer_is_refused_in_a_sentence(scorer: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        results(ready(by_colors(scorer), PEOPLE), PEOPLE)


def test_a_folder_without_a_method_and_a_missing_one_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="it has no weights"):
        stage(configured(tmp_path)).params()
    with pytest.raises(ModelMissing, match=r"--set agree\.scorer=DIR"):
        stage(configured("someone/no-such-method")).params()


def test_the_fingerprint_knows_the_weights_the_rules_and_the_seed(method: Path) -> None:
    params = stage(configured(method, min_score=0.1)).params()
    assert params["scorer"] == "small-aptm" and params["revision"].startswith("sha256:") and params["min_score"] == 0.1
    assert params.keys() == {"scorer", "revision", "references", "seed", "min_score", "best_rank", "min_wanted"}
    own = stage(by_colors(revision="v2")).params()
    assert (own["scorer"], own["revision"], own["loader"]) == ("colors", "v2", f"{HERE}:colors")

"""Rows count by the rank of a number of theirs; a set or a training that cannot have it is refused with a sentence."""

from pathlib import Path

import pyarrow as pa
import pytest
import torch

from mals.errors import UserError
from pretrain.build import open_pairs
from pretrain.data.confidence import check_scores, row_weights
from pretrain.data.loader import Loader
from pretrain.data.needs import DataNeeds
from pretrain.data.rows import ImageTextPairs
from pretrain.data.tokenizers import WordPiece
from pretrain.data.tokenizers.vocabulary import train_vocabulary
from tests.pretrain.methods.small import Small
from tests.pretrain.packs import mals_list, packed, rewritten

NAN = float("nan")


def scored(folder: Path, values: str = "agree_score") -> Path:
    """A packed set in which every row has a number by its place in its file, and the first one of each file none."""

    def with_numbers(table: pa.Table) -> pa.Table:
        return table.append_column(values, pa.array([None, *range(1, len(table))], pa.float32()))

    return rewritten(packed(folder, 20), with_numbers)


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scored(tmp_path_factory.mktemp("scores") / "run")


def test_weights_grow_with_the_rank_and_have_the_mean_1() -> None:
    known = torch.tensor([0.1, 0.3, 0.2, NAN, 0.3], dtype=torch.float64)  # ranks 0, 2.5, 1, none, 2.5 of 0 ... 3
    weights = row_weights(known, [0, 5], 0.5)
    assert weights is not None and weights.dtype == torch.float32
    torch.testing.assert_close(weights, torch.tensor([6, 11, 8, 9, 11]) / 9)
    assert weights.mean().item() == pytest.approx(1)
    lowest = row_weights(known, [0, 5], 0.0)
    assert lowest is not None and lowest[0] == 0
    assert row_weights(known, [0, 5], 1.0) is None


def test_ranks_are_those_within_a_data_set() -> None:
    own, other = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([30.0, 10.0])
    weights = row_weights(torch.cat([own, other]).double(), [0, 3, 5], 0.5)
    assert weights is not None
    torch.testing.assert_close(weights, torch.tensor([2, 3, 4, 4, 2]) / 3)
    assert row_weights(torch.full((4,), 0.7, dtype=torch.float64), [0, 4], 0.5) is None


def test_a_batch_has_the_weights_of_its_rows(scores: Path) -> None:
    pairs = ImageTextPairs.open([scores], confidence="agree_score")
    assert pairs.scores is not None and pairs.scores.isnan().sum() == len(list((scores / "data").glob("train-*")))
    plain = pairs.digest(0)
    pairs.weigh("agree_score", 0.5)
    tokenizer = WordPiece.of(train_vocabulary(pairs.captions(), 200), 16)
    batch = next(iter(Loader(pairs, tokenizer, DataNeeds(), batch=8, seed=3)))
    assert batch.weights is not None and pairs.weights is not None and batch.weights.equal(pairs.weights[batch.rows])
    assert plain != ImageTextPairs.open([scores]).digest(0)  # a training goes on with the same numbers alone
    unweighed = ImageTextPairs.open([scores])
    assert next(iter(Loader(unweighed, tokenizer, DataNeeds(), batch=8, seed=3))).weights is None


def test_numbers_that_weigh_nothing_are_refused_and_rows_without_any_are_counted() -> None:
    def scores(*values: float) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float64)

    assert check_scores(scores(-1.0, -2.0, 0.0), [0, 3], "fit") is None
    one_set = scores(0.5, 0.5, NAN, 0.1, 0.2)
    assert check_scores(one_set, [0, 3, 5], "fit") == "1 of 5 rows have no number in the column fit, and the weight 1"
    with pytest.raises(UserError, match=r"^no row has a number in the column fit, which data\.confidence names; set it to null"):
        check_scores(scores(NAN, NAN), [0, 2], "fit")
    for values, starts in ((scores(0.0, 0.0, 0.0), [0, 3]), (scores(0.1, 0.1, 0.7, NAN), [0, 2, 4])):
        with pytest.raises(UserError, match=r"the same number in the column fit, .* so that none would count more than another"):
            check_scores(values, starts, "fit")


def test_a_training_says_how_many_rows_have_no_number(scores: Path, caplog: pytest.LogCaptureFixture) -> None:
    open_pairs(Small("irra+confidence").config(), [str(scores)])
    assert any("rows have no number in the column agree_score, and the weight 1" in message for message in caplog.messages)


def test_rows_that_are_left_out_take_their_numbers_along_and_captions_of_an_image_share_them(scores: Path) -> None:
    pairs, every = (ImageTextPairs.open([scores], every=every, confidence="agree_score") for every in (False, True))
    assert pairs.scores is not None and every.scores is not None
    assert len(every) > len(pairs) and every.scores.nan_to_num().equal(pairs.scores.nan_to_num()[every.images])
    chosen = torch.arange(len(pairs)) % 3 > 0
    kept = pairs.subset(chosen).scores
    assert kept is not None and kept.nan_to_num().equal(pairs.scores[chosen].nan_to_num())


def test_data_without_the_numbers_are_refused_with_what_they_have(scores: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"has no column agree_scor, which data\.confidence names; its columns of numbers are .*agree_score"
    ):
        ImageTextPairs.open([scores], confidence="agree_scor")
    with pytest.raises(UserError, match=r"the column caption, which data\.confidence names, holds string; its columns of numbers"):
        ImageTextPairs.open([scores], confidence="caption")
    with pytest.raises(UserError, match=r"g_attrs\.json has no column agree_score, which data\.confidence names: packed data sets alone"):
        ImageTextPairs.open([(mals_list(tmp_path), tmp_path / "images")], confidence="agree_score")


@pytest.mark.parametrize("name", ["dpti", "two_towers:TwoTowers"])
def test_methods_without_losses_of_pairs_refuse_it(scores: Path, name: str) -> None:
    with pytest.raises(UserError, match=rf"^data\.confidence = agree_score weighs .*this training of {name} has no losses of pairs"):
        open_pairs(Small(f"{name}+confidence").config(), [str(scores)])


def test_a_training_without_captions_refuses_it(scores: Path) -> None:
    sets = [f"aptm.loss_weights.{name}=0" for name in ("itc", "itm", "mlm", "itc_eda", "itm_eda")]
    with pytest.raises(UserError, match="has no losses of pairs that it could weigh; set it to null"):
        open_pairs(Small("aptm+confidence").config(*sets), [str(scores)])

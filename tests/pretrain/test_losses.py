"""The losses: equal to the reference, in float32, and defined without known labels."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pretrain.losses import (
    attribute_contrast,
    attribute_matching,
    claims_are_true,
    decided,
    itc,
    masked_words,
    matching,
    prompt_labels,
    rank_semihard,
    sdm,
    sentence_answers,
    wrong_cosines,
)

GOLDEN = Path(os.environ.get("MALS_GOLDEN") or Path(__file__).parents[1] / "golden") / "aptm"
CLOSE = {"abs": 1e-4, "rel": 1e-4}  # tolerance of the golden vectors


def unit(*shape):
    """Random features of length 1."""
    return torch.nn.functional.normalize(torch.randn(*shape), dim=-1)


@pytest.fixture(scope="module")
def golden():
    return load_file(GOLDEN / "tensors.safetensors") | {"temp": load_file(GOLDEN / "weights.safetensors")["temp"]}


@pytest.mark.golden
@pytest.mark.parametrize("persons", ["unique", "idx"])
def test_itc_equals_the_reference(golden, persons):
    image, text = golden["out.image_feat"], golden["out.text_feat"]
    person = golden["in.idx"] if persons == "idx" else torch.arange(len(image))
    loss = itc(image, text, image, text, person[:, None] == person[None], golden["temp"])
    assert loss.item() == pytest.approx(golden[f"out.loss_itc_{persons}"].item(), **CLOSE)


@pytest.mark.golden
@pytest.mark.parametrize(("suffix", "smoothing"), [("", 0.0), ("_smooth0.4", 0.4)])
def test_attribute_losses_equal_the_reference(golden, suffix, smoothing):
    labels, prompts = golden["in.label"], golden["in.iam_prompts"]
    contrast = attribute_contrast(golden["out.image_feat"], golden["out.attr_feat"], labels, golden["temp"], smoothing)
    assert contrast.item() == pytest.approx(golden[f"out.loss_iac{suffix}"].item(), **CLOSE)
    match = attribute_matching(golden["out.attr_itm_logits"][:, prompts], prompt_labels(labels)[:, prompts], smoothing)
    assert match.item() == pytest.approx(golden[f"out.loss_iam{suffix}"].item(), **CLOSE)


@pytest.mark.golden
def test_matching_equals_the_reference(golden):
    person, logits = golden["in.idx"], golden["out.itm_logits"]
    scores = golden["out.image_feat"] @ golden["out.text_feat"].T / golden["temp"]
    same = person[:, None] == person[None]
    caption = scores.softmax(1).add(1e-5).masked_fill(same, 0).argmax(1)  # the hardest of other people
    image = scores.T.softmax(1).add(1e-5).masked_fill(same, 0).argmax(1)
    own = torch.arange(len(person))
    pairs = torch.cat([logits[own, own], logits[image, own], logits[own, caption]])
    loss = matching(pairs, torch.tensor([1, 0, 0]).repeat_interleave(len(own)))
    assert loss.item() == pytest.approx(golden["out.loss_itm_hardest"].item(), **CLOSE)


def test_itc_of_the_closed_form():
    i = torch.arange(48, dtype=torch.float64)
    image, text = torch.sin(0.37 * i + 0.1).view(6, 8), torch.sin(0.37 * i + 0.5 * torch.cos(0.9 * i)).view(6, 8)
    image, text = (torch.nn.functional.normalize(x, dim=1) for x in (image, text))
    loss = itc(image, text, image, text, torch.eye(6, dtype=torch.bool), 1 / 50)
    assert loss.item() == pytest.approx(0.66648737875, rel=1e-5)  # computed with IRRA's own function


def test_attribute_contrast_is_the_mean_over_attributes_of_means_over_images_with_known_labels():
    torch.manual_seed(1)
    image, prompts, labels = unit(5, 7), unit(6, 7), torch.tensor([[0, -1, 1], [1, -1, 1], [-1, -1, 0], [0, -1, -1], [1, -1, 1]])
    total = 0.0
    for a in range(3):
        known = [b for b in range(5) if labels[b, a] >= 0]
        losses = [-(prompts[2 * a : 2 * a + 2] @ image[b] / 0.1).log_softmax(0)[labels[b, a]].item() for b in known]
        total += sum(losses) / max(1, len(losses))
    assert attribute_contrast(image, prompts, labels, 0.1).item() == pytest.approx(total / 3, rel=1e-5)


def test_labels_count_by_their_weights():
    torch.manual_seed(4)
    image, prompts, labels = unit(4, 7), unit(6, 7), torch.tensor([[0, -1, 1], [1, 0, 1], [-1, 1, 0], [0, 1, -1]])
    weights = torch.where(labels == 1, 3.0, 1.0)
    of_value = [attribute_contrast(image, prompts, labels.where(labels == value, -1), 0.1, 0.1, torch.ones(3)) for value in (0, 1)]
    whole = attribute_contrast(image, prompts, labels, 0.1, 0.1, torch.ones(3), weights)
    assert whole.item() == pytest.approx((of_value[0] + 3 * of_value[1]).item(), rel=1e-5)
    logits = torch.randn(4, 3, 2)
    weighted, plain = (attribute_matching(logits, labels, 0.1, weights=weights).item() for weights in (torch.ones(4, 3), None))
    assert weighted == pytest.approx(plain)


def test_label_smoothing_is_a_share_of_both_values():
    image, prompts = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    right, wrong = (-torch.tensor([1.0, 0.0]).log_softmax(0)).tolist()
    assert attribute_contrast(image, prompts, torch.tensor([[0]]), 1.0, 0.4).item() == pytest.approx(0.8 * right + 0.2 * wrong)


def test_unknown_labels_have_no_loss_and_no_gradient():
    torch.manual_seed(2)
    image, prompts, words = unit(4, 7).requires_grad_(), unit(6, 7).requires_grad_(), torch.randn(2, 5, 9, requires_grad=True)
    unknown = torch.full((4, 3), -1)
    loss = attribute_contrast(image, prompts, unknown, 0.07, 0.4) + masked_words(words, torch.full((2, 5), -100))
    loss = loss + attribute_matching(torch.randn(4, 5, 2), torch.full((4, 5), -1)) + attribute_contrast(image, prompts, unknown, 0.07)
    loss.backward()
    assert loss.item() == 0
    assert not any(leaf.grad.any() or leaf.grad.isnan().any() for leaf in (image, prompts, words))


def test_an_image_without_labels_has_no_gradient():
    torch.manual_seed(3)
    image, prompts = unit(3, 7).requires_grad_(), unit(4, 7)
    attribute_contrast(image, prompts, torch.tensor([[0, 1], [-1, -1], [-1, 0]]), 0.07, 0.4).backward()
    assert image.grad[0].any() and image.grad[2].any() and not image.grad[1].any()


def test_masked_words_are_a_mean_over_targets():
    torch.manual_seed(4)
    logits, targets = torch.randn(2, 3, 9), torch.tensor([[-100, 4, -100], [1, -100, 8]])
    chosen = -logits.log_softmax(-1)[[0, 1, 1], [1, 0, 2], [4, 1, 8]]
    assert masked_words(logits, targets).item() == pytest.approx(chosen.mean().item())
    assert masked_words(logits, targets, torch.tensor(1.5)).item() == pytest.approx(chosen.sum().item() / 1.5)


def test_the_labels_of_prompts_are_whether_they_are_true():
    assert prompt_labels(torch.tensor([[0, 1, -1]])).tolist() == [[1, 0, 0, 1, -1, -1]]


def test_losses_are_float32_under_autocast_and_keep_their_gradient():
    torch.manual_seed(5)
    image, text, same = unit(8, 16).bfloat16().requires_grad_(), unit(8, 16).bfloat16(), torch.eye(8, dtype=torch.bool)
    temperature = torch.tensor(0.07, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        loss = itc(image, text, images=image, texts=text, same=same, temperature=temperature)
    wide = itc(image.double(), text.double(), image.double(), text.double(), same, 0.07)
    loss.backward()
    assert loss.dtype == wide.dtype == torch.float32 and loss.item() == pytest.approx(wide.item(), rel=1e-5)
    assert image.grad.any() and temperature.grad.any()


def ranking(similarity, persons, margin, random, min_margin=None):
    """`rank_semihard` anchor by anchor: the loss, and the entries that were drawn as (direction, anchor, entry)."""
    total, drawn = 0.0, []
    for direction, scores in enumerate((similarity.tolist(), similarity.T.tolist())):
        triplets = []
        for anchor, row in enumerate(scores):
            if min_margin is not None and margin[anchor] < min_margin:
                continue
            gaps = {j: row[j] - row[anchor] + margin[anchor] for j in range(len(row)) if persons[j] != persons[anchor]}
            candidates = [j for j, gap in gaps.items() if 0 < gap < margin[anchor]]
            if candidates:
                triplets.append((anchor, candidates[int(random[direction][anchor] * len(candidates))]))
        drawn += [(direction, *triplet) for triplet in triplets]
        total += sum(max(0.0, margin[a] - scores[a][a] + scores[a][j]) for a, j in triplets)
    return total, drawn


@pytest.mark.parametrize("min_margin", [None, 0.2])
def test_ranking_draws_semi_hard_negatives_in_both_directions(min_margin):
    torch.manual_seed(0)
    similarity, persons = torch.rand(12, 12).sub(0.5).add(0.2 * torch.eye(12)), torch.randint(5, (12,))
    margin, random = torch.rand(12).mul(0.4), torch.rand(2, 12)
    expected, drawn = ranking(similarity, persons.tolist(), margin.tolist(), random.tolist(), min_margin)
    assert {direction for direction, *_ in drawn} == {0, 1}
    loss = rank_semihard(similarity.requires_grad_(), persons, margin, random, min_margin)
    loss.backward()
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    pulled = {(0, *place) for place in (similarity.grad > 0).nonzero().tolist()}
    assert pulled == {(0, anchor, j) if direction == 0 else (0, j, anchor) for direction, anchor, j in drawn}
    assert rank_semihard(similarity, persons, margin, torch.full((2, 12), 1 - 1e-9, dtype=torch.float64), min_margin).isfinite()


def test_ranking_of_the_closed_form():
    i = torch.arange(12.0).view(2, 6)
    a, b = (torch.nn.functional.normalize(torch.sin(0.7 * i + phase) + 1, dim=1) for phase in (0, 0.8))
    persons, random = torch.tensor([0, 1]), torch.zeros(2, 2)
    assert rank_semihard(a @ b.T, persons, 0.3, random).item() == pytest.approx(0.34427559, abs=1e-6)
    assert rank_semihard(a @ b.T, persons, 0.3, random, as_coded=True).item() == pytest.approx(0.18345529, abs=1e-6)
    assert rank_semihard(a @ b.T, persons, 0.2, random).item() == pytest.approx(0.14427558, abs=1e-6)


def test_ranking_without_a_semi_hard_negative_compares_the_last_anchor():
    similarity = torch.tensor([[0.9, 0.1, 0.0], [0.0, 0.9, 0.2], [0.85, 0.1, 0.9]])
    persons, random = torch.tensor([0, 1, 2]), torch.zeros(2, 3)
    assert rank_semihard(similarity, persons, 0.04, random).item() == pytest.approx(0.0)  # 0.04 - 0.9 + 0.85 < 0
    similarity[2, 0] = 0.95  # above its own pair: not semi-hard, but the last anchor's first negative
    assert rank_semihard(similarity, persons, 0.04, random).item() == pytest.approx(0.09)
    everyone = torch.zeros(3, dtype=torch.long)
    assert rank_semihard(similarity, everyone, 0.04, random).item() == 0.0  # no negative at all
    assert rank_semihard(similarity, persons, torch.full((3,), 0.04), random, min_margin=0.05).item() == 0.0  # no anchor is kept


@pytest.mark.parametrize("temperature", [0.02, 1.0])
def test_a_wrong_text_is_one_more_to_choose_from_and_without_one_nothing_changes(temperature):
    torch.manual_seed(4)
    image, text, wrong = unit(5, 8), unit(5, 8), unit(5, 8)
    same = torch.eye(5, dtype=torch.bool)
    none, every = (torch.full((5,), value) for value in (False, True))
    for loss in (itc, sdm):
        plain = loss(image, text, image, text, same, temperature)
        absent = loss(image, text, image, text, same, temperature, wrong=wrong_cosines(image, wrong, none))
        torch.testing.assert_close(absent, plain)
        beside = loss(image, text, image, text, same, temperature, wrong=wrong_cosines(image, wrong, every))
        assert beside > plain
    scores = torch.cat([image @ text.T, (image * wrong).sum(1, keepdim=True)], 1) / temperature
    to_text = torch.nn.functional.cross_entropy(scores, torch.arange(5))
    to_image = torch.nn.functional.cross_entropy(text @ image.T / temperature, torch.arange(5))
    beside = itc(image, text, image, text, same, temperature, wrong=wrong_cosines(image, wrong, every))
    torch.testing.assert_close(beside, (to_text + to_image) / 2)


def test_rows_without_a_wrong_text_have_no_gradient_from_it():
    torch.manual_seed(5)
    image, text, wrong = unit(4, 8), unit(4, 8), unit(4, 8).requires_grad_()
    negated = torch.tensor([True, False, True, False])
    itc(image, text, image, text, torch.eye(4, dtype=torch.bool), 0.05, wrong=wrong_cosines(image, wrong, negated)).backward()
    assert wrong.grad is not None and wrong.grad.isfinite().all() and (wrong.grad[negated] != 0).any() and not wrong.grad[~negated].any()


def test_a_sentence_is_true_of_an_image_that_has_all_of_its_claims():
    labels = torch.tensor([[0, 1, 0], [0, 0, 0], [0, -1, 1], [-1, -1, -1]])
    claims = torch.tensor([[0, 1, -1], [0, -1, -1], [-1, -1, 0], [-1, -1, -1]])
    assert claims_are_true(labels, claims).tolist() == [[1, 1, 1, -1], [0, 1, 1, -1], [-1, 1, 0, -1], [-1, -1, -1, -1]]


def test_the_loss_of_a_sentence_weighs_images_that_have_it_as_much_as_the_others_together():
    logits = torch.tensor([[2.0, 3.0, 5.0], [-1.0, 4.0, 0.0], [0.5, 1.0, 0.0]], requires_grad=True)
    truth = torch.tensor([[1, 0, -1], [0, 0, -1], [0, 0, 1]])  # the second sentence is true of no image, and the third wrong of none
    assert decided(truth).tolist() == [True, False, False]
    yes, no = torch.nn.functional.softplus(torch.tensor(-2.0)), torch.nn.functional.softplus(torch.tensor([-1.0, 0.5])).mean()
    loss = sentence_answers(logits, truth)
    assert loss.item() == pytest.approx(((yes + no) / 2).item(), rel=1e-6)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient[0, 0] < 0 < gradient[1, 0] and not gradient[:, 1:].any()
    assert sentence_answers(logits, torch.full_like(truth, -1)) == 0
    assert sentence_answers(logits, truth, torch.tensor(2.0)).item() == pytest.approx(loss.item() / 2, rel=1e-6)

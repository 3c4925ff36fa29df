"""Losses as pure functions: tensors in, a float32 scalar out, or one value for each row, also under autocast.

Shapes: B own rows, N rows of all ranks, D width, A attributes, P prompts, R pairs, M masked places, V vocabulary.
Prompt 2a + v states that attribute a has the value v. No loss copies a value from the device to the host.

`weights` [B] are the confidence in the rows (`Batch.weights`), None where all count the same: the loss of a row is multiplied by its
weight, and divided by the same numbers as without.
"""

import functools
from collections.abc import Callable
from typing import ParamSpec

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORED = -100  # a target that is left out, as in torch
ABSENT = -1e4  # a cosine so low that nothing chooses it, at any temperature from 0 to 1
SDM_EPSILON = 1e-8  # added to the true probabilities of a match (Jiang and Ye)

Arguments = ParamSpec("Arguments")


def _in_float32(loss: Callable[Arguments, Tensor]) -> Callable[Arguments, Tensor]:
    """Compute a loss in float32, without autocast."""

    @functools.wraps(loss)
    def exact(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Tensor:
        def widen(value: object) -> object:
            return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value

        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        with torch.autocast(tensors[0].device.type, enabled=False):
            return loss(*map(widen, args), **{name: widen(value) for name, value in kwargs.items()})  # type: ignore[arg-type]

    return exact


@_in_float32
def itc(
    image: Tensor,
    text: Tensor,
    images: Tensor,
    texts: Tensor,
    same: Tensor,
    temperature: Tensor | float,
    weights: Tensor | None = None,
    wrong: Tensor | None = None,
) -> Tensor:
    """Image-text contrast of own images and texts [B, D] with those of all ranks [N, D]; `same` [B, N] marks pairs of one identity.

    Features have length 1. The target of a row is uniform over its pairs of one identity, which include its own pair. `wrong` [B] are the
    cosines of each image and a wrong caption of its own, see `wrong_cosines`: one more text to choose from, which is never right.
    The mean of this loss over ranks, with `images` and `texts` from `ranks.gather`, equals the loss of one process over all rows.
    """
    target = same / same.sum(1, keepdim=True)
    to_texts, target_texts = _beside(image @ texts.T, target, wrong)
    to_text = _choice(to_texts / temperature, target_texts, weights)
    to_image = _choice(text @ images.T / temperature, target, weights)
    return (to_text + to_image) / 2


@_in_float32
def sdm(
    image: Tensor,
    text: Tensor,
    images: Tensor,
    texts: Tensor,
    same: Tensor,
    temperature: float,
    sums: Tensor | None = None,
    weights: Tensor | None = None,
    wrong: Tensor | None = None,
) -> Tensor:
    """Similarity distribution matching of own images and texts [B, D] with those of all ranks [N, D]: the mean of `sdm_rows`.

    Features have length 1. The mean of this loss over ranks, with `images` and `texts` from `ranks.gather`, equals the loss of one
    process over all rows.
    """
    return _mean(sdm_rows(text @ images.T, image @ texts.T, same, temperature, sums, wrong), weights)


@_in_float32
def identity(image: Tensor, text: Tensor, persons: Tensor, total: bool = False, weights: Tensor | None = None) -> Tensor:
    """Classification of persons [B] from logits [B, persons] of images and of captions: the mean of both, with `total` the sum."""
    both = _choice(image, persons, weights) + _choice(text, persons, weights)
    return both if total else both / 2


@_in_float32
def classified_persons(logits: Tensor, persons: Tensor, weights: Tensor | None = None) -> Tensor:
    """Classification of persons [B] from logits [B, persons] of one view of the rows."""
    return _choice(logits, persons, weights)


@_in_float32
def cmt(image: Tensor, text: Tensor, images: Tensor, texts: Tensor, same: Tensor, margin: float, weights: Tensor | None = None) -> Tensor:
    """Cross-modal triplets (CMT, docs/papers/uit.md) of own images and texts [B, D] with those of all ranks [N, D].

    An anchor's positive is its own pair, its negative the most similar one of another person (`same` [B, N] is False); the loss is
    max(0, margin + negative - positive), 0 without a negative, the mean over texts as anchors plus that over images. Features have
    length 1. The mean over ranks, with `images` and `texts` from `ranks.gather`, equals the loss of one process.
    """
    own = (image * text).sum(1)
    hardest = [(anchors @ others.T).masked_fill(same, float("-inf")).amax(1) for anchors, others in ((text, images), (image, texts))]
    return sum((_mean((margin + negative - own).clamp(min=0), weights) for negative in hardest), own.new_zeros(()))


@_in_float32
def masked_mse(predicted: Tensor, target: Tensor, counted: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean squared error of patches, [B, N, P] both, over the numbers of those that are `counted` [B, N]; 0 without any.

    Every row has to have as many, then the mean over ranks equals the loss of one process.
    """
    each = (predicted - target).square().mean(2)
    each = each if weights is None else each * weights[:, None]
    return _per(each.masked_fill(~counted, 0).sum(), counted.sum())


@_in_float32
def matching(logits: Tensor, labels: Tensor, count: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
    """Image-text matching: logits [R, 2], labels [R], 1 for pairs that match, 0 for others, -100 for pairs that are left out.

    The mean over the pairs; `count` is their mean number over ranks, as in `masked_words`, and `weights` [R] are of the pairs.
    """
    total = _choices(logits, labels, weights)
    return _per(total, (labels != IGNORED).sum() if count is None else count)


@_in_float32
def masked_words(logits: Tensor, targets: Tensor, count: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
    """Prediction of masked tokens: logits [..., V], targets [...], -100 for tokens that are not masked; 0 without targets.

    The mean over the targets. With `count`, their mean number over ranks, the mean over ranks equals the loss of one process.
    `weights` [...] are of the targets.
    """
    total = _choices(logits.flatten(0, -2), targets.flatten(), None if weights is None else weights.flatten())
    return _per(total, (targets != IGNORED).sum() if count is None else count)


@_in_float32
def attribute_contrast(
    image: Tensor,
    prompts: Tensor,
    labels: Tensor,
    temperature: Tensor | float,
    smoothing: float = 0.0,
    counts: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Image-attribute contrast (IAC): images [B, D] choose between the two prompts of each attribute, [2A, D]; labels [B, A] in {-1, 0, 1}.

    Features have length 1. The loss of an attribute is the mean over images with a known label (not -1), 0 without any;
    the result is the mean over all A attributes. With `counts` [A], the mean numbers of known labels over ranks, the gradient equals that
    of one process; otherwise each rank has its own mean, as published. `weights` [B, A] weigh the labels, all 1 by default.
    """
    logits = (image @ prompts.T / temperature).unflatten(1, (-1, 2))
    return _over_known(logits, labels, smoothing, counts, weights)


@_in_float32
def attribute_matching(
    logits: Tensor, labels: Tensor, smoothing: float = 0.0, counts: Tensor | None = None, weights: Tensor | None = None
) -> Tensor:
    """Image-attribute matching (IAM): logits [B, P, 2], labels [B, P] in {-1, 0, 1} from `prompt_labels`; means as in IAC."""
    return _over_known(logits, labels, smoothing, counts, weights)


@_in_float32
def classified(logits: Tensor, labels: Tensor, count: Tensor | None = None) -> Tensor:
    """Binary classification of attributes: logits [B, A] of the value 1, labels [B, A] in {-1, 0, 1}; the mean over known labels.

    It is 0 without known labels. With `count`, their mean number over ranks, the gradient equals that of one process.
    """
    known = labels >= 0
    each = F.binary_cross_entropy_with_logits(logits, labels.clamp(min=0).to(logits.dtype), reduction="none")
    return _per(each.masked_fill(~known, 0).sum(), known.sum() if count is None else count)


def claims_are_true(labels: Tensor, claims: Tensor) -> Tensor:
    """Whether each image with labels [B, A] has all that each sentence claims, [S, A], both in {-1, 0, 1}: [B, S], 1 yes, 0 no.

    -1 where it may or may not, since a label is unknown and no other claim is wrong, and for a sentence without a claim.
    """
    has, claimed = [torch.cat([each == 0, each == 1], 1).float() for each in (labels, claims)]  # [., 2A]
    exchanged = claimed.roll(labels.shape[1], 1)
    wrong, right, all_claims = has @ exchanged.T, has @ claimed.T, claimed.sum(1)
    unknown = (right < all_claims) | (all_claims == 0)
    return torch.where(wrong > 0, 0, torch.where(unknown, -1, 1))


def decided(truth: Tensor) -> Tensor:
    """Which sentences some images have and others have not, [S] bool, of `claims_are_true` [B, S]."""
    return (truth == 1).any(0) & (truth == 0).any(0)


@_in_float32
def sentence_answers(logits: Tensor, truth: Tensor, count: Tensor | None = None) -> Tensor:
    """Whether images have what sentences claim: logits [B, S] of yes, `truth` [B, S] of `claims_are_true`.

    The loss of a sentence is half the mean over the images that have it and half that over those that have not, since few images have what
    a sentence names; the result is the mean over the sentences that are `decided`, 0 without any. With `count`, the mean over ranks of
    how many these are, the gradient for the sentences of all ranks equals that of one process.
    """
    counted = decided(truth)
    each = F.binary_cross_entropy_with_logits(logits, (truth == 1).to(logits.dtype), reduction="none")
    halves = [(each * (truth == value)).sum(0) / (truth == value).sum(0).clamp(min=1) for value in (1, 0)]
    of_sentence = torch.stack(halves).mean(0)
    return _per(of_sentence.masked_fill(~counted, 0).sum(), counted.sum() if count is None else count)


@_in_float32
def triplet_hard(own: Tensor, features: Tensor, same: Tensor, margin: float) -> Tensor:
    """The triplet loss with the hardest examples of a batch (Hermans et al., 2017, equation 5): own features [B, D] among all [N, D].

    `same` [B, N] marks rows of the same person, the row itself included. The loss of a row is max(0, margin + distance to its farthest row
    of the same person - distance to its nearest row of another one), Euclidean distances; 0 for a row without another person.
    The mean of this loss over ranks, with `features` from `ranks.gather`, equals the loss of one process over all rows.
    """
    squares = own.square().sum(1, keepdim=True) + features.square().sum(1) - 2 * own @ features.T
    distances = squares.clamp(min=1e-12).sqrt()  # the root of 0 has no gradient
    farthest = distances.masked_fill(~same, 0.0).amax(1)
    nearest = distances.masked_fill(same, torch.inf).amin(1)
    return F.relu(margin + farthest - nearest).mean()  # of an infinite distance 0, also in the gradient


@_in_float32
def part_diversity(parts: Tensor) -> Tensor:
    """How alike the parts of an image are: the mean squared cosine of two different ones of its N parts [B, N, D], from 0 to 1.

    0 for orthogonal parts, 1 for collinear ones; the mean over images. It is DPTI's modified diversity loss (arXiv 2208.11440).
    """
    count = parts.shape[1]
    unit = F.normalize(parts, dim=-1)
    squares = (unit @ unit.transpose(1, 2)).square()
    others = squares.sum((1, 2)) - squares.diagonal(dim1=1, dim2=2).sum(1)
    return others.mean() / max(1, count * (count - 1))


def prompt_labels(labels: Tensor) -> Tensor:
    """[B, A] -> [B, 2A]: 1 if the prompt describes the image, 0 if not, -1 if unknown."""
    both = torch.stack([1 - labels, labels], dim=2)
    return both.masked_fill((labels < 0)[..., None], -1).flatten(1)


def _over_known(logits: Tensor, labels: Tensor, smoothing: float, counts: Tensor | None, weights: Tensor | None) -> Tensor:
    """Cross entropy of logits [B, K, 2]: for each of the K the mean over its known labels, then the mean over all K."""
    each = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-1, reduction="none", label_smoothing=smoothing)
    each = each.view_as(labels) if weights is None else each.view_as(labels) * weights
    known = (labels >= 0).sum(0) if counts is None else counts
    return _per(each.sum(0), known).mean()


def _mean(rows: Tensor, weights: Tensor | None) -> Tensor:
    """The mean over rows [B], each times its weight."""
    return rows.mean() if weights is None else (rows * weights).mean()


def _choice(logits: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
    """The mean cross entropy of rows [B], each times its weight."""
    return F.cross_entropy(logits, target) if weights is None else _mean(F.cross_entropy(logits, target, reduction="none"), weights)


def _choices(logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """The summed cross entropy of rows, each times its weight, without those whose target is IGNORED."""
    if weights is None:
        return F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")
    return (F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="none") * weights).sum()


def _per(total: Tensor, count: Tensor) -> Tensor:
    """total / count, 0 where the count is 0."""
    return total / torch.where(count > 0, count, 1)


@_in_float32
def rank_semihard(
    similarity: Tensor,
    persons: Tensor,
    margin: Tensor | float,
    random: Tensor,
    min_margin: float | None = None,
    as_coded: bool = False,
    weights: Tensor | None = None,
) -> Tensor:
    """Ranking loss with random semi-hard negatives, in both directions: `similarity` [N, N] of all ranks, matching pairs on the diagonal.

    For every row as the anchor, and then for every column, one candidate is drawn: an entry of another person (`persons` [N]) that is
    below the anchor's own pair by less than the margin. The loss is the **sum** over anchors of max(0, margin - own + drawn), so it grows
    with the batch. `margin` is a number or [N], one for each pair. `random` [2, N] in [0, 1) decides: the entry floor(random * candidates)
    of the candidates in ascending order; an anchor without candidates has no loss. Where no anchor of a direction has a candidate, the last
    anchor is compared with its first negative. With `min_margin` anchors with a smaller margin are left out; 0 where all are.

    `as_coded` draws for the second direction among the columns, but evaluates the drawn indices on rows, as the published code of LGUR
    does (docs/papers/lgur.md, section Losses). `weights` [N] are of the anchors.
    Every rank computes the loss of all rows; with rows from `ranks.gather` the gradient equals that of one process.
    """
    margins = torch.as_tensor(margin, dtype=similarity.dtype, device=similarity.device).expand(len(persons))
    kept = torch.ones_like(persons, dtype=torch.bool) if min_margin is None else margins >= min_margin
    others = (persons[:, None] != persons) & kept[:, None]
    evaluated = similarity if as_coded else similarity.T
    rows = _semihard_direction(similarity, similarity, others, margins, random[0])
    columns = _semihard_direction(similarity.T, evaluated, others, margins, random[1])
    return sum((each.sum() if weights is None else (each * weights).sum() for each in (rows, columns)), rows.new_zeros(()))


def _semihard_direction(mined: Tensor, evaluated: Tensor, others: Tensor, margins: Tensor, random: Tensor) -> Tensor:
    """The loss of each anchor [N], the rows: negatives drawn in `mined`, its value from `evaluated`, [N, N]; `others` [N, N] are negatives.

    The negative of the last anchor, where no anchor has a candidate, is the first one of the last anchor that has any, as published.
    """
    gaps = mined.detach() - mined.detach().diagonal()[:, None] + margins[:, None]
    candidates = others & (gaps > 0) & (gaps < margins[:, None])
    count = candidates.sum(1)
    place = (random * count).long().minimum(count - 1)  # a random number just below 1 may be rounded to 1
    drawn = (candidates.cumsum(1) > place[:, None]).int().argmax(1)
    usable = others.any(1)
    position = torch.arange(len(others), device=others.device)
    negatives = others.index_select(0, torch.where(usable, position, -1).max().clamp(min=0)[None])[0]
    fallback = (position == len(others) - 1) & ~candidates.any() & usable.any()
    chosen = torch.where(count > 0, drawn, negatives.int().argmax())
    each = (margins - evaluated.diagonal() + evaluated.gather(1, chosen[:, None])[:, 0]).clamp(min=0)
    return each.masked_fill((count == 0) & ~fallback, 0)


@_in_float32
def tal(to_images: Tensor, to_texts: Tensor, same: Tensor, temperature: float, margin: float) -> Tensor:
    """Triplet alignment loss of each row [B] (Qin et al., CVPR 2024; docs/papers/rde.md, section Losses).

    Cosines of own texts with all images and of own images with all texts, [B, N] each; `same` [B, N] marks pairs of one identity. In each
    direction, max(0, margin - positive + negative), both added: the positive is the mean of the identity's cosines weighed by their
    softmax, which has no gradient, the negative temperature * log sum exp of the others, 0 loss where there are none.
    """
    return _hinge(to_images, same, temperature, margin, _soft_highest) + _hinge(to_texts, same, temperature, margin, _soft_highest)


@_in_float32
def trl(to_images: Tensor, to_texts: Tensor, same: Tensor, temperature: float, margin: float) -> Tensor:
    """Triplet ranking loss of each row [B]: as `tal`, with the highest cosine of another identity as the negative."""
    return _hinge(to_images, same, temperature, margin, _highest) + _hinge(to_texts, same, temperature, margin, _highest)


@_in_float32
def info_nce(to_images: Tensor, to_texts: Tensor, pairs: Tensor, temperature: float) -> Tensor:
    """Contrast of each row [B] with all others, whoever they show; cosines [B, N] as in `tal`, `pairs` [B] the columns of the own pairs."""
    directions = [F.cross_entropy(cosines / temperature, pairs, reduction="none") for cosines in (to_images, to_texts)]
    return (directions[0] + directions[1]) / 2


@_in_float32
def sdm_rows(
    to_images: Tensor, to_texts: Tensor, same: Tensor, temperature: float, sums: Tensor | None = None, wrong: Tensor | None = None
) -> Tensor:
    """Similarity distribution matching of each row [B], both directions added (Jiang and Ye, CVPR 2023, equations 3 to 6).

    Cosines and `same` [B, N] as in `tal`; `same` may be weights of matches too. It is the divergence of the softmax of the cosines from
    the true shares of a row, `same` divided by `sums`, by default those of its rows. `wrong` [B] is one more text, as in `itc`.
    """
    target = same / (same.sum(1, keepdim=True) if sums is None else sums)
    directions = ((to_images, target), _beside(to_texts, target, wrong))
    logs = [((cosines / temperature).log_softmax(1), shares) for cosines, shares in directions]
    divergences = [(log.exp() * (log - torch.log(shares + SDM_EPSILON))).sum(1) for log, shares in logs]
    return divergences[0] + divergences[1]


@_in_float32
def wrong_cosines(image: Tensor, wrong: Tensor, negated: Tensor) -> Tensor:
    """Cosines [B] of images and wrong captions of their own, [B, D] each of length 1; ABSENT for a row without one (`negated` [B])."""
    return (image * wrong).sum(1).masked_fill(~negated, ABSENT)


def _beside(cosines: Tensor, target: Tensor, wrong: Tensor | None) -> tuple[Tensor, Tensor]:
    """Cosines and target shares [B, N], with those of the wrong captions [B] as another column, whose share is 0."""
    return (cosines, target) if wrong is None else (torch.cat([cosines, wrong[:, None]], 1), F.pad(target, (0, 1)))


def _hinge(cosines: Tensor, same: Tensor, temperature: float, margin: float, negative: Callable[[Tensor, float], Tensor]) -> Tensor:
    """One direction of a triplet loss, [B]; `negative` reduces the cosines of other identities, which are low elsewhere."""
    weights = (cosines.detach() / temperature).masked_fill(~same, -torch.inf).softmax(1)
    others = cosines.masked_fill(same, torch.finfo(cosines.dtype).min * min(1.0, temperature))
    return (margin - (weights * cosines).sum(1) + negative(others, temperature)).clamp(min=0)


def _soft_highest(cosines: Tensor, temperature: float) -> Tensor:
    return temperature * (cosines / temperature).logsumexp(1)


def _highest(cosines: Tensor, temperature: float) -> Tensor:
    return cosines.amax(1)

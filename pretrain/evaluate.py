"""Evaluation of a trained method: retrieval by embeddings with re-ranking by the cross encoder, identification by images, and attribute
recognition by prompts.

Ranks share the batches of `pretrain.gallery`, and the blocks of captions that are ranked. Each rank computes its own rows and leaves the
others zero: sums over ranks are exact, and any number of ranks gives the same scores.

Shapes: Q captions, G images, D width of the embeddings, K candidates of a caption that are re-ranked, A attributes, P tokens of a prompt,
C channels.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from mals.attributes import load_space
from mals.errors import UserError
from pretrain import metrics, ranking, ranks
from pretrain.data.errors import NoCaptions, NoLabels
from pretrain.data.sources import DatasetAddress
from pretrain.data.splits import choose_split
from pretrain.gallery import SPACES, Gallery, batch_slices, open_persons, open_rows, tokenize
from pretrain.method import MATCH_CHUNK, Ability, Method, Text
from pretrain.precision import cosines
from pretrain.results import AttributeScores, Evaluation, IdentificationScores, MoreScores, RetrievalScores
from pretrain.trained_method import Trained

Rerank = Literal[
    "none",  # by the cosine of the embeddings alone
    "itm",  # the best k images of a caption by cosine are ordered by the matching logit of the cross encoder
    "published",  # as "itm", by the logit plus a weighted cosine: the order of the method's authors
]
Task = Literal["retrieval", "attributes", "reid"]
Labels = Literal["required", "optional", "none"]  # of a gallery: an error if missing, used if present, not used

CELLS = 1 << 22  # scores in memory at once; the ranks share the blocks

PROTOCOL = "text to image; every caption is a query, all images of the split are the gallery; matches are images of the same identity"
IDENTIFICATION = (
    "image to image, as on Market-1501; {queries} is a query, {searched} the gallery; images of the query's person by its own camera are "
    "left out; by the cosine of the embeddings"
)
ORDER = {
    "none": "by the cosine of the embeddings",
    "itm": "the best {k} of a caption by cosine are ordered by the matching logit, the others follow by cosine",
    "published": "the best {k} of a caption by cosine are ordered by logit + {weight:g} x cosine (scaled to 0..1), the others by cosine",
}
PLAIN = "; captions are reduced to letters a-z and digits"
CLASSIFIER = "a plain classifier (space {space}) predicts yes if its logit is above 0"
PROMPTS = "of an attribute's two prompts (space {space}) the one with the higher {score} is predicted"


@dataclass
class Embeddings:
    """Embeddings of length 1, and for each caption its best images with their matching logits."""

    texts: Tensor  # [Q, D]
    images: Tensor  # [G, D]
    candidates: Tensor  # [Q, K] int64: indices of the best images by cosine
    logits: Tensor | None = None  # [Q, K]; None: not re-ranked
    cosine_weight: float = 0.0  # of the cosine, scaled to 0..1, beside the logit in the order "published"

    def blocks(self) -> list[slice]:
        """Captions whose scores are in memory together."""
        return batch_slices(len(self.texts), max(1, CELLS // len(self.images)))

    def own_blocks(self) -> list[slice]:
        """The blocks of this rank."""
        return self.blocks()[ranks.rank() :: ranks.world_size()]

    def cosines(self, blocks: Sequence[slice] | None = None) -> Iterator[Tensor]:
        """Blocks of rows of [Q, G], by default all."""
        for block in self.blocks() if blocks is None else blocks:
            yield cosines(self.texts[block], self.images)

    def nearest(self, k: int) -> Tensor:
        """The best k images of each caption by cosine, equal cosines in the gallery's order: [Q, K] int64, on every rank."""
        nearest = torch.zeros(len(self.texts), min(k, len(self.images)), dtype=torch.int64, device=self.images.device)
        blocks = self.own_blocks()
        for block, cosine in zip(blocks, self.cosines(blocks), strict=True):
            nearest[block] = ranking.best(cosine, k)
        return ranks.sum_over_ranks(nearest)

    def scores(self, rerank: Rerank = "none", blocks: Sequence[slice] | None = None) -> Iterator[Tensor]:
        """Blocks of rows of [Q, G]: the candidates of a caption above all others, the others by cosine. All ranks call it together."""
        blocks = self.blocks() if blocks is None else blocks
        if rerank == "none" or self.logits is None:
            return self.cosines(blocks)
        low, high = self._cosine_range()
        return self._reranked(blocks, self.logits, rerank, low, high)

    def _reranked(self, blocks: Sequence[slice], logits: Tensor, rerank: Rerank, low: float, high: float) -> Iterator[Tensor]:
        for block, cosine in zip(blocks, self.cosines(blocks), strict=True):
            scaled = (cosine - low) / max(high - low, 1e-12)
            candidates, reranked = self.candidates[block], logits[block]
            if rerank == "published":
                reranked = reranked + self.cosine_weight * scaled.gather(1, candidates)
            floor = reranked.min(1, keepdim=True).values - 2  # scaled cosines are in 0..1, so floor + scaled <= last candidate - 1
            yield (floor + scaled).scatter(1, candidates, reranked)

    def _cosine_range(self) -> tuple[float, float]:
        """The lowest and the highest cosine of all captions and images, of all ranks."""
        ends = torch.tensor([[torch.inf, -torch.inf]], device=self.images.device)
        for block in self.cosines(self.own_blocks()):
            ends[0, 0], ends[0, 1] = torch.minimum(ends[0, 0], block.min()), torch.maximum(ends[0, 1], block.max())
        ends = ranks.gather_detached(ends)
        return float(ends[:, 0].min()), float(ends[:, 1].max())


def score_ranking(embeddings: Embeddings, matches: metrics.Matches, rerank: Rerank = "none") -> dict[str, float]:
    """R1, R5, R10, mAP and mINP of the scores, see `metrics.retrieval_means`; each rank computes a part, and has the result."""
    table = torch.zeros(len(matches), 4, dtype=torch.float64)
    blocks = embeddings.own_blocks()
    for block, scores in zip(blocks, embeddings.scores(rerank, blocks), strict=True):
        table[block] = matches.score(scores, block.start)
    return metrics.retrieval_means(ranks.sum_over_ranks(table.to(embeddings.images.device)).cpu())


def resolve_rerank(method: Method, requested: Rerank | None) -> Rerank:
    """The requested re-ranking; if none is requested, "itm" for a method with a cross encoder and "none" for others.

    Raises UserError if the method cannot do it. "published" is valid for attribute recognition too, with a cross encoder or without.
    """
    matches = "match" in method.abilities
    if not matches and (requested == "itm" or (requested == "published" and "recognise" not in method.abilities)):
        raise UserError(f"--rerank {requested}: this method has no trained cross encoder; leave --rerank out, or give none")
    return requested or ("itm" if matches else "none")


@torch.inference_mode()
def embed_gallery(method: Method, gallery: Gallery, rerank: Rerank = "none", k: int = 128) -> Embeddings:
    """Embed the images and captions of a gallery; unless `rerank` is "none", compute the matching logits of the best k images of a caption.

    Images that cannot be read, and their captions, are dropped from the gallery.
    """
    images = embed_images(method, gallery)
    texts = embed_texts(method, gallery)
    no_candidates = torch.empty(len(texts), 0, dtype=torch.int64)
    embeddings = Embeddings(texts, images, no_candidates, cosine_weight=method.published_cosine_weight)
    if rerank != "none":
        embeddings.candidates = embeddings.nearest(k)
        embeddings.logits = match_logits(method, gallery, embeddings.candidates, *text_states(method, gallery))
    return embeddings


@torch.inference_mode()
def embed_images(method: Method, gallery: Gallery) -> Tensor:
    """Embeddings [G, D] in float32 of all readable images, on every rank; drops the others from the gallery."""
    rows = None
    for indices, images in gallery.image_batches():
        part = method.embed_image(images).float()
        rows = part.new_zeros(len(gallery), part.shape[1]) if rows is None else rows
        rows[indices] = part
    return _sum_over_ranks(rows, len(gallery), gallery.device)[gallery.drop_unreadable()]


@torch.inference_mode()
def embed_texts(method: Method, gallery: Gallery) -> Tensor:
    """Embeddings [Q, D] in float32 of all captions, on every rank."""
    rows = None
    for indices, text in gallery.caption_batches():
        part = method.embed_text(text).float()
        rows = part.new_zeros(len(gallery.queries), part.shape[1]) if rows is None else rows
        rows[indices] = part
    return _sum_over_ranks(rows, len(gallery.queries), gallery.device)


def _sum_over_ranks(rows: Tensor | None, count: int, device: Any) -> Tensor:
    """The sum [count, D] of each rank's rows, zero where they belong to another rank; None from a rank without rows."""
    width = torch.tensor(0 if rows is None else rows.shape[1], device=device)
    widest = int(ranks.gather_detached(width[None]).max())
    return finite(ranks.sum_over_ranks(torch.zeros(count, widest, device=device) if rows is None else rows))


def finite(outputs: Tensor) -> Tensor:
    """What a method has computed; UserError where it is not finite, which has no rank."""
    if not outputs.isfinite().all():
        bad = int((~outputs.isfinite()).flatten(1).any(1).sum())
        raise UserError(
            f"the method gives {bad:,} of {len(outputs):,} images or sentences no finite numbers, so they cannot be ranked, though its "
            "weights are finite; --set dtype=fp32 computes with the largest range"
        )
    return outputs


@torch.inference_mode()
def match_logits(method: Method, gallery: Gallery, candidates: Tensor, states: Tensor, mask: Tensor) -> Tensor:
    """Matching logits [Q, K] of each text, by its states [Q, L, C] and mask [Q, L], and its candidates [Q, K] in the gallery.

    Images come in batches, whose keys and values are projected once; only one batch of them is in memory.
    """
    lengths = mask.sum(1)
    logits = torch.zeros(candidates.shape, device=states.device)
    order = candidates.flatten().argsort(stable=True)  # pairs of a caption and an image, by image
    images_in_order = candidates.flatten()[order].contiguous()
    for indices, images in gallery.image_batches():
        keys = method.keys(images)
        ends = torch.tensor([int(indices[0]), int(indices[-1]) + 1], device=images_in_order.device)
        first, last = torch.searchsorted(images_in_order, ends).tolist()
        pairs = order[first:last]
        pairs = pairs[lengths[pairs // candidates.shape[1]].argsort(stable=True)]  # captions of equal length together: less padding
        position = torch.full((int(ends[1]),), -1, device=images_in_order.device)  # in the batch, by index in the gallery
        position[indices.to(position.device)] = torch.arange(len(indices), device=position.device)
        for chunk in pairs.split(MATCH_CHUNK) if len(pairs) else ():
            captions, image = chunk // candidates.shape[1], position[candidates.flatten()[chunk]]
            longest = int(lengths[captions].max())
            logits.view(-1)[chunk] = method.match(states[captions, :longest], mask[captions, :longest], keys, image)[:, 1].float()
    return finite(ranks.sum_over_ranks(logits))


def text_states(method: Method, gallery: Gallery) -> tuple[Tensor, Tensor]:
    """States [Q, L, C] and mask [Q, L] of all captions; every rank computes them all, which costs little beside the cross encoder."""
    parts = [(method.states(text), text.mask) for _, text in gallery.caption_batches(all_ranks=True)]
    longest = max(mask.shape[1] for _, mask in parts)
    states = [pad(state, (0, 0, 0, longest - state.shape[1])) for state, _ in parts]
    return torch.cat(states), torch.cat([pad(mask, (0, longest - mask.shape[1])) for _, mask in parts])


@torch.inference_mode()
def predict_by_prompts(method: Method, gallery: Gallery, prompts: Text, rerank: Rerank = "itm") -> Tensor:
    """[G, A] in {0, 1}: for each attribute the one of its two prompts, of [2A, P], with the higher score; ties are 0.

    Images that cannot be read are dropped from the gallery.
    """
    states = method.states(prompts)
    predicted = torch.zeros(len(gallery), len(states) // 2, device=states.device)
    for indices, images in gallery.image_batches():
        scores = finite(method.score_prompts(prompts, states, images, rerank == "published"))
        predicted[indices] = (scores[:, 1::2] > scores[:, 0::2]).float()
    return of_readable(ranks.sum_over_ranks(predicted).long(), gallery)


@torch.inference_mode()
def predict_by_classifier(method: Method, gallery: Gallery) -> Tensor:
    """[G, A] in {0, 1} as `predict_by_prompts`, by the plain classifier."""
    predicted = None
    for indices, images in gallery.image_batches():
        part = (method.classify(images) > 0).float()
        predicted = part.new_zeros(len(gallery), part.shape[1]) if predicted is None else predicted
        predicted[indices] = part
    return of_readable(_sum_over_ranks(predicted, len(gallery), gallery.device).long(), gallery)


def of_readable(predicted: Tensor, gallery: Gallery) -> Tensor:
    """Drop the unreadable images from the gallery, if that was not done before; returns the rows of the others."""
    return predicted if gallery.only_readable else predicted[gallery.drop_unreadable().to(predicted.device)]


def score_retrieval(embeddings: Embeddings, gallery: Gallery, rerank: Rerank, k: int) -> RetrievalScores:
    """R1, R5, R10, mAP and mINP, with the protocol in words."""
    scores = score_ranking(embeddings, metrics.Matches(gallery.query_identities, gallery.identities), rerank)
    return RetrievalScores(
        **scores,  # type: ignore[arg-type]  # `unmatched` is an int among floats
        captions=len(gallery.queries),
        images=len(gallery),
        identities=len(gallery.identities.unique()),
        protocol=f"{PROTOCOL}; {ORDER[rerank].format(k=k, weight=embeddings.cosine_weight)}{PLAIN if gallery.plain else ''}",
    )


def score_attributes(
    predicted: Tensor, labels: Tensor, *, space: str, names: Sequence[str], positive: Sequence[int], protocol: str
) -> AttributeScores:
    """mA, accuracy, precision, recall and F1, of all attributes and of each; `positive` is the label that means "has it".

    `predicted` [G, A] in {0, 1}, `labels` [G, A] in {-1, 0, 1}.
    """
    predicted, labels = predicted.cpu(), labels.cpu()
    each = metrics.per_attribute(predicted, labels, positive=positive)
    return AttributeScores(
        **metrics.attributes(predicted, labels, positive=positive),
        images=len(predicted),
        space=space,
        protocol=protocol,
        per_attribute=dict(zip(names, each, strict=True)),
    )


def evaluate_retrieval(trained: Trained, gallery: Gallery, rerank: Rerank = "itm", k: int = 128) -> RetrievalScores:
    """Retrieval in a gallery with captions, by cosine alone if the method has no cross encoder."""
    rerank = rerank if "match" in trained.method.abilities else "none"
    with trained.precision():
        return score_retrieval(embed_gallery(trained.method, gallery, rerank, k), gallery, rerank, k)


def evaluate_attributes(trained: Trained, gallery: Gallery, rerank: Rerank = "itm", k: int = 128) -> AttributeScores:
    """Attribute recognition in a gallery with labels, by prompts, or by the classifier of a plain classifier. `k` has no effect."""
    if gallery.space is None or gallery.labels is None:
        raise UserError('the gallery has no attribute labels; open it with open_gallery(..., labels="required")')
    space, method = load_space(gallery.space), trained.method
    positive = [values.index("yes") if "yes" in values else 1 for values in space.values]
    is_classifier = "classify" in method.abilities
    if is_classifier and gallery.space != method.needs.space:
        raise UserError(f"the classifier predicts the attributes of {method.needs.space}, but the labels are those of {gallery.space}")
    with trained.precision():
        if is_classifier:
            predicted, protocol = predict_by_classifier(method, gallery), CLASSIFIER.format(space=space.name)
        else:
            prompts = tokenize(trained.tokenizer, [prompt for pair in space.prompts for prompt in pair], gallery.device)
            predicted = predict_by_prompts(method, gallery, prompts, rerank)
            protocol = PROMPTS.format(space=space.name, score=method.score_name(rerank == "published"))
    return score_attributes(predicted, gallery.labels, space=space.name, names=space.names, positive=positive, protocol=protocol)


def evaluate_identification(trained: Trained, gallery: Gallery, rerank: Rerank = "none", k: int = 0) -> IdentificationScores:
    """How well images retrieve images of the same person by other cameras; `rerank` and `k` have no effect."""
    if gallery.cameras is None:
        raise UserError('the gallery has no cameras; open it with open_gallery(..., task="reid")')
    with trained.precision():
        images = embed_images(trained.method, gallery)
    own, searched = gallery.query_images, gallery.searched_images
    persons, cameras = gallery.identities, gallery.cameras
    embeddings = Embeddings(images[own.to(images.device)], images[searched.to(images.device)], torch.empty(0, 0, dtype=torch.int64))
    matches = metrics.Matches(persons[own], persons[searched], query_cameras=cameras[own], gallery_cameras=cameras[searched])
    scores = score_ranking(embeddings, matches)
    first, *others = gallery.splits or ("the data",)
    words = {"queries": f"every image of {first}", "searched": " and ".join(others) or "all of them"}
    return IdentificationScores(
        **scores,  # type: ignore[arg-type]  # `unmatched` is an int among floats
        queries=int(own.sum()),
        images=int(searched.sum()),
        identities=len(persons[searched].unique()),
        protocol=IDENTIFICATION.format(**words),
    )


@dataclass(frozen=True)
class Protocol:
    """One kind of measurement, for methods that are able to and data that allow it."""

    part: str  # the field of `Evaluation` with the scores
    abilities: frozenset[Ability]  # the method needs one of these
    data: str  # what the data need, for error messages
    is_possible: Callable[[Gallery], bool]
    measure: Callable[[Trained, Gallery, Rerank, int], RetrievalScores | AttributeScores | IdentificationScores]
    task: Task  # the name that asks for it
    on_request: frozenset[Ability] = frozenset()  # abilities that suffice if the task is asked for by its name


PROTOCOLS = (
    Protocol("retrieval", frozenset({"embed"}), "captions", lambda gallery: gallery.has_captions, evaluate_retrieval, "retrieval"),
    Protocol(
        "attributes",
        frozenset({"recognise", "classify"}),
        "attribute labels",
        lambda gallery: gallery.space is not None,
        evaluate_attributes,
        "attributes",
    ),
    Protocol(
        "identification",
        frozenset({"identify"}),
        "persons that two cameras have seen",
        lambda gallery: gallery.can_identify,
        evaluate_identification,
        "reid",
        on_request=frozenset({"embed"}),
    ),
)


def evaluate(trained: Trained, gallery: Gallery, rerank: Rerank = "itm", k: int = 128, task: Task | None = None) -> Evaluation:
    """Measure everything that the method is able to and the split has data for, and the method's own protocol (`Method.evaluate_more`).

    With `task`, measure that alone. `k` is the number of images of a caption that the cross encoder re-ranks. Without a cross encoder,
    images are ordered by the cosine alone. Raises UserError if there is nothing to measure.
    """
    able = [protocol for protocol in PROTOCOLS if _is_able(protocol, trained.method, task)]
    if task is not None and not able:
        raise UserError(f"this method cannot do {task}: it is able to {', '.join(sorted(trained.method.abilities)) or 'nothing'}")
    possible = [protocol for protocol in able if protocol.is_possible(gallery)]
    scores: dict[str, Any] = {protocol.part: protocol.measure(trained, gallery, rerank, k) for protocol in possible}
    more = evaluate_own_protocols(trained, gallery) if task is None else {}
    if not scores and not more:
        raise UserError(f"there is nothing to measure: {_nothing_to_measure(able, gallery)}")
    return Evaluation(**scores, more=more, unreadable=count_unreadable(gallery))


def _is_able(protocol: Protocol, method: Method, task: Task | None) -> bool:
    """Whether to measure this of the method, if the data allow it."""
    if task is None:
        return bool(protocol.abilities & method.abilities)
    return protocol.task == task and bool((protocol.abilities | protocol.on_request) & method.abilities)


def _nothing_to_measure(able: Sequence[Protocol], gallery: Gallery) -> str:
    """Why none of the protocols that a method is able to is possible."""
    if not able:
        return "no loss has trained this method to embed, or to recognise attributes"
    lacks = " nor ".join(protocol.data for protocol in able)
    problem = f"neither {lacks}" if len(able) > 1 else f"no {lacks}, which is all that this method can be measured on"
    return f"the images ({gallery.dataset.location(0)}, ...) have {problem}"


@torch.inference_mode()
def evaluate_own_protocols(trained: Trained, gallery: Gallery) -> MoreScores:
    """The scores of the method's own protocols, see `Method.evaluate_more`."""
    with trained.precision():
        return trained.method.evaluate_more(trained, gallery)


def count_unreadable(gallery: Gallery) -> int:
    """Images that could not be read, of all ranks."""
    return int(ranks.sum_over_ranks(torch.tensor(float(len(gallery.unreadable)), device=gallery.device)))


def open_gallery(
    trained: Trained,
    data: Sequence[DatasetAddress],
    split: str | None = None,
    labels: Labels = "optional",
    *,
    batch: int = 64,
    workers: int = 0,
    plain: bool = False,
    task: Task | None = None,
    query: str | None = None,
) -> Gallery:
    """A split of data sets, by default `test` or the only one, as a gallery, with attribute labels as `labels` says.

    Labels may belong to the space that the method was trained with, or to any that ships with mals, since prompts are plain text. For the
    task "reid", and for a method that does nothing else, it is the gallery of an identification with the split `query`, see
    `gallery.open_persons`.
    """
    split = choose_split(data, split)
    if task == "reid" or (task is None and trained.method.abilities == {"identify"}):
        persons, splits = open_persons(data, split, query)
        return Gallery(persons, trained.tokenizer, trained.preprocessing, trained.device, batch=batch, workers=workers, splits=splits)
    if query is not None:
        raise UserError("--query is for --task reid: elsewhere captions are the queries")
    spaces = [space for space in (trained.method.needs.space, *SPACES) if space]
    try:
        try:
            dataset, space = open_rows(data, split, None if labels == "none" else spaces)
        except NoLabels as error:
            if labels == "required":
                raise NoLabels(f"{error}, which recognition is measured against") from None
            dataset, space = open_rows(data, split, None)
    except NoCaptions as error:
        raise NoCaptions(f"{error}, which retrieval is measured with", error.all_rows) from None
    return Gallery(
        dataset, trained.tokenizer, trained.preprocessing, trained.device, batch=batch, workers=workers, plain=plain, space=space
    )

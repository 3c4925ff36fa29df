"""Evaluation of a trained method: retrieval by embeddings with re-ranking by the cross encoder, the attribute precision of search,
identification by images, and attribute recognition by prompts.

Ranks share the batches of `pretrain.gallery`, and the blocks of captions that are ranked; any number of ranks gives the same scores.

Shapes: Q captions, G images, A attributes, P tokens of a prompt.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from mals.attributes import load_space
from mals.errors import UserError
from pretrain import metrics, ranks
from pretrain.data.captions import Reduction
from pretrain.data.errors import NoCaptions, NoLabels
from pretrain.data.sources import DatasetAddress
from pretrain.data.splits import choose_split
from pretrain.gallery import SPACES, Gallery, open_persons, open_rows, tokenize
from pretrain.method import Ability, Method, Text
from pretrain.precision import finite
from pretrain.results import AttributeScores, Evaluation, IdentificationScores, MoreScores, RetrievalScores, SearchScores
from pretrain.retrieval_protocol import retrieval_protocol
from pretrain.search_precision import evaluate_search, has_colors
from pretrain.similarity_distribution import distributions
from pretrain.text_scores import Embeddings, Rerank, default_rerank, embed_gallery, embed_images, possible_rerank, sum_rows
from pretrain.trained_method import Trained

Task = Literal["retrieval", "attributes", "reid", "search"]
Labels = Literal["required", "optional", "none"]  # of a gallery: an error if missing, used if present, not used

PROTOCOL = "text to image; every caption is a query, {gallery} are the gallery; matches are images of the same identity"
IDENTIFICATION = (
    "image to image, as on Market-1501; {queries} is a query, {searched} the gallery; images of the query's person by its own camera are "
    "left out; by the cosine of the embeddings"
)
ORDER = {
    "none": "by the cosine of the embeddings",
    "itm": "the best {k} of a caption by cosine are ordered by the matching logit, the others follow by cosine",
    "published": "the best {k} of a caption by cosine are ordered by logit + {weight:g} x cosine (scaled to 0..1), the others by cosine",
    "attributes": "the best {k} of a caption by cosine are ordered by cosine / temperature + the log-probabilities of the attributes that "
    "the caption names, the others by cosine",
}
REDUCED: dict[Reduction, str] = {
    "none": "",
    "letters": "; captions are reduced to letters a-z and digits",
    "punctuation": "; captions are in lower case, punctuation is blanks, and the first 77 words count, as published for TAG-PEDES",
}
SIMILARITY = "; mSD by the cosine of the embeddings, in the order of the ranking, and as its authors' function computes it"
CLASSIFIER = "a plain classifier (space {space}) predicts yes if its logit is above 0"
PROMPTS = "of an attribute's two prompts (space {space}) the one with the higher {score} is predicted"


def score_ranking(embeddings: Embeddings, matches: metrics.Matches, rerank: Rerank = "none") -> dict[str, float]:
    """R1, R5, R10, mAP and mINP of the scores, see `metrics.retrieval_means`; each rank computes a part, and has the result."""
    table = torch.zeros(len(matches), 4, dtype=torch.float64)
    blocks = embeddings.own_blocks()
    for block, scores in zip(blocks, embeddings.scores(rerank, blocks), strict=True):
        table[block] = matches.score(scores, block.start)
    return metrics.retrieval_means(ranks.sum_over_ranks(table.to(embeddings.images.device)).cpu())


def score_similarity_distribution(embeddings: Embeddings, gallery: Gallery) -> dict[str, float]:
    """mSD and mSD_as_published, see `similarity_distribution`; each rank computes a part, and has the result.

    They are of the cosines whatever the images are re-ranked by, since a logit is no similarity from -1 to 1. Queries without a match are
    left out of the means.
    """
    queries, persons = (identities.to(embeddings.images.device) for identities in (gallery.query_identities, gallery.identities))
    table = torch.zeros(len(queries), 3, dtype=torch.float64)
    blocks = embeddings.own_blocks()
    for block, cosines in zip(blocks, embeddings.cosines(blocks), strict=True):
        matches = queries[block, None] == persons
        table[block, :2] = distributions(cosines, matches)
        table[block, 2] = matches.any(1).double().cpu()
    table = ranks.sum_over_ranks(table.to(embeddings.images.device)).cpu()
    means = table[:, :2].sum(0) / table[:, 2].sum().clamp(min=1)
    return {"mSD": float(means[0]), "mSD_as_published": float(means[1])}


@torch.inference_mode()
def predict_by_prompts(method: Method, gallery: Gallery, prompts: Text, rerank: Rerank = "none") -> Tensor:
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
    return of_readable(sum_rows(predicted, len(gallery), gallery.device).long(), gallery)


def of_readable(predicted: Tensor, gallery: Gallery) -> Tensor:
    """Drop the unreadable images from the gallery, if that was not done before; returns the rows of the others."""
    return predicted if gallery.only_readable else predicted[gallery.drop_unreadable().to(predicted.device)]


def score_retrieval(embeddings: Embeddings, gallery: Gallery, rerank: Rerank, k: int) -> RetrievalScores:
    """R1, R5, R10, mAP and mINP, and mSD where the gallery's protocol has it, with the protocol in words."""
    scores = score_ranking(embeddings, metrics.Matches(gallery.query_identities, gallery.identities), rerank)
    protocol = gallery.protocol
    sentence = PROTOCOL.format(gallery=protocol.gallery or "all images of the split")
    order = ORDER[rerank].format(k=k, weight=embeddings.cosine_weight)
    if protocol.similarity_distribution:
        scores |= score_similarity_distribution(embeddings, gallery)
    return RetrievalScores(
        **scores,  # type: ignore[arg-type]  # `unmatched` is an int among floats
        captions=len(gallery.queries),
        images=len(gallery),
        identities=len(gallery.identities.unique()),
        protocol=f"{sentence}; {order}{REDUCED[protocol.reduction]}{SIMILARITY if protocol.similarity_distribution else ''}",
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


def evaluate_retrieval(trained: Trained, gallery: Gallery, rerank: Rerank | None = None, k: int = 128) -> RetrievalScores:
    """Retrieval in a gallery with captions, by default as `default_rerank` says; by cosine alone if the method cannot re-rank so."""
    rerank = possible_rerank(trained, rerank or default_rerank(trained))
    with trained.precision():
        return score_retrieval(embed_gallery(trained.method, gallery, rerank, k), gallery, rerank, k)


def evaluate_attributes(trained: Trained, gallery: Gallery, rerank: Rerank = "none", k: int = 128) -> AttributeScores:
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
    measure: Callable[[Trained, Gallery, Rerank, int], RetrievalScores | AttributeScores | IdentificationScores | SearchScores]
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
    Protocol("search", frozenset({"embed"}), "labels of colours", has_colors, evaluate_search, "search"),
)


def evaluate(trained: Trained, gallery: Gallery, rerank: Rerank | None = None, k: int = 128, task: Task | None = None) -> Evaluation:
    """Measure everything that the method is able to and the split has data for, and the method's own protocol (`Method.evaluate_more`).

    With `task`, measure that alone. `default_rerank` has the default of `rerank`; `k` is the number of images of a caption that are
    re-ranked. A method that cannot re-rank so orders images by the cosine alone. Raises UserError if there is nothing to measure.
    """
    able = [protocol for protocol in PROTOCOLS if _is_able(protocol, trained.method, task)]
    if task is not None and not able:
        raise UserError(f"this method cannot do {task}: it is able to {', '.join(sorted(trained.method.abilities)) or 'nothing'}")
    rerank = rerank or default_rerank(trained)
    possible = [protocol for protocol in able if protocol.is_possible(gallery)]
    scores: dict[str, Any] = {protocol.part: protocol.measure(trained, gallery, rerank, k) for protocol in possible}
    more = evaluate_own_protocols(trained, gallery) if task is None else {}
    if not scores and not more:
        raise UserError(f"there is nothing to measure: {_nothing_to_measure(able, gallery, task)}")
    return Evaluation(**scores, more=more, unreadable=count_unreadable(gallery))


def _is_able(protocol: Protocol, method: Method, task: Task | None) -> bool:
    """Whether to measure this of the method, if the data allow it."""
    if task is None:
        return bool(protocol.abilities & method.abilities)
    return protocol.task == task and bool((protocol.abilities | protocol.on_request) & method.abilities)


def _nothing_to_measure(able: Sequence[Protocol], gallery: Gallery, task: Task | None) -> str:
    """Why none of the protocols that a method is able to, or that of the task, is possible."""
    if not able:
        return "no loss has trained this method to embed, or to recognise attributes"
    lacks = " nor ".join(protocol.data for protocol in able)
    use = "is all that this method can be measured on" if task is None else f"the task {task} needs"
    problem = f"neither {lacks}" if len(able) > 1 else f"no {lacks}, which {use}"
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
    similarity_distribution: bool | None = None,
    task: Task | None = None,
    query: str | None = None,
) -> Gallery:
    """A split of data sets, by default `test` or the only one, as a gallery, with attribute labels as `labels` says.

    Labels may belong to the space that the method was trained with, or to any that ships with mals, since prompts are plain text. For the
    task "reid", and for a method that does nothing else, it is the gallery of an identification with the split `query`, see
    `gallery.open_persons`. `plain` and `similarity_distribution` are those of `retrieval_protocol`.
    """
    split = choose_split(data, split)
    if task == "reid" or (task is None and trained.method.abilities == {"identify"}):
        persons, splits = open_persons(data, split, query)
        return Gallery(persons, trained.tokenizer, trained.preprocessing, trained.device, batch=batch, workers=workers, splits=splits)
    if query is not None:
        raise UserError("--query is for --task reid: elsewhere captions are the queries")
    spaces = [space for space in (trained.method.needs.space, *SPACES) if space]
    protocol = retrieval_protocol(data, split, plain=plain, similarity_distribution=similarity_distribution)
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
        dataset, trained.tokenizer, trained.preprocessing, trained.device, batch=batch, workers=workers, protocol=protocol, space=space
    )

"""How well images fit the attributes that texts name: the labeller reads these in the text, the method sees them in the image.

A text of an attribute space's words asks for several things at once. The cosine of its embedding weighs them as it likes, and finds images
that have one of them; here each counts as a question of its own.

Shapes: Q texts, G images, B images of a batch, K candidates of a text, A attributes of a space, a of them that are asked for.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mals.attributes import Space, load_space
from mals.labeller.labeller import Labeller
from pretrain import ranks
from pretrain.data.wordings.claims import searched_claims
from pretrain.data.wordings.wordings import DEFAULT_SPACE
from pretrain.gallery import Gallery, tokenize
from pretrain.method import Method
from pretrain.precision import finite


def space_of(method: Method) -> Space:
    """The attribute space that a method's attributes are named in."""
    return load_space(_space_name(method))


def _space_name(method: Method) -> str:
    """As the settings have it: a name, or the path of a file."""
    return method.needs.space or DEFAULT_SPACE


@torch.inference_mode()
def log_probabilities(method: Method, gallery: Gallery, space: Space, attributes: Sequence[int]) -> Tensor:
    """The log-probabilities [G, a, 2] of both values of these attributes for each image, on every rank."""
    is_classifier = "classify" in method.abilities
    if not is_classifier:
        text = tokenize(gallery.tokenizer, [prompt for at in attributes for prompt in space.prompts[at]], gallery.device)
        states = method.states(text)
    rows = torch.zeros(len(gallery), len(attributes), 2, device=gallery.device)
    for indices, images in gallery.image_batches():
        if is_classifier:
            logits = method.classify(images)[:, list(attributes)].float()
            pairs = torch.stack([torch.zeros_like(logits), logits], 2)  # [B, a, 2]
        else:
            pairs = method.score_prompts(text, states, images).float().unflatten(1, (-1, 2))
        rows[indices] = finite(pairs.flatten(1)).view_as(pairs).log_softmax(2)
    return ranks.sum_over_ranks(rows)


def named_attribute_logits(method: Method, gallery: Gallery, candidates: Tensor, texts: Sequence[str]) -> Tensor:
    """The log-probability [Q, K] that an image has all attributes which a text names, as if they were independent; 0 where it names none.

    Candidates [Q, K] are places in the gallery. What a garment is called names no attribute, see `searched_claims`.
    """
    labeller = Labeller(_space_name(method))
    claims = torch.from_numpy(searched_claims(labeller, texts)).to(candidates.device)  # [Q, A]
    attributes = (claims >= 0).any(0).nonzero().flatten().tolist()
    logits = torch.zeros(candidates.shape, device=candidates.device)
    if not attributes:
        return logits
    images = log_probabilities(method, gallery, labeller.space, attributes)
    for place, at in enumerate(attributes):
        for value in (0, 1):
            asks = claims[:, at] == value
            logits[asks] += images[:, place, value][candidates[asks]]
    return logits

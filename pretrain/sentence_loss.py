"""A loss beside those of the papers: whether each image has all that a sentence claims, for sentences as people search.

A contrast asks for the caption of one image among those of a batch; a search asks which images have what a short sentence names. Each
pair of an image and a sentence is a question of its own with a yes or a no, as in SigLIP (Zhai et al., 2023).

Shapes: B rows, N rows of all ranks, S sentences of the B rows, D width of the embeddings.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pretrain import losses, ranks
from pretrain.data.batch import Batch
from pretrain.precision import cosines
from pretrain.towers.heads import Float32Linear

PARAMETERS = r"sentence_head\."  # the names of what only this loss has begin so
LOG_SCALE, BIAS = 2.3, -3.0  # at the start: a cosine of 0.3 is undecided


class SentenceHead(nn.Module):
    """From the cosine of an image and a sentence to the logit of yes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(LOG_SCALE))
        self.bias = Float32Linear(width, 1)  # rare things need a higher cosine; it does not change the order of the images of a sentence
        nn.init.zeros_(self.bias.weight)
        nn.init.constant_(self.bias.bias, BIAS)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Logits [N, S] of features [N, D] and [S, D] of length 1."""
        return cosines(image, text) * self.log_scale.exp() + self.bias(text).T


def sentence_loss(head: SentenceHead, image: Tensor, text: Tensor, batch: Batch, means: ranks.Means) -> Callable[[], Tensor]:
    """The loss of the batch's own sentences and the images of all ranks, once all counts were named to `means`.

    Features of the rows [B, D] and of their sentences [S, D] have length 1.
    """
    assert batch.claims is not None and batch.labels is not None
    logits = head(ranks.gather(image), text)
    truth = losses.claims_are_true(ranks.gather_detached(batch.labels), batch.claims)
    count = means.of(losses.decided(truth).sum().float())
    return lambda: losses.sentence_answers(logits, truth, count())

"""A loss of APTM that the paper does not have: whether each image has all that a sentence claims, for sentences as people search.

IAC asks for one attribute at a time, ITC for the caption of one image among those of a batch; a search asks whether an image has what a
short sentence names. Each pair of an image and a sentence is a question of its own with a yes or a no, as in SigLIP (Zhai et al., 2023).

Shapes: B rows, S sentences, A attributes, L tokens of a sentence.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from pretrain import losses, ranks
from pretrain.data.tokenizers.base import Tokenizer
from pretrain.data.wordings.searched import SearchSentences
from pretrain.host import to_device
from pretrain.methods.aptm.towers import Towers, first_tokens
from pretrain.precision import cosines
from pretrain.towers.bert import Texts
from pretrain.towers.heads import Float32Linear

SENTENCE = "sentence"  # the sentences among the texts
PARAMETERS = r"sentence_head\."  # the names of what only this loss has begin so
LOG_SCALE, BIAS = 2.3, -3.0  # at the start: a cosine of 0.3 is undecided
MULTIPLE = 8  # of tokens, so that steps have few shapes


class SentenceHead(nn.Module):
    """From the cosine of an image and a sentence to the logit of yes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(LOG_SCALE))
        self.bias = Float32Linear(width, 1)  # rare things need a higher cosine; it does not change the order of the images of a sentence
        nn.init.zeros_(self.bias.weight)
        nn.init.constant_(self.bias.bias, BIAS)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Logits [B, S] of features [B, D] and [S, D] of length 1."""
        return cosines(image, text) * self.log_scale.exp() + self.bias(text).T


class SentenceLoss(Towers):
    """The loss `sentences`."""

    sentences: SearchSentences | None = None  # None where a trained method is loaded
    sentence_head: SentenceHead | None
    sentence_tokenizer: Tokenizer

    def use_sentences(self, sentences: SearchSentences, tokenizer: Tokenizer) -> None:
        """Train with these sentences."""
        self.sentences, self.sentence_tokenizer = sentences, tokenizer
        self.sentence_head = SentenceHead(self.own.proj)

    def sentence_texts(self, step: int, device: torch.device) -> tuple[dict[str, Texts], Tensor | None]:
        """The sentences of a step, if they are trained, and their claims [S, A] in {-1, 0, 1}."""
        if self.sentences is None:
            return {}, None
        texts, claims = self.sentences(step)
        text = self.sentence_tokenizer.encode(texts, multiple=MULTIPLE)
        sentences = Texts(to_device(text.ids, device), to_device(text.mask, device), first_tokens(text.mask), host_mask=text.mask)
        return {SENTENCE: sentences}, to_device(torch.from_numpy(claims), device)

    def match_sentences(
        self, read: Mapping[str, Texts], image: Tensor, labels: Tensor, claims: Tensor | None, means: ranks.Means
    ) -> Callable[[], dict[str, Tensor]]:
        """The loss of image features [B, D] with labels [B, A], once all counts were named to `means`."""
        if claims is None or self.sentence_head is None:
            return dict
        logits = self.sentence_head(image, self.text_features(read[SENTENCE].values))
        truth = losses.claims_are_true(labels, claims)
        counts = means.of(losses.answer_counts(truth))
        return lambda: {"sentences": losses.sentence_answers(logits, truth, counts())}

"""The loss of sentences in APTM, which the paper does not have, see `pretrain.sentence_loss`.

Shapes: B rows, D width of the embeddings.
"""

from collections.abc import Callable, Mapping

from torch import Tensor

from pretrain import ranks
from pretrain.data.batch import Batch
from pretrain.methods.aptm.towers import Towers, first_tokens
from pretrain.sentence_loss import SentenceHead, sentence_loss
from pretrain.towers.bert import Texts

SENTENCE = "sentence"  # the sentences among the texts


class SentenceLoss(Towers):
    """The loss `sentences`."""

    sentence_head: SentenceHead | None  # None where the loss is not trained

    def sentence_texts(self, batch: Batch) -> dict[str, Texts]:
        """The sentences of the batch, where they are trained."""
        host = batch.on_host().sentences
        if batch.sentences is None or host is None:
            return {}
        return {SENTENCE: Texts(batch.sentences.ids, batch.sentences.mask, first_tokens(host.mask), host_mask=host.mask)}

    def match_sentences(
        self, read: Mapping[str, Texts], image: Tensor, batch: Batch, means: ranks.Means
    ) -> Callable[[], dict[str, Tensor]]:
        """The loss of image features [B, D], once all counts were named to `means`."""
        if self.sentence_head is None or SENTENCE not in read:
            return dict
        loss = sentence_loss(self.sentence_head, image, self.text_features(read[SENTENCE].values), batch, means)
        return lambda: {"sentences": loss()}

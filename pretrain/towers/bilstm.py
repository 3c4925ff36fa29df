"""A bidirectional LSTM of one layer over token states, the text encoder of LGUR and SSAN (Hochreiter and Schmidhuber, 1997).

Shapes: B texts, L tokens of the longest, C channels of a token.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class BiLstm(nn.Module):
    """One layer without biases; the result is the mean of the two directions. Padding changes nothing."""

    def __init__(self, width: int, hidden: int) -> None:
        """`width` is C, `hidden` the channels of the result."""
        super().__init__()
        self.lstm = nn.LSTM(width, hidden, bias=False, bidirectional=True, batch_first=True)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """[B, L, C] and a mask [B, L] that is True (or 1) for tokens, which come first -> [B, L, hidden], 0 after the last token."""
        lengths = mask.long().sum(1).clamp(min=1)  # a text without tokens counts as one of padding, whose result is 0
        both = self._flipped(states, lengths) if states.device.type == "cpu" else self._packed(states, lengths)
        return both * mask.to(both.dtype)[..., None]

    def _packed(self, states: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(states, lengths.cpu(), batch_first=True, enforce_sorted=False)
        both, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=states.shape[1])
        return both.unflatten(2, (2, -1)).mean(2)

    def _flipped(self, states: Tensor, lengths: Tensor) -> Tensor:
        """The same in operations that ONNX has: the second direction reads each text's tokens, without padding, in reverse order.

        Training on a CPU takes a third of the time of `_packed`, whose gradient there fills a tensor of all texts for each of their tokens.
        The exporter takes the number of tokens of an LSTM's result for a constant; after `_take` it is that of the index.
        """
        position = torch.arange(states.shape[1], device=states.device).expand(states.shape[0], -1)
        reverse = torch.where(position < lengths[:, None], lengths[:, None] - 1 - position, position)
        forward = self._direction(states, "")
        backward = self._direction(_take(states, reverse), "_reverse")
        return (_take(forward, position) + _take(backward, reverse)) / 2

    def _direction(self, states: Tensor, suffix: str) -> Tensor:
        weights = [getattr(self.lstm, f"weight_{kind}_l0{suffix}") for kind in ("ih", "hh")]
        start = states.new_zeros(1, states.shape[0], self.lstm.hidden_size)
        output, _, _ = torch.lstm(states, (start, start), weights, False, 1, 0.0, False, False, True)
        return output


def _take(states: Tensor, index: Tensor) -> Tensor:
    """The token states [B, L, C] in the order of `index` [B, L]."""
    return states.gather(1, index[..., None].expand(-1, -1, states.shape[2]))

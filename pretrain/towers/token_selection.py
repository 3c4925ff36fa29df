"""The token selection embedding of RDE (Qin et al., CVPR 2024): the tokens that a tower attends to most, embedded and pooled.

Shapes: B images or texts, L tokens, K selected tokens, C channels of a token, D width of the embedding.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad, relu

from pretrain.host import places
from pretrain.towers.batch_norm import BatchNorm

EPSILON = 1e-8  # the length of a token that is divided by it, at least
NEVER = -1.0  # the attention of tokens that come last


def select(attention: Tensor, last: Tensor, count: int) -> Tensor:
    """The numbers of the `count` tokens with the highest attention [B, L]: [B, K], where K is L if there are fewer tokens.

    Tokens that are `last` [B, L] come after all others.
    """
    ranked, width = attention.float().masked_fill(last, NEVER), attention.shape[1]
    if torch.compiler.is_exporting():  # to ONNX, for any width: the last token stands for those that are not there
        return pad(ranked, (0, count), value=2 * NEVER).topk(count, dim=1).indices.clamp(max=width - 1)
    return ranked.topk(min(count, width), dim=1).indices


class TokenSelection(nn.Module):
    """Selected tokens -> a linear layer plus an MLP of two layers with batch normalisation, and the highest value of each channel."""

    sees_whole_batch = True  # also where the towers encode in micro-batches, see `pretrain.towers.micro_batches`

    def __init__(self, channels: int, hidden: int, embed: int, frozen: bool = False) -> None:
        """`hidden` are the channels between the MLP's layers, `embed` is D; `frozen`: the norm keeps the statistics that it has."""
        super().__init__()
        self.linear = nn.Linear(channels, embed)
        self.first, self.norm, self.second = nn.Linear(channels, hidden), BatchNorm(hidden), nn.Linear(hidden, embed)
        self.frozen = frozen

    def train(self, mode: bool = True) -> "TokenSelection":
        """As every module; a frozen norm stays in evaluation."""
        super().train(mode)
        if self.frozen:
            self.norm.eval()
        return self

    def forward(self, tokens: Tensor, chosen: Tensor, counted: Tensor | None = None, all_in_norm: bool = False) -> Tensor:
        """Tokens [B, L, C] and the chosen ones [B, K] -> [B, D]; `counted` [B, K] are those that are pooled, at least one of each row.

        In training the norm has the statistics of the counted tokens of all ranks, with `all_in_norm` of all chosen ones.
        """
        picked = normalize(tokens.gather(1, chosen[..., None].expand(-1, -1, tokens.shape[2])).float(), dim=2, eps=EPSILON)
        if counted is None:
            return self.embed(picked.flatten(0, 1)).unflatten(0, picked.shape[:2]).amax(1)
        if self.training and not all_in_norm:
            index = places(counted, counted.device)  # which words of a caption are selected the device alone knows
            counts = self.embed(picked.flatten(0, 1).index_select(0, index))
            embedded = counts.new_full((counted.numel(), counts.shape[1]), -torch.inf).index_copy(0, index, counts)
            return embedded.unflatten(0, picked.shape[:2]).amax(1)
        embedded = self.embed(picked.flatten(0, 1)).unflatten(0, picked.shape[:2])
        return embedded.masked_fill(~counted[..., None], -torch.inf).amax(1)

    def embed(self, tokens: Tensor) -> Tensor:
        """[N, C] -> [N, D]."""
        return self.linear(tokens) + self.second(relu(self.norm(self.first(tokens))))

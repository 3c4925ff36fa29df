"""A block of attention from queries to the tokens of a source, without self-attention (LGUR, Shao et al., ACM MM 2022).

Shapes: B rows, Q queries, N tokens of the source, d width of both, h heads, e channels of a head.
"""

from torch import Tensor, nn
from torch.nn.functional import relu

from pretrain.towers.attention import attend


class CrossBlock(nn.Module):
    """x + attention(norm(x), norm(source)), then x + MLP(norm'(x)): queries and source share a norm, queries do not see each other."""

    def __init__(self, width: int, heads: int, head_width: int, hidden: int) -> None:
        """`width` is d, `head_width` e, which need not be d / h; `hidden` are the channels inside the MLP."""
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, heads * head_width, bias=False)
        self.key_value = nn.Linear(width, 2 * heads * head_width, bias=False)
        self.out = nn.Linear(heads * head_width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor, source: Tensor, bias: Tensor | None = None) -> Tensor:
        """Queries [B, Q, d], a source [B or 1, N, d], of 1 for all rows, and a bias of the scores [B, 1, 1, N] -> [B, Q, d]."""
        query = self._by_head(self.query(self.attention_norm(x)))
        keys, values = self.key_value(self.attention_norm(source)).chunk(2, -1)
        keys, values = (self._by_head(part).expand(x.shape[0], -1, -1, -1) for part in (keys, values))
        x = x + self.out(attend(query, keys, values, bias).transpose(1, 2).flatten(2))
        return x + self.down(relu(self.up(self.mlp_norm(x))))

    def _by_head(self, x: Tensor) -> Tensor:
        """[B, Q, h * e] -> [B, h, Q, e]."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

"""The authors' small model of tests/golden/aptm, its vectors, and the towers with APTM's heads on them."""

import json
import os
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pretrain.methods.aptm import published_weights
from pretrain.towers.bert import Bert
from pretrain.towers.swin import Swin

GOLDEN = Path(os.environ.get("MALS_GOLDEN") or Path(__file__).parents[2] / "golden") / "aptm"
WEIGHTS = str(GOLDEN / "weights.safetensors")


class Towers(nn.Module):
    """Both towers and the heads under the names that `pretrain.methods.aptm.published_weights` reads; full size by default."""

    def __init__(self, swin: Swin, bert: Bert, proj: int = 256) -> None:
        super().__init__()
        hidden = bert.embeddings.words.embedding_dim
        self.swin, self.bert = swin, bert
        self.vision_proj = nn.Linear(swin.width, proj)
        self.text_proj = nn.Linear(hidden, proj)
        self.temp = nn.Parameter(torch.tensor(0.07))
        self.itm_head = nn.Sequential(nn.Linear(hidden, 2 * hidden), nn.LayerNorm(2 * hidden), nn.GELU(), nn.Linear(2 * hidden, 2))


def small() -> Towers:
    """Towers of the golden model's sizes, with random weights."""
    c = json.loads((GOLDEN / "config.json").read_text())
    swin = Swin(c["h"], c["w"], c["embed_dim"], c["depths"], c["heads"], c["window"])
    bert = Bert(
        vocab=c["vocab"],
        hidden=c["hidden"],
        layers=c["layers"],
        fusion=c["fusion"],
        heads=c["bheads"],
        inter=c["inter"],
        positions=c["max_pos"],
        image_width=swin.width,
    )
    return Towers(swin, bert, c["proj"]).eval()


def full() -> Towers:
    """Towers of the published size, without memory."""
    with torch.device("meta"):
        return Towers(Swin(384, 128), Bert())


@cache
def golden() -> tuple[Towers, dict[str, Tensor]]:
    """The golden model with its weights, and its vectors."""
    towers = small()
    published_weights.load_state(towers, published_weights.read_aptm(WEIGHTS), WEIGHTS)
    return towers, load_file(GOLDEN / "tensors.safetensors")


def count(*modules: nn.Module) -> int:
    """Parameters of modules."""
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def near(ours: Tensor, theirs: Tensor) -> None:
    """Equal to the golden tolerance."""
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)

"""The plain classifier of attributes, the baseline for APTM's prompts (docs/papers/mals.md, section Losses).

Two layers on the image's global token. Its batch normalisation is over the rows of all ranks; in one process that is the published one.
"""

from torch import nn

from pretrain.towers.batch_norm import BatchNorm
from pretrain.towers.heads import Float32Linear

HIDDEN, DROPOUT, STD = 256, 0.1, 1e-5  # channels between the layers, share of them left out, of the initial weights


def classifier(width: int, attributes: int) -> nn.Sequential:
    """Tokens [B, width] -> logits [B, attributes], above 0 for the second value of an attribute."""
    layers = nn.Sequential(Float32Linear(width, HIDDEN), BatchNorm(HIDDEN), nn.Dropout(DROPOUT), Float32Linear(HIDDEN, attributes))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=STD)
            nn.init.zeros_(layer.bias)
    return layers

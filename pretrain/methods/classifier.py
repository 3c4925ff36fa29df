"""The plain classifier of attributes that APTM's prompts are held against (aptm.md 2.3): the picture's global token and two layers."""

from torch import nn

HIDDEN, DROPOUT, STD = 256, 0.1, 1e-5  # width between the layers, share of it left out, of the initial weights


def classifier(width: int, attributes: int) -> nn.Sequential:
    """Tokens [B, width] -> [B, attributes]: above 0 for the second value of an attribute."""
    layers = nn.Sequential(nn.Linear(width, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.Dropout(DROPOUT), nn.Linear(HIDDEN, attributes))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=STD)
            nn.init.zeros_(layer.bias)
    return layers

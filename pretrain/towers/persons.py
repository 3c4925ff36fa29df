"""The classifier of persons that learning by identities needs, in training alone."""

from torch import nn

from pretrain.towers.heads import Float32Linear

STD = 0.001  # of the initial weights, in the published code of IRRA, SEN, LGUR and SSAN


def person_classifier(width: int, persons: int) -> nn.Linear:
    """Features [..., width] -> logits [..., persons], which begin near 0: the first loss is the logarithm of the number of persons."""
    layer = Float32Linear(width, persons)
    nn.init.normal_(layer.weight, std=STD)
    nn.init.zeros_(layer.bias)
    return layer

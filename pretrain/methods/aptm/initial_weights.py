"""What APTM's vision encoder begins with, and which of its parameters learn at a rate of their own."""

from mals.errors import UserError
from mals.models import resolve
from pretrain.config import Training
from pretrain.methods.aptm import published_weights
from pretrain.towers.swin import Swin

EMBEDDED = "embedded"  # the Swin that comes with mals; `mals.world.training.swin` made it
CLASSIFIER = r"classifier\."  # begins the names of what the baseline adds to APTM


def start_vision(swin: Swin, start: str) -> None:
    """Put the weights of a file, or of the Swin that comes with mals, into the vision encoder."""
    if start != EMBEDDED:
        return published_weights.start_swin(swin, start)
    try:
        published_weights.start_swin(swin, resolve(EMBEDDED, role="swin").path)
    except UserError as error:
        raise UserError(
            f"vision.start: embedded is a Swin of the preset tiny's sizes; for others --set vision.start=null ({error})"
        ) from None


def late(config: Training) -> str:
    """Matches the names of what learns at the late rate (aptm.md 4): last stages, last layers of either part of the BERT, and heads."""
    stages, words = len(config.vision.depths), config.words
    layers = (words.fusion - 2, words.fusion - 1, words.layers - 2, words.layers - 1)
    some = f"swin\\.stages\\.({stages - 2}|{stages - 1})\\.|bert\\.layers\\.({'|'.join(map(str, layers))})\\."
    return rf"^({some}|bert\.head\.|vision_proj\.|text_proj\.|itm_head\.|{CLASSIFIER})"

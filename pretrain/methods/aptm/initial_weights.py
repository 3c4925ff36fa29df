"""What APTM's vision encoder starts from, and which of its parameters have a learning rate of their own."""

from mals.errors import UserError
from mals.models import resolve
from pretrain.methods.aptm import published_weights
from pretrain.methods.aptm.config import AptmSettings
from pretrain.towers.swin import Swin

EMBEDDED = "embedded"  # the Swin that comes with mals; `mals.world.training.swin` made it
CLASSIFIER = r"classifier\."  # the names of what the baseline adds to APTM begin so


def start_vision(swin: Swin, start: str) -> None:
    """Load the weights of a file, or of the Swin that comes with mals, into the vision encoder."""
    if start != EMBEDDED:
        return published_weights.start_swin(swin, start)
    try:
        published_weights.start_swin(swin, resolve(EMBEDDED, role="swin").path)
    except UserError as error:
        raise UserError(
            f"aptm.vision.start: embedded is a Swin of the preset tiny's sizes; for others --set aptm.vision.start=null ({error})"
        ) from None


def late(settings: AptmSettings) -> str:
    """Matches the names of parameters with the late rate: the last stages, the last layers of either part of the BERT, and heads."""
    stages, text = len(settings.vision.depths), settings.text
    layers = (text.fusion - 2, text.fusion - 1, text.layers - 2, text.layers - 1)
    towers = f"swin\\.stages\\.({stages - 2}|{stages - 1})\\.|bert\\.layers\\.({'|'.join(map(str, layers))})\\."
    return rf"^({towers}|bert\.head\.|vision_proj\.|text_proj\.|itm_head\.|{CLASSIFIER})"

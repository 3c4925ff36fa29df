"""What made an image, and what follows from it: whether the image is synthetic, and its IPTC DigitalSourceType.

The stages write an image's origin into the column `origin`; packing puts the source type into the file and counts origins for the card.
Null is an origin that is not known; nothing is claimed of such an image.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from mals.errors import UserError

GENERATED = "generated"  # by a model that was trained on images, from a text
IMAGE_TO_IMAGE = "image_to_image"  # by such a model from another image, which may be a photograph
DRAWN = "drawn"  # by a program that learnt from no image, such as the world of mals
ORIGINAL = "original"  # taken as it was: a photograph, if its collection says nothing else
SOURCE_TYPE_ADDRESS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
SOURCE_TYPES = {  # origin -> DigitalSourceType; an original gets none
    GENERATED: f"{SOURCE_TYPE_ADDRESS}trainedAlgorithmicMedia",
    IMAGE_TO_IMAGE: f"{SOURCE_TYPE_ADDRESS}compositeWithTrainedAlgorithmicMedia",
    DRAWN: f"{SOURCE_TYPE_ADDRESS}algorithmicMedia",
}
ORIGINS = (*SOURCE_TYPES, ORIGINAL)
STATED = {  # DigitalSourceTypes of an incoming file that say that its image is synthetic -> the origin
    "trainedAlgorithmicMedia": GENERATED,
    "compositeWithTrainedAlgorithmicMedia": IMAGE_TO_IMAGE,
    "compositeSynthetic": IMAGE_TO_IMAGE,
    "algorithmicMedia": DRAWN,
    "dataDrivenMedia": DRAWN,
    "virtualRecording": DRAWN,
}
# In C2PA's manifests the next text follows at once, and begins with its length as a byte, which may be that of a small letter.
STATEMENT = re.compile(rb"cv\.iptc\.org/newscodes/digitalsourcetype/(%s)(?![A-Z])" % "|".join(STATED).encode())


def is_synthetic(origin: str | None) -> bool | None:
    """Whether an image of this origin is synthetic; None where the origin is not known."""
    return None if origin is None else origin != ORIGINAL


def recorded_origin(row: Mapping[str, Any]) -> str | None:
    """The origin of an image by its row in a data set: its `origin`, else its `synthetic`.

    ORIGINAL where the row has neither; None where they are null or mean something else, as columns of these names may in other sets.
    """
    if (origin := row.get("origin")) in ORIGINS:
        return str(origin)
    if (synthetic := row.get("synthetic")) in (False, True):
        return GENERATED if synthetic else ORIGINAL
    return None if {"origin", "synthetic"} & row.keys() else ORIGINAL


def stated_origin(metadata: bytes) -> str | None:
    """The origin that an image's metadata (XMP, or a C2PA manifest) state; None where they do not say that it is synthetic."""
    names = (match[1].decode() for match in STATEMENT.finditer(metadata))
    return next((STATED[name] for name in names), None)


def check_origins(origins: Iterable[str | None]) -> None:
    """UserError for an origin that is none of ORIGINS."""
    for origin in origins:
        if origin is not None and origin not in ORIGINS:
            raise UserError(f"a stage gives an image the origin {origin!r}; it must be {', '.join(ORIGINS)}, or null where it is not known")

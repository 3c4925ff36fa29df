"""What made an image, and what follows from it."""

from typing import Any

import pytest

from mals.errors import UserError
from mals.origin import DRAWN, GENERATED, IMAGE_TO_IMAGE, ORIGINAL, ORIGINS, check_origins, is_synthetic, recorded_origin, stated_origin

ADDRESS = b"http://cv.iptc.org/newscodes/digitalsourcetype/"


def test_only_what_was_taken_as_it_was_is_not_synthetic_and_nothing_is_claimed_of_the_unknown() -> None:
    assert {origin: is_synthetic(origin) for origin in (*ORIGINS, None)} == {
        GENERATED: True,
        IMAGE_TO_IMAGE: True,
        DRAWN: True,
        ORIGINAL: False,
        None: None,
    }


@pytest.mark.parametrize(
    ("metadata", "origin"),
    [
        (b'Iptc4xmpExt:DigitalSourceType="' + ADDRESS + b'trainedAlgorithmicMedia"', GENERATED),
        (b"<x:DigitalSourceType>" + ADDRESS + b"compositeWithTrainedAlgorithmicMedia</x:DigitalSourceType>", IMAGE_TO_IMAGE),
        (b'rdf:resource="https://cv.iptc.org/newscodes/digitalsourcetype/algorithmicMedia"', DRAWN),
        (ADDRESS + b"digitalCapture", None),
        (ADDRESS + b"digitalCapture " + ADDRESS + b"trainedAlgorithmicMedia", GENERATED),
        (ADDRESS + b"trainedAlgorithmicMediaOfAnotherKind", None),
        (b"a photograph", None),
        (b"", None),
    ],
)
def test_a_file_says_by_its_source_type_that_it_is_synthetic(metadata: bytes, origin: str | None) -> None:
    assert stated_origin(metadata) == origin


@pytest.mark.parametrize(
    ("row", "origin"),
    [
        ({}, "original"),
        ({"origin": "drawn", "synthetic": True}, "drawn"),
        ({"origin": None, "synthetic": None}, None),
        ({"origin": "", "synthetic": None}, None),
        ({"synthetic": True}, "generated"),
        ({"synthetic": 0.0}, "original"),
        ({"synthetic": "no"}, None),
        ({"synthetic": "yes"}, None),
        ({"synthetic": float("nan")}, None),
        ({"origin": "flickr"}, None),
        ({"origin": ["generated"]}, None),
        ({"origin": 3, "synthetic": False}, "original"),
    ],
)
def test_a_row_says_its_origin_and_columns_that_mean_something_else_claim_nothing(row: dict[str, Any], origin: str | None) -> None:
    assert recorded_origin(row) == origin


def test_an_origin_that_does_not_exist_is_refused_with_those_that_do() -> None:
    check_origins([*ORIGINS, None])
    with pytest.raises(UserError, match="the origin 'photo'; it must be generated, image_to_image, drawn, original"):
        check_origins([None, "photo"])

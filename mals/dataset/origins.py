"""How many images of a data set each origin has (mals/origin.py), and what its card, tags and croissant.json may say because of that."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mals.origin import DRAWN, GENERATED, IMAGE_TO_IMAGE, ORIGINAL, ORIGINS, SOURCE_TYPES, is_synthetic

UNKNOWN = "unknown"  # stands for null where a name is needed
SYNTHETIC_TAG, PARTLY_SYNTHETIC_TAG, UNKNOWN_TAG = "synthetic", "partly-synthetic", "origin-unknown"
MADE_BY = {
    GENERATED: "made from a prompt by a generative model",
    IMAGE_TO_IMAGE: "made by a generative model from an initial image, which may be a photograph",
    DRAWN: "drawn by a program that learnt from no image",
    ORIGINAL: "taken as they were: photographs, unless their source says otherwise",
    UNKNOWN: "not known",
}


@dataclass(frozen=True)
class OriginLine:
    """One row of the card's table of origins."""

    origin: str  # "unknown" for null
    images: int
    made_by: str
    synthetic: str  # value of the column: true, false or null
    source_type: str  # the last part of DigitalSourceType in the files, or "none"


@dataclass(frozen=True)
class OriginCounts:
    """Kept images by origin, UNKNOWN for null; an origin without images has no entry."""

    images: dict[str, int]

    @classmethod
    def of(cls, counts: Mapping[str | None, int]) -> "OriginCounts":
        """From origin -> images, None for an origin that is not known."""
        return cls({origin or UNKNOWN: counts[origin] for origin in (*ORIGINS, None) if counts.get(origin)})

    @property
    def total(self) -> int:
        return sum(self.images.values())

    @property
    def modelled(self) -> int:
        """Images in whose making a model that was trained on images had a part."""
        return self._count(GENERATED, IMAGE_TO_IMAGE)

    @property
    def from_images(self) -> int:
        """Images that a model made from another image."""
        return self._count(IMAGE_TO_IMAGE)

    @property
    def synthetic(self) -> int:
        """Images that are synthetic."""
        return self._count(*SOURCE_TYPES)

    @property
    def original(self) -> int:
        """Images that were taken as they were."""
        return self._count(ORIGINAL)

    @property
    def unknown(self) -> int:
        """Images whose origin is not known."""
        return self._count(UNKNOWN)

    @property
    def may_show_people(self) -> int:
        """Images that may be photographs of real people: originals, and those of unknown origin."""
        return self.original + self.unknown

    @property
    def has_synthetic_data(self) -> bool | None:
        """Whether any image is synthetic; None if that is not known."""
        return True if self.synthetic else None if self.unknown else False

    def tags(self) -> list[str]:
        """The tags of the data set that follow from origins: SYNTHETIC_TAG only if every image is."""
        share = [SYNTHETIC_TAG] if self.synthetic == self.total else [PARTLY_SYNTHETIC_TAG] if self.synthetic else []
        return [*share, *([UNKNOWN_TAG] if self.unknown else []), *(["diffusion"] if self.modelled else [])]

    def lines(self) -> list[OriginLine]:
        """The card's table."""
        words = {True: "true", False: "false", None: "null"}
        return [
            OriginLine(
                origin=origin,
                images=images,
                made_by=MADE_BY[origin],
                synthetic=words[is_synthetic(None if origin == UNKNOWN else origin)],
                source_type=SOURCE_TYPES[origin].rsplit("/", 1)[-1] if origin in SOURCE_TYPES else "none",
            )
            for origin, images in self.images.items()
        ]

    def _count(self, *origins: str) -> int:
        return sum(self.images.get(origin, 0) for origin in origins)


def synthetic_by_tags(tags: Iterable[str]) -> bool | None:
    """Whether a data set with these tags holds synthetic images alone (True), or none; None if it holds both or does not say."""
    tags = set(tags)
    if SYNTHETIC_TAG in tags:
        return True
    return None if tags & {PARTLY_SYNTHETIC_TAG, UNKNOWN_TAG} else False

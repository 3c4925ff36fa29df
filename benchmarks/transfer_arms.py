"""The arms of `benchmarks.transfer`: which images an arm trains on, and the levers of data and training that it adds."""

from dataclasses import dataclass
from typing import Literal

from mals.errors import UserError

SOURCES: dict[str, Literal["generated", "drawn", "noisy"]] = {"mals": "generated", "ceiling": "drawn", "noisy": "noisy"}
LEVERS = ("captions", "identities", "agreement", "half", "confidence", "masking", "wordings", "sentences")
TOGETHER = {"noise": ("confidence", "masking"), "all": ("captions", "identities", "agreement", "confidence", "masking")}
REPEATED = ("mals", "all", "ceiling")  # at every image count, with several seeds
ONCE = (
    "captions",
    "identities",
    "agreement",
    "half",
    "noise",
    "wordings",
    "sentences",
    "captions+identities+sentences",
    "noisy",
    "noisy+noise",
)  # at the smallest count, with one seed
METHOD = ("irra.loss_weights.mlm=0", "irra.mask_without_mlm=true")  # of all arms; predicting words costs more than it brings from random
# weights (docs/log.md), and NAM masks as many words as IRRA does without it
WORDINGS = {"composed": 0.2, "recast": 0.5, "exchanged": 0.5}  # shares of the rows, as docs/wordings.md shows them


@dataclass(frozen=True)
class Arm:
    """Images with captions, and levers."""

    name: str
    source: Literal["generated", "drawn", "noisy"]  # drawn with true captions, noisy: with wrong words
    levers: frozenset[str]  # of LEVERS

    @property
    def domain(self) -> str:
        """What the images of the training are; those of the test are drawn."""
        return "generated" if self.source == "generated" else "drawn"

    def training(self) -> list[str]:
        """The settings of `mals pretrain`, as --set takes them, over the preset tiny-irra."""
        sets = [*METHOD, f"data.every={str('captions' in self.levers).lower()}"]
        if "confidence" in self.levers:
            sets.append("data.confidence=agree_score")
        if "masking" in self.levers:
            sets.append("irra.noise_masking.rule=nam")
        if "wordings" in self.levers:  # masks by scores of tokens take no wrong captions
            shares = {name: share for name, share in WORDINGS.items() if name != "exchanged" or "masking" not in self.levers}
            sets += [f"data.wordings.{name}={share}" for name, share in shares.items()]
        if "sentences" in self.levers:
            sets.append("irra.loss_weights.sentences=3")
        return sets


def parse_arm(name: str) -> Arm:
    """The arm of a name such as "mals", "noise", "captions+wordings" or "noisy+noise"; UserError for any other."""
    first, *rest = name.split("+")
    if first not in SOURCES:
        first, rest = "mals", [first, *rest]
    levers = frozenset(lever for part in rest for lever in TOGETHER.get(part, (part,)))
    if unknown := sorted(levers - set(LEVERS)):
        known = ", ".join([*SOURCES, *LEVERS, *TOGETHER])
        raise UserError(f"there is no arm {name}: {unknown[0]} is none of {known}, which + joins")
    if {"agreement", "half"} <= levers:
        raise UserError(f"there is no arm {name}: agreement and half both choose half of the images; leave one out")
    if "identities" in levers and first != "mals":
        raise UserError(f"there is no arm {name}: identities are those of generated images")
    return Arm(name, SOURCES[first], levers)

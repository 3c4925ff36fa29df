"""Rules that the text of a caption must pass.

The lengths and the markup are those of HAM's filter (CVPR 2025); the left-over slots those that LUPerson-MLLM (CVPR 2024) repairs;
hedging and absent things are what WebPerson (2025) forbids its captioners. `refusal` names the first rule that a text fails.
"""

import re

from mals.config import CaptionRules
from mals.stages.captioning.templates import slot_words

EMPTY, SHORT, LONG, MARKUP, SLOT, HEDGING, ABSENT = (
    *("empty_caption", "short_caption", "long_caption", "markup_caption"),
    *("slot_caption", "hedging_caption", "absent_caption"),
)
NO_SOURCE = "no_source_caption"  # there is no caption to start from
SCHEMA = "schema_caption"  # the answer is not of the JSON Schema that was asked for
MARKUP_PATTERN = re.compile(r"[<>\n\r`]|\\n|/n\b|\*\*|__|^\s*[#*-]|https?:")
SLOT_PATTERN = re.compile(rf"[\[\]{{}}]|\b(?:{'|'.join(map(re.escape, slot_words()))})\b", re.IGNORECASE)
HEDGING_PATTERN = re.compile(
    r"\b(?:appear(?:s|ed)? (?:to|as|like)|seem(?:s|ed|ing|ingly)?|apparently|possibly|probably|perhaps|maybe|presumably|potentially"
    r"|(?:most |very |quite )?likely|might|may be|may have|could be|could have|looks? like|what looks|suggest(?:s|ing)?|impl(?:y|ies|ying)"
    r"|hard to (?:tell|see|say)|difficult to (?:tell|see|say)|unclear|not clear|cannot be determined)\b",
    re.IGNORECASE,
)
ABSENT_PATTERN = re.compile(
    r"\bno (?:visible|apparent|obvious|noticeable|discernible|other)\b|\binvisible\b"
    r"|(?:\bnot|n['’]t) (?:visible|clearly|fully|wear(?:ing)?|carry(?:ing)?|hold(?:ing)?|have|seen|shown|discernible|present|depicted)\b"
    r"|\b(?:can ?not|can['’]t|could ?n['’]t) (?:be )?(?:see|seen|tell|discern(?:ed)?|make out)\b|(?:\bnot|n['’]t) be (?:seen|made out)\b"
    r"|\b(?:out of|outside|beyond) (?:the )?(?:frame|view|sight)\b|\babsen(?:t|ce)\b",
    re.IGNORECASE,
)


def refusal(raw: str, text: str, rules: CaptionRules) -> str | None:
    """The rule that a caption fails, `raw` as the model wrote it and `text` as it is kept; None if it is good."""
    words = len(text.split())
    failed = {
        EMPTY: not words,
        SHORT: words < rules.min_words,
        LONG: rules.max_words is not None and words > rules.max_words,
        MARKUP: rules.markup and MARKUP_PATTERN.search(raw.strip()),
        SLOT: rules.slots and SLOT_PATTERN.search(text),
        HEDGING: rules.hedging and HEDGING_PATTERN.search(text),
        ABSENT: rules.absent and ABSENT_PATTERN.search(text),
    }
    return next((rule for rule, fails in failed.items() if fails), None)

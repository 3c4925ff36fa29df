"""Captions to word anew: those of the gold files, which people and captioners wrote, and some that are hard."""

import json

from tests.conftest import ROOT

GOLD = [
    json.loads(line)["caption"]
    for name in ("captions", "own", "annotators", "annotators-2")
    for line in (ROOT / f"tests/gold/{name}.jsonl").read_text(encoding="utf-8").splitlines()
]
HARD = [
    "",
    "!",
    "a man without a hat, wearing a red shirt and no coat",
    "a woman next to a man in a red jacket, wearing a blue coat and black pants",
    "She wears her red coat and her black boots. It is hers. He is with her.",
    "a red and white striped t-shirt, dark blue jeans, white shoes",
    "The lady's shirt is orange. Her pants are an odd shade of blue, her hair is long. Wearing a hat, she walks.",
]
CAPTIONS = [*GOLD, *HARD]

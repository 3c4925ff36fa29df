"""The masked test set of PAB's challenge of 2026: its queries, for `mals search`, which writes the answer.

`query_text.json` has a line for each query, {query_index, caption}, and `query_index.txt` the names in the order of the answer's lines.
"""

from pathlib import Path

from mals.errors import UserError
from mals.planning.json_lines import read_lines
from mals.planning.json_lists import captions_of, identifier
from pretrain.datasets.layout import folder_contents

TEXTS, ORDER = "query_text.json", "query_index.txt"


def challenge_queries(folder: Path) -> list[str]:
    """The captions in the order of the answer; UserError where `folder` does not hold both files, or a query has no caption."""
    if missing := [name for name in (TEXTS, ORDER) if not (folder / name).is_file()]:
        raise UserError(f"{folder} is a folder without {' and '.join(missing)} of PAB's challenge, and saw {folder_contents(folder)}")
    texts = {}
    for where, entry in read_lines(folder / TEXTS):
        texts[identifier(where, "query_index", entry.get("query_index"))] = captions_of(where, entry)[0]
    names = (folder / ORDER).read_text(encoding="utf-8").split()
    without = [name for name in names if not texts.get(name)]
    if without or not names:
        raise UserError(
            f"{folder / ORDER} names {without[0]}, of which {TEXTS} has no caption" if without else f"{folder / ORDER} is empty"
        )
    return [str(texts[name]) for name in names]

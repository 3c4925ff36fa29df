"""The sizes of the authors' small LGUR in tests/golden, as our settings name them."""

from collections.abc import Mapping
from typing import Any

VIT = {"patch": "patch", "channels": "width", "layers": "vit_depth", "blocks": "vit_blocks_run", "heads": "vit_heads", "inter": "vit_mlp"}
TEXT = {"hidden": "bert_hidden", "layers": "bert_layers", "heads": "bert_heads", "inter": "bert_inter", "positions": "bert_positions"}
OWN = {"atoms": "atoms", "prototypes": "prototypes", "heads": "heads", "pgu_layers": "pgu_layers", "out": "out", "margin": "margin"}
OWN |= {"pgu_head": "pgu_head_dim", "pgu_inter": "pgu_ffn", "dga_head": "dga_head_dim", "dga_inter": "dga_ffn"}


def published_sizes(config: Mapping[str, Any]) -> dict[str, Any]:
    """The section `lgur` of settings by the content of the vectors' config.json."""

    def renamed(names: Mapping[str, str]) -> dict[str, Any]:
        return {ours: config[theirs] for ours, theirs in names.items()}

    return {**renamed(OWN), "vit": renamed(VIT), "text": renamed(TEXT)}

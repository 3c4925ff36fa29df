"""Maps of names: the first pattern that fits a whole name, groups, names that are left out; files that are no map."""

from pathlib import Path

import pytest
import torch
from torch import nn

from mals.errors import UserError
from pretrain.key_map import apply_map, load_part, read_map


def test_the_first_pattern_that_fits_the_whole_name_renames_it() -> None:
    names = {r"a\.(\d+)\.w": r"block.\1.weight", r"a\..*": None, "rest": "bias"}
    state = {name: torch.full((1,), float(number)) for number, name in enumerate(("a.3.w", "a.x", "xa.3.w", "rest"))}
    assert {name: int(value) for name, value in apply_map(state, names).items()} == {"block.3.weight": 0, "xa.3.w": 2, "bias": 3}
    with pytest.raises(UserError, match=r"has no group for"):
        apply_map(state, {"rest": r"\1"})


def test_a_file_is_yaml_or_json_and_else_refused_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "names.json"
    file.write_text('{"a.*": null, "b": "c"}')
    assert read_map(str(file)) == {"a.*": None, "b": "c"} and read_map(None) == {}
    for text, message in {
        "[1]": "no object of patterns",
        '{"a": 3}': "no object of patterns",
        "{": "neither",
        "{'(': b}": "no regular",
    }.items():
        file.write_text(text)
        with pytest.raises(UserError, match=message) as refusal:
            read_map(str(file))
        assert "\n" not in str(refusal.value)
    with pytest.raises(UserError, match="cannot be read"):
        read_map(str(tmp_path / "none.yaml"))


def test_a_part_keeps_what_little_is_missing_and_refuses_other_shapes() -> None:
    torch.manual_seed(0)
    part = nn.Sequential(*(nn.Linear(2, 2) for _ in range(12)))
    state = {name: torch.ones_like(value) for name, value in part.state_dict().items() if name != "11.bias"}
    kept = part[11].bias.clone()
    load_part(part, state | {"other": torch.ones(1)}, "x.pth", "the part")
    assert torch.equal(part[11].bias, kept) and all(torch.equal(layer.weight, torch.ones(2, 2)) for layer in part)
    with pytest.raises(UserError, match=r"x\.pth does not fit the model: of other shapes 0\.weight 3 instead of 2x2"):
        load_part(part, state | {"0.weight": torch.ones(3)}, "x.pth", "the part")
    with pytest.raises(UserError, match="which is under 95%"):
        load_part(part, {name: value for name, value in state.items() if not name.startswith("0.")}, "x.pth", "the part")

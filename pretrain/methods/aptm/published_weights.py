"""Weights that others have published, read into our towers: APTM's own, Swin from ImageNet-22k, BERT.

A model that holds `swin`, `bert`, `vision_proj`, `text_proj`, `temp` and `itm_head` reads the authors' checkpoint whole.
"""

import re
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from mals.errors import UserError
from pretrain.published import read_whole
from pretrain.towers.bert import Bert
from pretrain.towers.swin import Swin
from pretrain.weights import first_names, load_state, read_tensors

BLOCK, LAYER = "vision_encoder.layers.#.blocks.#", "text_encoder.bert.encoder.layer.#"
NAMES = {  # the authors' name of a module or parameter -> ours; # stands for a number
    "vision_encoder.patch_embed.proj": "swin.patch",
    "vision_encoder.patch_embed.norm": "swin.patch_norm",
    f"{BLOCK}.norm1": "swin.stages.#.blocks.#.attention_norm",
    f"{BLOCK}.attn.qkv": "swin.stages.#.blocks.#.attention.qkv",
    f"{BLOCK}.attn.relative_position_bias_table": "swin.stages.#.blocks.#.attention.bias_table",
    f"{BLOCK}.attn.proj": "swin.stages.#.blocks.#.attention.out",
    f"{BLOCK}.norm2": "swin.stages.#.blocks.#.mlp_norm",
    f"{BLOCK}.mlp.fc1": "swin.stages.#.blocks.#.up",
    f"{BLOCK}.mlp.fc2": "swin.stages.#.blocks.#.down",
    "vision_encoder.layers.#.downsample.norm": "swin.stages.#.merge.norm",
    "vision_encoder.layers.#.downsample.reduction": "swin.stages.#.merge.reduce",
    "vision_encoder.norm": "swin.norm",
    "text_encoder.bert.embeddings.word_embeddings": "bert.embeddings.words",
    "text_encoder.bert.embeddings.position_embeddings": "bert.embeddings.positions",
    "text_encoder.bert.embeddings.token_type_embeddings": "bert.embeddings.kinds",
    "text_encoder.bert.embeddings.LayerNorm": "bert.embeddings.norm",
    f"{LAYER}.attention.self.query": "bert.layers.#.attention.query",
    f"{LAYER}.attention.self.key": "bert.layers.#.attention.key",
    f"{LAYER}.attention.self.value": "bert.layers.#.attention.value",
    f"{LAYER}.attention.output.dense": "bert.layers.#.attention.out",
    f"{LAYER}.attention.output.LayerNorm": "bert.layers.#.attention_norm",
    f"{LAYER}.crossattention.self.query": "bert.layers.#.cross.query",
    f"{LAYER}.crossattention.self.key": "bert.layers.#.cross.key",
    f"{LAYER}.crossattention.self.value": "bert.layers.#.cross.value",
    f"{LAYER}.crossattention.output.dense": "bert.layers.#.cross.out",
    f"{LAYER}.crossattention.output.LayerNorm": "bert.layers.#.cross_norm",
    f"{LAYER}.intermediate.dense": "bert.layers.#.up",
    f"{LAYER}.output.dense": "bert.layers.#.down",
    f"{LAYER}.output.LayerNorm": "bert.layers.#.mlp_norm",
    "text_encoder.cls.predictions.transform.dense": "bert.head.dense",
    "text_encoder.cls.predictions.transform.LayerNorm": "bert.head.norm",
    "text_encoder.cls.predictions.bias": "bert.head.bias",
    "vision_proj": "vision_proj",
    "text_proj": "text_proj",
    "temp": "temp",
    "itm_head.#": "itm_head.#",
}
BACK = {ours: theirs for theirs, ours in NAMES.items()}
REBUILT = re.compile(r".*\.(relative_position_index|attn_mask|position_ids)")  # follow from the sizes
TIED = {  # stored twice by the authors: name -> what it has to equal
    "text_encoder.cls.predictions.decoder.weight": "text_encoder.bert.embeddings.word_embeddings.weight",
    "text_encoder.cls.predictions.decoder.bias": "text_encoder.cls.predictions.bias",
}


def ours(name: str) -> str | None:
    """Our name of an authors' parameter; None where we have no such thing."""
    return _renamed(name, NAMES)


def theirs(name: str) -> str | None:
    """The authors' name of one of our parameters; the inverse of `ours`."""
    return _renamed(name, BACK)


def _renamed(name: str, table: Mapping[str, str]) -> str | None:
    """The name by a table in which # stands for any number, with or without .weight or .bias at its end."""
    numbers = iter(re.findall(r"(?<=\.)\d+(?=\.)", name))
    form = re.sub(r"(?<=\.)\d+(?=\.)", "#", name)
    module, _, leaf = form.rpartition(".")
    if form in table:
        new = table[form]
    elif module in table and leaf in ("weight", "bias"):
        new = f"{table[module]}.{leaf}"
    else:
        return None
    return re.sub("#", lambda _: next(numbers), new)


def from_theirs(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """A state dict under our names; what is rebuilt or stored twice goes, what we do not know is a UserError."""
    for copy, original in TIED.items():
        if copy in state and original in state and not torch.equal(state[copy], state[original]):
            raise UserError(f"{source} holds a word head that is not tied to its word embeddings, which is another model")
    needed = [name for name in state if name not in TIED and not REBUILT.fullmatch(name)]
    if unknown := [name for name in needed if ours(name) is None]:
        raise UserError(f"{source} is not a checkpoint of APTM: it has {first_names(unknown)}")
    return {str(ours(name)): state[name] for name in needed}


def to_theirs(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of ours as the authors' code reads it (which rebuilds the rest itself)."""
    if unknown := [name for name in state if theirs(name) is None]:
        raise UserError(f"the authors' code has no place for {first_names(unknown)}")
    named = {str(theirs(name)): value for name, value in state.items()}
    return {**named, **{copy: named[original] for copy, original in TIED.items() if original in named}}


def read_aptm(source: str) -> dict[str, Tensor]:
    """A whole APTM under our names: the authors' checkpoint (a .pth with `model`, or safetensors), or our own model.safetensors."""
    state = read_whole(source)
    if any(name.startswith("vision_encoder.") for name in state):
        return from_theirs(state, source)
    if not any(name.startswith("swin.") for name in state):
        raise UserError(f"{source} is not a checkpoint of APTM: it has {first_names(state) or 'no tensor'}")
    return state


def start_swin(swin: Swin, source: str) -> None:
    """Start from Microsoft's swin_base_patch4_window7_224_22k.pth; tables of relative positions are resampled to our windows."""
    state = {f"vision_encoder.{name}": value for name, value in read_tensors(source).items() if not name.startswith("head.")}
    read = {name.removeprefix("swin."): value for name, value in from_theirs(state, source).items()}
    for name, own in swin.state_dict().items():
        if name.endswith("bias_table") and name in read and len(read[name]) != len(own):
            read[name] = resample(read[name], round(len(own) ** 0.5))
    load_state(swin, read, source)


def start_bert(bert: Bert, source: str) -> list[str]:
    """Start from bert-base-uncased (file, folder, hub id); returns the parameters that it does not have, which stay as they were."""
    state = {}
    for name, value in read_tensors(source).items():
        name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name))  # as Google named them
        name = name if name.startswith(("bert.", "cls.")) else f"bert.{name}"
        if not name.startswith(("bert.pooler.", "cls.seq_relationship.")):
            state[f"text_encoder.{name}"] = value
    read = {name.removeprefix("bert."): value for name, value in from_theirs(state, source).items()}
    return load_state(bert, read, source, optional=r"layers\.\d+\.cross|head\.")


def resample(table: Tensor, size: int) -> Tensor:
    """A table of relative positions [s², heads] for another window: [size², heads].

    As BEiT (Bao et al., 2022) does it: the old offsets are set apart as the partial sums of a geometric series that ends at the new
    border, and a bicubic spline through them is read at the new offsets.
    """
    from scipy.interpolate import RectBivariateSpline

    old, half = round(len(table) ** 0.5), size // 2
    ratio = _ratio(old // 2, half)
    steps = np.cumsum(ratio ** np.arange(old // 2))
    at, new = np.concatenate([-steps[::-1], [0], steps]), np.arange(-half, half + 1)
    maps = table.float().numpy().reshape(old, old, -1)
    spread = [RectBivariateSpline(at, at, maps[:, :, head])(new, new) for head in range(maps.shape[2])]
    return torch.from_numpy(np.stack(spread, 2).reshape(size * size, -1)).to(table.dtype)


def _ratio(terms: int, total: int) -> float:
    """The ratio in 1.01 ... 1.5 of a geometric series from 1 whose first terms make the total, to 1e-6 (the bounds are BEiT's)."""
    low, high = 1.01, 1.5
    middle = low
    while high - low > 1e-6:
        middle = (low + high) / 2
        if (1 - middle**terms) / (1 - middle) > total:
            high = middle
        else:
            low = middle
    return middle

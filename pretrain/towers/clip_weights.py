"""Weights of CLIP that others have published, read into our towers: OpenAI's, in each of the forms in which they are distributed.

A source is a file (OpenAI's ViT-B-16.pt as tensors, another .pt or .pth, safetensors), a folder or a hub id whose files open_clip or
transformers wrote. Weights in float16 become float32.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from mals.errors import UserError
from pretrain import weights
from pretrain.towers.clip import Clip
from pretrain.towers.positions import grid_of, resize_positions

FILES = (*weights.FILES, "open_clip_model.safetensors", "open_clip_pytorch_model.bin", "ViT-B-16.pt", "ViT-L-14.pt")  # in a folder
POSITIONS = "visual.positional_embedding"
NO_WEIGHTS = re.compile(r"logit_scale|logit_bias|input_resolution|context_length|vocab_size|.*attn_mask|.*position_ids")
TRANSFORMERS = {  # of transformers' CLIPModel -> OpenAI's; # stands for the number of a layer
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding": "visual.conv1",
    "vision_model.embeddings.position_embedding.weight": POSITIONS,
    "vision_model.pre_layrnorm": "visual.ln_pre",
    "vision_model.post_layernorm": "visual.ln_post",
    "visual_projection.weight": "visual.proj",
    "text_model.embeddings.token_embedding": "token_embedding",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm": "ln_final",
    "text_projection.weight": "text_projection",
}
TOWERS = {"vision_model": "visual.transformer", "text_model": "transformer"}
LAYER = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
TRANSPOSED = ("visual.proj", "text_projection")  # products from the right in OpenAI's code, linear layers in transformers


def start_clip(clip: Clip, source: str, setting: str) -> None:
    """Load published weights into both towers; `setting` is the key of the settings that names the source.

    The table of positions is resized to the images' size. UserError where there are no weights, or where they do not fit.
    """
    state = read_clip(source, setting)
    weights.load_state(clip, with_positions(state, POSITIONS, clip.visual.grid, source), source)


def read_clip(source: str, setting: str) -> dict[str, Tensor]:
    """The tensors of a source under OpenAI's names, in float32; ModelMissing where there is none."""
    state = openai_names(weights.read_initial(source, setting, "CLIP", "OpenAI's ViT-B-16.pt", files=FILES))
    if POSITIONS not in state:
        raise UserError(f"{source} holds no CLIP with a vision transformer: it has {weights.first_names(state) or 'no tensor'}")
    return state


def openai_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of both towers in float32 under OpenAI's names, from those of OpenAI, open_clip or transformers."""
    state = {name: widened(value) for name, value in state.items() if not NO_WEIGHTS.fullmatch(name)}
    return _of_transformers(state) if any(name.startswith("vision_model.") for name in state) else state


def widened(value: Tensor) -> Tensor:
    """A tensor of real numbers in float32, others as they are."""
    return value.float() if value.is_floating_point() else value


def _of_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Query, key and value of an attention are one matrix in OpenAI's code; unknown names stay."""
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        layer = re.fullmatch(r"(vision_model|text_model)\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name)
        if layer is None:
            module, _, leaf = name.rpartition(".")
            new = TRANSFORMERS.get(name) or (f"{TRANSFORMERS[module]}.{leaf}" if module in TRANSFORMERS else name)
            renamed[new] = value.T.contiguous() if new in TRANSPOSED else value
            continue
        tower, number, module, leaf = layer.groups()
        block = f"{TOWERS[tower]}.resblocks.{number}"
        if module == "self_attn.q_proj":
            parts = [state.get(name.replace("q_proj", f"{part}_proj")) for part in "qkv"]
            renamed[f"{block}.attn.in_proj_{leaf}"] = torch.cat([part for part in parts if part is not None])
        elif module not in ("self_attn.k_proj", "self_attn.v_proj"):
            renamed[f"{block}.{LAYER.get(module, module)}.{leaf}"] = value
    return renamed


def with_positions(state: Mapping[str, Tensor], name: str, grid: tuple[int, int], source: str) -> dict[str, Tensor]:
    """The state with its table of positions, called `name`, resized to a grid of patches; UserError where the old grid is unknown."""
    state = dict(state)
    table = state.get(name)
    if table is None or len(table) == 1 + grid[0] * grid[1]:
        return state
    old = grid_of(len(table) - 1, grid)
    if old is None:
        raise UserError(
            f"{source} has {len(table) - 1:,} positions in an image, which is neither a square nor of the shape of {grid[0]}x{grid[1]}; "
            "give the image size of its training (data.height, data.width)"
        )
    state[name] = resize_positions(table, old, grid)
    return state

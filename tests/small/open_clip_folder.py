"""A small CLIP with random weights, in a folder as open_clip saves its models."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

SIDE = 32
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.25]
CONFIG = {
    "model_cfg": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": SIDE, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
        "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    },
    "preprocess_cfg": {"mean": MEAN, "std": STD},
}


def open_clip_folder(folder: Path, name: str = "open_clip_model.safetensors", seed: int = 3) -> Path:
    """The folder, with the model's state under `name`: safetensors, or a file of torch."""
    from open_clip import CLIP

    torch.manual_seed(seed)
    cfg = CONFIG["model_cfg"]
    model = CLIP(cfg["embed_dim"], cfg["vision_cfg"], cfg["text_cfg"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps(CONFIG))
    if name.endswith(".safetensors"):
        save_file(model.state_dict(), folder / name)
    else:
        torch.save(model.state_dict(), folder / name)
    return folder

"""A ViTPose with random weights: seventeen arbitrary points, the same for the same image, in milliseconds on one core."""

from pathlib import Path
from typing import Any

VERSION = 1
SEED = 1701
HEIGHT, WIDTH = 128, 64  # pixels of its input
SPREAD = 0.2  # standard deviation of a heat map, so that its maximum, the score, is in the range of a trained model


def build(folder: Path) -> None:
    """Write model and image processor into `folder` as save_pretrained does; the same bytes each time."""
    import torch
    from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation, VitPoseImageProcessor
    from transformers.utils import logging

    logging.disable_progress_bar()
    shape: dict[str, Any] = {
        "image_size": (HEIGHT, WIDTH),
        "patch_size": (16, 16),
        "hidden_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "mlp_ratio": 2,
        "out_indices": [2],
    }
    config: dict[str, Any] = {"backbone_config": VitPoseBackboneConfig(**shape), "num_labels": 17}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model: Any = VitPoseForPoseEstimation(VitPoseConfig(**config)).eval()
        for name, value in model.backbone.named_parameters():
            if name.endswith("position_embeddings"):
                value.data.normal_(std=0.1)  # with transformers' 0.02 the points would not depend on positions
            elif "projection" in name and value.dim() == 4:
                value.data.normal_(std=0.05)
        with torch.inference_mode():
            heat = model(torch.randn(8, 3, HEIGHT, WIDTH)).heatmaps
            model.head.conv.weight.mul_(SPREAD / heat.std())
            model.head.conv.bias.zero_()
    model.save_pretrained(folder)
    VitPoseImageProcessor(size={"height": HEIGHT, "width": WIDTH}).save_pretrained(folder)

"""Small random pose models in their libraries' layouts (ViTPose, RT-DETR, OpenPose's body estimator), and keypoints of persons."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

# a standing person in OpenPose's order: x in shoulder widths from the middle, y in heights from the nose to the ankles
STANDING = np.array(
    [
        *((0, 0), (0, 0.14), (-0.5, 0.15), (-0.65, 0.33), (-0.7, 0.5), (0.5, 0.15), (0.65, 0.33), (0.7, 0.5)),
        *((-0.33, 0.48), (-0.35, 0.74), (-0.35, 1), (0.33, 0.48), (0.35, 0.74), (0.35, 1)),
        *((-0.1, -0.03), (0.1, -0.03), (-0.25, -0.01), (0.25, -0.01)),
    ]
)


def standing_person(size: tuple[int, int], people: int = 1, number: int = 0) -> np.ndarray:
    """[18, 2] x, y in whole pixels of person `number` of `people` side by side in an image [H, W]; all differ, none is near the border."""
    height, width = size
    tall = 0.7 * height  # nose to ankles
    points = STANDING + np.random.default_rng(number).uniform(-0.02, 0.02, STANDING.shape)
    middle = (0.5,) if people == 1 else (0.3, 0.7)
    wide = min(0.28 * tall, 0.45 * width / people)
    return np.rint(points * (wide, tall) + (middle[number] * width, 0.16 * height))


def build_vitpose(folder: Path, seed: int = 0, experts: int = 1, labels: int = 17) -> Path:
    """ViTPose for 64 x 48 pixels; with more than one expert ViTPose++."""
    from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation, VitPoseImageProcessor

    torch.manual_seed(seed)
    shape: dict[str, Any] = {
        "image_size": (64, 48),
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "out_indices": [1],
    }
    shape |= {"num_experts": experts, "part_features": 8}
    config: dict[str, Any] = {"backbone_config": VitPoseBackboneConfig(**shape), "num_labels": labels}
    model: Any = VitPoseForPoseEstimation(VitPoseConfig(**config))
    model.backbone.embeddings.position_embeddings.data.normal_()
    model.head.conv.weight.data.mul_(3)  # so that heat maps have clear maxima
    model.save_pretrained(folder)
    VitPoseImageProcessor(size={"height": 64, "width": 48}).save_pretrained(folder)
    return folder


def build_rt_detr(folder: Path, labels: tuple[str, ...] = ("bicycle", "car", "person"), seed: int = 0) -> Path:
    """RT-DETR for 64 x 64 pixels that returns six boxes per image, all with the third label."""
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrImageProcessor, RTDetrResNetConfig

    torch.manual_seed(seed)
    backbone: dict[str, Any] = {"embedding_size": 8, "hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "layer_type": "basic"}
    backbone["out_features"] = ["stage2", "stage3", "stage4"]
    config: dict[str, Any] = {
        "backbone_config": RTDetrResNetConfig(**backbone),
        "encoder_hidden_dim": 16,
        "encoder_in_channels": [8, 8, 8],
        "encoder_ffn_dim": 16,
        "encoder_attention_heads": 2,
        "d_model": 16,
        "num_queries": 6,
        "decoder_in_channels": [16, 16, 16],
        "decoder_ffn_dim": 16,
        "decoder_layers": 1,
        "decoder_attention_heads": 2,
        "id2label": dict(enumerate(labels)),
        "label2id": {label: at for at, label in enumerate(labels)},
    }
    model: Any = RTDetrForObjectDetection(RTDetrConfig(**config))
    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(layer.weight)  # with transformers' 0.01 the output does not depend on the image
    model.save_pretrained(folder)
    RTDetrImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def build_body_pose(folder: Path, seed: int = 0) -> Path:
    """OpenPose's body estimator as controlnet_aux loads it: one file, parameter names without their first part; the architecture is fixed.

    All weights are views of one random row, which the file holds once: 5 MB instead of 209.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of annotators that are not used
        from controlnet_aux.open_pose.model import bodypose_model

    shapes = {name: value.shape for name, value in bodypose_model().state_dict().items()}
    row = torch.randn(max(shape.numel() for shape in shapes.values()), generator=torch.Generator().manual_seed(seed)) * 0.02
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name.partition(".")[2]: row[: shape.numel()].view(shape) for name, shape in shapes.items()}
    torch.save(weights, folder / "body_pose_model.pth")
    return folder

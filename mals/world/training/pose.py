"""Trains the embedded pose model, a ViTPose: seventeen heat maps of the person in a box, flat ones where nobody is."""

from pathlib import Path
from typing import Any

import numpy as np

from mals.world.training.drawn_dataset import HEIGHT, WIDTH, DrawnDataset
from mals.world.training.optimization import Average, half, optimize, widened

BATCH = 48
STRIDE = 4  # pixels of the input a cell of the heat map
SIGMA = 1.2  # cells
PADDING = 1.25  # of a box, as the processor widens it
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, the processor's own


def build() -> Any:
    """The untrained model."""
    from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation

    shape: dict[str, Any] = {
        "image_size": (HEIGHT, WIDTH),
        "patch_size": (8, 8),
        "hidden_size": 128,
        "num_hidden_layers": 5,
        "num_attention_heads": 4,
        "mlp_ratio": 3,
        "out_indices": [5],
    }
    config: dict[str, Any] = {"backbone_config": VitPoseBackboneConfig(**shape), "num_labels": 17, "scale_factor": 2}
    model: Any = VitPoseForPoseEstimation(VitPoseConfig(**config))
    for name, value in model.backbone.named_parameters():
        if name.endswith("position_embeddings"):
            value.data.normal_(std=0.1)  # transformers starts them at 0.02: pictures then say little of places
    return model


def batch(dataset: DrawnDataset, rows: np.ndarray, rng: np.random.Generator) -> tuple[Any, Any]:
    """Inputs [B, 3, 128, 64] cut around jittered boxes as the processor cuts them, and heat maps [B, 17, 32, 16]."""
    import torch

    boxes = dataset.boxes[rows, 0].astype(np.float32)
    whole = (rng.random(len(rows)) < 0.2) | ~boxes.any(1)
    boxes[whole] = (0, 0, WIDTH, HEIGHT)
    jitter = rng.normal(0, 0.06, boxes.shape).astype(np.float32) * ~whole[:, None]
    sides = boxes[:, 2:] - boxes[:, :2]
    boxes += jitter * np.tile(sides, 2)
    centre, scale = widened(boxes, WIDTH / HEIGHT, PADDING)
    pictures = torch.from_numpy(np.ascontiguousarray(dataset.pixels[rows])).permute(0, 3, 1, 2).float() / 255
    inputs = cut(pictures, centre, scale, HEIGHT, WIDTH)
    inputs = (inputs - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    points = dataset.keypoints[rows]
    cells = np.array([WIDTH // STRIDE, HEIGHT // STRIDE], np.float32)
    at = (points[..., :2] - centre[:, None]) / scale[:, None] * (cells - 1) + (cells - 1) / 2
    x = np.exp(-((np.arange(cells[0]) - at[..., :1]) ** 2) / (2 * SIGMA**2))
    y = np.exp(-((np.arange(cells[1]) - at[..., 1:]) ** 2) / (2 * SIGMA**2))
    heat = (y[..., :, None] * x[..., None, :]) * (points[..., 2] > 0)[..., None, None]
    return inputs, torch.from_numpy(heat.astype(np.float32))


def cut(pictures: Any, centre: np.ndarray, scale: np.ndarray, height: int, width: int) -> Any:
    """[B, 3, height, width]: the window of `scale` [B, 2] pixels around `centre` [B, 2] of each picture, black outside it."""
    import torch

    rows, columns = pictures.shape[2:]
    x = centre[:, :1] + (np.arange(width, dtype=np.float32) - (width - 1) / 2) * scale[:, :1] / (width - 1)
    y = centre[:, 1:] + (np.arange(height, dtype=np.float32) - (height - 1) / 2) * scale[:, 1:] / (height - 1)
    u, v = torch.from_numpy(x / (columns - 1) * 2 - 1), torch.from_numpy(y / (rows - 1) * 2 - 1)
    grid = torch.stack([u[:, None, :].expand(-1, height, -1), v[:, :, None].expand(-1, -1, width)], 3).float()
    return torch.nn.functional.grid_sample(pictures, grid, align_corners=True)


def train(dataset: DrawnDataset, work: Path, minutes: float, seed: int, go_on: bool) -> dict[str, Any]:
    """Train for so many minutes and save model and processor into `work`/pose."""
    import torch
    from transformers import VitPoseForPoseEstimation, VitPoseImageProcessor

    torch.manual_seed(seed + go_on)  # other pictures than those of the first steps
    rng = np.random.default_rng(seed + go_on)
    to = work / "pose"
    model: Any = VitPoseForPoseEstimation.from_pretrained(to, dtype=torch.float32) if go_on else build()
    average = Average(model, 0.999)

    def loss_of(step: int, gone: float) -> Any:
        inputs, heat = batch(dataset, np.sort(rng.integers(0, dataset.count, BATCH)), rng)
        with half():
            made = model(pixel_values=inputs).heatmaps.float()
        return ((made - heat).pow(2) * (1 + 8 * heat)).mean() * 100  # a cell of the background counts less: there are many

    facts = optimize("pose", model.parameters(), loss_of, minutes, 1e-3, lambda step: average.take(model))
    average.model.to(torch.float16).save_pretrained(to)
    VitPoseImageProcessor(size={"height": HEIGHT, "width": WIDTH}).save_pretrained(to)
    return facts

"""Trains the embedded pose model, a ViTPose: seventeen heat maps of the person in a box, and flat ones if there is no person."""

from pathlib import Path
from typing import Any

import numpy as np

from mals.world.training.drawn_dataset import HEIGHT, WIDTH, DrawnDataset
from mals.world.training.optimization import bfloat16, seed_random_numbers, train_and_save

BATCH = 48
STRIDE = 4  # pixels of the input for each cell of the heat maps
SIGMA = 1.2  # standard deviation of a peak, in cells
PADDING = 1.25  # factor by which the processor enlarges a box
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, the defaults of the processor


def build() -> Any:
    """The untrained model."""
    from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation

    backbone: dict[str, Any] = {
        "image_size": (HEIGHT, WIDTH),
        "patch_size": (8, 8),
        "hidden_size": 128,
        "num_hidden_layers": 5,
        "num_attention_heads": 4,
        "mlp_ratio": 3,
        "out_indices": [5],
    }
    config: dict[str, Any] = {"backbone_config": VitPoseBackboneConfig(**backbone), "num_labels": 17, "scale_factor": 2}
    model: Any = VitPoseForPoseEstimation(VitPoseConfig(**config))
    for name, value in model.backbone.named_parameters():
        if name.endswith("position_embeddings"):
            value.data.normal_(std=0.1)  # transformers initialises them with 0.02, too little for a small model to use positions
    return model


def draw_batch(dataset: DrawnDataset, rows: np.ndarray, rng: np.random.Generator) -> tuple[Any, Any]:
    """Inputs [B, 3, 128, 64], cut around jittered boxes as the processor cuts them, and heat maps [B, 17, 32, 16]."""
    import torch

    boxes = dataset.boxes[rows, 0].astype(np.float32)
    whole_image = (rng.random(len(rows)) < 0.2) | ~boxes.any(1)
    boxes[whole_image] = (0, 0, WIDTH, HEIGHT)
    jitter = rng.normal(0, 0.06, boxes.shape).astype(np.float32) * ~whole_image[:, None]
    sides = boxes[:, 2:] - boxes[:, :2]
    boxes += jitter * np.tile(sides, 2)
    center, size = padded_boxes(boxes, WIDTH / HEIGHT, PADDING)
    images = torch.from_numpy(np.ascontiguousarray(dataset.pixels[rows])).permute(0, 3, 1, 2).float() / 255
    inputs = cut_windows(images, center, size, HEIGHT, WIDTH)
    inputs = (inputs - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    keypoints = dataset.keypoints[rows]
    cells = np.array([WIDTH // STRIDE, HEIGHT // STRIDE], np.float32)
    peaks = (keypoints[..., :2] - center[:, None]) / size[:, None] * (cells - 1) + (cells - 1) / 2
    x = np.exp(-((np.arange(cells[0]) - peaks[..., :1]) ** 2) / (2 * SIGMA**2))
    y = np.exp(-((np.arange(cells[1]) - peaks[..., 1:]) ** 2) / (2 * SIGMA**2))
    heatmaps = (y[..., :, None] * x[..., None, :]) * (keypoints[..., 2] > 0)[..., None, None]
    return inputs, torch.from_numpy(heatmaps.astype(np.float32))


def padded_boxes(boxes: np.ndarray, aspect: float, padding: float) -> tuple[np.ndarray, np.ndarray]:
    """Centre and size [B, 2] of boxes [B, 4] xyxy, grown to the aspect ratio `aspect` (width / height) and then `padding` times."""
    center, size = (boxes[:, :2] + boxes[:, 2:]) / 2, np.maximum(boxes[:, 2:] - boxes[:, :2], 1)
    width = np.maximum(size[:, 0], size[:, 1] * aspect)
    return center, np.stack([width, width / aspect], 1) * padding


def cut_windows(images: Any, center: np.ndarray, size: np.ndarray, height: int, width: int) -> Any:
    """[B, 3, height, width]: the window of `size` [B, 2] pixels around `center` [B, 2] of each image, black outside of it."""
    import torch

    rows, columns = images.shape[2:]
    x = center[:, :1] + (np.arange(width, dtype=np.float32) - (width - 1) / 2) * size[:, :1] / (width - 1)
    y = center[:, 1:] + (np.arange(height, dtype=np.float32) - (height - 1) / 2) * size[:, 1:] / (height - 1)
    u, v = torch.from_numpy(x / (columns - 1) * 2 - 1), torch.from_numpy(y / (rows - 1) * 2 - 1)
    grid = torch.stack([u[:, None, :].expand(-1, height, -1), v[:, :, None].expand(-1, -1, width)], 3).float()
    return torch.nn.functional.grid_sample(images, grid, align_corners=True)


def jittered_windows(dataset: DrawnDataset, rows: np.ndarray, rng: np.random.Generator, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Center and size [B, 2] of windows for `cut_windows`: the boxes of rows [B], moved a little and enlarged, within the image.

    `margin` is the spread of what is added at each border, as a share of the side.
    """
    boxes = dataset.boxes[rows, 0].astype(np.float32)
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    boxes += rng.normal(0, 0.04, boxes.shape).astype(np.float32) * sides
    boxes += np.abs(rng.normal(0, margin, boxes.shape).astype(np.float32)) * sides * np.array([-1, -1, 1, 1], np.float32)
    low, high = np.maximum(boxes[:, :2], 0), np.minimum(boxes[:, 2:], [WIDTH, HEIGHT])
    return ((low + high) / 2).astype(np.float32) - 0.5, (high - low).astype(np.float32)


def train(dataset: DrawnDataset, work: Path, minutes: float, seed: int, resume: bool) -> dict[str, Any]:
    """Train for so many minutes and save model and processor into `work`/pose."""
    import torch
    from transformers import VitPoseForPoseEstimation, VitPoseImageProcessor

    rng = seed_random_numbers(seed, resume)
    folder = work / "pose"
    model: Any = VitPoseForPoseEstimation.from_pretrained(folder, dtype=torch.float32) if resume else build()

    def compute_loss(step: int) -> Any:
        inputs, heatmaps = draw_batch(dataset, np.sort(rng.integers(0, dataset.count, BATCH)), rng)
        with bfloat16():
            predicted = model(pixel_values=inputs).heatmaps.float()
        # A cell of a peak has nine times the weight of a cell of the background, since those are many.
        return ((predicted - heatmaps).pow(2) * (1 + 8 * heatmaps)).mean() * 100

    processor = VitPoseImageProcessor(size={"height": HEIGHT, "width": WIDTH})
    return train_and_save("pose", model, compute_loss, minutes, processor, folder)

"""Trains the embedded person detector, a YOLOS, on images of no person, one person or two.

The first detection token is for the person furthest to the left, the second for the next one. With a fixed order nothing has to be matched,
and a small model learns in minutes what takes hours with the Hungarian loss of YOLOS (Fang et al. 2021).
"""

from pathlib import Path
from typing import Any

import numpy as np

from mals.world.training.drawn_dataset import HEIGHT, WIDTH, DrawnDataset
from mals.world.training.optimization import bfloat16, seed_random_numbers, train_and_save
from mals.world.training.pose import MEAN, STD

BATCH = 64
TOKENS = 3  # detection tokens; the world never shows three people, so the third always says "no person"


def build() -> Any:
    """The untrained detector."""
    from transformers import YolosConfig, YolosForObjectDetection

    return YolosForObjectDetection(
        YolosConfig(
            hidden_size=128,
            num_hidden_layers=5,
            num_attention_heads=4,
            intermediate_size=384,
            image_size=[HEIGHT, WIDTH],
            patch_size=8,
            num_detection_tokens=TOKENS,
            use_mid_position_embeddings=False,
            id2label={0: "person"},
            label2id={"person": 0},
            initializer_range=0.05,
        )
    )


def targets(boxes: np.ndarray) -> tuple[Any, Any]:
    """Classes [B, TOKENS] (0 person, 1 no person) and boxes [B, TOKENS, 4] as centre and size, in shares of the image.

    `boxes` [B, 2, 4] are corners in pixels, zeros for no person.
    """
    import torch

    is_person = boxes.any(2)
    order = np.argsort(np.where(is_person, boxes[..., 0] + boxes[..., 2], np.inf), axis=1, kind="stable")
    boxes, is_person = np.take_along_axis(boxes, order[..., None], 1), np.take_along_axis(is_person, order, 1)
    shares = boxes / np.array([WIDTH, HEIGHT, WIDTH, HEIGHT], np.float32)
    centers_and_sizes = np.concatenate([(shares[..., :2] + shares[..., 2:]) / 2, shares[..., 2:] - shares[..., :2]], 2)
    classes = np.ones((len(boxes), TOKENS), np.int64)
    classes[:, :2][is_person] = 0
    padded = np.zeros((len(boxes), TOKENS, 4), np.float32)
    padded[:, :2] = centers_and_sizes
    return torch.from_numpy(classes), torch.from_numpy(padded)


def train(dataset: DrawnDataset, work: Path, minutes: float, seed: int, resume: bool) -> dict[str, Any]:
    """Train for so many minutes and save model and processor into `work`/detector."""
    import torch
    from torchvision.ops import box_convert, generalized_box_iou_loss
    from transformers import YolosForObjectDetection, YolosImageProcessor

    rng = seed_random_numbers(seed, resume)
    folder = work / "detector"
    model: Any = YolosForObjectDetection.from_pretrained(folder, dtype=torch.float32) if resume else build()
    mean, deviation = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)

    def compute_loss(step: int) -> Any:
        rows = np.sort(rng.integers(0, dataset.count, BATCH))
        images = torch.from_numpy(np.ascontiguousarray(dataset.pixels[rows])).permute(0, 3, 1, 2).float() / 255
        boxes = dataset.boxes[rows]
        if rng.random() < 0.5:  # mirror the batch
            images = images.flip(3)
            boxes = mirrored(boxes)
        classes, expected = targets(boxes)
        with bfloat16():
            output = model(pixel_values=(images - mean) / deviation)
        class_loss = torch.nn.functional.cross_entropy(output.logits.float().flatten(0, 1), classes.flatten())
        is_person = classes == 0
        predicted, expected = output.pred_boxes.float()[is_person], expected[is_person]
        corners = (box_convert(predicted, "cxcywh", "xyxy"), box_convert(expected, "cxcywh", "xyxy"))
        return class_loss + 5 * (predicted - expected).abs().mean() + generalized_box_iou_loss(*corners, reduction="mean")

    processor = YolosImageProcessor(size={"height": HEIGHT, "width": WIDTH}, do_pad=False)
    return train_and_save("detector", model, compute_loss, minutes, processor, folder)


def mirrored(boxes: np.ndarray) -> np.ndarray:
    """Boxes [B, 2, 4] in the mirror images; zeros stay zeros."""
    flipped = boxes.copy()
    flipped[..., [0, 2]] = WIDTH - flipped[..., [2, 0]]
    return flipped * boxes.any(2, keepdims=True)

"""Trains the embedded person detector, a YOLOS: nobody, one person or two.

The first detection token answers for the person furthest to the left, the second for the next one: with an order there is nothing to match,
and a small model learns in minutes what takes hours with the Hungarian loss of YOLOS (Fang et al. 2021).
"""

from pathlib import Path
from typing import Any

import numpy as np

from mals.world.training.drawn_dataset import HEIGHT, WIDTH, DrawnDataset
from mals.world.training.optimization import Average, half, optimize
from mals.world.training.pose import MEAN, STD

BATCH = 64
TOKENS = 3  # people that can be told apart; the world never shows three, so that the third stays silent


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
    """Classes [B, TOKENS] (0 person, 1 nobody) and boxes [B, TOKENS, 4] as centre and size in shares, for corners [B, 2, 4] in pixels."""
    import torch

    there = boxes.any(2)
    order = np.argsort(np.where(there, boxes[..., 0] + boxes[..., 2], np.inf), axis=1, kind="stable")
    boxes, there = np.take_along_axis(boxes, order[..., None], 1), np.take_along_axis(there, order, 1)
    shares = boxes / np.array([WIDTH, HEIGHT, WIDTH, HEIGHT], np.float32)
    sized = np.concatenate([(shares[..., :2] + shares[..., 2:]) / 2, shares[..., 2:] - shares[..., :2]], 2)
    classes = np.ones((len(boxes), TOKENS), np.int64)
    classes[:, :2][there] = 0
    places = np.zeros((len(boxes), TOKENS, 4), np.float32)
    places[:, :2] = sized
    return torch.from_numpy(classes), torch.from_numpy(places)


def train(dataset: DrawnDataset, work: Path, minutes: float, seed: int, go_on: bool) -> dict[str, Any]:
    """Train for so many minutes and save model and processor into `work`/detector."""
    import torch
    from torchvision.ops import box_convert, generalized_box_iou_loss
    from transformers import YolosForObjectDetection, YolosImageProcessor

    torch.manual_seed(seed + go_on)  # other pictures than those of the first steps
    rng = np.random.default_rng(seed + go_on)
    to = work / "detector"
    model: Any = YolosForObjectDetection.from_pretrained(to, dtype=torch.float32) if go_on else build()
    average = Average(model, 0.999)
    mean, deviation = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)

    def loss_of(step: int, gone: float) -> Any:
        rows = np.sort(rng.integers(0, dataset.count, BATCH))
        pictures = torch.from_numpy(np.ascontiguousarray(dataset.pixels[rows])).permute(0, 3, 1, 2).float() / 255
        classes, places = targets(dataset.boxes[rows])
        if rng.random() < 0.5:  # a mirrored batch: tokens swap by themselves, since the order is made after
            pictures = pictures.flip(3)
            mirrored = dataset.boxes[rows].copy()
            there = mirrored.any(2)
            mirrored[..., [0, 2]] = WIDTH - mirrored[..., [2, 0]]
            classes, places = targets(mirrored * there[..., None])
        with half():
            made = model(pixel_values=(pictures - mean) / deviation)
        found = torch.nn.functional.cross_entropy(made.logits.float().flatten(0, 1), classes.flatten())
        mine = classes == 0
        boxes, wanted = made.pred_boxes.float()[mine], places[mine]
        overlap = generalized_box_iou_loss(box_convert(boxes, "cxcywh", "xyxy"), box_convert(wanted, "cxcywh", "xyxy"), reduction="mean")
        return found + 5 * (boxes - wanted).abs().mean() + overlap

    facts = optimize("detector", model.parameters(), loss_of, minutes, 1e-3, lambda step: average.take(model))
    average.model.to(torch.float16).save_pretrained(to)
    YolosImageProcessor(size={"height": HEIGHT, "width": WIDTH}, do_pad=False).save_pretrained(to)
    return facts

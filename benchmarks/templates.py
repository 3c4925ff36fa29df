"""Draws where the templates of a trained DPTI look: `python -m benchmarks.templates CHECKPOINT --data SET [--split test] [--to FILE]`.

A row for each image: the image, then for each template the image with the places lit that it reads, and the weight of its part under it.

Shapes: B images, N templates, h x w places of a map, H x W pixels.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mals.errors import UserError
from mals.images import decode_image
from pretrain import trained_method
from pretrain.data.augment import test_image
from pretrain.data.rows import ImageTextPairs
from pretrain.trained_method import Trained

HEIGHT, LABEL = 192, 18  # pixels of an image in the drawing, and of the line with its weight
DARK = 0.25  # light of a place that a template does not read
Pixels = NDArray[np.uint8]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", help="a training or release of the method dpti")
    parser.add_argument("--data", required=True, help="a packed data set")
    parser.add_argument("--split", default="test")
    parser.add_argument("--count", type=int, default=8, help="images")
    parser.add_argument("--to", type=Path, default=Path("templates.jpg"))
    options = parser.parse_args()
    trained = trained_method.read(options.checkpoint)
    rows = ImageTextPairs.open([options.data], options.split, captions=False)
    chosen = np.linspace(0, len(rows) - 1, min(options.count, len(rows))).astype(int).tolist()
    sheet = draw_templates(trained, [decode_image(rows.image_bytes(row)) for row in chosen])
    cv2.imwrite(str(options.to), sheet[..., ::-1])
    print(f"{options.to}: {len(chosen)} images")


@torch.inference_mode()
def draw_templates(trained: Trained, images: list[Pixels]) -> Pixels:
    """The drawing [H, W, 3] of images [h, w, 3], RGB; UserError where the method has no templates."""
    look = getattr(trained.method, "look", None)
    if look is None:
        raise UserError(f"the method {trained.config.method} has no templates; give a training of dpti")
    inputs = torch.stack([test_image(image, trained.preprocessing) for image in images]).to(trained.device)
    shares, weights = (value.cpu().numpy() for value in look(inputs))
    return np.vstack([draw_row(image, *seen) for image, *seen in zip(images, shares, weights, strict=True)])


def draw_row(image: Pixels, shares: NDArray[np.float32], weights: NDArray[np.float32]) -> Pixels:
    """An image, and the same lit by the shares [N, h, w] of each template, with the weights [N] of the parts."""
    width = HEIGHT * shares.shape[2] // shares.shape[1]
    whole = np.asarray(cv2.resize(image, (width, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)
    cells = [labelled(whole, "")]
    for share, weight in zip(shares, weights, strict=True):
        light = cv2.resize(share / share.max(), (width, HEIGHT), interpolation=cv2.INTER_CUBIC).clip(0, 1)
        lit = whole * (DARK + (1 - DARK) * light[..., None])
        cells.append(labelled(lit.astype(np.uint8), f"{weight:.2f}"))
    return np.hstack(cells)


def labelled(image: Pixels, text: str) -> Pixels:
    """An image with a line of text under it."""
    line = np.full((LABEL, image.shape[1], 3), 255, np.uint8)
    cv2.putText(line, text, (4, LABEL - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([image, line])


if __name__ == "__main__":
    main()

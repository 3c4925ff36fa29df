"""RandAugment on batches of bytes: how often each operation is drawn, and that the results are those of Pillow and OpenCV."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from pretrain.data import randaugment
from pretrain.data.randaugment import ANGLE, GREY, OPERATIONS, PERCENT, SHEAR, draw_operations, rand_augment
from tests.pretrain.data.test_augment import sample_image

NAMES = list(OPERATIONS)
PILLOW = {
    "autocontrast": ImageOps.autocontrast,
    "equalize": ImageOps.equalize,
    "brightness": lambda image: ImageEnhance.Brightness(image).enhance(PERCENT / 100),
    "sharpness": lambda image: ImageEnhance.Sharpness(image).enhance(PERCENT / 100),
}
WARPS = {
    "shear_x": lambda sign, pixels: np.array([[1, sign * SHEAR, 0], [0, 1, 0]]),
    "shear_y": lambda sign, pixels: np.array([[1, 0, 0], [sign * SHEAR, 1, 0]]),
    "rotate": lambda sign, pixels: cv2.getRotationMatrix2D((pixels.shape[1] / 2, pixels.shape[0] / 2), sign * ANGLE, 1),
}


def changed(name, sign, *images):
    """Images [h, w, 3] of one size after an operation."""
    planes = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    before = planes.clone()
    output = OPERATIONS[name](planes, sign)
    assert planes.equal(before) and output.dtype == torch.uint8 and output.shape == planes.shape
    return output.permute(0, 2, 3, 1).numpy()


def test_two_of_ten_operations_are_drawn_each_applied_with_probability_one_half_and_a_random_sign():
    assert len(OPERATIONS) == 10
    drawn = draw_operations(np.random.default_rng(1).random((4000, 2, 3)))
    assert drawn.shape == (4000, 2) and (drawn == 0).mean() == pytest.approx(0.5, abs=0.02)
    for number in range(1, 11):
        for sign in (1, -1):
            assert (drawn == sign * number).mean() == pytest.approx(0.025, abs=0.006)
    assert np.abs(drawn).max() == 10
    both = drawn[(drawn != 0).all(1)]
    assert len(both) / 4000 == pytest.approx(0.25, abs=0.03) and (np.abs(both[:, 0]) == np.abs(both[:, 1])).mean() > 0.05


def test_each_image_gets_its_own_operations_in_their_order():
    pixels = [sample_image(48, 20, seed) for seed in range(5)]
    requested = np.array([[0, 0], [-6, 0], [0, 3], [10, 2], [2, -10]], np.int8)
    batch = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
    output = rand_augment(batch, requested).permute(0, 2, 3, 1).numpy()
    for expected, image, operations in zip(pixels, output, requested.tolist(), strict=True):
        for number in operations:
            if number:
                expected = changed(NAMES[abs(number) - 1], np.sign(number), expected)[0]
        assert (expected == image).all()
    assert (output[3] != output[4]).any()


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("sign", [1, -1])
def test_every_operation_but_identity_changes_an_image(name, sign):
    assert (name == "identity") == bool((changed(name, sign, sample_image(96, 32))[0] == sample_image(96, 32)).all())


@pytest.mark.parametrize("name", PILLOW)
def test_operations_are_pillows_to_the_bit(name):
    rng = np.random.default_rng(5)
    flat = [np.full((9, 8, 3), value, np.uint8) for value in (0, 7, 255)]
    mixed = np.concatenate([np.full((40, 10, 3), 9, np.uint8), rng.integers(0, 256, (2, 10, 3), np.uint8)])
    noise = [rng.integers(*span, (30, 16, 3), np.uint8) for span in ((0, 256), (100, 103), (0, 2), (254, 256))]
    for pixels in (*flat, mixed, *noise, *(sample_image(96, 32, seed) for seed in range(20)), sample_image(2, 3), sample_image(1, 1)):
        theirs = np.asarray(PILLOW[name](Image.fromarray(pixels)))
        assert (changed(name, 1, pixels)[0] == theirs).all()


@pytest.mark.parametrize("name", WARPS)
@pytest.mark.parametrize("sign", [1, -1])
def test_pixels_move_as_opencv_moves_them_within_one_level(name, sign):
    noise = np.random.default_rng(2).integers(0, 256, (61, 30, 3), np.uint8)
    for pixels in (sample_image(96, 32), noise, sample_image(3, 2)):
        matrix, size = WARPS[name](sign, pixels), pixels.shape[1::-1]
        theirs = cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_LINEAR, borderValue=(GREY, GREY, GREY))
        assert np.abs(changed(name, sign, pixels)[0].astype(int) - theirs).max() <= 1


def test_geometry_moves_as_far_as_published_and_fills_with_grey():
    pixels = sample_image(96, 64)
    moved = changed("translate_x", 1, pixels)[0]
    assert (moved[:, :7] == 128).all() and (moved[:, 7:] == pixels[:, :-7]).all()
    moved = changed("translate_y", -1, pixels)[0]
    assert (moved[-7:] == 128).all() and (moved[:-7] == pixels[7:]).all()
    assert (changed("translate_x", -1, sample_image(20, 5))[0] == 128).all()
    row = changed("shear_x", 1, pixels)[0][50]
    assert (row[:10] == 128).all() and abs(row[12:].astype(int) - pixels[50, 2:-10]).max() < 40  # 50 x 0.21 = 10.5 to the right
    upright = np.zeros((101, 101, 3), np.uint8)
    upright[:, 48:53] = 255
    turned = changed("rotate", 1, upright)[0]
    bright = np.argwhere(turned[20, :, 0] > 200)
    assert bright.mean() == pytest.approx(50 - np.tan(np.radians(21)) * 30, abs=1.5)  # counter-clockwise


def test_brightness_is_raised_by_36_percent():
    assert (changed("brightness", 1, np.full((4, 4, 3), 100, np.uint8)) == 136).all() and randaugment.PERCENT == 136

"""The picture pipeline: what it does at which rate, and that it is a function of pixels and generator."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from pretrain import augment
from pretrain.augment import OPERATIONS, Augment

PLAIN = Augment(48, 16, flip=False, augment=False, erase=0.0)


def picture(height=60, width=24, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 4, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def shown(pixels, settings, seed):
    """A picture as the towers get it in training, and whether it was flipped."""
    found = augment.train(pixels, settings, np.random.default_rng(seed))
    planes = torch.from_numpy(found.pixels.copy()).permute(2, 0, 1)[None]
    return augment.normalised(planes, settings, torch.tensor([found.erased]))[0], found.flipped


def test_a_test_picture_is_resized_and_normalised():
    pixels = picture()
    wanted = (augment.resized(pixels, PLAIN).transpose(2, 0, 1) / 255 - np.array(PLAIN.mean)[:, None, None]) / np.array(PLAIN.std)[
        :, None, None
    ]
    image = augment.test(pixels, PLAIN)
    assert image.dtype == torch.float32 and image.shape == (3, 48, 16)
    np.testing.assert_allclose(image.numpy(), wanted, atol=1e-5)
    assert augment.test(pixels, Augment()).shape == (3, 384, 128)


@pytest.mark.parametrize("size", [(61, 30), (384, 192), (700, 300), (20, 9), (1, 1)])
def test_pictures_are_resized_as_pillow_does_within_one_level(size):
    pixels = picture(*size)
    pixels.flags.writeable = False
    theirs = np.asarray(Image.fromarray(pixels).resize((16, 48), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(augment.resized(pixels, PLAIN).astype(int) - theirs).max() <= 1


def test_a_picture_that_fits_is_only_normalised():
    pixels = picture(48, 16)
    wanted = (pixels.transpose(2, 0, 1) / 255 - np.array(PLAIN.mean)[:, None, None]) / np.array(PLAIN.std)[:, None, None]
    np.testing.assert_allclose(augment.test(pixels, PLAIN).numpy(), wanted, atol=1e-5)


def test_with_everything_off_training_is_the_test_pipeline():
    image, flipped = shown(picture(), PLAIN, 1)
    assert image.equal(augment.test(picture(), PLAIN)) and not flipped


def test_the_same_generator_gives_the_same_picture():
    settings = Augment(48, 16)
    one, two, other = (shown(picture(), settings, seed) for seed in (3, 3, 4))
    assert one[0].equal(two[0]) and one[1] == two[1] and not one[0].equal(other[0])


def test_the_picture_given_stays_as_it_is():
    pixels = picture(48, 16)
    before = pixels.copy()
    for seed in range(40):
        augment.train(pixels, Augment(48, 16), np.random.default_rng(seed))
    assert (pixels == before).all()


def test_half_of_the_pictures_are_flipped_and_it_is_told_which():
    settings, plain = Augment(48, 16, augment=False, erase=0.0), augment.test(picture(), PLAIN)
    told = []
    for seed in range(200):
        image, flipped = shown(picture(), settings, seed)
        assert image.equal(plain.flip(2) if flipped else plain)
        told.append(flipped)
    assert 80 <= sum(told) <= 120


def test_six_in_ten_pictures_have_a_rectangle_of_the_mean_colour():
    settings = Augment(96, 48, flip=False, augment=False)
    pixels = np.full((96, 48, 3), 255, np.uint8)
    shares = []
    for seed in range(400):
        erased = (shown(pixels, settings, seed)[0] == 0).all(0)
        rows, columns = erased.any(1), erased.any(0)
        assert erased.sum() == rows.sum() * columns.sum() and rows.sum() < 96 and columns.sum() < 48
        shares.append(float(erased.float().mean()))
    found = [share for share in shares if share]
    assert 0.52 < len(found) / 400 < 0.68
    assert min(found) > 0.015 and max(found) < 0.42 and 0.15 < np.mean(found) < 0.26


def test_a_shrunk_picture_is_whole_and_its_edges_are_repeated_around_it():
    settings = Augment(96, 48, flip=False, augment=False, erase=0.0, shrink=0.5)
    pixels = np.full((96, 48, 3), 200, np.uint8)
    pixels[8:-8, 4:-4] = 20
    sides = []
    for seed in range(100):
        image = shown(pixels, settings, seed)[0]
        dark = (image < 0).all(0)
        rows, columns = dark.any(1).sum() / 80, dark.any(0).sum() / 40
        assert 0.45 < rows < 1.05 and 0.45 < columns < 1.05 and not dark[[0, -1]].any() and not dark[:, [0, -1]].any()
        sides.append((float(rows), float(columns)))
    heights, widths = zip(*sides, strict=True)
    assert (
        min(heights) < 0.6 and min(widths) < 0.6 and max(heights) > 0.9 and max(widths) > 0.9 and np.corrcoef(heights, widths)[0, 1] < 0.5
    )


def test_randaugment_applies_two_of_ten_operations_each_with_chance_one_half(monkeypatch):
    assert len(OPERATIONS) == 10
    calls = dict.fromkeys(OPERATIONS, 0)

    def count(name):
        def operation(pixels, side):
            calls[name] += 1
            return pixels

        return operation

    monkeypatch.setattr(augment, "OPERATIONS", {name: count(name) for name in OPERATIONS})
    for seed in range(2000):
        augment.rand_augment(picture(), np.random.default_rng(seed))
    assert sum(calls.values()) / 2000 == pytest.approx(1.0, abs=0.05)
    assert min(calls.values()) > 150 and max(calls.values()) < 250


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("side", [1, -1])
def test_every_operation_gives_bytes_of_the_same_shape(name, side):
    pixels = picture(96, 32)
    changed = OPERATIONS[name](pixels, side)
    assert changed.shape == pixels.shape and changed.dtype == np.uint8
    assert (name == "identity") == bool((changed == pixels).all())


PILLOW = {
    "autocontrast": ImageOps.autocontrast,
    "equalize": ImageOps.equalize,
    "brightness": lambda image: ImageEnhance.Brightness(image).enhance(augment.FACTOR),
    "sharpness": lambda image: ImageEnhance.Sharpness(image).enhance(augment.FACTOR),
}


@pytest.mark.parametrize("name", PILLOW)
def test_operations_are_pillows_to_the_bit(name):
    draw = np.random.default_rng(5)
    flat = [np.full((9, 8, 3), value, np.uint8) for value in (0, 7, 255)]
    mixed = np.concatenate([np.full((40, 10, 3), 9, np.uint8), draw.integers(0, 256, (2, 10, 3), np.uint8)])
    noise = [draw.integers(*span, (30, 16, 3), np.uint8) for span in ((0, 256), (100, 103), (0, 2), (254, 256))]
    for pixels in (*flat, mixed, *noise, *(picture(96, 32, seed) for seed in range(20))):
        theirs = np.asarray(PILLOW[name](Image.fromarray(pixels)))
        assert (OPERATIONS[name](pixels, 1) == theirs).all()


def test_geometry_moves_as_far_as_published_and_fills_with_grey():
    pixels = picture(96, 64)
    moved = OPERATIONS["translate_x"](pixels, 1)
    assert (moved[:, :7] == 128).all() and (moved[:, 7:] == pixels[:, :-7]).all()
    moved = OPERATIONS["translate_y"](pixels, -1)
    assert (moved[-7:] == 128).all() and (moved[:-7] == pixels[7:]).all()
    row = OPERATIONS["shear_x"](pixels, 1)[50]
    assert (row[:10] == 128).all() and abs(row[12:].astype(int) - pixels[50, 2:-10]).max() < 40  # 50 x 0.21 = 10.5 to the right
    upright = np.zeros((101, 101, 3), np.uint8)
    upright[:, 48:53] = 255
    turned = OPERATIONS["rotate"](upright, 1)
    bright = np.argwhere(turned[20, :, 0] > 200)
    assert bright.mean() == pytest.approx(50 - np.tan(np.radians(21)) * 30, abs=1.5)  # counter-clockwise


def test_brightness_is_raised_by_36_percent():
    pixels = np.full((4, 4, 3), 100, np.uint8)
    assert abs(OPERATIONS["brightness"](pixels, 1).astype(int) - 136).max() <= 1

"""The picture pipeline: what it does at which rate, and that it is a function of pixels and generator."""

import numpy as np
import pytest
import torch
from PIL import Image

from pretrain.data import augment
from pretrain.data.augment import ImageTransform
from pretrain.data.randaugment import rand_augment
from pretrain.data.random_numbers import uniform

PLAIN = ImageTransform(48, 16, flip=False, augment=False, erase=0.0)


def picture(height=60, width=24, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 4, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def shown(pixels, settings, seed=0, count=1):
    """A picture as the towers get it in training, several times over, and what was done to it."""
    done = augment.draw_changes(settings, uniform((seed,), range(count), augment.NUMBERS))
    batch = np.stack([augment.fit(pixels, settings, shrink) for shrink in done.shrunk])
    return augment.apply_changes(torch.from_numpy(batch), done, settings), done


def test_a_test_picture_is_resized_and_normalised():
    pixels = picture()
    wanted = (augment.resize(pixels, PLAIN).transpose(2, 0, 1) / 255 - np.array(PLAIN.mean)[:, None, None]) / np.array(PLAIN.std)[
        :, None, None
    ]
    image = augment.test_image(pixels, PLAIN)
    assert image.dtype == torch.float32 and image.shape == (3, 48, 16)
    np.testing.assert_allclose(image.numpy(), wanted, atol=1e-5)
    assert augment.test_image(pixels, ImageTransform()).shape == (3, 384, 128)


@pytest.mark.parametrize("size", [(61, 30), (384, 192), (700, 300), (20, 9), (1, 1)])
def test_pictures_are_resized_as_pillow_does_within_one_level(size):
    pixels = picture(*size)
    pixels.flags.writeable = False
    theirs = np.asarray(Image.fromarray(pixels).resize((16, 48), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(augment.resize(pixels, PLAIN).astype(int) - theirs).max() <= 1


def test_a_picture_that_fits_is_only_normalised():
    pixels = picture(48, 16)
    wanted = (pixels.transpose(2, 0, 1) / 255 - np.array(PLAIN.mean)[:, None, None]) / np.array(PLAIN.std)[:, None, None]
    np.testing.assert_allclose(augment.test_image(pixels, PLAIN).numpy(), wanted, atol=1e-5)


def test_with_everything_off_training_is_the_test_pipeline():
    images, done = shown(picture(), PLAIN, count=20)
    assert all(image.equal(augment.test_image(picture(), PLAIN)) for image in images)
    assert not done.flipped.any() and not done.operations.any() and not done.erased.any()


def test_what_is_done_to_a_picture_follows_from_its_numbers_alone():
    settings = ImageTransform(48, 16, shrink=0.3)
    whole, done = shown(picture(), settings, 3, 12)
    assert len({image.numpy().tobytes() for image in whole}) > 10
    chance = uniform((3,), range(12), augment.NUMBERS)[5:6]
    alone = augment.draw_changes(settings, chance)
    pixels = augment.fit(picture(), settings, alone.shrunk[0])[None]
    assert augment.apply_changes(torch.from_numpy(pixels), alone, settings)[0].equal(whole[5])
    without = augment.draw_changes(ImageTransform(48, 16, flip=False, augment=False), uniform((3,), range(12), augment.NUMBERS))
    assert (without.erased == done.erased).all()  # no kind of change moves the numbers of another


def test_the_pictures_given_stay_as_they_are():
    settings = ImageTransform(48, 16, shrink=0.3)
    pixels = picture(48, 16)
    before = pixels.copy()
    done = augment.draw_changes(settings, uniform((1,), range(40), augment.NUMBERS))
    for shrink in done.shrunk:
        augment.fit(pixels, settings, shrink)
    batch = torch.from_numpy(np.repeat(pixels[None], 40, 0))
    augment.apply_changes(batch, done, settings)
    assert (pixels == before).all() and (batch.numpy() == before).all()


def test_half_of_the_pictures_are_flipped_and_it_is_told_which():
    plain = augment.test_image(picture(), PLAIN)
    images, done = shown(picture(), ImageTransform(48, 16, augment=False, erase=0.0), count=200)
    for image, flipped in zip(images, done.flipped, strict=True):
        assert image.equal(plain.flip(2) if flipped else plain)
    assert 80 <= done.flipped.sum() <= 120


def test_a_picture_is_flipped_then_changed_by_randaugment_then_erased():
    settings = ImageTransform(48, 16)
    images, done = shown(picture(48, 16), settings, count=60)
    for at in range(60):
        planes = picture(48, 16)[:, :: -1 if done.flipped[at] else 1].transpose(2, 0, 1)
        planes = rand_augment(torch.from_numpy(planes.copy())[None], done.operations[at : at + 1])
        image = augment.normalize(planes, settings)[0]
        top, left, high, wide = done.erased[at]
        image[:, top : top + high, left : left + wide] = 0
        assert image.equal(images[at])
    assert done.operations.any() and done.flipped.any() and done.erased.any()


def test_six_in_ten_pictures_have_a_rectangle_of_the_mean_colour():
    settings = ImageTransform(96, 48, flip=False, augment=False)
    images, done = shown(np.full((96, 48, 3), 255, np.uint8), settings, count=400)
    shares, aspects = [], []
    for image, (top, left, high, wide) in zip(images, done.erased.tolist(), strict=True):
        erased = (image == 0).all(0)
        rows, columns = erased.any(1), erased.any(0)
        assert erased.sum() == rows.sum() * columns.sum() == high * wide and rows.sum() < 96 and columns.sum() < 48
        assert not erased.any() or erased[top : top + high, left : left + wide].all()
        if high:
            shares.append(float(erased.float().mean()))
            aspects.append(high / wide)
    assert 0.52 < len(shares) / 400 < 0.68
    assert min(shares) > 0.015 and max(shares) < 0.42 and 0.15 < np.mean(shares) < 0.26
    assert 0.25 < min(aspects) < 0.6 and 2.7 < max(aspects) < 3.8


def test_rectangles_lie_anywhere_and_touch_each_side():
    settings = ImageTransform(96, 48, flip=False, augment=False, erase=1.0)
    boxes = augment.draw_changes(settings, uniform((5,), range(2000), augment.NUMBERS)).erased
    assert (boxes[:, 2:] > 0).all()
    assert boxes[:, 0].min() == 0 == boxes[:, 1].min()
    assert (boxes[:, 0] + boxes[:, 2]).max() == 96 and (boxes[:, 1] + boxes[:, 3]).max() == 48


def test_a_picture_in_which_no_rectangle_fits_keeps_all_of_it():
    boxes = augment.draw_changes(ImageTransform(1, 1, erase=1.0), uniform((5,), range(9), augment.NUMBERS)).erased
    assert not (boxes[:, 2] * boxes[:, 3]).any()


def test_a_shrunk_picture_is_whole_and_its_edges_are_repeated_around_it():
    settings = ImageTransform(96, 48, flip=False, augment=False, erase=0.0, shrink=0.5)
    pixels = np.full((96, 48, 3), 200, np.uint8)
    pixels[8:-8, 4:-4] = 20
    sides = []
    for image in shown(pixels, settings, count=100)[0]:
        dark = (image < 0).all(0)
        rows, columns = dark.any(1).sum() / 80, dark.any(0).sum() / 40
        assert 0.45 < rows < 1.05 and 0.45 < columns < 1.05 and not dark[[0, -1]].any() and not dark[:, [0, -1]].any()
        sides.append((float(rows), float(columns)))
    heights, widths = zip(*sides, strict=True)
    assert (
        min(heights) < 0.6 and min(widths) < 0.6 and max(heights) > 0.9 and max(widths) > 0.9 and np.corrcoef(heights, widths)[0, 1] < 0.5
    )

"""Image augmentation: which changes it makes, how often, and that pixels and random numbers alone decide them."""

import numpy as np
import pytest
import torch
from PIL import Image

from pretrain.data import augment
from pretrain.data.augment import ImageTransform
from pretrain.data.randaugment import rand_augment
from pretrain.data.random_numbers import uniform

PLAIN = ImageTransform(48, 16, flip=False, augment=False, erase=0.0)


def sample_image(height=60, width=24, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 4, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def augmented(pixels, settings, seed=0, count=1):
    """An image as the towers get it in training, `count` times, and its changes."""
    changes = augment.draw_changes(settings, uniform((seed,), range(count), augment.NUMBERS_PER_IMAGE))
    batch = np.stack([augment.fit(pixels, settings, shrink) for shrink in changes.shrunk])
    return augment.apply_changes(torch.from_numpy(batch), changes, settings), changes


def test_a_test_image_is_resized_and_normalised():
    pixels = sample_image()
    expected = (augment.resize(pixels, PLAIN).transpose(2, 0, 1) / 255 - np.array(PLAIN.mean)[:, None, None]) / np.array(PLAIN.std)[
        :, None, None
    ]
    image = augment.test_image(pixels, PLAIN)
    assert image.dtype == torch.float32 and image.shape == (3, 48, 16)
    np.testing.assert_allclose(image.numpy(), expected, atol=1e-5)
    assert augment.test_image(pixels, ImageTransform()).shape == (3, 384, 128)


@pytest.mark.parametrize("size", [(61, 30), (384, 192), (700, 300), (20, 9), (1, 1)])
def test_images_are_resized_as_pillow_does_within_one_level(size):
    pixels = sample_image(*size)
    pixels.flags.writeable = False
    theirs = np.asarray(Image.fromarray(pixels).resize((16, 48), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(augment.resize(pixels, PLAIN).astype(int) - theirs).max() <= 1


def test_an_image_of_the_right_size_is_only_normalised():
    pixels = sample_image(48, 16)
    expected = (pixels.transpose(2, 0, 1) / 255 - np.array(PLAIN.mean)[:, None, None]) / np.array(PLAIN.std)[:, None, None]
    np.testing.assert_allclose(augment.test_image(pixels, PLAIN).numpy(), expected, atol=1e-5)


def test_with_everything_off_training_is_the_test_pipeline():
    images, changes = augmented(sample_image(), PLAIN, count=20)
    assert all(image.equal(augment.test_image(sample_image(), PLAIN)) for image in images)
    assert not changes.flipped.any() and not changes.operations.any() and not changes.erased.any()


def test_the_changes_of_an_image_depend_on_its_random_numbers_alone():
    settings = ImageTransform(48, 16, shrink=0.3)
    whole, changes = augmented(sample_image(), settings, 3, 12)
    assert len({image.numpy().tobytes() for image in whole}) > 10
    random = uniform((3,), range(12), augment.NUMBERS_PER_IMAGE)[5:6]
    alone = augment.draw_changes(settings, random)
    pixels = augment.fit(sample_image(), settings, alone.shrunk[0])[None]
    assert augment.apply_changes(torch.from_numpy(pixels), alone, settings)[0].equal(whole[5])
    without = augment.draw_changes(ImageTransform(48, 16, flip=False, augment=False), uniform((3,), range(12), augment.NUMBERS_PER_IMAGE))
    assert (without.erased == changes.erased).all()  # no kind of change moves the numbers of another


def test_the_input_images_are_not_changed():
    settings = ImageTransform(48, 16, shrink=0.3)
    pixels = sample_image(48, 16)
    before = pixels.copy()
    changes = augment.draw_changes(settings, uniform((1,), range(40), augment.NUMBERS_PER_IMAGE))
    for shrink in changes.shrunk:
        augment.fit(pixels, settings, shrink)
    batch = torch.from_numpy(np.repeat(pixels[None], 40, 0))
    augment.apply_changes(batch, changes, settings)
    assert (pixels == before).all() and (batch.numpy() == before).all()


def test_half_of_the_images_are_flipped_and_the_changes_say_which():
    plain = augment.test_image(sample_image(), PLAIN)
    images, changes = augmented(sample_image(), ImageTransform(48, 16, augment=False, erase=0.0), count=200)
    for image, flipped in zip(images, changes.flipped, strict=True):
        assert image.equal(plain.flip(2) if flipped else plain)
    assert 80 <= changes.flipped.sum() <= 120


def test_an_image_is_flipped_then_changed_by_randaugment_then_erased():
    settings = ImageTransform(48, 16)
    images, changes = augmented(sample_image(48, 16), settings, count=60)
    for index in range(60):
        planes = sample_image(48, 16)[:, :: -1 if changes.flipped[index] else 1].transpose(2, 0, 1)
        planes = rand_augment(torch.from_numpy(planes.copy())[None], changes.operations[index : index + 1])
        image = augment.normalize(planes, settings)[0]
        top, left, height, width = changes.erased[index]
        image[:, top : top + height, left : left + width] = 0
        assert image.equal(images[index])
    assert changes.operations.any() and changes.flipped.any() and changes.erased.any()


def test_six_in_ten_images_have_a_rectangle_of_the_mean_colour():
    settings = ImageTransform(96, 48, flip=False, augment=False)
    images, changes = augmented(np.full((96, 48, 3), 255, np.uint8), settings, count=400)
    shares, aspects = [], []
    for image, (top, left, height, width) in zip(images, changes.erased.tolist(), strict=True):
        erased = (image == 0).all(0)
        rows, columns = erased.any(1), erased.any(0)
        assert erased.sum() == rows.sum() * columns.sum() == height * width and rows.sum() < 96 and columns.sum() < 48
        assert not erased.any() or erased[top : top + height, left : left + width].all()
        if height:
            shares.append(float(erased.float().mean()))
            aspects.append(height / width)
    assert 0.52 < len(shares) / 400 < 0.68
    assert min(shares) > 0.015 and max(shares) < 0.42 and 0.15 < np.mean(shares) < 0.26
    assert 0.25 < min(aspects) < 0.6 and 2.7 < max(aspects) < 3.8


def test_rectangles_lie_anywhere_and_touch_each_side():
    settings = ImageTransform(96, 48, flip=False, augment=False, erase=1.0)
    boxes = augment.draw_changes(settings, uniform((5,), range(2000), augment.NUMBERS_PER_IMAGE)).erased
    assert (boxes[:, 2:] > 0).all()
    assert boxes[:, 0].min() == 0 == boxes[:, 1].min()
    assert (boxes[:, 0] + boxes[:, 2]).max() == 96 and (boxes[:, 1] + boxes[:, 3]).max() == 48


def test_an_image_in_which_no_rectangle_fits_is_not_erased():
    boxes = augment.draw_changes(ImageTransform(1, 1, erase=1.0), uniform((5,), range(9), augment.NUMBERS_PER_IMAGE)).erased
    assert not (boxes[:, 2] * boxes[:, 3]).any()


def test_a_shrunk_image_is_complete_and_surrounded_by_its_edge_pixels():
    settings = ImageTransform(96, 48, flip=False, augment=False, erase=0.0, shrink=0.5)
    pixels = np.full((96, 48, 3), 200, np.uint8)
    pixels[8:-8, 4:-4] = 20
    sides = []
    for image in augmented(pixels, settings, count=100)[0]:
        dark = (image < 0).all(0)
        rows, columns = dark.any(1).sum() / 80, dark.any(0).sum() / 40
        assert 0.45 < rows < 1.05 and 0.45 < columns < 1.05 and not dark[[0, -1]].any() and not dark[:, [0, -1]].any()
        sides.append((float(rows), float(columns)))
    heights, widths = zip(*sides, strict=True)
    assert (
        min(heights) < 0.6 and min(widths) < 0.6 and max(heights) > 0.9 and max(widths) > 0.9 and np.corrcoef(heights, widths)[0, 1] < 0.5
    )

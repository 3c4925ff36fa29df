"""The contrast that the embedded scorer is trained by."""

import numpy as np
import torch

from mals.world.person import create_person
from mals.world.training import scorer
from mals.world.training.drawn_dataset import draw_dataset

HALF = 0.5**0.5


def test_a_text_is_true_of_the_images_that_none_of_its_labels_contradicts() -> None:
    labels, attributes = torch.tensor([[0, -1], [1, 1], [-1, -1]]), torch.tensor([[0, 1], [1, 1]])
    assert scorer.true_of(labels, attributes).tolist() == [[True, False], [False, True], [True, True]]


def test_own_captions_are_contrasted_with_wrong_ones_but_not_with_those_that_are_true_too() -> None:
    images = torch.eye(2)
    texts = torch.tensor([[1.0, 0.0], [0.0, 1.0], [HALF, HALF]])
    attributes, one = torch.tensor([[0], [1]]), torch.tensor(1.0)

    def loss(labels: list[int]) -> float:
        return float(scorer.contrast(images, texts, torch.tensor(labels)[:, None], attributes, one))

    def cross_entropy(own: float, *others: float) -> float:
        return float(np.log(np.exp([own, *others]).sum()) - own)

    contrasted = cross_entropy(1, 0)
    assert np.isclose(loss([0, 1, 1]), (cross_entropy(1, 0, HALF) + 3 * contrasted) / 4)
    assert np.isclose(loss([-1, 1, -1]), 2 * contrasted / 4), "the first and the last text are true of both images"


def test_texts_say_what_their_labels_say() -> None:
    writer = scorer.Writer(np.random.default_rng(0))
    written = [(person := create_person(5, number), *writer.write(person, "street", True)) for number in range(40)]
    for person, text, labels in written:
        assert text and all(label in (-1, value) for label, value in zip(labels, person.attributes(), strict=True))
    assert any(-1 in labels for *_, labels in written) and any(-1 not in labels for *_, labels in written)


def test_crops_have_the_size_of_the_method_and_show_the_person(tmp_path) -> None:
    dataset = draw_dataset(tmp_path / "images", 3, 10, workers=1)
    crops = scorer.draw_crops(dataset, dataset.sound_rows, np.random.default_rng(0))
    assert crops.shape == (6, 3, scorer.IMAGE_HEIGHT, scorer.IMAGE_WIDTH)
    assert crops.min() >= 0 and crops.max() <= 1 and crops.std() > 0.1

"""The images that the embedded models are trained on."""

from pathlib import Path

from mals.world.training.drawn_dataset import draw_dataset, fault_of


def test_a_dataset_is_drawn_once_with_its_ground_truth(tmp_path: Path) -> None:
    dataset = draw_dataset(tmp_path, 3, 20, workers=1)
    written = (tmp_path / "pixels.npy").stat().st_mtime_ns
    assert draw_dataset(tmp_path, 3, 20).count == 20 and (tmp_path / "pixels.npy").stat().st_mtime_ns == written
    assert [fault_of(row) for row in range(5)] == ["no_person", "two_persons", "two_persons", "cut", None]
    assert dataset.boxes.any(2).sum(1).tolist()[:5] == [0, 2, 2, 1, 1] and list(dataset.sound_rows[:3]) == [4, 5, 6]
    assert list(dataset.rows_of_own_world[:4]) == [0, 3, 4, 5]

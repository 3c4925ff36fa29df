"""Every method of METHODS, and one of a stranger, in a training of a moment: what each must be able to do, whatever it is."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

import pretrain
from mals.errors import UserError
from pretrain import checkpoint, methods, trained_method
from pretrain.build import open_pairs, prepare
from pretrain.evaluate import open_gallery
from pretrain.measure import cost
from pretrain.release import release
from pretrain.schedule import make_optimizer
from pretrain.search import search
from tests.pretrain.methods.processes import compare_gradients, compare_losses, end_early, measured, on_ranks
from tests.pretrain.methods.small import NAMES, OWN, STEPS, Small, drawn, measure, part
from tests.pretrain.packs import pictures
from tests.pretrain.trainings import lines, same_weights

pytestmark = pytest.mark.slow
each = pytest.mark.parametrize("name", NAMES)
TIMES = ("images_per_s", "images_per_s_now", "waited", "peak_mb")  # of a line of metrics
SENTENCES = ["a man in a red coat with a black bag", "a woman"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("every") / "world")


@pytest.fixture(scope="module")
def trainings(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the finished training of each method."""
    return tmp_path_factory.mktemp("trainings")


def finished(name: str, world: Path, trainings: Path) -> Path:
    """The finished training of a method, run once."""
    out = trainings / name
    if not (out / checkpoint.MODEL).is_file():
        Small(name).train(world, out)
    return out


@pytest.fixture(scope="module")
def alone(world: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, torch.Tensor]]:
    """What one process measures, by the names of the methods; filled by the tests."""
    return {}


@pytest.fixture(scope="module")
def two(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return on_ranks(2, world, tmp_path_factory.mktemp("two"), NAMES)


@pytest.fixture(scope="module")
def four(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return on_ranks(4, world, tmp_path_factory.mktemp("four"), NAMES)


@pytest.fixture(scope="module")
def killed(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return end_early(world, tmp_path_factory.mktemp("killed"), NAMES)


@each
@pytest.mark.parametrize("processes", ["two", "four"])
def test_losses_gradients_and_statistics_are_those_of_one_process(
    name: str,
    processes: str,
    world: Path,
    alone: dict[str, dict[str, torch.Tensor]],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    if name not in alone:
        alone[name] = measure(name, world, tmp_path / "alone")
    compare(name, request.getfixturevalue(processes), alone[name])


def compare(name: str, folder: Path, one: dict[str, torch.Tensor]) -> None:
    """Compare what several processes measured of a method with what one has measured."""
    many = measured(folder, name)
    assert many.keys() == one.keys()
    for step in STEPS:
        compare_losses(many, one, step)
        compare_gradients(many, one, step)
        for buffer, value in part(one, step, "buffers").items():
            actual = many[f"{step}/buffers/{buffer}"]
            torch.testing.assert_close(actual, value, rtol=1e-3, atol=1e-5, msg=lambda text, at=buffer: f"{at}: {text}")


@each
def test_every_trainable_parameter_has_a_gradient_and_frozen_ones_stay(name: str, world: Path, trainings: Path, tmp_path: Path) -> None:
    config = Small(name).config()
    method = prepare(config, [str(world)], tmp_path).method
    trainable = {key for key, parameter in method.named_parameters() if parameter.requires_grad}
    for step in STEPS:
        assert set(part(measure(name, world, tmp_path / str(step)), step, "gradients")) == trainable
    before, after = method.state_dict(), load_file(finished(name, world, trainings) / "checkpoints/00000006" / checkpoint.MODEL)
    for key, parameter in method.named_parameters():
        moved = not torch.equal(before[key], after[key])
        assert moved or not parameter.requires_grad or not config.optimizer.lr, key
        assert not moved or parameter.requires_grad, key


@each
def test_a_killed_training_ends_with_the_same_bits(name: str, world: Path, trainings: Path, killed: Path) -> None:
    resume(name, world, finished(name, world, trainings), killed / name)


def resume(name: str, world: Path, calm: Path, out: Path) -> None:
    """End a killed training, and compare it with one that was not killed."""
    assert not (out / checkpoint.MODEL).exists() and (out / "checkpoints/00000002").is_dir()
    Small(name).train(world, out)
    assert same_weights(calm / checkpoint.MODEL, out / checkpoint.MODEL)
    assert same_weights(calm / "checkpoints/00000006" / checkpoint.OPTIMIZER, out / "checkpoints/00000006" / checkpoint.OPTIMIZER)
    for line, again in zip(lines(calm), lines(out), strict=True):
        assert {key: value for key, value in line.items() if key in again and key not in TIMES} == {
            key: value for key, value in again.items() if key not in TIMES
        }


@each
def test_the_last_checkpoint_is_released_and_embeds_as_before(name: str, world: Path, trainings: Path, tmp_path: Path) -> None:
    out = finished(name, world, trainings)
    release(str(out), str(tmp_path / "released"), latest=True)
    kind, released = methods.find(name), set(load_file(tmp_path / "released" / checkpoint.MODEL))
    kept = load_file(out / "checkpoints/00000006" / checkpoint.MODEL)
    assert released == set(kind.without_training_only(kept))
    images = [tmp_path / "images" / file for file in pictures(tmp_path, 3)]
    before, after = (pretrain.load(place) for place in (out / "checkpoints/00000006", tmp_path / "released"))
    assert after.embed_image(images).equal(before.embed_image(images)) and after.embed_image(images).isfinite().all()
    if after.trained.method.needs.captions:
        assert after.embed_text(SENTENCES).equal(before.embed_text(SENTENCES)) and after.embed_text(SENTENCES).isfinite().all()
        assert not after.embed_text(SENTENCES)[0].equal(after.embed_text(SENTENCES)[1])


@each
def test_a_sentence_finds_images(name: str, world: Path, trainings: Path) -> None:
    trained = trained_method.read(str(finished(name, world, trainings)))
    if not trained.method.needs.captions:
        pytest.skip("trained without captions")
    gallery = open_gallery(trained, [world], "test")
    result = search(trained, gallery, SENTENCES[0], 3)
    assert len({hit.row for hit in result.hits}) == 3
    assert [hit.score for hit in result.hits] == sorted((hit.score for hit in result.hits), reverse=True)


@each
def test_the_cost_of_its_embeddings_is_counted(name: str, world: Path, trainings: Path) -> None:
    trained = trained_method.read(str(finished(name, world, trainings)))
    counted = cost(trained, SENTENCES[0])
    assert counted.image_flops > 0 and counted.width == trained.width()
    assert (counted.caption_flops or 0) > 0 or not trained.method.needs.captions


@each
def test_its_towers_are_exported_to_onnx(name: str, world: Path, trainings: Path, tmp_path: Path) -> None:
    out = finished(name, world, trainings)
    report = release(str(out), str(tmp_path / "released"), onnx=True)
    texts = {"text.onnx"} if methods.find(name).data_needs(Small(name).config()).captions else set()
    assert set(report.onnx) == {"image.onnx", *texts} and max(report.onnx.values()) <= 1e-4


def without_persons(world: Path, folder: Path) -> Path:
    """The train split without the column of persons."""
    (folder / "data").mkdir(parents=True)
    for file in (world / "data").glob("train-*.parquet"):
        pq.write_table(pq.read_table(file).drop_columns(["person"]), folder / "data" / file.name)
    return folder


@each
def test_data_without_persons_serve_it_or_are_refused_in_one_sentence(name: str, world: Path, tmp_path: Path) -> None:
    needs, data = methods.find(name).data_needs(Small(name).config()), without_persons(world, tmp_path / "data")
    if max(needs.least_images, needs.group[0]) > 1:
        with pytest.raises(UserError, match=r"person") as refusal:
            Small(name).train(data, tmp_path / "out")
        assert "\n" not in str(refusal.value)
    else:
        assert Small(name).train(data, tmp_path / "out", "steps=1")["step"] == 1


@each
def test_a_batch_of_one_row_is_trained_or_refused_in_one_sentence(name: str, world: Path, tmp_path: Path) -> None:
    try:
        last = Small(name).train(world, tmp_path / "out", "batch=1", "steps=2")
    except UserError as refusal:
        assert "batch" in str(refusal) and "\n" not in str(refusal)
    else:
        assert last["step"] == 2


def fewer_persons(world: Path, folder: Path) -> Path:
    """The first file of the train split: half of its persons."""
    (folder / "data").mkdir(parents=True)
    file = min((world / "data").glob("train-*.parquet"))
    pq.write_table(pq.read_table(file), folder / "data" / "train-00000-of-00001.parquet")
    return folder


@each
def test_weights_of_more_persons_start_a_training_and_do_not_resume_one(name: str, world: Path, trainings: Path, tmp_path: Path) -> None:
    out, data, kind = finished(name, world, trainings), fewer_persons(world, tmp_path / "data"), methods.find(name)
    start, config = f"start={out / 'checkpoints/00000006'}", Small(name).config()
    if kind.training_only is None:
        pytest.skip("no parameter of it belongs to persons")
    assert len(open_pairs(config, [str(data)]).persons.unique()) < len(open_pairs(config, [str(world)]).persons.unique())
    assert Small(name).train(data, tmp_path / "started", start, "steps=1")["step"] == 1
    method = prepare(config, [str(data)], tmp_path).method
    kept = checkpoint.latest(out)
    assert kept is not None
    with pytest.raises(UserError, match=r"^the checkpoint .* is of another model: ") as refusal:
        checkpoint.restore(kept, method, make_optimizer(config.optimizer, method, method.rules, 6, 6))
    assert "\n" not in str(refusal.value)


def test_the_stranger_is_among_them() -> None:
    assert OWN in NAMES and set(methods.METHODS) < set(NAMES)

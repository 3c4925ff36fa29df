"""The stage `embed`: hashes and embeddings of crops."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mals import settings
from mals.errors import ModelMissing, UserError
from mals.grid.cells import build_stage
from mals.images import decode_image
from mals.scorer import load_scorer
from mals.stages.embed import Embed, image_hash, thumbnail
from mals.stages.row_images import read_images
from tests.fakes import block_image, jpeg, png
from tests.pretrain.packs import packed
from tests.pretrain.releases import released


def embed_stage(**values: object) -> Embed:
    stage = build_stage("embed", settings.check({"dedup": values}))
    assert isinstance(stage, Embed)
    return stage


def test_every_crop_has_a_hash_and_an_embedding_of_length_one() -> None:
    images = [block_image(seed) for seed in range(3)]
    stage = embed_stage()
    stage.setup()
    rows = stage(pa.record_batch({"crop": [*map(jpeg, images), b"no image"]})).to_pylist()
    for row in rows[:3]:
        vector = np.frombuffer(row["image_embedding"], "<f2").astype(np.float32)
        assert vector.shape == (8 * 16 * 3,) and np.linalg.norm(vector) == pytest.approx(1, abs=1e-3)
    assert len({row["crop_phash"] for row in rows[:3]}) == 3
    assert rows[3]["crop_phash"] is None and rows[3]["image_embedding"] is None and rows[3]["error"]


def test_the_same_image_in_another_size_is_near_and_another_image_is_not() -> None:
    image = block_image(1)
    larger = image.repeat(3, 0).repeat(3, 1)
    assert (image_hash(image) ^ image_hash(larger)).bit_count() <= 4
    assert float(thumbnail(image) @ thumbnail(larger)) > 0.999
    assert float(thumbnail(image) @ thumbnail(block_image(2))) < 0.5


def test_an_image_of_one_colour_is_near_to_nothing() -> None:
    assert not thumbnail(np.full((32, 16, 3), 90, np.uint8)).any()


def test_a_trained_method_embeds_where_the_settings_name_one(tmp_path: Path) -> None:
    method = released(tmp_path / "small-aptm", packed(tmp_path / "run"))
    stage = embed_stage(scorer=str(method))
    assert stage.params()["model"] == "small-aptm" and stage.resources.gpus == 1
    stage.setup()
    images = [block_image(seed) for seed in (1, 2)]
    rows = stage(pa.record_batch({"crop": list(map(jpeg, images))})).to_pylist()
    expected = load_scorer(method, device="cpu").embed_images([decode_image(jpeg(image)) for image in images])
    for row, vector in zip(rows, expected, strict=True):
        assert np.frombuffer(row["image_embedding"], "<f2") == pytest.approx(vector, abs=1e-3)


def test_a_scorer_of_numbers_that_are_not_finite_is_refused() -> None:
    stage = embed_stage(scorer="not-finite", loader="tests.mals.stages.test_agree:colors")
    stage.setup()
    with pytest.raises(UserError, match=r"the scorer not-finite: embed_images returned numbers that are not finite"):
        stage(pa.record_batch({"crop": [jpeg(block_image(1))]}))


def test_the_place_of_an_unreadable_image_is_filled_and_no_row_depends_on_it() -> None:
    sizes = []

    def brightness(images: list[np.ndarray]) -> list[float]:
        sizes.append(len(images))
        return [float(pixels.mean()) for pixels in images]

    dark, bright = (png(np.full((4, 4, 3), level, np.uint8)) for level in (10, 200))
    assert read_images([b"no image", dark, None, bright]).apply(brightness) == [None, 10.0, None, 200.0]
    assert read_images([b"no image", None]).apply(brightness) == [None, None]
    assert sizes == [4], "a model sees no batch of which nothing can be read"


def test_a_scorer_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(ModelMissing, match=r"no_such_folder/scorer.*dedup\.scorer=DIR"):
        embed_stage(scorer="/no_such_folder/scorer").params()
    with pytest.raises(UserError, match=r"dedup\.best = 'sharpnes' is no number of a stage before; did you mean sharpness"):
        build_stage("dedup", settings.check({"dedup": {"best": "sharpnes"}}))

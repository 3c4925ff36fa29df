"""The generator's caches, on a small Flux in the hub's layout."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mals import settings
from mals.errors import UserError
from mals.stages.generate import Generate
from mals.stages.step_cache import enable_cache
from tests.mals.stages.test_generate import MEN, pixels, ready, run
from tests.small import diffusion

STEPS = 8
CACHES = {  # of each kind, one that saves something of the small model
    "first_block": {"kind": "first_block", "threshold": 0.4},
    "taylor_seer": {"kind": "taylor_seer", "interval": 3, "first_steps": 2},
}


@pytest.fixture(scope="session")
def flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return diffusion.build_flux(tmp_path_factory.mktemp("models") / "flux")


def images(generate: Generate) -> list[bytes]:
    return [row["image"] for row in run(generate, MEN)]


def rows_computed(generate: Generate, prompts: list[str] = MEN) -> int:
    """Rows for which the attention of the last block is computed, over all steps."""
    rows: list[int] = []
    attention = generate._text.transformer.single_transformer_blocks[-1].attn.to_q
    hook = attention.register_forward_hook(lambda _module, arguments, _output: rows.append(len(arguments[0])))
    run(generate, prompts)
    hook.remove()
    return sum(rows)


@pytest.mark.parametrize("kind", CACHES)
def test_a_cache_saves_steps_changes_images_a_little_and_gives_the_same_bytes_again(flux: Path, kind: str) -> None:
    plain, cached = ready(flux, steps=STEPS), ready(flux, steps=STEPS, cache=CACHES[kind])
    first, again = run(cached, MEN), images(cached)
    assert [row["image"] for row in first] == again
    assert images(ready(flux, steps=STEPS, cache=CACHES[kind])) == again, "another worker"
    differences = [np.abs(pixels(one) - pixels(other)) for one, other in zip(first, run(plain, MEN), strict=True)]
    assert all(difference.max() > 0 and difference.mean() < 10 for difference in differences)
    assert rows_computed(plain) == STEPS * len(MEN)
    assert 0 < rows_computed(cached) < 0.7 * STEPS * len(MEN)


@pytest.mark.parametrize("kind", CACHES)
def test_a_row_does_not_depend_on_its_rows_around_it_where_steps_are_cached(flux: Path, kind: str) -> None:
    generate = ready(flux, steps=STEPS, cache=CACHES[kind])
    row = run(generate, MEN)[0]
    other = run(generate, [MEN[0], "", "two dogs on a street", "x"], seed=[100, 7, 8, 9])
    assert row["image"] == other[0]["image"]
    assert row["batch"] == {"first_block": 1, "taylor_seer": 4}[kind]


def test_a_cache_that_decides_over_all_rows_of_a_call_gets_one_row_a_call(flux: Path) -> None:
    generate = ready(flux, steps=STEPS, cache=CACHES["first_block"])
    sizes: set[int] = set()
    generate._text.transformer.register_forward_pre_hook(
        lambda _network, _arguments, named: sizes.add(len(named["hidden_states"])), with_kwargs=True
    )
    assert rows_computed(generate) % len(MEN), "some rows compute more steps than others"
    assert sizes == {1}


@pytest.mark.parametrize("kind", CACHES)
def test_a_call_that_failed_leaves_nothing_for_the_next_one(flux: Path, kind: str) -> None:
    generate = ready(flux, steps=STEPS, cache=CACHES[kind])
    before = images(generate)
    calls: list[int] = []

    def fail(*_: Any) -> None:
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError("no memory")

    hook = generate._text.transformer.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="no memory"):
        run(generate, ["someone else"], seed=[5])
    hook.remove()
    assert images(generate) == before


def test_a_unet_is_refused_and_with_it_the_embedded_generator() -> None:
    with pytest.raises(UserError, match=r"no cache for the UNet2DConditionModel of a StableDiffusionPipeline; leave generate\.cache out"):
        ready("embedded", height=128, width=64, cache={})


def test_a_pipeline_that_does_not_say_what_a_call_is_for_is_refused(flux: Path, tmp_path: Path) -> None:
    Image.new("RGB", (32, 64), "red").save(tmp_path / "start.png")
    generate = ready(flux, steps=STEPS, cache={})
    assert run(generate, MEN[:1])[0]["reject"] is None
    with pytest.raises(UserError, match=r"^generate\.cache is set, but the FluxImg2ImgPipeline of diffusers does not say"):
        run(generate, MEN[:1], init_image=[str(tmp_path / "start.png")])


def test_blocks_that_a_cache_does_not_know_are_refused() -> None:
    from diffusers import ChromaTransformer2DModel, CogView4Transformer2DModel

    cogview: Any = CogView4Transformer2DModel(
        num_layers=2, attention_head_dim=8, num_attention_heads=2, text_embed_dim=8, time_embed_dim=8, condition_dim=4
    )
    generate = settings.check({"generate": {"model": "m", "cache": CACHES["taylor_seer"]}}).generate
    with pytest.raises(UserError, match="kind = taylor_seer, but CogView4Transformer2DModel has no layers that it could cache"):
        enable_cache(SimpleNamespace(transformer=cogview), generate)
    chroma: Any = ChromaTransformer2DModel(
        num_layers=1, num_single_layers=1, attention_head_dim=8, num_attention_heads=2, joint_attention_dim=8, axes_dims_rope=(2, 2, 4),
        approximator_hidden_dim=8, approximator_layers=1, approximator_num_channels=8,
    )  # fmt: skip
    generate = settings.check({"generate": {"model": "m", "cache": CACHES["first_block"]}}).generate
    with pytest.raises(UserError, match="kind = first_block, but diffusers does not know the blocks of ChromaTransformer2DModel"):
        enable_cache(SimpleNamespace(transformer=chroma), generate)


def test_settings_of_the_other_kind_steps_that_leave_nothing_and_compilation_are_refused() -> None:
    tree = {"model": "m", "cache": {"kind": "taylor_seer", "threshold": 0.1}}
    with pytest.raises(UserError, match=r"generate\.cache\.threshold is not of the kind taylor_seer"):
        settings.check({"generate": tree})
    with pytest.raises(UserError, match=r"generate\.cache\.interval is not of the kind first_block"):
        settings.check({"generate": {"model": "m", "cache": {"interval": 2}}})
    with pytest.raises(UserError, match=r"first_steps = 3 leaves none of generate\.steps = 3 to be extrapolated"):
        settings.check({"generate": {"model": "m", "steps": 3, "cache": {"kind": "taylor_seer"}}})
    with pytest.raises(UserError, match=r"generate\.cache does not go with generate\.compile"):
        settings.check({"generate": {"model": "m", "compile": "regional", "cache": {}}})


def test_a_cache_is_a_parameter(flux: Path) -> None:
    trees: list[Any] = [None, {}, {"threshold": 0.1}, {"kind": "taylor_seer"}, {"kind": "taylor_seer", "interval": 4}]
    parameters = [ready(flux, steps=STEPS, cache=tree).params() for tree in trees]
    assert len({str(one) for one in parameters}) == len(trees)

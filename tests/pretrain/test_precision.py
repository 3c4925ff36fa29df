"""Numbers with fewer digits: fp16 with a scaled loss, and cards that lack bf16. Trainings in bf16 and tf32 are in test_train.py."""

from pathlib import Path

import pytest
import torch

from mals.errors import UserError
from pretrain import precision
from pretrain.schedule import groups
from pretrain.train import LEAST_SCALE, Loop
from tests.pretrain.methods.aptm.test_method import CALM, settings, small
from tests.pretrain.trainings import here, lines

CPU = torch.device("cpu")


def loop_of(dtype: str, clip: float | None = None) -> Loop:
    """A loop whose method is small, with the optimizer of a training."""
    method, _ = small(aptm=CALM)
    config = settings(dtype=dtype, data={"height": 64, "width": 32}, optimizer={"clip": clip, "warmup": 0})
    return Loop(config, method.train(), torch.optim.AdamW(groups(method, (), rate=1e-3, decay=0.1), fused=True), Path(), 10, 10, CPU)


def weights(loop: Loop) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in loop.method.state_dict().items()}


def test_a_step_in_fp16_is_about_that_in_fp32() -> None:
    _, batch = small(aptm=CALM)
    half, full = loop_of("fp16"), loop_of("fp32")
    assert half.scaler.is_enabled() and not full.scaler.is_enabled()
    half.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    losses, expected = half.step(0, batch).read()[0], full.step(0, batch).read()[0]
    assert losses == pytest.approx(expected, rel=0.01) and losses != expected
    gradients = [torch.cat([p.grad.flatten() for p in loop.method.parameters() if p.grad is not None]) for loop in (half, full)]
    assert torch.cosine_similarity(gradients[0], gradients[1], dim=0) > 0.999


@pytest.mark.parametrize("clip", [None, 1.0])
def test_an_update_that_overflows_in_fp16_is_left_out_and_the_scale_halved(clip: float | None) -> None:
    _, batch = small(aptm=CALM)
    loop = loop_of("fp16", clip)
    loop.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    before = weights(loop)
    loop.step(0, batch)
    assert loop.scaler.get_scale() == 2.0**126 and all(value.equal(before[name]) for name, value in weights(loop).items())
    loop.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    loop.step(1, batch)
    after = weights(loop)
    assert loop.scaler.get_scale() == 2.0**8 and not all(value.equal(before[name]) for name, value in after.items())
    assert all(value.isfinite().all() for value in after.values())


def test_a_training_that_no_scale_helps_ends_in_one_sentence() -> None:
    loop = loop_of("fp16")
    loop.scaler = torch.amp.GradScaler("cpu", init_scale=LEAST_SCALE / 2)
    with pytest.raises(
        UserError, match=r"^the gradients are not finite after step 3 with any scale of the loss; set dtype=fp32, or in ano"
    ):
        loop.save(3)


def test_a_training_in_fp16_logs_its_scale(trainable: Path, tmp_path: Path) -> None:
    here(trainable, tmp_path, "dtype=fp16", "steps=3")
    scales = [line["loss_scale"] for line in lines(tmp_path)]
    assert all(scale in (2.0**16, 2.0**15, 2.0**14, 2.0**13) for scale in scales) and scales == sorted(scales, reverse=True)
    here(trainable, tmp_path / "other", "steps=1")
    assert "loss_scale" not in lines(tmp_path / "other")[0]


def test_bf16_is_refused_on_a_card_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla V100")
    for supported in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, supported=supported: supported)
        for device, dtype in ((CPU, "bf16"), (torch.device("cuda"), "fp16"), (torch.device("cuda"), "tf32")):
            precision.refuse_missing(device, dtype)
    with pytest.raises(UserError, match=r"^Tesla V100 has no bf16: set dtype=fp16, which scales the loss, or dtype=fp32$"):
        precision.refuse_missing(torch.device("cuda"), "bf16")

"""Heads compute in float32 whatever the towers do."""

import pytest
import torch

from pretrain.methods.aptm.method import Aptm
from pretrain.towers.heads import Float32Linear
from pretrain.towers.persons import person_classifier
from tests.pretrain.methods.aptm.test_method import CALM, small

CPU = torch.device("cpu")


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_a_head_has_the_bits_of_float32_under_autocast(half: torch.dtype) -> None:
    torch.manual_seed(0)
    head, x = Float32Linear(48, 5), torch.randn(7, 48)
    expected = head(x.to(half).float())
    with torch.autocast("cpu", half):
        output = head(x.to(half))
        assert torch.nn.functional.linear(x, head.weight).dtype == half  # what a plain layer does
    assert output.dtype == torch.float32 and output.equal(expected)
    output.sum().backward()
    assert head.weight.grad is not None and head.weight.grad.equal(x.to(half).float().sum(0).expand(5, -1))


def test_what_losses_see_of_aptm_in_bf16_is_float32() -> None:
    method, batch = small(aptm=CALM)
    shown: dict[str, torch.dtype] = {}
    heads = {"vision_proj": method.vision_proj, "text_proj": method.text_proj, "itm_head": method.itm_head}
    for name, head in heads.items():
        head.register_forward_hook(lambda module, inputs, output, name=name: shown.update({name: output.dtype}))
    with torch.autocast("cpu", torch.bfloat16):
        assert isinstance(method, Aptm) and method.train()(batch, 0)
        assert person_classifier(8, 3)(torch.zeros(2, 8)).dtype == torch.float32
    assert shown == dict.fromkeys(heads, torch.float32)

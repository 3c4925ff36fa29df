"""ResNets: equal to torchvision's, transformers' and open_clip's in maps, gradients and running statistics; missing weights."""

from pathlib import Path

import open_clip.modified_resnet
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetModel

from mals.errors import ModelMissing, UserError
from pretrain.towers.batch_norm import BatchNorm, own_name
from pretrain.towers.resnet import ModifiedResNet, ResNet, load_plip, load_resnet

SMALL = {"stem": 8, "depths": (1, 1, 2, 1), "widths": (4, 4, 8, 16)}


def trained(module: nn.Module) -> nn.Module:
    """The module with biases, scales and running statistics that are not 0 and 1."""
    generator = torch.Generator().manual_seed(3)
    for name, value in module.state_dict().items():
        if "bn" in name or "downsample.1" in name or "normalization" in name:
            if name.endswith(("bias", "running_mean")):
                value.copy_(torch.randn(value.shape, generator=generator) / 5)
            elif name.endswith(("weight", "running_var")):
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return module


def statistics(module: nn.Module) -> dict[str, Tensor]:
    buffers = {own_name(name): value for name, value in module.named_buffers()}
    return {name: value for name, value in buffers.items() if name}


def theirs(height: int = 64, width: int = 32) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(1)
    return trained(torchvision.models.resnet50()), torch.randn(2, 3, height, width)


def layers(resnet: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """The maps of torchvision's two last stages."""
    x = resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1(images))))
    middle = resnet.layer3(resnet.layer2(resnet.layer1(x)))
    return middle, resnet.layer4(middle)


@pytest.mark.parametrize("training", [False, True])
def test_maps_gradients_and_statistics_are_torchvisions(training: bool, tmp_path: Path) -> None:
    resnet, images = theirs()
    save_file(resnet.state_dict(), tmp_path / "model.safetensors")
    ours = ResNet()
    load_resnet(ours, str(tmp_path), "ssan.vision.start")
    resnet.train(training)
    ours.train(training)
    for own, expected in zip(ours.maps(images), layers(resnet, images), strict=True):
        torch.testing.assert_close(own, expected, atol=1e-4, rtol=1e-4)
        own.sin().sum().backward(retain_graph=True)
        expected.sin().sum().backward(retain_graph=True)
    expected_gradients = {name: parameter.grad for name, parameter in resnet.named_parameters() if not name.startswith("fc.")}
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad.norm(), expected_gradients[name].norm(), atol=1e-3, rtol=2e-3)
    for name, value in statistics(ours).items():
        torch.testing.assert_close(value, statistics(resnet)[name], atol=1e-5, rtol=1e-4)


def test_sizes() -> None:
    with torch.device("meta"):
        full = ResNet()
        assert sum(parameter.numel() for parameter in full.parameters()) == 23_508_032
        assert full.maps(torch.empty(2, 3, 384, 128))[1].shape == (2, 2048, 12, 4) and full.width == 2048 and full.mid_width == 1024
        middle, last = ResNet(last_stride=1).maps(torch.empty(1, 3, 256, 128))
        assert middle.shape == (1, 1024, 16, 8) and last.shape == (1, 2048, 16, 8)
        plip = ModifiedResNet()
        assert plip(torch.empty(1, 3, 256, 128)).shape == (1, 2048, 8, 4) and plip.pooled(torch.empty(1, 3, 256, 128)).shape == (1, 768)
        assert plip.attnpool.positional_embedding.shape == (33, 2048)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in plip.modules())
        assert not any(name.startswith("attnpool") for name in ModifiedResNet(output=None).state_dict())
    with pytest.raises(UserError, match=r"^images of 250x128 do not divide into the 32x32 pixels"):
        ModifiedResNet(height=250)
    with pytest.raises(ValueError, match="four stages"):
        ResNet(depths=(1, 1))


def test_a_batch_of_one_is_normalised_over_its_map() -> None:
    assert torch.isfinite(ResNet(**SMALL).train()(torch.randn(1, 3, 64, 64))).all()


def test_weights_of_transformers_have_the_same_maps(tmp_path: Path) -> None:
    torch.manual_seed(1)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[16, 16, 32, 64], depths=[1, 1, 2, 1], layer_type="bottleneck")
    resnet, images = trained(ResNetModel(config)).eval(), torch.randn(2, 3, 64, 32)
    resnet.save_pretrained(tmp_path)
    ours = ResNet(**SMALL).eval()
    load_resnet(ours, str(tmp_path), "start")
    torch.testing.assert_close(ours(images), resnet(images).last_hidden_state, atol=1e-5, rtol=1e-5)


def plip(height: int = 128, width: int = 64, output: int | None = 24) -> ModifiedResNet:
    torch.manual_seed(2)
    return ModifiedResNet(height=height, width=width, depths=(1, 1, 2, 1), channels=8, heads=2, output=output)


def test_the_modified_one_is_open_clips_and_reads_plips_checkpoints(tmp_path: Path) -> None:
    torch.manual_seed(1)
    clip = trained(open_clip.modified_resnet.ModifiedResNet([1, 1, 2, 1], 24, 2, 64, 8)).eval()
    images = torch.randn(2, 3, 64, 64)
    save_file({f"visual.{name}": value for name, value in clip.state_dict().items()}, tmp_path / "clip.safetensors")
    square = plip(64, 64).eval()
    load_plip(square, str(tmp_path / "clip.safetensors"), "start")
    torch.testing.assert_close(square.pooled(images), clip(images), atol=1e-5, rtol=1e-5)

    state = {name: value for name, value in clip.state_dict().items() if not name.startswith("attnpool")}
    state |= {"avg_proj.weight": torch.zeros(768, 256), "avg_proj.bias": torch.zeros(768)}
    saved = {"ImgEncoder_state_dict": state, "TxtEncoder_state_dict": {"a": torch.zeros(1)}, "epoch": 3}
    torch.save(saved, tmp_path / "PLIP_MRN50.pth.tar")
    backbone = plip(output=None).eval()
    load_plip(backbone, str(tmp_path / "PLIP_MRN50.pth.tar"), "start")
    expected = clip.layer4(clip.layer3(clip.layer2(clip.layer1(clip.stem(images)))))
    torch.testing.assert_close(backbone(images), expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(UserError, match=r"does not fit the model: without attnpool\."):
        load_plip(plip(), str(tmp_path / "PLIP_MRN50.pth.tar"), "start")


def test_positions_are_resized_from_a_map_twice_as_high_as_wide(tmp_path: Path) -> None:
    small, large = plip(128, 64), plip(256, 128)
    ramp = torch.arange(4.0)[:, None].expand(4, 2).reshape(-1, 1).expand(-1, 256)
    with torch.no_grad():
        small.attnpool.positional_embedding[1:] = ramp
    state = {name.replace("mean", "running_mean"): value for name, value in small.state_dict().items()}
    torch.save(state, tmp_path / "plip.pth")
    load_plip(large, str(tmp_path / "plip.pth"), "start")
    rows = large.attnpool.positional_embedding[1:].reshape(8, 4, 256)
    assert torch.equal(large.attnpool.positional_embedding[0], small.attnpool.positional_embedding[0])
    torch.testing.assert_close(rows[:, 0, 0], torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]), atol=1e-6, rtol=0)


def test_missing_weights_are_refused_with_three_ways_to_go_on() -> None:
    for load, resnet in ((load_resnet, ResNet(**SMALL)), (load_plip, plip())):
        with pytest.raises(ModelMissing) as refused:
            load(resnet, "timm/resnet50.tv_in1k", "ssan.vision.start")
        sentence = str(refused.value)
        assert "at ssan.vision.start = timm/resnet50.tv_in1k: `hf download timm/resnet50.tv_in1k` fetches" in sentence
        assert "ssan.vision.start=FILE reads" in sentence and "ssan.vision.start=null starts from random weights" in sentence


def test_weights_of_other_sizes_are_refused(tmp_path: Path) -> None:
    save_file(ResNet(**{**SMALL, "stem": 16}).state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"of other shapes conv1\.weight 16x3x7x7 instead of 8x3x7x7"):
        load_resnet(ResNet(**SMALL), str(tmp_path), "start")


def test_ours_are_read_back(tmp_path: Path) -> None:
    one, two = ResNet(**SMALL), ResNet(**SMALL)
    assert any(isinstance(module, BatchNorm) for module in one.modules())
    save_file(one.state_dict(), tmp_path / "model.safetensors")
    load_resnet(two, str(tmp_path), "start")
    assert all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())

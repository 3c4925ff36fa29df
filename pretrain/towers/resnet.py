"""ResNets as feature maps, with batch normalisation over all ranks, and the weights that they start from.

`ResNet` is the ResNet-50 of He et al. (CVPR 2016) in torchvision's version, which has the stride in the 3 x 3 convolution, without its mean
and its classifier. `ModifiedResNet` is CLIP's (Radford et al., 2021): three convolutions before the stages, means instead of strides, and
attention instead of the mean; PLIP (Zuo et al., 2023) pretrains it on people, for images of 256 x 128.

Parameters have torchvision's and open_clip's names; only the running statistics are `mean` and `variance`, see `batch_norm`.
Shapes: B images, C channels (2048 at full size), h x w the map: height / 32 and width / 32, or / 16 with `last_stride` 1.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from open_clip.modified_resnet import AttentionPool2d
from open_clip.modified_resnet import ModifiedResNet as ClipResNet
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from mals.errors import UserError
from pretrain import weights
from pretrain.towers.batch_norm import BatchNorm, convert, own_name
from pretrain.towers.positions import resize_positions

EXPANSION = Bottleneck.expansion  # channels of a stage's output, times those of its 3 x 3 convolutions
STEM_STRIDE = 4  # of the layers before the stages
PLIP_KEY = "ImgEncoder_state_dict"  # of the image encoder in PLIP's checkpoints


class ResNet(nn.Module):
    """Images [B, 3, height, width] -> a map [B, C, h, w]."""

    def __init__(
        self,
        *,
        stem: int = 64,
        depths: Sequence[int] = (3, 4, 6, 3),
        widths: Sequence[int] = (64, 128, 256, 512),
        last_stride: int = 2,
    ) -> None:
        """`stem` are the channels before the stages, `depths` the blocks of the four stages, `widths` the channels inside their blocks.

        `last_stride` 1 keeps the last stage's map as large as that of the stage before. ValueError for other numbers of stages.
        """
        super().__init__()
        if len(depths) != 4 or len(widths) != 4:
            raise ValueError(f"depths {list(depths)} and widths {list(widths)}: a ResNet has four stages")
        self.conv1 = nn.Conv2d(3, stem, 7, 2, 3, bias=False)
        self.bn1 = BatchNorm(stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.stride, self.mid_width, self.width = STEM_STRIDE * 4 * last_stride, widths[2] * EXPANSION, widths[3] * EXPANSION
        channels = [stem, *(width * EXPANSION for width in widths)]
        sizes = zip(channels, widths, depths, (1, 2, 2, last_stride), strict=False)
        self.layer1, self.layer2, self.layer3, self.layer4 = (_stage(*size) for size in sizes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, height, width] -> [B, C, h, w], the map of the last stage."""
        return self.maps(images)[1]

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The maps of the last stage but one, [B, mid_width, height / 16, width / 16], and of the last, [B, width, h, w]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        middle = self.layer3(self.layer2(self.layer1(x)))
        return middle, self.layer4(middle)


def _stage(before: int, width: int, depth: int, stride: int) -> nn.Sequential:
    """The blocks of a stage; the first one changes channels and size."""
    after, shortcut = width * EXPANSION, None
    if stride > 1 or before != after:
        shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), BatchNorm(after))
    first = Bottleneck(before, width, stride, shortcut, norm_layer=BatchNorm)
    return nn.Sequential(first, *(Bottleneck(after, width, norm_layer=BatchNorm) for _ in range(depth - 1)))


class ModifiedResNet(ClipResNet):
    """CLIP's ResNet for images of height x width; PLIP's is ResNet-50 for 256 x 128 with `output` 768 and 8 heads."""

    def __init__(
        self,
        *,
        height: int = 256,
        width: int = 128,
        depths: Sequence[int] = (3, 4, 6, 3),
        channels: int = 64,
        heads: int = 8,
        output: int | None = 768,
    ) -> None:
        """`channels` are those of the first stage; `output` is the width of the attention's result, None leaves the attention out.

        UserError where the sides are no multiples of 32.
        """
        if height % 32 or width % 32:
            raise UserError(f"images of {height}x{width} do not divide into the 32x32 pixels of a place in the ResNet's map")
        super().__init__(list(depths), output or 1, heads, image_size=32, width=channels)
        self.grid, self.stride, self.width = (height // 32, width // 32), 32, channels * 32
        pool: AttentionPool2d = self._modules["attnpool"]
        pool.positional_embedding = nn.Parameter(torch.randn(1 + self.grid[0] * self.grid[1], self.width) / self.width**0.5)
        self.attnpool: AttentionPool2d | None = None if output is None else pool
        convert(self)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, height, width] -> [B, C, h, w], the map of the last stage."""
        return self.layer4(self.layer3(self.layer2(self.layer1(self.stem(images)))))

    def pooled(self, images: Tensor) -> Tensor:
        """[B, 3, height, width] -> [B, output], the attention of the map's mean to the map."""
        assert self.attnpool is not None
        return self.attnpool(self(images))


def load_resnet(resnet: ResNet, source: str, setting: str) -> None:
    """Load the weights of torchvision's ResNet of the same sizes, or of the one in timm or transformers.

    `source` is a file, a folder or a hub id such as timm/resnet50.tv_in1k, `setting` the name of the setting that has it, for messages.
    ModelMissing where there are no such weights; UserError where they do not fit.
    """
    _load(resnet, weights.read_initial(source, setting, "torchvision's ResNet-50"), _torchvision_name, source)


def load_plip(resnet: ModifiedResNet, source: str, setting: str) -> None:
    """Load the weights of PLIP's image encoder, or of CLIP's; positions of the attention are resized to the images' size.

    Arguments and errors as in `load_resnet`.
    """
    state = weights.read_initial(source, setting, "PLIP's image encoder", "PLIP_MRN50.pth.tar", (PLIP_KEY, *weights.KEYS))
    _load(resnet, state, lambda name: _plip_name(name, resnet.attnpool is not None), source)


def _load(resnet: nn.Module, state: Mapping[str, Tensor], new_name: Callable[[str], str | None], source: str) -> None:
    renamed = {own: value for name, value in state.items() if (own := new_name(name)) is not None}
    if isinstance(resnet, ModifiedResNet) and (table := renamed.get("attnpool.positional_embedding")) is not None:
        renamed["attnpool.positional_embedding"] = _resized(table, resnet.grid)
    weights.load_state(resnet, renamed, source)


TRANSFORMERS = (  # a name in transformers' ResNet -> torchvision's
    (r"^embedder\.embedder\.", "stem."),
    (r"^stem\.convolution\.", "conv1."),
    (r"^stem\.normalization\.", "bn1."),
    (r"^encoder\.stages\.0\.", "layer1."),
    (r"^encoder\.stages\.1\.", "layer2."),
    (r"^encoder\.stages\.2\.", "layer3."),
    (r"^encoder\.stages\.3\.", "layer4."),
    (r"^(layer\d)\.layers\.", r"\1."),
    (r"\.shortcut\.convolution\.", ".downsample.0."),
    (r"\.shortcut\.normalization\.", ".downsample.1."),
    (r"\.layer\.0\.convolution\.", ".conv1."),
    (r"\.layer\.0\.normalization\.", ".bn1."),
    (r"\.layer\.1\.convolution\.", ".conv2."),
    (r"\.layer\.1\.normalization\.", ".bn2."),
    (r"\.layer\.2\.convolution\.", ".conv3."),
    (r"\.layer\.2\.normalization\.", ".bn3."),
)


def _torchvision_name(name: str) -> str | None:
    """Our name of a parameter of torchvision's, timm's or transformers' ResNet; None for the classifier and for counts of batches."""
    name = re.sub(r"^(module|resnet)\.", "", name)
    if re.match(r"(fc|classifier)\.", name):
        return None
    for pattern, new in TRANSFORMERS:
        name = re.sub(pattern, new, name)
    return own_name(name)


def _plip_name(name: str, pooled: bool) -> str | None:
    """Our name of a parameter of PLIP's or CLIP's ResNet; None for projections of a mean, text encoders, and attention without a use."""
    name = re.sub(r"^(module\.)?(visual\.|image_encoder\.)?", "", name)
    kept = r"(conv\d|bn\d|layer\d)\." if not pooled else r"(conv\d|bn\d|layer\d|attnpool)\."
    return own_name(name) if re.match(kept, name) else None


def _resized(table: Tensor, grid: tuple[int, int]) -> Tensor:
    """A table of positions [1 + h * w, C], the mean's first, for another map: bilinear, from a square or from one twice as high as wide."""
    places = len(table) - 1
    side = round(places**0.5)
    old = (side, side) if side * side == places else (2 * round((places / 2) ** 0.5), round((places / 2) ** 0.5))
    if old == grid or old[0] * old[1] != places:
        return table
    return resize_positions(table.float(), old, grid)

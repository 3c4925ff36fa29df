"""What a trained method costs to use: its parameters, the FLOPs of one image and of one caption, the numbers of an embedding.

`python -m pretrain.cost CHECKPOINT FILE SPLIT DATA [DATA ...]` writes them into FILE as JSON; the caption is one of the split.
"""

import json
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mals.files import write_file
from pretrain.data.rows import ImageTextPairs
from pretrain.gallery import tokenize
from pretrain.trained_method import Trained, read


@dataclass(frozen=True)
class Cost:
    """FLOPs are those of matrix products, attention and convolution, two for a multiply-add."""

    parameters: int  # without those that only the training needs
    image_flops: int  # of the embedding of one image
    caption_flops: int | None  # of the embedding of one caption; None where the method reads none
    width: int  # numbers of an embedding


@torch.inference_mode()
def cost(trained: Trained, caption: str | None) -> Cost:
    """The cost of a method; `caption` may be None where it reads none."""
    method, data = trained.method, trained.config.data
    images = torch.zeros(1, 3, data.height, data.width, device=trained.device)
    image, image_flops = _counted(lambda: method.embed_image(images))
    caption_flops = None
    if "embed" in method.abilities and caption is not None:
        text = tokenize(trained.tokenizer, [caption], trained.device)
        _, caption_flops = _counted(lambda: method.embed_text(text))
    parameters = sum(parameter.numel() for parameter in method.parameters())
    return Cost(parameters, image_flops, caption_flops, image.shape[1])


def _counted(work: Callable[[], Tensor]) -> tuple[Tensor, int]:
    """The result of some work and its FLOPs."""
    with _countable(), FlopCounterMode(display=False) as counter:
        result = work()
    return result, counter.get_total_flops()


@contextmanager
def _countable() -> Iterator[None]:
    """LSTMs and attention as the products that they consist of: the counter does not see through the fused ones."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns that it cannot set a flag of Intel's GPUs
            with torch.backends.mkldnn.flags(enabled=False), torch.backends.cudnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
                yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def middle_caption(captions: Sequence[str]) -> str | None:
    """The caption with the median number of words, the first of several; None where no image has one."""
    by_words = sorted((caption for caption in captions if caption), key=lambda caption: len(caption.split()))
    return by_words[len(by_words) // 2] if by_words else None


def main(arguments: Sequence[str]) -> None:
    checkpoint, file, split, *data = arguments
    pairs = ImageTextPairs.open(data, split, captions=False)
    result = cost(read(checkpoint), middle_caption(list(pairs.captions())))
    write_file(Path(file), json.dumps(asdict(result)))


if __name__ == "__main__":
    main(sys.argv[1:])

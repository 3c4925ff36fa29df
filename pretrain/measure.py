"""What `mals compare` measures of a training: the scores of its weights, and what they cost to use.

`python -m pretrain.measure FILE TRAINING SPLIT DATA [DATA ...]` writes them into FILE as JSON: "best", where the training chose a
checkpoint, "last", and "cost".
"""

import json
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mals.errors import UserError
from mals.files import write_file
from pretrain import checkpoint
from pretrain.data.rows import ImageTextPairs
from pretrain.evaluate import evaluate, open_gallery
from pretrain.gallery import tokenize
from pretrain.search import open_searched
from pretrain.search_precision import evaluate_search, has_colors
from pretrain.trained_method import Trained, read

PARTS = ("retrieval", "identification")  # of an evaluation; the first one that was measured counts


@dataclass(frozen=True)
class Cost:
    """FLOPs are those of matrix products, attention and convolution, two for a multiply-add."""

    parameters: int  # without those that only the training needs
    image_flops: int  # of the embedding of one image
    caption_flops: int | None  # of the embedding of one caption; None where the method reads none
    width: int  # numbers of an embedding


@torch.inference_mode()
def cost(trained: Trained, caption: str | None) -> Cost:
    """The cost of a method, which cannot be trained afterwards; `caption` may be None where it reads none."""
    method, data = trained.method.requires_grad_(False), trained.config.data  # torch's counter fails at parameters that are inputs
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


def scores(trained: Trained, data: Sequence[str], split: str) -> dict[str, Any]:
    """The scores of retrieval, or of identification, with the order that the training's settings say.

    With labels of colours the attribute precision of search is "one_color" and "two_colors" beside them.
    """
    selection = trained.config.selection
    gallery = open_gallery(trained, data, split, "none", plain=selection.plain)
    tree = evaluate(trained, gallery, k=selection.k).to_json()
    part: dict[str, Any] = next((tree[name] for name in PARTS if name in tree), {})
    if not part:
        raise UserError(f"the split {split} of {data[0]} has no captions, or no images by other cameras, to ask this method with")
    if "embed" in trained.method.abilities and has_colors(labelled := open_searched(trained, data, split)):
        search = evaluate_search(trained, labelled, k=selection.k)
        part = part | {"one_color": search.one, "two_colors": search.two, "search_protocol": search.protocol}
    return part


def main(arguments: Sequence[str]) -> None:
    file, place, split, *data = arguments
    training = Path(place)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    released = read(place, device=device)
    result: dict[str, Any] = {"last": scores(released, data, split)}
    last = checkpoint.latest(training)
    if (training / checkpoint.BEST).is_dir() and last is not None:  # a fine-tuning, which releases its best checkpoint
        result = {"best": result["last"], "last": scores(read(str(last.folder), device=device), data, split)}
    captions = list(ImageTextPairs.open(data, split, captions=False).captions())
    result["cost"] = asdict(cost(released, middle_caption(captions)))
    write_file(Path(file), json.dumps(result))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))

"""Weights whose numbers are finite, or the name of the tensor where they are not."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mals.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

MASK = re.compile(r"(^|[._])mask$")  # the last of a name: of what attention leaves out


def require_finite(state: Mapping[str, "Tensor"], file: str | Path) -> None:
    """UserError, which names the first tensor, where a file's tensors hold NaN or an infinite number; masks of 0 and -inf may be there.

    A mask is what is named so, since a bias of 0 and -inf has the same numbers.
    """
    for name, tensor in state.items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        tensor = tensor.float() if tensor.element_size() == 1 else tensor  # numbers of 8 bits cannot be compared
        low, high = tensor.aminmax()  # NaN where there is one
        if bool(low.isfinite() & high.isfinite()) or (MASK.search(name) and bool(((tensor == 0) | tensor.isneginf()).all())):
            continue
        count = int((~tensor.isfinite()).sum())
        raise UserError(
            f"{file}: {count:,} of the {tensor.numel():,} numbers of {name} are not finite (NaN or infinite), so that nothing that the "
            "weights compute would be right; use an earlier checkpoint, or fetch the file again"
        )

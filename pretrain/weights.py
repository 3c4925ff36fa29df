"""Weights in files: read without running code that a file may contain, and loaded completely.

Missing, unexpected or differently shaped tensors raise one UserError that names them, and so do numbers that are not finite.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mals.errors import ModelMissing, UserError
from mals.finite import require_finite
from pretrain import safe_pickle, torchscript

log = logging.getLogger(__name__)

FILES = ("model.safetensors", "pytorch_model.bin")  # in a folder that transformers wrote
WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".pkl", ".tar", ".npz", ".onnx", ".h5")
KEYS = ("model", "state_dict")  # under which checkpoints have their tensors, where they have more than those
NETWORKS = ("network", "W", "WG", "WL", "WN")  # keys of LGUR's and SSAN's checkpoints: the network, and classifiers of persons
WRAPPERS = {  # before every name of a module that was saved inside another one -> what puts it there
    "module.": "DataParallel and DistributedDataParallel put",
    "_orig_mod.": "torch.compile puts",
}
INNER = re.compile(r"(?<=\.)(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.|^_(fsdp|checkpoint)_wrapped_module\.")
COUNTER = "n_averaged"  # which torch.optim.swa_utils.AveragedModel has beside its module
MIN_MATCHED = 0.95  # share of the parameters that a checkpoint with other names must have


def load_state(model: nn.Module, state: Mapping[str, Tensor], source: str, optional: str | None = None) -> list[str]:
    """Load a state dict; returns the parameters that it lacks, which must match the regular expression `optional` and keep their values."""
    own = model.state_dict()
    missing = [name for name in own if name not in state]
    kept = [name for name in missing if optional and re.match(optional, name)]
    shapes = [f"{n} {_shape(state[n])} instead of {_shape(own[n])}" for n in own if n in state and state[n].shape != own[n].shape]
    faults = {
        "without": [name for name in missing if name not in kept],
        "with the unknown": [name for name in state if name not in own],
        "of other shapes": shapes,
    }
    if any(faults.values()):
        raise UserError(
            f"{source} does not fit the model: "
            + "; ".join(f"{fault} {first_names(names)}" for fault, names in faults.items() if names)
            + partly_wrapped(state)
        )
    model.load_state_dict(state, strict=False)
    return kept


def without(state: Mapping[str, Tensor], pattern: str | None) -> dict[str, Tensor]:
    """The tensors whose names a regular expression does not match at their start."""
    return {name: value for name, value in state.items() if pattern is None or not re.match(pattern, name)}


def rename(state: Mapping[str, Tensor], new_name: Callable[[str], str | None], names: Iterable[str], source: str) -> dict[str, Tensor]:
    """Rename the tensors of another project's checkpoint; those for which `new_name` returns None are left out.

    `names` are the parameters that the checkpoint must have. Raises UserError if it has less than MIN_MATCHED of them, so that a
    wrong prefix does not load nothing without a message.
    """
    renamed = {str(new): value for name, value in state.items() if (new := new_name(name)) is not None}
    expected = list(names)
    missing = [name for name in expected if name not in renamed]
    if expected and len(missing) > (1 - MIN_MATCHED) * len(expected):
        raise UserError(
            f"{source} has {len(expected) - len(missing):,} of the {len(expected):,} parameters that are needed, "
            f"which is under {MIN_MATCHED:.0%}; it lacks {first_names(missing)}{partly_wrapped(state)}"
        )
    return renamed


def matching(model: nn.Module, state: Mapping[str, Tensor], source: str, optional: str | None = None) -> dict[str, Tensor]:
    """The tensors of weights of another training for which a model has a place; logs how many of its parameters they are.

    Whole modules that the model does not have, such as heads of other losses, are left out and named in the log. Raises UserError if less
    than MIN_MATCHED of the model's parameters are there, without those that match the regular expression `optional`.
    """
    needed = list(without(model.state_dict(), optional))
    modules = {_module(name) for name in model.state_dict()}
    kept = rename(state, lambda name: name if _module(name) in modules else None, needed, source)
    spare = {_module(name): None for name in state if name not in kept}  # a set that keeps its order
    note = f"; not used are {first_names(spare)}" if spare else ""
    log.info("%s: %s of %s parameters%s", source, f"{sum(name in kept for name in needed):,}", f"{len(needed):,}", note)
    return kept


def read_tensors(source: str, keys: Sequence[str] = KEYS, files: Sequence[str] = FILES) -> dict[str, Tensor]:
    """The tensors of a file (safetensors, a .pth that loads without code, TorchScript), a folder with one of `files`, or a hub id.

    A .pth may have them under the first of `keys` that it has. UserError where a number is not finite.
    """
    state = state_dict_in(read_content(source, files), source, keys)
    require_finite(state, locate_file(source, files))
    return state


def read_initial(
    source: str, setting: str, what: str, example: str = "", keys: Sequence[str] = KEYS, files: Sequence[str] = FILES
) -> dict[str, Tensor]:
    """The tensors of `what` at a source, as `read_tensors`; ModelMissing names three ways to go on where there are none.

    `setting` is the key of the settings that names the source; `example` is a file that it can name.
    """
    try:
        return read_tensors(source, keys, files)
    except ModelMissing:
        fetch = "" if names_a_file(source) else f"`hf download {source}` fetches those of a hub id, "
        raise ModelMissing(
            f"there are no weights of {what} at {setting} = {source}: {fetch}"
            f"{setting}=FILE reads {f'{example} or another' if example else 'a'} file or folder, "
            f"and {setting}=null starts from random weights"
        ) from None


def names_a_file(source: str, suffixes: Iterable[str] = WEIGHT_SUFFIXES) -> bool:
    """Whether a source that is not there is the name of a file with one of `suffixes`, or in a folder that is here, and no hub id."""
    path = Path(source).expanduser()
    return source.lower().endswith(tuple(suffixes)) or (path.parent != Path() and path.parent.is_dir())


def read_content(source: str, files: Sequence[str] = FILES) -> Any:
    """What a file holds: the tensors of safetensors and TorchScript by their names, for a .pth anything that is data."""
    file = locate_file(source, files)
    if file.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(file)
        except SafetensorError as error:
            raise UserError(f"{source} is not a complete safetensors file: {error}") from None
    return torchscript.read_archive(file) if torchscript.is_archive(file) else safe_pickle.read_checkpoint(file)


def state_dict_in(content: Any, source: str, keys: Sequence[str] = KEYS) -> dict[str, Tensor]:
    """The tensors in the content of a file: under the first of `keys` that it has, of its networks (see `NETWORKS`), or all of it."""
    for key in keys:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if isinstance(content, dict) and isinstance(content.get(NETWORKS[0]), dict):
        groups = {group: without_wrappers(content[group]) for group in NETWORKS if isinstance(content.get(group), dict)}
        content = {f"{group}.{name}": value for group, tensors in groups.items() for name, value in tensors.items()}
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{source} holds no state dict, bare or under 'model'")
    return without_wrappers(content)


def without_wrappers(state: Mapping[Any, Any]) -> dict[Any, Any]:
    """The tensors by the names that they have in a module alone, not within what `WRAPPERS` are of, or wrapped within a model.

    A prefix is cut where every name has it; `partly_wrapped` has the words for others.
    """
    if not all(isinstance(name, str) for name in state):
        return dict(state)
    names = {name: INNER.sub("", name) for name in state}
    while wrapper := next((wrapper for wrapper in WRAPPERS if names and all(_is_inside(wrapper, name) for name in names.values())), None):
        names = {name: plain.removeprefix(wrapper) for name, plain in names.items() if plain != COUNTER}
    return {plain: state[name] for name, plain in names.items()} if len(set(names.values())) == len(names) else dict(state)


def _is_inside(wrapper: str, name: str) -> bool:
    return name.startswith(wrapper) or (wrapper == "module." and name == COUNTER)


def partly_wrapped(names: Iterable[str]) -> str:
    """A clause for a message about weights that do not fit, where some of their names have a prefix of `WRAPPERS` and others do not."""
    names = list(names)
    for wrapper, origin in WRAPPERS.items():
        if 0 < (count := sum(name.startswith(wrapper) for name in names)) < len(names):
            return f"; {count:,} of its {len(names):,} names begin with {wrapper}, which {origin} before all: mend the others, or these"
    return ""


def locate_file(source: str, files: Sequence[str] = FILES) -> Path:
    """The file of weights: the path itself, or the file in a folder, in a hub-cache folder (at main), or of a hub id in the cache."""
    path = Path(source).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        main = path / "refs" / "main"
        folder = path / "snapshots" / main.read_text().strip() if main.is_file() else path
        for name in files:
            if (folder / name).is_file():
                return folder / name
        raise UserError(f"the folder {source} has neither {' nor '.join(files)}")
    if (file := find_in_cache(source, files)) is not None:
        return file
    cache = "" if names_a_file(source) else ", and no weights of that name in the Hugging Face cache"
    raise ModelMissing(f"there is no file or folder {source}{cache}")


def find_in_cache(source: str, names: Sequence[str], what: str = "") -> Path | None:
    """The first of these files that the Hugging Face cache has for a hub id; UserError, which begins with `what`, for an invalid id."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached = [try_to_load_from_cache(source, name) for name in names]
    except HFValidationError:
        raise UserError(f"{what}{source!r} is neither a file, a folder nor a hub id") from None
    return next((Path(file) for file in cached if isinstance(file, str)), None)


def _module(name: str) -> str:
    """The outermost module of a parameter."""
    return name.partition(".")[0]


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def first_names(names: Iterable[str]) -> str:
    """The first three names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more

"""Checkpoints that other projects have published: whose a file is, which method reads it, and the settings that it determines.

A project is recognised by the names of its parameters. Only data is read, see `pretrain.safe_pickle`; docs/checkpoints.md is the list of
projects for users.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from mals.errors import UserError
from mals.finite import require_finite
from pretrain import weights

TOWERS = re.compile(r"^(base_model|encode_text)\.")  # before the names of CLIP's towers: IRRA's, and the text tower of TBPS-CLIP
WORD_LISTS = ("ind2word.pkl", "words.txt", "tokenizer.json")  # beside a checkpoint of SSAN
COMMON = frozenset({"vision", "text", "embed"})  # the settings of every method on CLIP's towers
CONFIG = "configs.yaml"  # beside the checkpoints of the family of IRRA


@dataclass(frozen=True)
class Project:
    """A project with public checkpoints; each of `marks`, regular expressions, matches the beginning of a parameter's name."""

    name: str
    marks: tuple[str, ...]
    preset: str | None = None  # reads its checkpoints; None: they are refused, because of `reason`
    reason: str = ""
    clip: bool = False  # its towers are those of CLIP, and any method on these can start from them
    word_list: bool = False  # its token ids are those of a word list of its own


PROJECTS = (  # the first that fits is taken
    Project(
        "PLIP", ("ImgEncoder_state_dict",), reason="of its parts only the image encoder is read, by lgur.vision_start or ssan.vision.start"
    ),
    Project("RaSa", ("(visual|text)_encoder_m\\.|prd_head\\.|mrtd_head\\.",), reason="its towers are those of ALBEF"),
    Project("CADA", ("itm_local_head\\.|text_decoder\\.", "visual_encoder\\."), reason="its towers are those of BLIP"),
    Project(
        "FAFA", ("(.+\\.)?Qformer\\.|(.+\\.)?query_tokens",), reason="its towers are those of BLIP-2, and its queries are images with texts"
    ),
    Project("SynTBPR", ("visual\\.(blocks|rope|patch_embed)\\b", "text\\."), reason="its towers are those of EVA-CLIP"),
    Project("WoRA", (".+\\.lora\\.(A|B|alpha|beta)$",), reason="its linear layers are split into parts that are not merged here"),
    Project("CMP", ("pose_(block|conv)\\.", "vision_encoder\\."), reason="it sees poses beside images"),
    Project("X-VLM", ("bbox_head\\.", "vision_encoder\\."), reason="it was not trained on persons and has a head for boxes"),
    Project("APTM", ("(vision_encoder\\.layers|swin)\\.", "(text_encoder|bert)\\."), "aptm-paper"),
    Project("LGUR", ("network\\.(dict_feature|TXTDecoder)\\b",), "lgur-cuhk"),
    Project("SSAN", ("network\\.non_local_net\\.",), "ssan-cuhk", word_list=True),
    Project("RDE", ("visul_emb_layer\\.", "texual_emb_layer\\."), "rde-cuhk", clip=True),
    Project("SEN", ("cross_modal_transformer_mae\\.|decoder_pred\\.", "visual\\.conv1\\."), "uit-cuhk", clip=True),
    Project("TBPS-CLIP", ("encode_text\\.transformer\\.", "visual\\.conv1\\."), "irra-cuhk", clip=True),
    Project("IRRA or GA-DMS", ("mlm_head\\.", "visual\\.conv1\\."), "irra-cuhk", clip=True),
    Project("MLLM4Text, HAM or CLIP", ("visual\\.(conv1|transformer)\\.", "token_embedding\\."), "irra-cuhk", clip=True),
)


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights."""

    source: str
    tensors: dict[str, Tensor]
    project: Project | None  # None: of this code, or of no project that is known
    config: Mapping[str, Any]  # what the project says about its training, as plain data


def read(source: str) -> Checkpoint:
    """A checkpoint of any layout; UserError where its project is not read, or where a number is not finite."""
    content = weights.read_content(source)
    project = recognise(_names(content))
    if project is not None and project.preset is None:
        raise UserError(f"{source} is a checkpoint of {project.name}, which mals does not read: {project.reason}")
    tensors = weights.state_dict_in(content, source)
    require_finite(tensors, weights.locate_file(source))
    own = content.get("config") if isinstance(content, dict) else None
    config = own if isinstance(own, dict) else {}
    if project is not None and project.clip and (file := weights.locate_file(source).parent / CONFIG).is_file():
        config = {**config, **read_config(file)}
    return Checkpoint(source, tensors, project, config)


def read_whole(source: str) -> dict[str, Tensor]:
    """The tensors of `read`: what a method renames to its own parameters."""
    return read(source).tensors


def recognise(names: Iterable[str]) -> Project | None:
    """The project whose parameters have these names."""
    plain = [re.sub(TOWERS, lambda match: "" if match[1] == "base_model" else match[0], name) for name in names]
    return next((project for project in PROJECTS if all(any(re.match(mark, name) for name in plain) for mark in project.marks)), None)


def _names(content: Any) -> list[str]:
    """The keys in the content of a file and in its parts, which are the names of parameters; those of LGUR and SSAN as `network.NAME`."""
    names: list[str] = []
    for key, value in weights.without_wrappers(content).items() if isinstance(content, dict) else ():
        names.append(str(key))
        if isinstance(value, dict):
            names.extend(f"{key}.{name}" if key in weights.NETWORKS else str(name) for name in weights.without_wrappers(value))
    return names


def sizes(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the tensors of a checkpoint determine in the section of its method: the sizes of CLIP's towers, the rows of a word table."""
    project = checkpoint.project
    if project is not None and project.clip:
        towers = _towers(checkpoint.tensors)
        convolution, table = towers.get("visual.conv1.weight"), towers.get("token_embedding.weight")
        context, embed = towers.get("positional_embedding"), towers.get("text_projection")
        if convolution is None or table is None or context is None or embed is None:
            return {}  # what is missing is reported when the weights are loaded
        vision = {"channels": len(convolution), "patch": convolution.shape[-1], "layers": _layers(towers, "visual.transformer")}
        text = {"channels": table.shape[1], "context": len(context), "layers": _layers(towers, "transformer")}
        return {"vision": vision, "text": text, "embed": embed.shape[1], **_selection(checkpoint)}
    if project is not None and project.word_list:
        table = next((value for name, value in checkpoint.tensors.items() if name.endswith("embedding_global.weight")), None)
        return {} if table is None else {"table": len(table)}
    return {}


def image_size(checkpoint: Checkpoint, height: int, width: int) -> tuple[int, int]:
    """Height and width of the images that a checkpoint was trained with, in pixels; `height` and `width` where it does not say.

    They are in its options, or follow from the positions of CLIP's image tower, if these are a square that does not fit `height` x `width`.
    UserError where patches overlap.
    """
    project, config = checkpoint.project, checkpoint.config
    if project is None or not project.clip:
        return height, width
    towers = _towers(checkpoint.tensors)
    patch, positions = towers["visual.conv1.weight"].shape[-1], len(towers["visual.positional_embedding"]) - 1
    if (stride := config.get("stride_size", patch)) != patch:
        raise UserError(f"{checkpoint.source} was trained with patches of {patch} pixels every {stride} pixels; mals has none that overlap")
    experiment = config.get("experiment")
    size = config.get("img_size") or (experiment.get("input_resolution") if isinstance(experiment, dict) else None)
    if isinstance(size, list | tuple) and len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size):
        return size[0], size[1]
    side = round(positions**0.5)
    return (
        (height, width) if (height // patch) * (width // patch) == positions or side * side != positions else (side * patch, side * patch)
    )


def word_list(checkpoint: Checkpoint) -> str | None:
    """The file of the word list beside a checkpoint of a project that has one; None where there is none."""
    if checkpoint.project is None or not checkpoint.project.word_list:
        return None
    folder = weights.locate_file(checkpoint.source).parent
    return next((str(folder / name) for name in WORD_LISTS if (folder / name).is_file()), None)


def _towers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under OpenAI's names, as far as they are of CLIP."""
    return {TOWERS.sub("", name): value for name, value in tensors.items()}


def _layers(towers: Mapping[str, Tensor], tower: str) -> int:
    return len({match[1] for name in towers if (match := re.match(rf"{re.escape(tower)}\.resblocks\.(\d+)\.", name))})


def _selection(checkpoint: Checkpoint) -> dict[str, Any]:
    """RDE's token selection; the share of the tokens is in its options alone."""
    linear, inner = (checkpoint.tensors.get(f"texual_emb_layer.{name}.weight") for name in ("linear", "mlp.layers.0"))
    ratio = checkpoint.config.get("select_ratio")
    share = {"ratio": ratio} if isinstance(ratio, float) else {}
    return {} if linear is None or inner is None else {"tse": {"embed": len(linear), "hidden": len(inner), **share}}


def text_length(checkpoint: Checkpoint) -> int | None:
    """The tokens of the longest text of CLIP's text tower; None for other projects."""
    table = _towers(checkpoint.tensors).get("positional_embedding") if checkpoint.project is not None and checkpoint.project.clip else None
    return None if table is None else len(table)


class _Loader(yaml.SafeLoader):
    """The safe loader, which knows tuples too."""


def _tuple(loader: yaml.SafeLoader, node: yaml.Node) -> tuple[Any, ...]:
    if not isinstance(node, yaml.SequenceNode):
        raise yaml.MarkedYAMLError(problem="a tuple that is no sequence", problem_mark=node.start_mark)
    return tuple(loader.construct_sequence(node))


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _tuple)


def read_config(file: Path) -> dict[str, Any]:
    """The options of a training that a project of the family of IRRA wrote; UserError where it holds more than data."""
    try:
        tree = yaml.load(file.read_text(encoding="utf-8"), _Loader)  # which is safe
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read as the options of a training: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(tree, dict):
        raise UserError(f"{file} holds no options of a training")
    return tree

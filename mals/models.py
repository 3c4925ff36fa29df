"""Where models are: in a local folder, embedded in this package, or in the hub's cache. `resolve` never uses the network, `download` does.

The role of a model selects the embedded model, and the setting that messages name: generator, lora, safety, pose, detector, watermark,
aesthetic, captioner, vlm for a captioner that follows instructions, scorer, and swin for pretraining. A scorer is what `mals.scorer`
loads: a trained method, weights of one, or a CLIP of open_clip.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import yaml

from mals.config import LOADER, Config
from mals.errors import ModelMissing, UserError

WEIGHTS = Path(__file__).parent / "world" / "weights"
EMBEDDED = ("generator", "pose", "detector", "captioner", "vlm", "scorer", "swin")
SETTING = {
    "generator": "generate.model",
    "lora": "generate.lora.model",
    "control": "generate.control.model",
    "ip_adapter": "generate.ip_adapter.model",
    "safety": "safety.model",
    "pose": "crop.model",
    "detector": "crop.detector",
    "watermark": "quality.watermark.model",
    "aesthetic": "quality.aesthetic.model",
    "captioner": "caption.captioners.0.model",
    "vlm": "caption.captioners.0.model",
    "swin": "vision.start",
    "scorer": "agree.scorer",
}
METHOD_FILES = ("config.yaml", "model.safetensors", "tokenizer.json")  # what decides the results of a finished training or a release
OPEN_CLIP = re.compile(r"open_clip_(pytorch_)?model\.(safetensors|bin)")  # weights as open_clip saves them
WEIGHTS_ENDINGS = (".safetensors", ".bin", ".pt", ".pth")
HUB = "hf://"  # before the hub id of a trained method
OPENPOSE = "body_pose_model.pth"  # controlnet_aux's body estimator: one file, no config.json
WHOLE = 8 << 20  # bytes up to which a file is hashed whole
BLOCK = 64 << 10  # bytes; of a larger file the head, the tail and 62 blocks between them
BLOCKS = 64
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")

_revisions: dict[str, tuple[Any, str]] = {}  # folder or file -> (sizes and times when it was hashed, revision)


@dataclass(frozen=True)
class ResolvedModel:
    """A model on this machine."""

    name: str  # hub id, "embedded", or the folder's own name; it goes into data sets, so it is no path
    path: str  # the folder to load it from
    revision: str  # the hub's commit, or "sha256:…" of a folder's content


@dataclass(frozen=True)
class RequiredModel:
    """A model that the settings name; `key` is the setting."""

    key: str
    model: str
    revision: str | None
    role: str
    variant: str | None = None
    weight_name: str | None = None


def resolve(model: str, revision: str | None = None, role: str = "") -> ResolvedModel:
    """The model on this machine; ModelMissing where there is none, UserError for a folder that is not a model.

    A scorer may be a file of weights, and its hub id may begin with hf://.
    """
    if model == "embedded":
        return _embedded(role)
    model = model.removeprefix(HUB) if role == "scorer" else model
    folder = Path(model).expanduser()
    if folder.is_dir() or (folder.is_file() and role == "scorer"):
        if folder.is_dir() and (lacks := _lacks(folder, role)):
            raise UserError(f"the folder {model} is not a model: it has no {lacks}")
        place = folder.resolve() if folder.is_dir() else folder.absolute()  # a link in the hub's cache has the ending, its file has none
        return ResolvedModel(place.name, str(place), _content(place, role))
    if folder.is_file():
        raise UserError(f"{model} is a file; a model is a folder as save_pretrained writes it, or a hub id")
    if not HUB_ID.fullmatch(model):
        raise ModelMissing(f"there is no folder {model}; {_ways(role)}")
    return _cached(model, revision, role)


def required_models(config: Config) -> list[RequiredModel]:
    """Every model that the stages of mals need on this machine, in their order; stages of your own name theirs themselves."""
    generate, safety, crop = config.generate, config.safety, config.crop
    needs = []
    if config.source == "generate" and not generate.server:
        needs.append(RequiredModel("generate.model", generate.model, generate.revision, "generator", generate.variant))
        if lora := generate.lora:
            needs.append(RequiredModel("generate.lora.model", lora.model, lora.revision, "lora", weight_name=lora.weight_name))
        if control := generate.control:
            needs.append(RequiredModel("generate.control.model", control.model, control.revision, "control"))
        if adapter := generate.ip_adapter:
            name = f"{adapter.subfolder}/{adapter.weight_name}".lstrip("/")
            needs.append(RequiredModel("generate.ip_adapter.model", adapter.model, adapter.revision, "ip_adapter", weight_name=name))
    if safety.model:
        needs.append(RequiredModel("safety.model", safety.model, safety.revision, "safety"))
    if crop.model is not None and (crop.backend != "none" or config.privacy.blur_faces):
        needs.append(RequiredModel("crop.model", crop.model, crop.revision, "pose"))
        if crop.backend != "openpose" and crop.detector != "none":
            needs.append(RequiredModel("crop.detector", crop.detector, crop.detector_revision, "detector"))
    for name, scorer in config.quality.scorers().items():
        needs.append(RequiredModel(f"quality.{name}.model", scorer.model, scorer.revision, name))
    for number, captioner in enumerate(config.caption.captioners if config.caption else []):
        if captioner.backend != "template" and not captioner.server:
            role = "vlm" if captioner.backend == "vlm" else "captioner"
            needs.append(RequiredModel(f"caption.captioners.{number}.model", captioner.model, captioner.revision, role))
    for name, section in (("identity", config.identity), ("agree", config.agree), ("dedup", config.dedup)):
        if section and section.scorer and section.loader == LOADER:
            needs.append(RequiredModel(f"{name}.scorer", section.scorer, section.revision, "scorer"))
    return [need for need in needs if need.key.split(".")[0] not in config.stages]


def served_models(config: Config) -> list[RequiredModel]:
    """Every model that the stages of mals ask through a server, in the order of the stages."""
    generate, served = config.generate, []
    if config.source == "generate" and generate.server:
        served.append(RequiredModel("generate.model", generate.model, generate.revision, "generator"))
    for number, captioner in enumerate(config.caption.captioners if config.caption else []):
        if captioner.server:
            served.append(RequiredModel(f"caption.captioners.{number}.model", captioner.model, captioner.revision, "captioner"))
    return [model for model in served if model.key.split(".")[0] not in config.stages]


@dataclass(frozen=True, kw_only=True)
class ModelState:
    """A required model, and what this machine has of it."""

    stage: str
    setting: str
    model: str  # as set: hub id, folder or "embedded"
    revision: str | None  # as set
    resolved: str | None = None  # the revision on this machine; None if the model is missing, as are the next three
    licence: str | None = None  # None also if the card of the model does not state one
    bytes: int | None = None
    where: str | None = None  # its folder
    missing: str | None = None  # why it cannot be used; None if it can

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def list_models(config: Config) -> list[ModelState]:
    """The state of each of `required_models`."""
    return [_state(need) for need in required_models(config)]


def format_models(states: Iterable[ModelState]) -> str:
    """The list as text, three lines a model."""
    lines = []
    for state in states:
        size = f"{state.bytes / 1e6:,.1f} MB" if state.bytes is not None else "not here"
        lines.append(f"{state.setting}: {state.model}, {size}, licence {state.licence or 'not stated'}")
        lines.append(f"    revision {state.revision or 'not pinned'}, resolved to {state.resolved or 'nothing'}")
        lines.append(f"    {state.where or state.missing}")
    return "\n".join(lines)


def download(config: Config) -> list[ModelState]:
    """Fetch the missing models into the hub's cache, and list all; ModelMissing where the hub cannot be reached."""
    for need in required_models(config):
        try:
            resolve(need.model, need.revision, need.role)
        except ModelMissing:
            if not HUB_ID.fullmatch(need.model):
                raise
            _fetch(need)
    return list_models(config)


def needed_files(files: Iterable[str], need: RequiredModel) -> list[str]:
    """The files of a repository that loading needs: one copy of the weights, as safetensors where there are any."""
    names = sorted(files)
    if need.role == "scorer":
        weights = _formats([name for name in names if OPEN_CLIP.fullmatch(name)]) or [name for name in names if name in METHOD_FILES]
        endings = (".json", ".txt", ".model", ".yaml", ".md")
        return sorted({*weights, *(name for name in names if "/" not in name and name.endswith(endings))})
    if OPENPOSE in names and need.role == "pose":
        return [name for name in names if name in (OPENPOSE, "README.md")]
    small = [
        name for name in names if name.endswith((".json", ".txt", ".model", ".jinja")) or name in ("README.md", "LICENSE", "LICENSE.md")
    ]
    if need.role == "lora":
        weights = [name for name in names if name == (need.weight_name or name) and name.endswith((".safetensors", ".bin"))]
        return sorted({*small, *(_formats(weights) if need.weight_name is None else weights)})
    if need.role == "ip_adapter" and need.weight_name:
        encoder = [name for name in names if PurePosixPath(name).parent == PurePosixPath(need.weight_name).parent / "image_encoder"]
        weights = _formats([name for name in encoder if name.endswith((".safetensors", ".bin"))])
        others = {need.weight_name, "README.md", *(name for name in encoder if name.endswith(".json"))}
        return sorted({*weights, *others.intersection(names)})
    pipeline = "model_index.json" in names
    folders: dict[str, list[str]] = {}
    for name in names:
        folder = str(PurePosixPath(name).parent)
        if name.endswith((".safetensors", ".bin")) and (folder != ".") == pipeline and folder != "safety_checker":
            folders.setdefault(folder, []).append(name)
    chosen = [name for group in folders.values() for name in _formats(_variant(group, need.variant))]
    kept = [name for name in small if pipeline or "/" not in name]
    return sorted({*kept, *chosen})


def _formats(weights: list[str]) -> list[str]:
    """safetensors alone where there are any."""
    return [name for name in weights if name.endswith(".safetensors")] or weights


def _variant(weights: list[str], variant: str | None) -> list[str]:
    """One folder's weights of one variant (`model.fp16.safetensors`), or without one where the folder does not have it."""
    plain = re.compile(r"(model|pytorch_model|diffusion_pytorch_model)(-\d+-of-\d+)?\.(safetensors|bin)")
    own = [name for name in weights if variant and re.search(rf"\.{re.escape(variant)}[.-]", PurePosixPath(name).name)]
    return own or [name for name in weights if plain.fullmatch(PurePosixPath(name).name)]


def hub_cache() -> str:
    """The folder of the Hugging Face cache."""
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE)


def _cached(model: str, revision: str | None, role: str) -> ResolvedModel:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        path = Path(snapshot_download(model, revision=revision, cache_dir=hub_cache(), local_files_only=True, allow_patterns=[]))
    except HFValidationError:
        raise UserError(f"{model!r} is neither a folder nor a hub id; {_ways(role)}") from None
    except OSError:
        others = _snapshots(model)
        have = f", which has {', '.join(others)} of it," if others else ""
        raise ModelMissing(
            f"the model {model} (revision {revision or 'main'}) is not here: there is no folder of that name, "
            f"and it is not in the cache {hub_cache()}{have} either; {_ways(role)}"
        ) from None
    if lacks := _lacks(path, role):
        raise ModelMissing(f"the model {model} is in the cache {hub_cache()} only in part: it has no {lacks}; {_ways(role)}")
    return ResolvedModel(model, str(path), path.name)


def _snapshots(model: str) -> list[str]:
    """The commits of a hub model that the cache has."""
    folder = Path(hub_cache()) / f"models--{model.replace('/', '--')}" / "snapshots"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def _ways(role: str) -> str:
    download, folder = "run `mals models RUN --download` on a machine with a network", f"--set {SETTING.get(role, 'generate.model')}=DIR"
    if role == "scorer":
        return f"{download}, give a folder or file of weights with {folder}, or use the small one for drawn people: embedded"
    return f"{download}, give a local folder with {folder}, or use the embedded models with --preset tiny"


def _lacks(folder: Path, role: str = "") -> str:
    """The first file that a model folder lacks; empty where it is complete."""
    top = {path.name for path in folder.iterdir()}
    if role == "scorer":  # of a training that goes on, the weights are in its checkpoints
        return "" if "checkpoints" in top or any(name.endswith(WEIGHTS_ENDINGS) for name in top) else "weights"
    if role == "ip_adapter":  # the setting names a file, perhaps of a folder in it
        return "" if any(path.suffix in (".safetensors", ".bin") for path in folder.rglob("*")) else "weights"
    if OPENPOSE in top:
        return ""
    if "model_index.json" in top:
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
        parts = [name for name, entry in index.items() if isinstance(entry, list) and entry[0] and name != "safety_checker"]
        lacking = [f"{name}/{lacks}" for name in parts if (lacks := _part_lacks(folder / name))]
        return lacking[0] if lacking else ""
    if "config.json" not in top and any(name.endswith(".safetensors") for name in top):
        return ""  # a LoRA: weights alone
    return "config.json or model_index.json" if "config.json" not in top else _part_lacks(folder)


def _part_lacks(folder: Path) -> str:
    """What one component of a pipeline, or a model without components, lacks; empty where it is complete."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if not names:
        return "files"
    for index in (name for name in names if re.search(r"\.index(\.\w+)?\.json$", name)):
        shards = set(json.loads((folder / index).read_text(encoding="utf-8")).get("weight_map", {}).values())
        if shards and shards <= names:
            return ""
    if "config.json" in names and not any(name.endswith((".safetensors", ".bin")) and "-of-" not in name for name in names):
        return "weights"
    return ""


def _files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every file that is not hidden, by its name within the folder, sorted; of a file itself, its own name."""
    if folder.is_file():
        yield folder.name, folder.stat()
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        name = path.relative_to(folder)
        if not any(piece.startswith(".") for piece in name.parts) and path.is_file():
            yield name.as_posix(), path.stat()


def _content(model: Path, role: str = "") -> str:
    """ "sha256:" and 16 hex digits over names, sizes and content; of a file above 8 MB 64 blocks stand for the content.

    Of a trained method METHOD_FILES alone count: what is measured later lies beside them.
    """
    folder, files = (model.parent if model.is_file() else model), list(_files(model))
    if role == "scorer" and {name for name, _ in files}.issuperset(METHOD_FILES):
        files = [file for file in files if file[0] in METHOD_FILES]
    stats = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in files]
    cached = _revisions.get(str(model))
    if cached and cached[0] == stats:
        return cached[1]
    digest = hashlib.sha256()
    for name, size, _ in stats:
        digest.update(f"{name}\0{size}\0".encode())
        with (folder / name).open("rb") as file:
            if size <= WHOLE:
                digest.update(file.read())
                continue
            for block in range(BLOCKS):
                file.seek((size - BLOCK) * block // (BLOCKS - 1))
                digest.update(file.read(BLOCK))
    revision = f"sha256:{digest.hexdigest()[:16]}"
    _revisions[str(model)] = (stats, revision)
    return revision


def _embedded(role: str) -> ResolvedModel:
    """The trained weights that ship with the package."""
    if role not in EMBEDDED:
        known = ", ".join(dict.fromkeys(SETTING[name] for name in EMBEDDED))
        raise UserError(f"there is no embedded model for {SETTING.get(role, role)}; there is one for {known}")
    return ResolvedModel("embedded", str(WEIGHTS / role), _content(WEIGHTS / role, role))


def _state(need: RequiredModel) -> ModelState:
    setting: dict[str, Any] = {"stage": need.key.split(".")[0], "setting": need.key, "model": need.model, "revision": need.revision}
    try:
        model = resolve(need.model, need.revision, need.role)
    except UserError as error:
        return ModelState(**setting, missing=str(error).replace(SETTING[need.role], need.key))
    size = sum(stat.st_size for _, stat in _files(Path(model.path)))
    return ModelState(**setting, resolved=model.revision, licence=licence(model), bytes=size, where=model.path)


def licence(model: ResolvedModel) -> str | None:
    """The licence in the front matter of the model's card; None if there is no card or it does not state one."""
    if (Path(model.path) / OPENPOSE).is_file():
        return "OpenPose: CMU, for non-commercial use only"  # as controlnet_aux states for code and weights
    return licence_in(card_metadata(Path(model.path) / "README.md"))


def card_metadata(card: Path) -> dict[str, Any]:
    """The front matter of a card; empty where there is none that can be read."""
    if not card.is_file():
        return {}
    front = re.match(r"---\s*\n(.*?)\n---", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    try:
        metadata = yaml.safe_load(front.group(1)) if front else None
    except yaml.YAMLError:
        return {}
    return metadata if isinstance(metadata, dict) else {}


def licence_in(metadata: Mapping[str, Any]) -> str | None:
    """The licence in a card's front matter, by its own name if it is an "other"; None if the card does not state one."""
    name = metadata.get("license_name") if metadata.get("license") == "other" else None
    return str(name or metadata["license"]) if metadata.get("license") else None


class HubUnreachable(Exception):
    """A repository is not in the hub's cache and cannot be fetched; the text is the reason."""


def hub_snapshot(
    repo: str, *, kind: Literal["model", "dataset"] = "model", revision: str | None = None, files: list[str] | None = None
) -> Path:
    """The folder of a hub repository in the cache, fetched or updated where the hub can be reached.

    `files` are patterns, all files by default. Raises ValueError for what is not a hub id, HubUnreachable where there is no copy.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(repo, repo_type=kind, revision=revision, cache_dir=hub_cache(), allow_patterns=files))
    except HFValidationError as error:
        raise ValueError(str(error)) from None
    except Exception as error:  # the HTTP library below huggingface_hub raises errors of its own
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise HubUnreachable(f"{type(error).__name__}: {reason}") from None


def _fetch(need: RequiredModel) -> None:
    """One hub model into the cache: only the files that loading needs."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import DryRunError, GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    name = f"{need.model} (revision {need.revision or 'main'})"
    try:
        listed = snapshot_download(need.model, revision=need.revision, cache_dir=hub_cache(), dry_run=True)
        names = [file.filename for file in listed if not isinstance(file, str)]
        snapshot_download(need.model, revision=need.revision, cache_dir=hub_cache(), allow_patterns=needed_files(names, need))
    except OSError as error:  # a listing that fails wraps the error of the hub
        cause = error.__cause__ if isinstance(error, DryRunError) and error.__cause__ else error
        if isinstance(cause, GatedRepoError):
            reason = f"the model {name} requires that you accept its terms at the hub and run `hf auth login` on this machine"
        elif isinstance(cause, RevisionNotFoundError):
            reason = f"the model {need.model} has no revision {need.revision} at the hub"
        elif isinstance(cause, RepositoryNotFoundError):
            reason = f"there is no model {need.model} at the hub, or it is private"
        else:
            reason = f"cannot fetch {name} from the hub ({type(cause).__name__}), and the cache {hub_cache()} does not have it"
            reason = f"{reason}; {_ways(need.role).replace(SETTING[need.role], need.key)}"
        raise ModelMissing(reason) from None

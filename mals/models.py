"""Where models are: a local folder, the embedded ones, or the hub's cache. Finding never touches the network; `download` does.

The parts, which name the setting in messages and the embedded model: generator, lora, safety, pose, detector, captioner,
and of pretraining swin.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from mals.config import Config
from mals.errors import ModelMissing, UserError

WEIGHTS = Path(__file__).parent / "world" / "weights"
EMBEDDED = ("generator", "pose", "detector", "captioner", "swin")
SETTING = {
    "generator": "generate.model",
    "lora": "generate.lora.model",
    "safety": "safety.model",
    "pose": "crop.model",
    "detector": "crop.detector",
    "captioner": "caption.captioners.0.model",
    "swin": "vision.start",
}
OPENPOSE = "body_pose_model.pth"  # controlnet_aux's body estimator: one file, no config.json
WHOLE = 8 << 20  # bytes up to which a file is hashed whole
BLOCK = 64 << 10  # bytes; of a larger file the head, the tail and 62 blocks between them
BLOCKS = 64
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")

_revisions: dict[str, tuple[Any, str]] = {}  # folder -> (sizes and times when it was hashed, revision)


@dataclass(frozen=True)
class ResolvedModel:
    """A model on this disk."""

    name: str  # hub id, "embedded", or the folder's own name: what goes into a data set, so no path
    path: str  # the folder to load it from
    revision: str  # the hub's commit, or "sha256:…" of a folder's content


@dataclass(frozen=True)
class Need:
    """A model that a config asks for; `key` is the setting that names it."""

    key: str
    model: str
    revision: str | None
    part: str
    variant: str | None = None
    weight_name: str | None = None


def find(model: str, revision: str | None = None, part: str = "") -> ResolvedModel:
    """The model on this disk; ModelMissing where it is not, UserError for a folder that is no model."""
    if model == "embedded":
        return _embedded(part)
    folder = Path(model).expanduser()
    if folder.is_dir():
        if lacks := _lacks(folder):
            raise UserError(f"the folder {model} is not a model: it has no {lacks}")
        return ResolvedModel(folder.resolve().name, str(folder.resolve()), _content(folder.resolve()))
    if folder.is_file():
        raise UserError(f"{model} is a file; a model is a folder as save_pretrained writes it, or a hub id")
    if not HUB_ID.fullmatch(model):
        raise ModelMissing(f"there is no folder {model}; {_ways(part)}")
    return _cached(model, revision, part)


def needs(config: Config) -> list[Need]:
    """Every model that the config's own stages need, in the order of the stages."""
    generate, safety, crop = config.generate, config.safety, config.crop
    found = [Need("generate.model", generate.model, generate.revision, "generator", generate.variant)]
    if generate.lora:
        lora = generate.lora
        found.append(Need("generate.lora.model", lora.model, lora.revision, "lora", weight_name=lora.weight_name))
    if safety.model:
        found.append(Need("safety.model", safety.model, safety.revision, "safety"))
    found.append(Need("crop.model", crop.model, crop.revision, "pose"))
    if crop.backend == "vitpose" and crop.detector != "none":
        found.append(Need("crop.detector", crop.detector, crop.detector_revision, "detector"))
    for number, captioner in enumerate(config.caption.captioners):
        found.append(Need(f"caption.captioners.{number}.model", captioner.model, captioner.revision, "captioner"))
    return [need for need in found if need.key.split(".")[0] not in config.stages]


def listing(config: Config) -> list[dict[str, Any]]:
    """One row a model of `needs`: stage, setting, model, revision asked and resolved, licence, bytes, where, and why it is missing."""
    return [_row(need) for need in needs(config)]


def table(listing: list[dict[str, Any]]) -> str:
    """The listing as a person reads it, three lines a model."""
    told = []
    for row in listing:
        size = f"{row['bytes'] / 1e6:,.1f} MB" if row["bytes"] is not None else "not here"
        told.append(f"{row['setting']}: {row['model']}, {size}, licence {row['licence'] or 'not stated'}")
        told.append(f"    revision {row['revision'] or 'not pinned'}, resolved to {row['resolved'] or 'nothing'}")
        told.append(f"    {row['where'] or row['missing']}")
    return "\n".join(told)


def download(config: Config) -> list[dict[str, Any]]:
    """Fetches what is not here yet into the hub's cache, and lists; ModelMissing where the hub cannot be reached."""
    for need in needs(config):
        try:
            find(need.model, need.revision, need.part)
        except ModelMissing:
            if not HUB_ID.fullmatch(need.model):
                raise
            _fetch(need)
    return listing(config)


def wanted(files: Iterable[str], need: Need) -> list[str]:
    """Of a repository's files those that loading needs: no second copies of the weights, safetensors where there are any."""
    names = sorted(files)
    if OPENPOSE in names and need.part == "pose":
        return [name for name in names if name in (OPENPOSE, "README.md")]
    small = [
        name for name in names if name.endswith((".json", ".txt", ".model", ".jinja")) or name in ("README.md", "LICENSE", "LICENSE.md")
    ]
    if need.part == "lora":
        weights = [name for name in names if name == (need.weight_name or name) and name.endswith((".safetensors", ".bin"))]
        return sorted({*small, *(_formats(weights) if need.weight_name is None else weights)})
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
    mine = [name for name in weights if variant and re.search(rf"\.{re.escape(variant)}[.-]", PurePosixPath(name).name)]
    return mine or [name for name in weights if plain.fullmatch(PurePosixPath(name).name)]


def hub_cache() -> str:
    """The folder of the Hugging Face cache."""
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE)


def _cached(model: str, revision: str | None, part: str) -> ResolvedModel:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        path = Path(snapshot_download(model, revision=revision, cache_dir=hub_cache(), local_files_only=True, allow_patterns=[]))
    except HFValidationError:
        raise UserError(f"{model!r} is neither a folder nor a hub id; {_ways(part)}") from None
    except OSError:
        others = _snapshots(model)
        have = f", which has {', '.join(others)} of it," if others else ""
        raise ModelMissing(
            f"the model {model} (revision {revision or 'main'}) is not here: there is no folder of that name, "
            f"and it is not in the cache {hub_cache()}{have} either; {_ways(part)}"
        ) from None
    if lacks := _lacks(path):
        raise ModelMissing(f"the model {model} is in the cache {hub_cache()} only in part: it has no {lacks}; {_ways(part)}")
    return ResolvedModel(model, str(path), path.name)


def _snapshots(model: str) -> list[str]:
    """The commits of a hub model that the cache has."""
    folder = Path(hub_cache()) / f"models--{model.replace('/', '--')}" / "snapshots"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def _ways(part: str) -> str:
    return (
        "run `mals models RUN --download` on a machine with a network, "
        f"give a local folder with --set {SETTING.get(part, 'generate.model')}=DIR, or use the embedded models with --preset tiny"
    )


def _lacks(folder: Path) -> str:
    """What a model folder would need and does not have; empty where it is whole."""
    top = {path.name for path in folder.iterdir()}
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
    """What one component of a pipeline, or a model without components, needs and does not have."""
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
    """Every file that is not hidden, by its name within the folder, sorted."""
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        name = path.relative_to(folder)
        if not any(piece.startswith(".") for piece in name.parts) and path.is_file():
            yield name.as_posix(), path.stat()


def _content(folder: Path) -> str:
    """ "sha256:" and 16 hex digits over names, sizes and content; of a file above 8 MB 64 blocks stand for the content."""
    facts = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in _files(folder)]
    known = _revisions.get(str(folder))
    if known and known[0] == facts:
        return known[1]
    digest = hashlib.sha256()
    for name, size, _ in facts:
        digest.update(f"{name}\0{size}\0".encode())
        with (folder / name).open("rb") as file:
            if size <= WHOLE:
                digest.update(file.read())
                continue
            for block in range(BLOCKS):
                file.seek((size - BLOCK) * block // (BLOCKS - 1))
                digest.update(file.read(BLOCK))
    revision = f"sha256:{digest.hexdigest()[:16]}"
    _revisions[str(folder)] = (facts, revision)
    return revision


def _embedded(part: str) -> ResolvedModel:
    """The trained weights that ship with the package."""
    if part not in EMBEDDED:
        known = ", ".join(SETTING[name] for name in EMBEDDED)
        raise UserError(f"there is no embedded model for {SETTING.get(part, part)}; there is one for {known}")
    return ResolvedModel("embedded", str(WEIGHTS / part), _content(WEIGHTS / part))


def _row(need: Need) -> dict[str, Any]:
    row: dict[str, Any] = {
        "stage": need.key.split(".")[0],
        "setting": need.key,
        "model": need.model,
        "revision": need.revision,
        "resolved": None,
        "licence": None,
        "bytes": None,
        "where": None,
        "missing": None,
    }
    try:
        found = find(need.model, need.revision, need.part)
    except UserError as error:
        return row | {"missing": str(error).replace(SETTING[need.part], need.key)}
    size = sum(stat.st_size for _, stat in _files(Path(found.path)))
    return row | {"resolved": found.revision, "licence": licence(found), "bytes": size, "where": found.path}


def licence(found: ResolvedModel) -> str | None:
    """The licence in the front matter of the model's card; None where the card is missing or silent."""
    card = Path(found.path) / "README.md"
    if (Path(found.path) / OPENPOSE).is_file():
        return "OpenPose: CMU, for non-commercial use only"  # so controlnet_aux says of code and weights
    return licence_of(card_facts(card))


def card_facts(card: Path) -> dict[str, Any]:
    """The front matter of a card, empty where there is none that can be read."""
    if not card.is_file():
        return {}
    front = re.match(r"---\s*\n(.*?)\n---", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    try:
        facts = yaml.safe_load(front.group(1)) if front else None
    except yaml.YAMLError:
        return {}
    return facts if isinstance(facts, dict) else {}


def licence_of(facts: Mapping[str, Any]) -> str | None:
    """The licence that a card's front matter tells, by its own name where it is an "other"."""
    name = facts.get("license_name") if facts.get("license") == "other" else None
    return str(name or facts["license"]) if facts.get("license") else None


def _fetch(need: Need) -> None:
    """One hub model into the cache: only the files that loading needs."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import DryRunError, GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    asked = f"{need.model} (revision {need.revision or 'main'})"
    try:
        listed = snapshot_download(need.model, revision=need.revision, cache_dir=hub_cache(), dry_run=True)
        names = [file.filename for file in listed if not isinstance(file, str)]
        snapshot_download(need.model, revision=need.revision, cache_dir=hub_cache(), allow_patterns=wanted(names, need))
    except OSError as error:  # a listing that fails wraps what the hub said
        cause = error.__cause__ if isinstance(error, DryRunError) and error.__cause__ else error
        if isinstance(cause, GatedRepoError):
            reason = f"the model {asked} wants its terms accepted at the hub, and `hf auth login` on this machine"
        elif isinstance(cause, RevisionNotFoundError):
            reason = f"the model {need.model} has no revision {need.revision} at the hub"
        elif isinstance(cause, RepositoryNotFoundError):
            reason = f"there is no model {need.model} at the hub, or it is private"
        else:
            reason = f"cannot fetch {asked} from the hub ({type(cause).__name__}), and the cache {hub_cache()} does not have it"
            reason = f"{reason}; {_ways(need.part).replace(SETTING[need.part], need.key)}"
        raise ModelMissing(reason) from None

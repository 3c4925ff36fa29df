"""Stage `caption`: what each captioner of the settings writes about the crop.

`caption`, the text to train on, is the first captioner's. Repetitions are scored, and collapsed unless the settings turn that off; the raw
text is kept. A captioner's backend is mals/stages/blip.py or mals/stages/vlm.py.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from mals.config import Caption as Settings
from mals.config import Captioner, Config
from mals.device import hush
from mals.errors import UserError
from mals.grid.stage import Resources, Stage, output_batch, row_seed
from mals.models import ResolvedModel, resolve
from mals.stages.repetition import collapse, repetition
from mals.stages.row_images import read_images

CAPTION = pa.struct(
    [
        ("text", pa.string()),
        ("raw", pa.string()),
        ("model", pa.string()),
        ("revision", pa.string()),
        ("prompt", pa.string()),
        ("repetition", pa.float32()),  # share of the raw text's words
    ]
)
ADDS = pa.schema([("caption", pa.string()), ("captions", pa.list_(CAPTION))])


class CaptionModel(Protocol):
    """A loaded captioner."""

    def caption(self, images: Sequence[Any], seeds: Sequence[int]) -> list[str]:
        """One raw text per image [H, W, 3] uint8, "" if the model wrote nothing; a row's sampled words depend on its own seed alone."""
        ...


def stage(config: Config) -> Stage:
    """The stage with the settings of `config`; loads nothing."""
    assert config.caption is not None  # without captioners a run has no such stage
    return Caption(config.caption, config.seed)


class Caption:
    """Captions of the crops, by every captioner of the settings."""

    name = "caption"
    version = 2
    needs: tuple[str, ...] = ("id", "crop")
    adds = ADDS
    resources = Resources(gpus=1)

    def __init__(self, settings: Settings, seed: int):
        for captioner in settings.captioners:
            if captioner.sample and captioner.beams > 1:
                raise UserError(f"the captioner {captioner.model} is set to sample and to use {captioner.beams} beams; choose one")
        self.settings, self.seed = settings, seed
        self.batch = max(captioner.batch for captioner in settings.captioners)
        self.resolved: list[ResolvedModel] = []
        self.models: list[CaptionModel] = []

    def params(self) -> dict[str, Any]:
        captioners = [_params(captioner, model) for captioner, model in zip(self.settings.captioners, self._resolve(), strict=True)]
        sampled = any(captioner.sample for captioner in self.settings.captioners)
        return {"captioners": captioners, "collapse": self.settings.collapse, "seed": self.seed if sampled else None}

    def setup(self) -> None:
        hush("transformers")
        self.resolved = self._resolve()
        self.models = [_load(captioner, model) for captioner, model in zip(self.settings.captioners, self.resolved, strict=True)]

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        ids = batch["id"].to_pylist()
        images = read_images(batch["crop"].to_pylist())
        readable = [row for row, pixels in enumerate(images.pixels) if pixels is not None]
        captions: list[list[dict[str, Any]]] = [[] for _ in ids]
        if readable:
            # A readable row takes the place of each row that cannot be read, so that shapes stay constant.
            rows = [row if pixels is not None else readable[0] for row, pixels in enumerate(images.pixels)]
            for number, captioner in enumerate(self.settings.captioners):
                texts = self._texts(number, captioner, [images.pixels[row] for row in rows], [ids[row] for row in rows])
                for row in readable:
                    captions[row].append(self._entry(number, captioner, texts[row]))
        first = [entries[0]["text"] if entries else None for entries in captions]
        reject = [["empty_caption"] if text == "" else damage for text, damage in zip(first, images.reject, strict=True)]
        return output_batch(ADDS, {"caption": first, "captions": [entries or None for entries in captions]}, reject, images.errors)

    def _resolve(self) -> list[ResolvedModel]:
        """The captioners on this disk; raises ModelMissing, or UserError if a model's files name another class than its backend takes."""
        models = [resolve(captioner.model, captioner.revision, "captioner") for captioner in self.settings.captioners]
        for captioner, model in zip(self.settings.captioners, models, strict=True):
            refuse_other_class(captioner, model)
        return models

    def _texts(self, number: int, captioner: Captioner, images: list[Any], ids: list[str]) -> list[str]:
        """One captioner's raw texts, in batches of its own size; if the stage's batch was halved, so are these."""
        size = max(1, captioner.batch * len(ids) // self.batch)
        texts: list[str] = []
        for start in range(0, len(ids), size):
            rows = list(range(start, min(start + size, len(ids))))
            padded = rows + [start] * (size - len(rows))
            seeds = [row_seed(self.seed, ids[row], f"caption/{number}") for row in padded]
            texts += self.models[number].caption([images[row] for row in padded], seeds)[: len(rows)]
        return texts

    def _entry(self, number: int, captioner: Captioner, raw: str) -> dict[str, Any]:
        model = self.resolved[number]
        return {
            "text": collapse(raw) if self.settings.collapse else " ".join(raw.split()),
            "raw": raw,
            "model": model.name,
            "revision": model.revision,
            "prompt": captioner.prompt,
            "repetition": repetition(raw),
        }


def refuse_other_class(captioner: Captioner, model: ResolvedModel) -> None:
    """Raise UserError if the files of a model name a class that its backend does not take; no weights are read."""
    folder = Path(model.path)
    config = _json(folder / "config.json")
    kind = next(iter(config.get("architectures") or []), _json(folder / "model_index.json").get("_class_name", "model without a class"))
    if captioner.backend == "blip" and kind != "BlipForConditionalGeneration":
        raise UserError(
            f"the captioner {model.name} is a {kind}, and the backend blip takes a BlipForConditionalGeneration; "
            "for a chat model set its backend to vlm"
        )
    if captioner.backend == "vlm" and not _has_chat_template(folder):
        raise UserError(
            f"the captioner {model.name} is a {kind} and has no chat template, which the backend vlm needs; "
            "for a BLIP set its backend to blip"
        )


def _has_chat_template(folder: Path) -> bool:
    if any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    return any(_json(folder / name).get("chat_template") for name in ("processor_config.json", "tokenizer_config.json"))


def _json(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _params(captioner: Captioner, model: ResolvedModel) -> dict[str, Any]:
    """The settings that one captioner's texts depend on; those of sampling only if it samples."""
    unused = {"batch", "model", "revision"} | (set() if captioner.sample else {"temperature", "top_p"})
    return captioner.model_dump(mode="json", exclude=unused) | {"model": model.name, "revision": model.revision}


def _load(captioner: Captioner, model: ResolvedModel) -> CaptionModel:
    from mals.stages.blip import Blip
    from mals.stages.vlm import Vlm

    return Blip(captioner, model) if captioner.backend == "blip" else Vlm(captioner, model)

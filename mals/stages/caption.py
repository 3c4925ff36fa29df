"""The caption stage: what each captioner says of the crop.

Every captioner of the settings gives one text; `caption`, the one to train on, is the first one's. Repetitions are scored, and collapsed
unless the settings say otherwise; the raw text stays.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from mals.config import Caption as Settings
from mals.config import Captioner, Config
from mals.device import hush
from mals.errors import UserError
from mals.grid.stage import Resources, Stage, answer, describe, row_seed
from mals.models import ResolvedModel, find
from mals.stages.captioners import Speaker, load
from mals.stages.repetition import collapse, repetition

SAID = pa.struct(
    [
        ("text", pa.string()),
        ("raw", pa.string()),
        ("model", pa.string()),
        ("revision", pa.string()),
        ("prompt", pa.string()),
        ("repetition", pa.float32()),  # share of the raw text's words
    ]
)
ADDS = pa.schema([("caption", pa.string()), ("captions", pa.list_(SAID))])
Said = dict[str, Any]


def stage(config: Config) -> Stage:
    return Caption(config.caption, config.seed)


class Caption:
    """The stage of this module."""

    name = "caption"
    version = 1
    needs: tuple[str, ...] = ("id", "crop")
    adds = ADDS
    resources = Resources(gpus=1)

    def __init__(self, settings: Settings, seed: int):
        for captioner in settings.captioners:
            if captioner.sample and captioner.beams > 1:
                raise UserError(f"the captioner {captioner.model} is to sample and to use {captioner.beams} beams; choose one")
        self.settings, self.seed = settings, seed
        self.batch = max(captioner.batch for captioner in settings.captioners)
        self.speakers: list[Speaker] = []

    def found(self) -> list[ResolvedModel]:
        """The captioners on this disk; raises ModelMissing, and UserError where a model's own files say that it is of another class."""
        models = [find(captioner.model, captioner.revision, "captioner") for captioner in self.settings.captioners]
        for captioner, model in zip(self.settings.captioners, models, strict=True):
            refuse_other_class(captioner, model)
        return models

    def params(self) -> dict[str, Any]:
        captioners = [_params(captioner, found) for captioner, found in zip(self.settings.captioners, self.found(), strict=True)]
        sampled = any(captioner.sample for captioner in self.settings.captioners)
        return {"captioners": captioners, "collapse": self.settings.collapse, "seed": self.seed if sampled else None}

    def setup(self) -> None:
        hush("transformers")
        self.models = self.found()
        self.speakers = [load(captioner, found) for captioner, found in zip(self.settings.captioners, self.models, strict=True)]

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        ids = batch["id"].to_pylist()
        pictures, errors = zip(*[_read(crop) for crop in batch["crop"]], strict=True)
        readable = [row for row, error in enumerate(errors) if error is None]
        said: list[list[Said]] = [[] for _ in ids]
        if readable:
            # Rows that cannot be read give their places to one that can, so that shapes stay constant.
            rows = [row if errors[row] is None else readable[0] for row in range(len(ids))]
            for number, captioner in enumerate(self.settings.captioners):
                texts = self._say(number, captioner, [pictures[row] for row in rows], [ids[row] for row in rows])
                for row in readable:
                    said[row].append(self._entry(number, captioner, texts[row]))
        captions = [entries[0]["text"] if entries else None for entries in said]
        reject = [["empty_caption"] if entries and not entries[0]["text"] else None for entries in said]
        return answer(ADDS, {"caption": captions, "captions": [entries or None for entries in said]}, reject, errors)

    def _say(self, number: int, captioner: Captioner, pictures: list[Any], ids: list[str]) -> list[str]:
        """One captioner's raw texts, in batches of its own size; a halved batch of the stage halves them too."""
        size = max(1, captioner.batch * len(ids) // self.batch)
        texts: list[str] = []
        for at in range(0, len(ids), size):
            rows = list(range(at, min(at + size, len(ids))))
            padded = rows + [at] * (size - len(rows))
            seeds = [row_seed(self.seed, ids[row], f"caption/{number}") for row in padded]
            texts += self.speakers[number].say([pictures[row] for row in padded], seeds)[: len(rows)]
        return texts

    def _entry(self, number: int, captioner: Captioner, raw: str) -> Said:
        found = self.models[number]
        return {
            "text": collapse(raw) if self.settings.collapse else " ".join(raw.split()),
            "raw": raw,
            "model": found.name,
            "revision": found.revision,
            "prompt": captioner.prompt,
            "repetition": repetition(raw),
        }


def refuse_other_class(captioner: Captioner, model: ResolvedModel) -> None:
    """UserError where the files of a model name a class that its backend does not take; no weights are read."""
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
            f"the captioner {model.name} is a {kind} and has no chat template, so it cannot be asked; is it for the backend blip?"
        )


def _has_chat_template(folder: Path) -> bool:
    if any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    return any(_json(folder / name).get("chat_template") for name in ("processor_config.json", "tokenizer_config.json"))


def _json(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _params(captioner: Captioner, found: ResolvedModel) -> dict[str, Any]:
    """What one captioner's texts depend on; how it draws words does not matter while it draws none."""
    idle = {"batch", "model", "revision"} | (set() if captioner.sample else {"temperature", "top_p"})
    return captioner.model_dump(mode="json", exclude=idle) | {"model": found.name, "revision": found.revision}


def _read(crop: pa.BinaryScalar) -> tuple[Any, str | None]:
    """The crop [H, W, 3] uint8, or why it cannot be read."""
    from mals.stages.measures import decode

    try:
        return decode(crop.as_buffer()), None
    except (OSError, ValueError, SyntaxError) as error:
        return None, describe(error, "cannot read the crop")

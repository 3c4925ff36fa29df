"""Stage `caption`: what each captioner of the settings writes about the crop, once for each of its instructions.

Each text passes the rules of the settings or is written again with another template, example or sampled words; one that still fails is left
out, with the rule that it fails. `caption`, the text to train on, is the first good one. Repetitions are scored, and collapsed unless the
settings turn that off; the raw text is kept. Images are read once, whatever the number of captions.

Captioners behind a server get the requests of a whole batch at once, which is the shard where all captioners are such ones.
"""

import json
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from mals.config import Caption as Settings
from mals.config import Captioner, Config
from mals.device import hush
from mals.errors import UserError
from mals.grid.stage import Resources, Stage, Used, error_message, output_batch, row_seed
from mals.images import Pixels
from mals.models import ResolvedModel, resolve
from mals.stages.captioning import rules
from mals.stages.captioning.instructions import SIGHTLESS, Wording, check_captioners, instructions
from mals.stages.captioning.model import CaptionModel, Request
from mals.stages.captioning.stand_in import StandIn
from mals.stages.captioning.structured import caption_in
from mals.stages.openai import OpenAi
from mals.stages.repetition import collapse, repetition
from mals.stages.row_images import read_images

CAPTION = pa.struct(
    [
        ("text", pa.string()),  # null where it fails a rule
        ("raw", pa.string()),
        ("model", pa.string()),
        ("revision", pa.string()),
        ("prompt", pa.string()),
        ("repetition", pa.float32()),  # share of the raw text's words
        ("instruction", pa.string()),  # static, template, style or questions
        ("template", pa.string()),  # the template or style example that was drawn
        ("tries", pa.int32()),
        ("refused", pa.string()),  # the rule that the last try failed; with a text, that is the image's static caption in its place
    ]
)
ADDS = pa.schema([("caption", pa.string()), ("captions", pa.list_(CAPTION))])
Entry = dict[str, Any]  # one caption, with the fields of CAPTION


def stage(config: Config) -> Stage:
    """The stage with the settings of `config`; loads nothing."""
    assert config.caption is not None  # without captioners a run has no such stage
    return Caption(config.caption, config.seed, config.shard_rows)


class Caption:
    """Captions of the crops, by every captioner of the settings."""

    name = "caption"
    version = 3
    needs: tuple[str, ...] = ("id", "crop")
    adds = ADDS

    def __init__(self, settings: Settings, seed: int, shard_rows: int = 1):
        check_captioners(settings.captioners)
        self.settings, self.seed = settings, seed
        kinds = {instruction.kind for captioner in settings.captioners for instruction in instructions(captioner)}
        if settings.rules.on_bad == "static" and "static" not in kinds:
            raise UserError("caption.rules.on_bad = static needs a captioner with a static instruction; add one, or set it to error")
        served = [captioner for captioner in settings.captioners if captioner.server]
        local = [captioner.batch for captioner in settings.captioners if not captioner.server]
        waits = bool(served) and all(captioner.server or captioner.backend == "template" for captioner in settings.captioners)
        self.resources = Resources(workers=1) if waits else Resources(gpus=1)
        self.batch = shard_rows if waits else max([*local, *(one.server.concurrency for one in served if one.server)])
        self.prices = {one.model: one.server.price for one in served if one.server and any(one.server.price.model_dump().values())}
        self.resolved: list[ResolvedModel] = []
        self.models: list[CaptionModel] = []

    @cached_property
    def wordings(self) -> list[list[Wording]]:
        """Of each captioner, a wording for each caption; raises ModelMissing, and UserError for a bad file of templates or examples."""
        return [[Wording(instruction, captioner) for instruction in instructions(captioner)] for captioner in self.settings.captioners]

    def params(self) -> dict[str, Any]:
        parts = zip(self.settings.captioners, self.wordings, self._resolve(), strict=True)
        captioners = [_params(captioner, model, wordings) for captioner, wordings, model in parts]
        drawn = any(captioner.sample or captioner.backend in ("rewrite", "openai") for captioner in self.settings.captioners)
        drawn = drawn or any(wording.choices for wordings in self.wordings for wording in wordings)
        own_rules = self.settings.rules.model_dump(mode="json")
        return {"captioners": captioners, "collapse": self.settings.collapse, "rules": own_rules, "seed": self.seed if drawn else None}

    def setup(self) -> None:
        if self.resources.gpus:
            hush("transformers")
        self.resolved = self._resolve()
        self.models = [_load(captioner, model) for captioner, model in zip(self.settings.captioners, self.resolved, strict=True)]

    def take_used(self) -> Used:
        """What servers did since the last call: see mals.grid.stage.ServedStage."""
        used: Used = {}
        for model in self.models:
            if isinstance(model, OpenAi) and (counts := model.server.take_counts()):
                sums = used.setdefault(model.settings.model, {})
                for name, count in counts.items():
                    sums[name] = sums.get(name, 0) + count
        return used

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        ids, files = batch["id"].to_pylist(), batch["crop"].to_pylist()
        images = read_images(files)
        pixels = {row: image for row, image in enumerate(images.pixels) if image is not None}
        captions: dict[int, list[list[Entry]]] = {row: [] for row in pixels}  # row -> captioner -> its captions
        for number, captioner in enumerate(self.settings.captioners):
            starts_from = captioner.source if captioner.backend in SIGHTLESS else None
            sources = {row: "" if starts_from is None else _first_text(entries[starts_from]) for row, entries in captions.items()}
            for entries in captions.values():
                entries.append([])
            for order in range(len(self.wordings[number])):
                rows = {row: (ids[row], pixels[row], files[row], sources[row]) for row in captions}
                for row, entry in self._write(number, order, rows, len(ids)).items():
                    if isinstance(entry, Exception):
                        images.errors[row] = error_message(entry)
                        del captions[row]
                    else:
                        captions[row][number].append(entry)
        if self.settings.rules.on_bad == "static":
            for entries in captions.values():
                put_static(entries)
        listed = [[entry for of_one in captions.get(row, []) for entry in of_one] for row in range(len(ids))]
        texts = [_first_text(entries) or None for entries in listed]
        refused = [list(dict.fromkeys(entry["refused"] for entry in entries)) for entries in listed]
        reject = [damage or (None if text else failed or None) for text, failed, damage in zip(texts, refused, images.reject, strict=True)]
        return output_batch(ADDS, {"caption": texts, "captions": [entries or None for entries in listed]}, reject, images.errors)

    def _resolve(self) -> list[ResolvedModel]:
        """The captioners on this disk; raises ModelMissing, or UserError if a model's files name another class than its backend takes."""
        return [_resolved(captioner) for captioner in self.settings.captioners]

    def _write(self, number: int, order: int, rows: dict[int, tuple[str, Pixels, bytes, str]], batch: int) -> dict[int, Entry | Exception]:
        """The caption of each row by one instruction of one captioner, or the error that the row met.

        `rows`: position -> id, image, the image's file, the caption to start from.
        """
        captioner, wording = self.settings.captioners[number], self.wordings[number][order]
        entries: dict[int, Entry] = {}
        errors: dict[int, Exception] = {}
        drawn: dict[int, list[int]] = {row: [] for row in rows}  # templates or examples of earlier tries
        pending = list(rows)
        for attempt in range(1 + self.settings.rules.retries):
            requests = []
            for row in pending:
                row_id, image, file, source = rows[row]
                seed = row_seed(self.seed, row_id, f"caption/{number}/{order}/{attempt}")
                at = wording.draw(row_seed(seed, "", "choice"), drawn[row])
                drawn[row] += [at] if at >= 0 else []
                choice = wording.choices[at] if at >= 0 else ""
                requests.append(Request(image, wording.prompt(choice), seed, source, choice, file))
            requests, texts = wording.answer(partial(self._texts, number, batch, pending, errors), requests)
            for row, request, raw in zip(pending, requests, texts, strict=True):
                entries[row] = self._entry(number, wording, request, raw, attempt)
            more = captioner.sample or captioner.backend == "rewrite"
            pending = [row for row in pending if row not in errors]
            pending = [row for row in pending if entries[row]["refused"] and (more or len(drawn[row]) < len(wording.choices))]
            if not pending:
                break
        return {**entries, **errors}

    def _texts(self, number: int, batch: int, rows: Sequence[int], errors: dict[int, Exception], requests: Sequence[Request]) -> list[str]:
        """One captioner's raw texts, in batches of its own size; if the stage's batch, of `batch` rows, was halved, so are these.

        The last batch is padded, so that shapes stay constant; a server gets all requests at once. An error that one request met goes into
        `errors`, at its number in `rows`, and "" stands for its text.
        """
        if self.settings.captioners[number].server:
            replies = list(self.models[number].caption(requests))
        else:
            size = max(1, self.settings.captioners[number].batch * batch // self.batch)
            replies = []
            for start in range(0, len(requests), size):
                part = list(requests[start : start + size])
                replies += self.models[number].caption(part + [part[0]] * (size - len(part)))[: len(part)]
        errors |= {row: reply for row, reply in zip(rows, replies, strict=True) if isinstance(reply, Exception)}
        return ["" if isinstance(reply, Exception) else reply for reply in replies]

    def _entry(self, number: int, wording: Wording, request: Request, raw: str, attempt: int) -> Entry:
        model, captioner = self.resolved[number], self.settings.captioners[number]
        schema = captioner.json_schema
        caption = raw if schema is None else caption_in(raw, schema, captioner.json_field)
        words = caption or ""  # none where the answer is not of the schema
        text = collapse(words) if self.settings.collapse else " ".join(words.split())
        has_input = bool(request.source) or captioner.backend not in SIGHTLESS
        refused = rules.refusal(words, text, self.settings.rules) if has_input else rules.NO_SOURCE
        refused = rules.SCHEMA if caption is None else refused
        return {
            "text": None if refused else text,
            "raw": raw,
            "model": model.name,
            "revision": model.revision,
            "prompt": request.prompt,
            "repetition": repetition(words),
            "instruction": wording.kind,
            "template": request.choice or None,
            "tries": attempt + 1,
            "refused": refused,
        }


def put_static(captions: Sequence[list[Entry]]) -> None:
    """Give refused captions of one image the text of its good static caption: the same captioner's, or else the first captioner's with one.

    `captions`: those of each captioner. The repair of LUPerson-MLLM (CVPR 2024).
    """
    static = [_first_text([entry for entry in entries if entry["instruction"] == "static"]) for entries in captions]
    for entries, own in zip(captions, static, strict=True):
        text = own or next(filter(None, static), "")
        for entry in entries:
            if entry["refused"] and text:
                entry["text"] = text


def _first_text(entries: Sequence[Entry]) -> str:
    """The first good text; "" where there is none."""
    return next((entry["text"] for entry in entries if entry["text"]), "")


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
    if captioner.backend in ("vlm", "rewrite") and not _has_chat_template(folder):
        raise UserError(
            f"the captioner {model.name} is a {kind} and has no chat template, which the backend {captioner.backend} needs; "
            "for a BLIP set its backend to blip"
        )


def _has_chat_template(folder: Path) -> bool:
    if any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    return any(_json(folder / name).get("chat_template") for name in ("processor_config.json", "tokenizer_config.json"))


def _json(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _resolved(captioner: Captioner) -> ResolvedModel:
    if captioner.backend == "template":
        return StandIn.resolved
    if captioner.server:
        return ResolvedModel(captioner.model, "", str(captioner.revision))
    model = resolve(captioner.model, captioner.revision, "vlm" if captioner.backend == "vlm" else "captioner")
    refuse_other_class(captioner, model)
    return model


def _params(captioner: Captioner, model: ResolvedModel, wordings: Sequence[Wording]) -> dict[str, Any]:
    """The settings that one captioner's texts depend on; those of sampling only if it samples, and those of a server only if it has one."""
    unused = {"batch", "model", "revision", "prompt", "instructions", "server"} | (set() if captioner.sample else {"temperature", "top_p"})
    unused |= {"dtype", "beams", "min_tokens", "source"} if captioner.server else {"json_schema", "json_field"}
    own = {"extra": captioner.server.extra} if captioner.server else {}
    settings = captioner.model_dump(mode="json", exclude=unused)
    return settings | own | {"model": model.name, "revision": model.revision, "instructions": [wording.params() for wording in wordings]}


def _load(captioner: Captioner, model: ResolvedModel) -> CaptionModel:
    if captioner.backend == "openai":
        return OpenAi(captioner)
    from mals.stages.blip import Blip
    from mals.stages.captioning.rewriter import Rewriter
    from mals.stages.vlm import Vlm

    backends: dict[str, Any] = {"blip": Blip, "vlm": Vlm, "rewrite": Rewriter}
    return StandIn() if captioner.backend == "template" else backends[captioner.backend](captioner, model)

"""Scores of the embedded models, stage by stage, on images whose ground truth is known: `python -m benchmarks.world`.

    --drawn N       drawn images for each part (default 400)
    --generated N   images generated from prompts of the attribute grammar (default 400; 0 leaves that part out)
    --part NAME     only filter, pose, captions, instructions, scorer or generated
    --record        write the scores into mals/world/weights/scores.json, which the tests compare with

Prints tables, and one JSON line for each part. All parts run the stages of the preset tiny, as `mals run` does.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.instructions import instruction_scores
from benchmarks.scorer import drawn_scores
from mals import settings
from mals.attributes import load_space
from mals.grid.stage import Stage
from mals.images import decode_image
from mals.labeller.labeller import Labeller
from mals.models import WEIGHTS
from mals.stages import crop
from mals.stages import filter as filters
from mals.stages.caption import stage as caption_stage
from mals.stages.generated_images import jpeg
from mals.stages.pose import visible
from mals.world.person import COLORS, create_person
from mals.world.scene import DrawnImage, draw_image

SEED = 77  # of a world that no training has seen
SPACE = load_space("market1501")
FILTERED = ("blurred", "grey", "solid")  # faults that the filter is to refuse; the others are left to the crop stage
NEAR = 0.1  # of the person's height: the largest error of a correct keypoint
TORSO, THIGH = (5, 6, 11, 12), (11, 13)  # keypoints around the middle of the upper and of the lower garment
CONFIG = settings.check({"preset": "tiny"})


def ready(stage: Any) -> Stage:
    stage.setup()
    return stage


def run_stage(stage: Stage, columns: dict[str, pa.Array]) -> list[dict[str, Any]]:
    """The rows that a stage makes of these columns, in batches of its own size, the last one padded."""
    table = pa.RecordBatch.from_pydict(columns)
    rows: list[dict[str, Any]] = []
    for start in range(0, len(table), stage.batch):
        part = table.slice(start, stage.batch)
        batch = part.take(pa.array([min(row, len(part) - 1) for row in range(stage.batch)]))
        rows += stage(batch).to_pylist()[: len(part)]
    return rows


def image_column(drawn: list[DrawnImage]) -> dict[str, pa.Array]:
    return {"image": pa.array([jpeg(image.pixels) for image in drawn], pa.binary())}


def draw_images(count: int, fault: str | None = None) -> list[DrawnImage]:
    return [draw_image(SEED, number, number % 7, 128, fault) for number in range(count)]


def filter_part(count: int) -> dict[str, Any]:
    """Refused share of sound images; for each fault, recall and precision of refusing it by any rule, and the reasons."""
    stage = ready(filters.stage(CONFIG))
    reasons = {
        fault: [set(row["reject"] or ()) for row in run_stage(stage, image_column(draw_images(count, fault)))]
        for fault in (None, *FILTERED)
    }
    sound_refused = sum(map(bool, reasons[None]))
    scores: dict[str, Any] = {"sound_refused": share(sound_refused, count)}
    for fault in FILTERED:
        refused = sum(map(bool, reasons[fault]))
        scores[fault] = {
            "recall": share(refused, count),
            "precision": share(refused, refused + sound_refused),
            "reasons": tally(reasons[fault]),
        }
    return scores


def pose_part(count: int) -> dict[str, Any]:
    """PCK on sound images, and what the crop stage refuses of sound images and of each fault."""
    stage = ready(crop.stage(CONFIG))
    scores: dict[str, Any] = {}
    for fault in (None, "no_person", "two_persons", "cut", "tiny"):
        truths = draw_images(count, fault)
        rows = run_stage(stage, image_column(truths))
        reasons = [set(row["reject"] or ()) for row in rows]
        scores[fault or "sound"] = {"refused": share(sum(map(bool, reasons)), count), "reasons": tally(reasons)}
        if fault is None:
            scores["pck"] = pck(truths, rows)
    return scores


def pck(truths: list[DrawnImage], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Share of correct keypoints, those with an error of at most NEAR of the person's height: all in the image, and the visible ones."""
    correct_rows: list[np.ndarray] = []
    for truth, row in zip(truths, rows, strict=True):
        assert truth.box is not None
        keypoints = np.array(row["keypoints"] if row["keypoints"] else np.zeros((17, 3)))
        error = np.hypot(*(keypoints[:, :2] - truth.keypoints[:, :2]).T) / (truth.box[3] - truth.box[1])
        correct_rows.append(np.where(truth.keypoints[:, 2] > 0, (error <= NEAR) & visible(keypoints, CONFIG.crop.score), np.nan))
    is_visible = np.array([truth.keypoints[:, 2] == 2 for truth in truths])
    correct = np.array(correct_rows)
    return {
        "all": round(float(np.nanmean(correct)), 4),
        "visible": round(float(correct[is_visible].mean()), 4),
        "keypoint": np.nanmean(correct, 0).round(3).tolist(),
    }


def captions_part(count: int) -> dict[str, Any]:
    """Attribute labels of drawn images that were cropped, captioned and labelled, against the ground truth."""
    truths = draw_images(count)
    crops = [row["crop"] for row in run_stage(ready(crop.stage(CONFIG)), image_column(truths))]
    kept = [number for number, data in enumerate(crops) if data is not None]
    columns = {"id": pa.array([str(number) for number in kept]), "crop": pa.array([crops[number] for number in kept], pa.binary())}
    captions = [row["caption"] or "" for row in run_stage(ready(caption_stage(CONFIG)), columns)]
    labels = Labeller().label(captions).values
    scores = {
        "captions": len(kept),
        "different": len(set(captions)),
        "unknown": round(float((labels < 0).mean()), 4),
        "examples": captions[:4],
    }
    return scores | agreement(labels, np.array([truths[number].attributes for number in kept]))


def instructions_part(count: int) -> dict[str, Any]:
    """Captions by templates and examples, and answers to questions, of the captioner that follows instructions, about crops."""
    crops = [row["crop"] for row in run_stage(ready(crop.stage(CONFIG)), image_column(draw_images(count)))]
    kept = [number for number, data in enumerate(crops) if data is not None]
    people = [create_person(SEED, number) for number in kept]
    return {"crops": len(kept)} | instruction_scores([decode_image(crops[number]) for number in kept], people)


def scorer_part(count: int) -> dict[str, Any]:
    """How well the embedded scorer tells a crop's own captions from wrong ones, and the next view of its person from those of others."""
    stage = ready(crop.stage(CONFIG))
    next_views = [draw_image(SEED, number, number % 7 + 1, 128) for number in range(count)]
    crops, views = ([row["crop"] for row in run_stage(stage, image_column(truths))] for truths in (draw_images(count), next_views))
    kept = [number for number in range(count) if crops[number] is not None and views[number] is not None]
    images, others = ([decode_image(data[number]) for number in kept] for data in (crops, views))
    return drawn_scores(images, others, [create_person(SEED, number) for number in kept], SEED)


def agreement(labels: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Shares of correct labels where the truth is known: all, by attribute, of attributes that are present, of whole colour groups."""
    known = truth >= 0
    correct = (labels == truth) & known
    scores: dict[str, Any] = {"values": share(int(correct.sum()), int(known.sum()))}
    for name, group in SPACE.color_groups.items():
        columns = [SPACE.names.index(member) for member in group.colors.values()]
        group_known = known[:, columns].all(1)
        scores[name] = share(int(correct[group_known][:, columns].all(1).sum()), int(group_known.sum()))
    present = truth == 0
    columns_of = dict(zip(SPACE.names, range(len(SPACE.names)), strict=True))
    scores["attributes"] = {name: share(int(correct[:, i].sum()), int(known[:, i].sum())) for name, i in columns_of.items()}
    scores["present"] = {name: share(int((correct & present)[:, i].sum()), int(present[:, i].sum())) for name, i in columns_of.items()}
    return scores


def generated_part(count: int) -> dict[str, Any]:
    """The attributes that prompts of the grammar ask for, against the labels of the generated images and against their pixels."""
    from mals.grid.run import Run, run_stages
    from mals.planning.create import create

    with tempfile.TemporaryDirectory() as folder:
        started = time.time()
        starter = Path(settings.__file__).parent / "planning" / "starter" / "starter.yaml"
        create(f"{folder}/run", count=count, file=starter, assignments=["seed=77"])
        run = Run.open(f"{folder}/run")
        run_stages(run, quiet=True)
        grid = run.grid
        names = ["wanted", "image", "keypoints", "caption", "attributes"]
        rows = [row for shard in range(grid.shards) for row in grid.table(shard, names).to_pylist()]
        seconds = time.time() - started
    kept = [row for row in rows if not row["reject"] and row["attributes"]]
    requested = np.array([row["wanted"] for row in kept])
    refused = tally([set(row["reject"] or ()) for row in rows])
    scores = {"requested": count, "kept": len(kept), "refused": refused, "seconds": round(seconds)}
    scores |= agreement(np.array([row["attributes"] for row in kept]), requested)
    for half, keypoints in {"upper": TORSO, "lower": THIGH}.items():
        scores[f"{half}_color_probed"] = color_in_pixels(kept, requested, half, keypoints)
    return scores | {"examples": [row["caption"] for row in kept[:4]]}


def color_in_pixels(rows: list[dict[str, Any]], requested: np.ndarray, half: str, keypoints: tuple[int, ...]) -> float | None:
    """Share of images whose pixels between the keypoints of a garment are nearest to a requested colour of that half of the body."""
    group = SPACE.color_groups[f"{half}_color"]
    columns = {color: SPACE.names.index(name) for color, name in group.colors.items()}
    correct = total = 0
    for row, values in zip(rows, requested, strict=True):
        colors = [color for color, column in columns.items() if values[column] == 0]
        if not colors:
            continue
        pixels = decode_image(row["image"])
        x, y = np.array(row["keypoints"])[list(keypoints), :2].mean(0)
        x, y = int(np.clip(round(x), 2, pixels.shape[1] - 3)), int(np.clip(round(y), 2, pixels.shape[0] - 3))
        median = np.median(pixels[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).astype(float), 0)
        total += 1
        correct += min(COLORS, key=lambda name: float(np.abs(np.array(COLORS[name]) - median).sum())) in colors
    return share(correct, total)


def share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def tally(reasons: list[set[str]]) -> dict[str, int]:
    """Reason -> number of images that have it."""
    return {reason: sum(reason in row for row in reasons) for reason in sorted(set().union(*reasons))}


def table(part: str, scores: dict[str, Any]) -> str:
    """The scores of one part as text."""
    lines = [part]
    for name, value in scores.items():
        if name in ("attributes", "present"):
            lines += [f"    {name:9} {attribute:16} {number}" for attribute, number in value.items()]
        else:
            lines.append(f"    {name:20} {value}")
    return "\n".join(lines)


PARTS = {
    "filter": filter_part,
    "pose": pose_part,
    "captions": captions_part,
    "instructions": instructions_part,
    "scorer": scorer_part,
    "generated": generated_part,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drawn", type=int, default=400)
    parser.add_argument("--generated", type=int, default=400)
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    for part in [options.part] if options.part else PARTS:
        count = options.generated if part == "generated" else options.drawn
        if count:
            scores = PARTS[part](count)
            print(table(part, scores))
            print(json.dumps({"benchmark": f"world.{part}", "images": count, **scores}), flush=True)
            if options.record:
                record(part, {"images": count} | scores)


def record(part: str, scores: dict[str, Any]) -> None:
    """Replace the scores of one part in scores.json."""
    file = WEIGHTS / "scores.json"
    recorded = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    file.write_text(json.dumps(recorded | {part: scores}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

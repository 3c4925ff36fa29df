"""The scorecard of the embedded models, stage by stage, against pictures whose truth is known: `python -m benchmarks.world`.

    --drawn N       drawn pictures for each part of the scorecard (default 400)
    --generated N   pictures generated from prompts of the attribute grammar (default 400; 0 leaves that part out)
    --part NAME     only filter, pose, captions or generated
    --record        write the numbers beside the weights, where the tests compare with them

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

from mals import settings
from mals.attributes import load_space
from mals.grid.stage import Stage
from mals.labeller.labeller import Labeller
from mals.models import WEIGHTS
from mals.stages import crop
from mals.stages import filter as filters
from mals.stages.caption import stage as caption_stage
from mals.stages.generate import jpeg
from mals.stages.pose import visible
from mals.world.person import COLORS
from mals.world.scene import DrawnImage, draw_image

SEED = 77  # of a world that no training saw
SPACE = load_space("market1501")
FILTERED = ("blurred", "grey", "solid")  # what the filter is to refuse; the rest is left to the crop
NEAR = 0.1  # of the person's height: a keypoint so near is right
TORSO, THIGH = (5, 6, 11, 12), (11, 13)  # keypoints around the garments' middle
CONFIG = settings.check({"preset": "tiny"})


def ready(stage: Any) -> Stage:
    stage.setup()
    return stage


def answers(stage: Stage, columns: dict[str, pa.Array]) -> list[dict[str, Any]]:
    """The rows that a stage makes of whole columns, in batches of its own size, the last one padded."""
    table = pa.RecordBatch.from_pydict(columns)
    found: list[dict[str, Any]] = []
    for start in range(0, len(table), stage.batch):
        part = table.slice(start, stage.batch)
        rows = part.take(pa.array([min(at, len(part) - 1) for at in range(stage.batch)]))
        found += stage(rows).to_pylist()[: len(part)]
    return found


def images(drawn: list[DrawnImage]) -> dict[str, pa.Array]:
    return {"image": pa.array([jpeg(one.pixels) for one in drawn], pa.binary())}


def drawn(count: int, fault: str | None = None) -> list[DrawnImage]:
    return [draw_image(SEED, number, number % 7, 128, fault) for number in range(count)]


def filter_part(count: int) -> dict[str, Any]:
    """Precision and recall of each rule: what it refuses among faulty and sound pictures, and what of a fault is refused by any rule."""
    stage = ready(filters.stage(CONFIG))
    refused = {fault: [set(row["reject"] or ()) for row in answers(stage, images(drawn(count, fault)))] for fault in (None, *FILTERED)}
    sound = sum(bool(reasons) for reasons in refused[None])
    found: dict[str, Any] = {"sound_refused": share(sound, count)}
    for fault in FILTERED:
        hits = sum(bool(reasons) for reasons in refused[fault])
        found[fault] = {"recall": share(hits, count), "precision": share(hits, hits + sound), "reasons": tally(refused[fault])}
    return found


def pose_part(count: int) -> dict[str, Any]:
    """PCK on sound pictures, and what the crop stage refuses of each kind."""
    stage = ready(crop.stage(CONFIG))
    found: dict[str, Any] = {}
    for fault in (None, "no_person", "two_persons", "cut", "tiny"):
        truths = drawn(count, fault)
        rows = answers(stage, images(truths))
        refused = [set(row["reject"] or ()) for row in rows]
        found[fault or "sound"] = {"refused": share(sum(map(bool, refused)), count), "reasons": tally(refused)}
        if fault is None:
            found["pck"] = pck(truths, rows)
    return found


def pck(truths: list[DrawnImage], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Share of the true keypoints that were found within NEAR of the person's height: of all in the picture, and of the visible ones."""
    right: list[np.ndarray] = []
    for truth, row in zip(truths, rows, strict=True):
        assert truth.box is not None
        points = np.array(row["keypoints"] if row["keypoints"] else np.zeros((17, 3)))
        off = np.hypot(*(points[:, :2] - truth.keypoints[:, :2]).T) / (truth.box[3] - truth.box[1])
        right.append(np.where(truth.keypoints[:, 2] > 0, (off <= NEAR) & visible(points, CONFIG.crop.score), np.nan))
    seen = np.array([truth.keypoints[:, 2] == 2 for truth in truths])
    table = np.array(right)
    return {
        "all": round(float(np.nanmean(table)), 4),
        "visible": round(float(table[seen].mean()), 4),
        "keypoint": np.nanmean(table, 0).round(3).tolist(),
    }


def captions_part(count: int) -> dict[str, Any]:
    """Values recovered from drawn pictures: cropped by the crop stage, captioned, labelled."""
    truths = drawn(count)
    crops = [row["crop"] for row in answers(ready(crop.stage(CONFIG)), images(truths))]
    kept = [at for at, cut in enumerate(crops) if cut is not None]
    ids = pa.array([str(at) for at in kept])
    rows = answers(ready(caption_stage(CONFIG)), {"id": ids, "crop": pa.array([crops[at] for at in kept], pa.binary())})
    texts = [row["caption"] or "" for row in rows]
    values = Labeller().label(texts).values
    truth = np.array([truths[at].attributes for at in kept])
    told = {"captions": len(kept), "different": len(set(texts)), "unknown": round(float((values < 0).mean()), 4), "examples": texts[:4]}
    return told | recovered(values, truth)


def recovered(values: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Shares of equal values where the truth is known: over all, by attribute, and of colour groups that are right as a whole."""
    known = truth >= 0
    right = (values == truth) & known
    found: dict[str, Any] = {"values": share(int(right.sum()), int(known.sum()))}
    at = {name: number for number, name in enumerate(SPACE.names)}
    for name, group in SPACE.color_groups.items():
        columns = [at[member] for member in group.colors.values()]
        asked = known[:, columns].all(1)
        found[name] = share(int(right[asked][:, columns].all(1).sum()), int(asked.sum()))
    present = truth == 0
    found["attributes"] = {name: share(int(right[:, i].sum()), int(known[:, i].sum())) for i, name in enumerate(SPACE.names)}
    found["present"] = {name: share(int((right & present)[:, i].sum()), int(present[:, i].sum())) for i, name in enumerate(SPACE.names)}
    return found


def generated_part(count: int) -> dict[str, Any]:
    """What prompts of the grammar ask for against what generated pictures show: to captioner and labeller, and in their pixels."""
    from mals.grid.run import Run, run_stages
    from mals.planning.create import create

    with tempfile.TemporaryDirectory() as folder:
        began = time.time()
        starter = Path(settings.__file__).parent / "planning" / "starter" / "starter.yaml"
        create(f"{folder}/run", count=count, file=starter, sets=["seed=77"])
        run = Run.open(f"{folder}/run")
        run_stages(run, "label", quiet=True)
        grid = run.grid
        names = ["wanted", "image", "keypoints", "caption", "attributes"]
        rows = [row for shard in range(grid.shards) for row in grid.table(shard, names).to_pylist()]
        seconds = time.time() - began
    kept = [row for row in rows if not row["reject"] and row["attributes"]]
    wanted = np.array([row["wanted"] for row in kept])
    found = {"asked": count, "kept": len(kept), "refused": tally([set(row["reject"] or ()) for row in rows]), "seconds": round(seconds)}
    told = found | recovered(np.array([row["attributes"] for row in kept]), wanted)
    for half, points in {"upper": TORSO, "lower": THIGH}.items():
        told[f"{half}_color_probed"] = probed(kept, wanted, half, points)
    return told | {"examples": [row["caption"] for row in kept[:4]]}


def probed(kept: list[dict[str, Any]], wanted: np.ndarray, half: str, points: tuple[int, ...]) -> float | None:
    """Share of the asked-for colours of one half that lie nearest to the pixels between the keypoints of its garment."""
    from mals.stages.crop import decode

    group = SPACE.color_groups[f"{half}_color"]
    columns = {color: SPACE.names.index(name) for color, name in group.colors.items()}
    right = asked = 0
    for row, values in zip(kept, wanted, strict=True):
        colors = [color for color, column in columns.items() if values[column] == 0]
        if not colors:
            continue
        pixels = decode(row["image"])
        x, y = np.array(row["keypoints"])[list(points), :2].mean(0)
        x, y = int(np.clip(round(x), 2, pixels.shape[1] - 3)), int(np.clip(round(y), 2, pixels.shape[0] - 3))
        middle = np.median(pixels[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).astype(float), 0)
        asked += 1
        right += min(COLORS, key=lambda name: float(np.abs(np.array(COLORS[name]) - middle).sum())) in colors
    return share(right, asked)


def share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def tally(reasons: list[set[str]]) -> dict[str, int]:
    """How often each reason was given."""
    return {name: sum(name in one for one in reasons) for name in sorted(set().union(*reasons))}


def table(part: str, found: dict[str, Any]) -> str:
    """The numbers of one part as a person reads them."""
    lines = [part]
    for name, value in found.items():
        if name in ("attributes", "present"):
            lines += [f"    {name:9} {attribute:16} {number}" for attribute, number in value.items()]
        else:
            lines.append(f"    {name:20} {value}")
    return "\n".join(lines)


PARTS = {"filter": filter_part, "pose": pose_part, "captions": captions_part, "generated": generated_part}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drawn", type=int, default=400)
    parser.add_argument("--generated", type=int, default=400)
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args()
    for part in [given.part] if given.part else PARTS:
        count = given.generated if part == "generated" else given.drawn
        if count:
            found = PARTS[part](count)
            print(table(part, found))
            print(json.dumps({"benchmark": f"world.{part}", "pictures": count, **found}), flush=True)
            if given.record:
                file = WEIGHTS / "scores.json"
                known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
                file.write_text(json.dumps(known | {part: {"pictures": count} | found}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Poses as images: skeletons in OpenPose's colours, which ControlNets and T2I-Adapters for poses take.

Poses come from a file of keypoints or from a packed set, such as the drawn world. Each is fitted into the image that is to be generated.
"""

import json
import warnings
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from mals.errors import ModelMissing, UserError
from mals.stages.pose import KEYPOINTS

VISIBLE = 0.3  # score from which a keypoint is drawn
LEAST = 8  # visible keypoints of a pose
MOST = 100_000  # poses of a file that are used
FILL = 0.85  # share of the image's height, or width, that a pose takes
# COCO's number of each of OpenPose's eighteen keypoints; the neck lies between the shoulders
TO_OPENPOSE = (0, None, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
SHOULDERS = [5, 6]


def pose_files(place: str) -> list[Path]:
    """The file, or the Parquet files of a packed set or a run; ModelMissing where there are none."""
    path = Path(place).expanduser()
    if path.is_file():
        return [path]
    files = [file for pattern in ("data/*.parquet", "dataset/data/*.parquet", "*.parquet") for file in sorted(path.glob(pattern))]
    if not files:
        raise ModelMissing(f"generate.control.poses = {place} is neither a .jsonl or .parquet file nor a folder with a packed set")
    return files


def digest(files: list[Path]) -> str:
    """sha256 over the bytes of the files, in hex."""
    total = sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                total.update(block)
    return total.hexdigest()


def read_poses(files: list[Path]) -> NDArray[np.float32]:
    """[N, 17, 3] x, y and score of the keypoints, in the order of COCO, of at most MOST poses with LEAST visible ones each."""
    poses: list[NDArray[np.float32]] = []
    for file in files:
        for keypoints in _keypoints(file):
            pose = np.array(keypoints, np.float32)
            if pose.shape != (len(KEYPOINTS), 3):
                raise UserError(f"{file}: keypoints are {len(KEYPOINTS)} lists of x, y and score, not an array of {list(pose.shape)}")
            if (pose[:, 2] >= VISIBLE).sum() >= LEAST and len(poses) < MOST:
                poses.append(pose)
    if not poses:
        raise UserError(f"{files[0]} has no pose with {LEAST} keypoints of a score from {VISIBLE:g}; give others as generate.control.poses")
    return np.stack(poses)


def _keypoints(file: Path) -> Iterator[Any]:
    """The keypoints of each row that has them."""
    try:
        if file.suffix == ".parquet":
            with pq.ParquetFile(file) as parquet:
                if "keypoints" not in parquet.schema_arrow.names:
                    raise UserError(f"{file} has no column keypoints")
                for batch in parquet.iter_batches(columns=["keypoints"]):
                    yield from (keypoints for keypoints in batch["keypoints"].to_pylist() if keypoints is not None)
        else:
            with file.open(encoding="utf-8") as lines:
                yield from (json.loads(line)["keypoints"] for line in lines if line.strip())
    except (ValueError, KeyError, TypeError, OSError, pa.ArrowException) as error:
        raise UserError(f"{file} is no .jsonl or .parquet file with keypoints in each row: {error}") from None


def draw(pose: NDArray[np.float32], width: int, height: int) -> Image.Image:
    """The skeleton of a pose [17, 3], in the middle of an image of this size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package imports all its annotators, which warn about missing dependencies
        from controlnet_aux.open_pose.body import Keypoint
        from controlnet_aux.open_pose.util import draw_bodypose

    visible = pose[:, 2] >= VISIBLE
    low, high = pose[visible, :2].min(0), pose[visible, :2].max(0)
    size = np.array([width, height])
    factor = FILL * (size / np.maximum(high - low, 1e-6)).min()
    points = ((pose[:, :2] - (low + high) / 2) * factor / size + 0.5).tolist()
    keypoints: list[Any] = [None if at is None or not visible[at] else Keypoint(*points[at]) for at in TO_OPENPOSE]
    if visible[SHOULDERS].all():
        left, right = (points[at] for at in SHOULDERS)
        keypoints[1] = Keypoint((left[0] + right[0]) / 2, (left[1] + right[1]) / 2)
    return Image.fromarray(draw_bodypose(np.zeros((height, width, 3), np.uint8), keypoints))

"""The rows of a data set that is drawn from the world: each a JPEG with its captions, attributes, keypoints, box, identity and camera."""

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import simplejpeg

from mals.attributes import load_space
from mals.dataset.features import CAPTION_FEATURES, Column, Columns, Feature, class_label, list_of, value
from mals.dataset.xmp import with_xmp
from mals.origin import DRAWN, SOURCE_TYPES
from mals.world.captions import write_caption
from mals.world.scene import draw_image
from mals.world.settings import WorldSettings

SPACE = "market1501"  # attribute space of the column `attributes`
QUALITY = 95  # of the JPEGs, with 4:4:4 chroma
CAPTIONS = 2  # captions of an image


def columns() -> Columns:
    """The columns of a row: those of a packed data set that apply to drawn images, and identity, camera, place and gait."""
    space = load_space(SPACE)
    features: dict[str, Feature] = {
        "id": value("string"),
        "image": {"_type": "Image"},
        "caption": value("string"),
        "captions": list_of(CAPTION_FEATURES),
        "attributes": {name: class_label(names) for name, names in space.classes.items()},
        "width": value("int32"),
        "height": value("int32"),
        "person_box": list_of(value("float32"), 4),
        "keypoints": list_of(list_of(value("float32"), 3), 17),
        "person": value("int64"),
        "camera": value("int32"),
        "place": value("string"),
        "walking": value("bool"),
        "image_sha256": value("string"),
        "synthetic": value("bool"),
    }
    return Columns(tuple(Column(name, name, feature) for name, feature in features.items()))


def draw_row(settings: WorldSettings, row: int) -> dict[str, Any]:
    """Column -> value of row number `row`."""
    number, view, hiding = settings.shown(row)
    drawn = draw_image(settings.seed, number, view, settings.height, hiding=hiding)
    assert drawn.person is not None and drawn.attributes is not None and drawn.box is not None
    seeds = [(settings.seed, 0x7E11, number, view, caption) for caption in range(CAPTIONS)]
    captions = [write_caption(drawn.person, np.random.default_rng(seed), place=drawn.place, walking=drawn.walking).text for seed in seeds]
    jpeg = with_xmp(simplejpeg.encode_jpeg(np.ascontiguousarray(drawn.pixels), QUALITY, "RGB", "444"), SOURCE_TYPES[DRAWN])
    name = f"p{number:05d}-v{view:03d}" + (f"-{hiding}" if hiding else "")
    return {
        "id": name,
        "image": {"bytes": jpeg, "path": f"{name}.jpg"},
        "caption": captions[0],
        "captions": [{"text": caption, "source": "world", "raw": caption} for caption in captions],
        "attributes": dict(zip(load_space(SPACE).names, drawn.attributes, strict=True)),
        "width": drawn.pixels.shape[1],
        "height": drawn.pixels.shape[0],
        "person_box": list(drawn.box),
        "keypoints": drawn.keypoints.tolist(),
        "person": number,
        "camera": drawn.camera,
        "place": drawn.place,
        "walking": drawn.walking,
        "image_sha256": hashlib.sha256(jpeg).hexdigest(),
        "synthetic": True,
    }


def draw_rows(settings: WorldSettings, first: int, end: int) -> pa.Table:
    """Rows [first, end)."""
    return pa.Table.from_pylist([draw_row(settings, row) for row in range(first, end)], schema=columns().schema)


def count_rows(counts: dict[str, Any], table: pa.Table) -> None:
    """Add to `counts` what the data card says of these rows: words of the captions, walking persons, first values of attributes."""
    counts["words"] += sum(len(caption["text"].split()) for captions in table["captions"].to_pylist() for caption in captions)
    counts["walking"] += sum(table["walking"].to_pylist())
    for attributes in table["attributes"].to_pylist():
        for name, label_index in attributes.items():
            counts["first"][name] += label_index == 0


def empty_counts() -> dict[str, Any]:
    """The counts of no rows, see `count_rows`."""
    return {"words": 0, "walking": 0, "first": dict.fromkeys(load_space(SPACE).names, 0)}

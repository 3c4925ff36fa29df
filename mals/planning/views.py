"""Several images a person: from the caption, or the requested attributes, of each person to one row for each of its images.

The images of a person differ in circumstances only, which are put into words: the view, the pose, the light, the place, the camera.
"""

from collections.abc import Iterator
from random import Random
from zlib import crc32

import numpy as np
import pyarrow as pa

from mals.attributes import load_space
from mals.config import Plan
from mals.grid.stage import row_seed
from mals.planning.balance import BLOCK, REQUESTED_TYPE, draw, refuse_contradictions
from mals.planning.phrases import CAMERAS, CHOICES, LIGHTS, POSES, SCENES, VIEWS, Phrases, with_circumstances

CIRCUMSTANCES = {  # name in plan.vary -> field of a template, and its words; in the order in which they follow a caption
    "pose": ("action", POSES),
    "place": ("scene", SCENES),
    "view": ("view", VIEWS),
    "light": ("light", LIGHTS),
    "camera": ("camera", CAMERAS),
}
FIRST_VIEW = pa.field(  # in the plan: the first image of the person, null in its own row
    "first_view", pa.struct([("id", pa.string()), ("prompt", pa.string()), ("negative_prompt", pa.string()), ("seed", pa.int64())])
)


def circumstances(plan: Plan, person: str, seed: int) -> list[dict[str, str]]:
    """Field -> words, for each image of a person; a function of the three. No words come twice before all of their field have come once."""
    random = Random(row_seed(seed, person, "views"))
    columns = {}
    for name, (field, options) in CIRCUMSTANCES.items():
        shuffled = random.sample(options, len(options))  # drawn where it is not used too, so that `vary` changes no other field
        if name in plan.vary:
            columns[field] = shuffled
    return [{field: options[view % len(options)] for field, options in columns.items()} for view in range(plan.views)]


def captioned_views(block: pa.Table, plan: Plan, first_person: int, seed: int) -> pa.Table:
    """The rows of each caption of a captions file, of which the first is person number `first_person`, with the column `view`."""
    persons, views = len(block), plan.views
    varied = [fields for number in range(persons) for fields in circumstances(plan, f"caption {first_person + number}", seed)]
    table = block.take(pa.array(np.repeat(np.arange(persons), views)))
    captions = [with_circumstances(text, list(fields.values())) for text, fields in zip(table["caption"].to_pylist(), varied, strict=True)]
    table = table.set_column(table.column_names.index("caption"), "caption", pa.array(captions, pa.string()))
    cameras = [own or camera for own, camera in zip(table["camera"].to_pylist(), _cameras(varied), strict=True)]
    table = table.set_column(table.column_names.index("camera"), "camera", pa.array(cameras, pa.string()))
    return table.append_column("view", _view_numbers(persons, views))


def phrased_views(plan: Plan, count: int, seed: int) -> Iterator[pa.Table]:
    """Rows of `caption`, `wanted`, `camera` and `view` for the persons of `count` images, in blocks; see balance.caption_blocks."""
    assert plan.attributes is not None
    space, views = load_space(plan.attributes.space), plan.views
    phrases = Phrases(space, plan.attributes.templates)
    persons = -(-count // views)
    drawn, factors = draw(plan.attributes, space, persons, seed)
    phrases.check(factors)
    requested = np.repeat(drawn, views, axis=0)
    if plan.change_clothes:
        worn = [number for number in range(len(space.names)) if number not in space.body_attributes]
        requested[:, worn] = draw(plan.attributes, space, persons * views, seed)[0][:, worn]
        refuse_contradictions(space, requested)
    for start in range(0, persons, max(1, BLOCK // views)):
        people = range(start, min(persons, start + max(1, BLOCK // views)))
        rows = requested[people.start * views : people.stop * views]
        varied = [fields for person in people for fields in circumstances(plan, f"attributes {person}", seed)]
        words = np.random.default_rng((seed, crc32(b"words"), start)).integers(0, 1 << 31, (len(people), CHOICES)).repeat(views, axis=0)
        clothes = np.random.default_rng((seed, crc32(b"clothes"), start)).integers(0, 1 << 31, (len(rows), CHOICES))
        captions = phrases.captions(rows, words, clothes if plan.change_clothes else None, varied)
        ends = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
        lists = pa.ListArray.from_arrays(pa.array(ends), pa.array(rows.ravel()))
        columns = {"caption": pa.array(captions, pa.string()), "wanted": lists.cast(REQUESTED_TYPE)}
        yield pa.table(columns | {"camera": pa.array(_cameras(varied), pa.string()), "view": _view_numbers(len(people), views)})


def _view_numbers(persons: int, views: int) -> pa.Array:
    """The number of each row among the images of its person, from 0."""
    return pa.array(np.tile(np.arange(views, dtype=np.int32), persons))


def _cameras(varied: list[dict[str, str]]) -> list[str | None]:
    """The id of the camera of each row, c1, c2, ...; None where cameras are not varied."""
    return [f"c{CAMERAS.index(fields['camera']) + 1}" if "camera" in fields else None for fields in varied]

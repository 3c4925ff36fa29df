"""From rows of a run to rows of a packed data set, one shard at a time, with the images as they are published."""

import hashlib
import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mals.dataset.features import GENERATOR_FEATURES, ORIGIN, PIXEL_COLUMNS, SOURCE_CAPTION, Column, Columns, Feature, arrow_type
from mals.dataset.verdicts import Verdicts
from mals.dataset.xmp import with_xmp
from mals.grid.cells import Damaged, Grid, Survey
from mals.jpeg_metadata import without_metadata
from mals.origin import ORIGINAL, SOURCE_TYPES, is_synthetic, stated_origin

# the folders of an absolute path: "/home/me/x.png" becomes "x.png", "C:\data\x.png" too; URLs and relative paths stay
ABSOLUTE_FOLDERS = re.compile(r"(?<![\w:/.])(?:/|[A-Za-z]:\\)(?:[^\s'\"/\\:]+[/\\])+(?=[^\s'\"/\\:])")


class PackedRows:
    """Reads rows of a run with the columns of a packed data set; `survey`, where it is known, saves requests."""

    def __init__(self, grid: Grid, columns: Columns, verdicts: Verdicts | None = None, survey: Survey | None = None):
        self.grid, self.columns, self.verdicts, self.survey = grid, columns, verdicts or Verdicts({}), survey
        added = {field.name for stage in grid.stages.values() for field in stage.adds}
        sources = {column.source for column in columns.columns}
        if "captions" in columns and "prompt" in columns:
            sources.add("prompt")
        if "generator" in columns:
            sources |= set(GENERATOR_FEATURES) & added
        if "image" not in columns:
            sources -= set(PIXEL_COLUMNS)
        self.sources = sorted(sources - {"id", SOURCE_CAPTION})
        self.schema = columns.schema

    def read(self, shard: int, positions: pa.Array) -> pa.Table:
        """The rows at `positions` [N] of one shard."""
        cells = self.survey.sources(None, shard) if self.survey else {}
        table = self.verdicts.apply(self.grid.table(shard, self.sources, sources=cells))
        if SOURCE_CAPTION in self.columns:
            table = table.append_column(SOURCE_CAPTION, self.grid.plan_rows(shard, ["id", "caption"])["caption"])
        table = table.take(positions).combine_chunks()
        images = list(map(published, table["crop"].to_pylist(), _values(table, ORIGIN))) if "image" in self.columns else []
        arrays = [self._array(column, table, images) for column in self.columns.columns]
        return pa.Table.from_arrays(arrays, schema=self.schema)

    def _array(self, column: Column, table: pa.Table, images: list[bytes]) -> pa.Array:
        name, feature = column.name, column.feature
        convert = CONVERTERS.get(name)
        if convert is not None:
            return convert(table, feature)
        if name == "image":
            paths = [f"{row}.jpg" for row in table["id"].to_pylist()]
            return _struct({"bytes": pa.array(images, pa.binary()), "path": pa.array(paths, pa.string())})
        if name == "image_sha256":
            return pa.array([hashlib.sha256(image).hexdigest() for image in images], pa.string())
        return _cast(table[column.source], arrow_type(feature))


def _classes(table: pa.Table, name: str, feature: Feature) -> pa.Array:
    """A list of values in {-1, 0, 1} as one class for each attribute; null if the value is -1 or the list is null."""
    lists = _column(table, name)
    fields = {}
    for number, attribute in enumerate(feature):
        values = pc.cast(pc.list_element(lists, number), pa.int64())
        fields[attribute] = pc.if_else(pc.less(values, 0), pa.scalar(None, pa.int64()), values)
    return _struct(fields)


def _attribute_source(table: pa.Table, feature: Feature) -> pa.Array:
    lists = _column(table, "attribute_source")
    return _struct({attribute: pc.cast(pc.list_element(lists, number), pa.string()) for number, attribute in enumerate(feature)})


def published(crop: bytes, origin: str | None) -> bytes:
    """The crop as it is published: the same compressed pixels, without metadata but for the mark of what made it.

    The mark is that of `origin`, or where this is None the one that the file has. Raises Damaged if the crop is not a whole JPEG.
    """
    try:
        bare = without_metadata(crop)
    except ValueError as error:
        raise Damaged(f"a crop is not a whole JPEG ({error})") from None
    origin = stated_origin(crop) if origin is None else origin
    return with_xmp(bare, SOURCE_TYPES[origin]) if origin in SOURCE_TYPES else bare


def _values(table: pa.Table, name: str) -> list[Any]:
    """The values of a column that not every run has; None in each row where it is missing."""
    return table[name].to_pylist() if name in table.column_names else [None] * len(table)


def _captions(table: pa.Table, feature: Feature) -> pa.Array:
    """The good captions of every captioner; last the prompt of an image that was made from one, or the caption that an image came with."""
    rows = []
    last = zip(_values(table, ORIGIN), _values(table, "prompt"), _values(table, SOURCE_CAPTION), strict=True)
    for captions, (origin, prompt, own) in zip(table["captions"].to_pylist(), last, strict=True):
        row = [
            {
                "text": caption["text"],
                "source": caption.get("model"),
                "revision": caption.get("revision"),
                "instruction": caption.get("prompt"),
                "kind": caption.get("instruction"),
                "template": caption.get("template"),
                "tries": caption.get("tries"),
                "refused": caption.get("refused"),
                "raw": caption.get("raw"),
                "repetition": caption.get("repetition"),
            }
            for caption in captions or ()
            if caption["text"]
        ]
        if prompt is not None and origin != ORIGINAL:
            row.append({"text": prompt, "source": "prompt", "raw": prompt})
        elif own is not None:
            row.append({"text": own, "source": "collection", "raw": own})
        rows.append(row)
    return pa.array(rows, arrow_type(feature))


def _generator(table: pa.Table, feature: Feature) -> pa.Array:
    return _struct({name: _cast(table[name], arrow_type(inner)) for name, inner in feature.items()})


def _first_reason(table: pa.Table, feature: Feature) -> pa.Array:
    return pa.array([reasons[0] if reasons else None for reasons in table["reject"].to_pylist()], pa.string())


def _error(table: pa.Table, feature: Feature) -> pa.Array:
    return pa.array([None if text is None else without_folders(text) for text in table["error"].to_pylist()], pa.string())


def _init_image(table: pa.Table, feature: Feature) -> pa.Array:
    return pa.array([None if path is None else file_name(path) for path in table["init_image"].to_pylist()], pa.string())


def _first_view(table: pa.Table, feature: Feature) -> pa.Array:
    return pa.array([None if first is None else first["id"] for first in table["first_view"].to_pylist()], pa.string())


def without_folders(text: str) -> str:
    """A message with its absolute paths cut to the file name: the folders of a machine are private."""
    return ABSOLUTE_FOLDERS.sub("", text)


def file_name(path: str) -> str:
    """The last part of an absolute path or URL; a relative path as it is."""
    return re.split(r"[/\\]", path)[-1] if re.match(r"/|[A-Za-z]:\\|\w+://", path) else path


CONVERTERS: dict[str, Callable[[pa.Table, Feature], pa.Array]] = {
    "attributes": lambda table, feature: _classes(table, "attributes", feature),
    "wanted": lambda table, feature: _classes(table, "wanted", feature),
    "attribute_source": _attribute_source,
    "captions": _captions,
    "generator": _generator,
    "init_image": _init_image,
    "first_view": _first_view,
    "origin": lambda table, feature: pa.array(_values(table, ORIGIN), pa.string()),
    "synthetic": lambda table, feature: pa.array(list(map(is_synthetic, _values(table, ORIGIN))), pa.bool_()),
    "reject_reason": _first_reason,
    "reject_all": lambda table, feature: _cast(table["reject"], arrow_type(feature)),
    "reject_stage": lambda table, feature: _cast(table["refused_by"], pa.string()),
    "error": _error,
    "error_stage": lambda table, feature: _cast(table["failed_in"], pa.string()),
}


def _column(table: pa.Table, name: str) -> pa.Array:
    return table[name].combine_chunks()


def _cast(column: pa.ChunkedArray, dtype: pa.DataType) -> pa.Array:
    array = column.combine_chunks()
    if array.type == dtype:
        return array
    if pa.types.is_list(dtype) or pa.types.is_fixed_size_list(dtype):  # pyarrow does not cast between all kinds of nested lists
        return pa.array(array.to_pylist(), dtype)
    return array.cast(dtype)


def _struct(fields: dict[str, Any]) -> pa.Array:
    return pa.StructArray.from_arrays(list(fields.values()), names=list(fields))

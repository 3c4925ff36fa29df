"""What `mals plan --ingest` names: a folder of images, a pattern, tars, Parquet files, a packed set; here or behind a URL."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
from braceexpand import braceexpand

from mals.errors import UserError
from mals.grid.stage import error_message
from mals.planning.image_files import SETTINGS, Folder, add_beside, is_image, is_image_file, walk, walk_pattern, walk_url
from mals.planning.image_source import file_address, is_url, open_file, require_package
from mals.planning.image_tables import find_images

Kind = Literal["images", "tars", "tables"]
SHARDS: dict[str, Kind] = {".tar": "tars", ".parquet": "tables"}  # suffix -> the kind of a collection of such files
PACKED = "data"  # the folder with the Parquet files of a packed set, and of most sets of the hub
FOLDERS: tuple[tuple[Kind, str], ...] = (("tables", f"{PACKED}/*.parquet"), ("tars", "*.tar"), ("tables", "*.parquet"))
Glob = Callable[[str], Iterable[str]]  # a relative pattern -> the files that it matches, absolute
COMPRESSED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".zip", ".rar", ".7z")


@dataclass(frozen=True)
class Collection:
    """Images that a plan is made of. `files` are tars or tables, absolute paths or URLs, and what each is called in the collection."""

    root: str  # the folder, absolute, or a URL
    kind: Kind
    files: tuple[tuple[str, str], ...] = ()
    patterns: tuple[str, ...] = ()  # relative to root; none: all

    def folders(self, left_out: Counter[str]) -> Iterator[Folder]:
        """The folders of a collection of the kind "images"."""
        if is_url(self.root):
            yield from walk_url(self.root, self.patterns, left_out)
        elif not self.patterns:
            yield from walk(self.root, left_out)
        elif len(self.patterns) == 1 and Path(self.root, self.patterns[0]).is_file():
            folder = Folder("", self.root, [self.patterns[0]])
            add_beside(folder)
            yield folder
        else:
            for pattern in self.patterns:
                yield from walk_pattern(self.root, pattern, left_out)


def open_collection(source: str, image_column: str | None = None) -> Collection:
    """The collection that a path, a pattern or a URL names; UserError where there is nothing of the kind."""
    with readable(source):
        return _remote(source, image_column) if is_url(source) else _local(source, image_column)


@contextmanager
def readable(source: str) -> Iterator[None]:
    """Raise UserError where a file system cannot read `source`; those behind URLs have errors of their own."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{source} cannot be read: {error.strerror or error}") from None
    except Exception as error:
        if not is_url(source):
            raise
        raise UserError(f"{source} cannot be read: {error_message(error)}") from None


def _local(source: str, image_column: str | None) -> Collection:
    path = Path(source).expanduser()
    if path.is_dir():
        root = path.resolve()
        if (root / SETTINGS).is_file():  # of a run, its packed set
            if not (root / "dataset" / PACKED).is_dir():
                raise UserError(f"{source} is a run that is not packed; `mals run {source}` makes its data set")
            root = root / "dataset"
        return _folder(str(root), image_column, lambda pattern: [str(file) for file in root.glob(pattern) if file.name[0] != "."])
    if path.is_file():
        return _file(str(path.parent.resolve()), path.name)
    if not (has_magic(source) or "{" in source):
        raise UserError(f"there is no folder or file {source} for --ingest")
    root_, rest = split_pattern(str(path))
    patterns = _expanded(rest)
    return _of_pattern(source, root_, patterns, lambda pattern: [str(file) for file in Path(root_).glob(pattern)])


def _remote(source: str, image_column: str | None) -> Collection:
    import fsspec

    require_package(source)
    try:
        fs, path = fsspec.url_to_fs(source)
    except ValueError as error:
        raise UserError(f"{source} cannot be opened: {str(error).strip().splitlines()[0]}") from None
    if has_magic(path) or "{" in path:
        root, rest = split_pattern(source)
        patterns = _expanded(rest)
        folder = fsspec.url_to_fs(root)[1]
        return _of_pattern(source, root, patterns, lambda pattern: map(fs.unstrip_protocol, fs.glob(f"{folder}/{pattern}")))
    if fs.isfile(path):
        root, _, name = source.rpartition("/")
        return _file(root, name)
    if not fs.isdir(path):
        raise UserError(f"there is no folder or file {source} for --ingest")
    root = source.rstrip("/")
    return _folder(root, image_column, lambda pattern: map(fs.unstrip_protocol, fs.glob(f"{path.rstrip('/')}/{pattern}")))


def _folder(root: str, image_column: str | None, glob: Glob) -> Collection:
    """A folder: of a packed set, of tars, of Parquet files with images, or else of images; UserError where it may be two of these."""
    images = Collection(root, "images")
    for kind, pattern in FOLDERS:
        if not (files := sorted(glob(pattern))):
            continue
        if kind == "tables":
            column = find_images(_schema(files[0]), image_column)
            if column is None or (column.paths and image_column is None):
                continue
        if "/" not in pattern and any(folder.images for folder in images.folders(Counter())):
            suffix = pattern.removeprefix("*")
            raise UserError(
                f"{root} holds images and {suffix} files; give '{root}/{pattern}' for the one, or '{root}/**/*.jpg' for the other"
            )
        return Collection(root, kind, _named(root, files))
    return images


def _file(root: str, name: str) -> Collection:
    suffix = "." + name.rpartition(".")[2].lower()
    if suffix in SHARDS:
        return Collection(root, SHARDS[suffix], ((f"{root}/{name}", name),))
    if suffix in COMPRESSED:
        raise UserError(f"{root}/{name} is compressed, so that single images cannot be read; unpack it and give the folder, or the .tar")
    if not (is_image(name) if is_url(root) else is_image_file(f"{root}/{name}")):
        raise UserError(f"{root}/{name} is no image, .tar or .parquet; give a folder, a pattern such as 'photos/*.jpg', or one of these")
    return Collection(root, "images", patterns=(name,))


def _of_pattern(source: str, root: str, patterns: list[str], glob: Glob) -> Collection:
    """A pattern of tars, of Parquet files, or of images; each part of one with braces must match a file."""
    kinds = {SHARDS.get("." + pattern.rpartition(".")[2], "images") for pattern in patterns}
    if len(kinds) > 1:
        raise UserError(f"{source} names files of several kinds; give images, tars or Parquet files")
    kind = kinds.pop()
    if kind == "images":
        return Collection(root, kind, patterns=tuple(patterns))
    files = {pattern: sorted(glob(pattern)) for pattern in patterns}
    if missing := [pattern for pattern in patterns if not files[pattern]]:
        raise UserError(f"no file matches {root}/{missing[0]}")
    return Collection(root, kind, _named(root, [file for matches in files.values() for file in matches]), tuple(patterns))


def _expanded(pattern: str) -> list[str]:
    """The patterns that one with braces such as "{00000..00009}.tar" stands for."""
    try:
        return list(dict.fromkeys(braceexpand(pattern)))
    except ValueError:  # braces without a partner
        return [pattern]


def split_pattern(pattern: str) -> tuple[str, str]:
    """A pattern as the folder up to its first part with a wildcard or a brace, absolute or a URL, and the rest."""
    parts = pattern.split("/")
    plain = next(number for number, part in enumerate(parts) if has_magic(part) or "{" in part)
    root = "/".join(parts[:plain])
    return root if is_url(pattern) else str(Path(root or ("/" if pattern.startswith("/") else ".")).resolve()), "/".join(parts[plain:])


def _named(root: str, files: list[str]) -> tuple[tuple[str, str], ...]:
    """Files with their names from `root`."""
    return tuple((file, file.removeprefix(root).lstrip("/")) for file in files)


def _schema(path: str) -> pa.Schema:
    try:
        with open_file(file_address(path)) as file:
            return pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a readable Parquet file: {str(error).splitlines()[0]}") from None

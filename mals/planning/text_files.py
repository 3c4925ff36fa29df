"""Text files as people have them: compressed or not, in UTF-8, in UTF-16 or UTF-32 with their mark, or in an encoding that is named.

The encoding of a file is that of its byte order mark, where it has one; else the one that is named; else UTF-8. It is never guessed: most
bytes are texts in several encodings, and a wrong guess changes captions silently.
"""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from mals.errors import UserError

COMPRESSIONS = {".gz": b"\x1f\x8b", ".bz2": b"BZh", ".xz": b"\xfd7zXZ\0", ".zst": b"\x28\xb5\x2f\xfd"}  # suffix -> first bytes
MARKS = {  # of the longest first: the mark of UTF-16 is the beginning of that of UTF-32
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
SAMPLE = 1 << 16  # bytes or characters at the start of a file from which its kind is recognized
FOREIGN = {  # first bytes of files that are often given the name of a text -> what they are, and the way on
    b"PK\x03\x04": "a spreadsheet or a zip archive; save the table as CSV UTF-8, or unpack the archive",
    b"\xd0\xcf\x11\xe0": "an Excel file; save the table as CSV UTF-8",
    b"PAR1": "a Parquet file; name it .parquet",
    b"ARROW1": "an Arrow file; save it as Parquet",
}


def text_suffix(file: Path) -> str:
    """The suffix of a file's name in small letters, without that of a compression: ".csv" of "captions.CSV.gz"."""
    name = Path(file.name.lower())
    return Path(name.stem).suffix if name.suffix in COMPRESSIONS else name.suffix


@contextmanager
def open_text(
    file: Path, encoding: str | None = None, errors: str = "strict", newline: str | None = None, binary: bool = False
) -> Iterator[IO[str]]:
    """The text of `file`, as `open` gives it, decompressed.

    Raises UserError, also while the text is read: for a binary file (but with `binary`), for a damaged compression, and with the line's
    number for bytes that are no text in the file's encoding (where `errors` is "strict").
    """
    name = encoding_of(file, encoding, binary)
    with _reading(file), _open_bytes(file) as stream, io.TextIOWrapper(stream, name, errors, newline) as text:
        try:
            yield text
        except UnicodeError as error:
            raise UserError(f"{file}{_place(file, name)} is not {_label(name)} text ({_reason(error)}){_encoding_hint(name)}") from None


def encoding_of(file: Path, encoding: str | None = None, binary: bool = False) -> str:
    """Python's name of the encoding of `file`, where `encoding` is the one that is named; UserError for a binary file, unless `binary`."""
    start = first_bytes(file)
    marked = next((name for mark, name in MARKS.items() if start.startswith(mark)), None)
    if marked is not None:
        return marked
    for magic, what in FOREIGN.items():
        if start.startswith(magic):
            raise UserError(f"{file} is {what}")
    if encoding not in (None, "utf-8"):
        try:
            return io.TextIOWrapper(io.BytesIO(), encoding).encoding
        except (LookupError, ValueError):
            raise UserError(f"there is no encoding of texts with the name {encoding!r}; cp1252, cp949, utf-16-le are some") from None
    if b"\0" in start and not binary:
        order = _unmarked_utf16(start)
        hint = f", or UTF-16 without its mark: then give --encoding {order}, or save it as UTF-8" if order else ""
        raise UserError(f"{file} is a binary file, not text{hint}")
    return "utf-8"


def first_bytes(file: Path) -> bytes:
    """The beginning of a file, decompressed: up to SAMPLE bytes; UserError where it cannot be read."""
    with _reading(file), _open_bytes(file) as stream:
        return stream.read(SAMPLE)


def _unmarked_utf16(start: bytes) -> str | None:
    """The encoding of bytes of which every second one is mostly zero, as in UTF-16 of European texts; None for others."""
    pairs = len(start) // 2
    for name, zeros in (("utf-16-le", start[1::2]), ("utf-16-be", start[0 : 2 * pairs : 2])):
        if pairs and zeros.count(0) > 0.8 * pairs:
            return name
    return None


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Errors of the system and of a compression as UserError."""
    try:
        yield
    except (gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError):
        raise UserError(f"{file} cannot be decompressed: it is damaged, or was copied or downloaded in part") from None
    except OSError as error:
        if error.errno is None:  # of bz2, and of Arrow's zstd
            raise UserError(f"{file} cannot be decompressed: it is damaged, or was copied or downloaded in part") from None
        raise UserError(f"{file} cannot be read: {error.strerror}") from None


def _open_bytes(file: Path) -> IO[bytes]:
    """The bytes of a file, decompressed where its first bytes are those of a compression, whatever its name."""
    with file.open("rb") as stream:
        start = stream.read(8)
    suffix = next((suffix for suffix, magic in COMPRESSIONS.items() if start.startswith(magic)), None)
    if suffix == ".zst":
        return io.BufferedReader(_Raw(pa.CompressedInputStream(pa.OSFile(str(file)), "zstd")))
    openers: dict[str | None, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    return openers.get(suffix, open)(file, "rb")


class _Raw(io.RawIOBase):
    """A stream of Arrow as one of Python, which io.TextIOWrapper reads."""

    def __init__(self, stream: pa.NativeFile) -> None:
        self.stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _place(file: Path, encoding: str) -> str:
    """ ", line 3" for the first line that is no text; empty where lines are not known without decoding."""
    if encoding.startswith(("utf-16", "utf-32")):
        return ""
    with _reading(file), _open_bytes(file) as stream:
        for number, line in enumerate(stream, 1):  # a decoder's own place counts from the start of its buffer
            try:
                line.decode(encoding)
            except UnicodeError:
                return f", line {number}"
    return ""


def _reason(error: UnicodeError) -> str:
    return error.reason if isinstance(error, UnicodeDecodeError) else str(error).splitlines()[0]


def _label(encoding: str) -> str:
    return encoding.removesuffix("-sig").upper()


def _encoding_hint(encoding: str) -> str:
    if encoding != "utf-8":
        return ""
    return "; save it as UTF-8, or name its encoding, as in --encoding cp1252 (Western Europe) or cp949 (Korea)"

"""Search by trained methods: what a page asks a method, and what it answers. `mals look --method` brings the methods, see `cli.look`."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP
from hashlib import sha256
from threading import Lock
from typing import Protocol

from mals.errors import UserError
from mals.look.source import Source

LARGEST = 24 << 20  # bytes of an image that is searched for
UPLOADS = 16  # images that were searched for last, which are kept in memory
COUNTS = (12, 24, 60, 120)  # hits that a page can show
SENTENCES = 12  # of one page


@dataclass(frozen=True)
class SearchQuery:
    """What is searched for: sentences with attributes or without, attributes alone, or an image alone."""

    sentences: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()  # "hat=yes"
    image: bytes | None = None

    @property
    def empty(self) -> bool:
        return not self.sentences and not self.attributes and self.image is None


@dataclass(frozen=True)
class SearchHit:
    """An image that fits, with the words of the sentence."""

    row: int
    score: float
    words: tuple[float, ...] = ()  # of each word of the sentence: how much lower the score is without it


@dataclass(frozen=True)
class SearchResult:
    """The images that fit one query best, the best first."""

    title: str  # the sentence, the attributes, or "the image"
    hits: tuple[SearchHit, ...]
    words: tuple[str, ...] = ()  # of the sentence; empty where words cannot be left out of it
    note: str = ""  # how many hits have the attributes, where that is known

    def mean(self, place: int) -> float:
        """How much lower the scores of the hits are without the word at `place`, on average."""
        return sum(hit.words[place] for hit in self.hits) / max(1, len(self.hits))


@dataclass(frozen=True)
class SearchState:
    """How far the images are embedded."""

    done: int
    total: int
    problem: str = ""  # why they cannot be

    @property
    def ready(self) -> bool:
        return not self.problem and self.done >= self.total


class SearchMethod(Protocol):
    """A trained method that searches the images of a source."""

    name: str
    attributes: Mapping[str, Sequence[str]]  # that it can search for: attribute -> its values

    def state(self) -> SearchState: ...

    def search(self, query: SearchQuery, count: int) -> list[SearchResult]:
        """The best `count` images for each sentence, or for the attributes or the image; UserError for what it cannot search for."""
        ...


OpenMethods = Callable[[Source], Sequence[SearchMethod]]


class Uploads:
    """The images that were searched for last, by a hash of them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._lock = Lock()

    def add(self, data: bytes) -> str:
        """Keep an image; its name."""
        name = sha256(data).hexdigest()[:32]
        with self._lock:
            self._kept[name] = data
            self._kept.move_to_end(name)
            while len(self._kept) > UPLOADS:
                self._kept.popitem(last=False)
        return name

    def get(self, name: str) -> bytes:
        """An image; UserError where it is not kept any more."""
        with self._lock:
            if name not in self._kept:
                raise UserError("the image that was searched for is not kept any more; choose it again")
            return self._kept[name]


def uploaded_file(content_type: str, body: bytes) -> bytes:
    """The file in a form of the type multipart/form-data; UserError where there is none."""
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + content_type.encode("latin-1", "replace") + b"\r\n\r\n" + body)
    parts = list(message.iter_parts()) if message.is_multipart() else []
    data = next((part.get_payload(decode=True) for part in parts if part.get_filename()), b"")
    if not isinstance(data, bytes) or not data:
        raise UserError("no image was chosen")
    return data

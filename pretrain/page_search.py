"""Search for the pages of `mals look --method`: a trained method over the rows of a run, a packed set or a folder of images.

The kept rows of the source are a data set like any other (`SourceRows`), so that scores are those of `mals search`, and embeddings of
images are kept beside the source, see `pretrain.embeddings`. They are made in a thread when the pages are opened, and again when rows were
added.

Shapes: G images, D width of the embeddings, A attributes.
"""

import hashlib
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from mals.attributes import load_space
from mals.errors import UserError
from mals.look.search import SearchHit, SearchQuery, SearchState
from mals.look.search import SearchResult as PageResult
from mals.look.source import KEPT, STATE, Source
from pretrain.attribute_scores import space_of
from pretrain.attribute_search import requested_attributes, scores_attributes
from pretrain.data.columns import Columns
from pretrain.data.errors import first_line
from pretrain.data.rows import ImageTextPairs
from pretrain.data.strings import STRING, Strings
from pretrain.embeddings import image_embeddings
from pretrain.gallery import SPACES, Gallery
from pretrain.search import SearchResult, require, search_attributes, search_by_image, search_sentences, word_evidence
from pretrain.text_scores import default_rerank
from pretrain.trained_method import Trained

log = logging.getLogger(__name__)

CANDIDATES = 128  # images of a sentence that the cross encoder re-ranks, as `mals search` does
PROMPTED = 2000  # images from which on attributes are searched for by their prompts: their probability reads every image again


class SourceRows:
    """The images of some rows of a source of pages, as `pretrain.data.columns.Source` says."""

    notes: Sequence[str] = ()
    name = ""

    def __init__(self, source: Source, rows: np.ndarray) -> None:
        self.source, self.rows = source, rows
        self.ids = source.load(["id"])["id"].take(pa.array(rows))

    @property
    def home(self) -> Path:
        """The folder of the source; for one on an object store a folder of the user's cache."""
        if "://" not in self.source.title:
            return Path(self.source.title)
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mals" / "look"
        return cache / hashlib.blake2b(self.source.title.encode(), digest_size=8).hexdigest()

    def image_bytes(self, at: int) -> bytes:
        data = self.source.image(int(self.rows[at]))
        if data is None:
            raise ValueError("there is none")
        return data

    def other_captions(self, at: int) -> list[str]:
        return []

    def location(self, at: int) -> str:
        return f"{self.source.title}, row {self.rows[at]}"

    def image_id(self, at: int) -> str:
        return str(self.ids[at])

    def stamp(self, at: int) -> str:
        return self.source.stamp(int(self.rows[at]))


def open_rows_of(source: Source, trained: Trained) -> tuple[SourceRows, ImageTextPairs, str | None]:
    """The kept rows of a source as a data set, and the attribute space of its labels, None without labels; UserError where none is kept."""
    states = source.load([STATE])[STATE].to_numpy()
    rows = np.flatnonzero(states == KEPT)
    if not len(rows):
        raise UserError(f"no row of {source.title} is kept yet, so there is nothing to search")
    captions = source.load(["caption"])["caption"] if "caption" in source.columns else pa.chunked_array([pa.nulls(len(states), STRING)])
    texts = captions.take(pa.array(rows)).cast(STRING).fill_null("")
    spaces = [space for space in dict.fromkeys([trained.method.needs.space, *SPACES]) if space]
    space = next((name for name in spaces if _same_values(load_space(name).classes, source.attributes)), None)
    labels = None
    if space is not None and "attributes" in source.columns:
        lists = source.load(["attributes"])["attributes"].take(pa.array(rows)).to_pylist()
        width = len(source.attributes)
        labels = torch.from_numpy(np.array([line or [-1] * width for line in lists], np.int8).reshape(len(rows), width))
    numbers = torch.arange(len(rows))
    images = SourceRows(source, rows)
    return images, ImageTextPairs([(images, Columns(Strings(texts), numbers, labels, numbers))]), space if labels is not None else None


def _same_values(one: Mapping[str, Sequence[str]], other: Mapping[str, Sequence[str]]) -> bool:
    return list(one) == list(other) and all(list(one[name]) == list(other[name]) for name in one)


@dataclass(frozen=True)
class Embedded:
    """The kept rows of a source, embedded."""

    rows: np.ndarray  # of the source
    gallery: Gallery
    images: Tensor  # [G, D]


class TrainedSearch:
    """A trained method that searches the images of a source, see `mals.look.search.SearchMethod`."""

    def __init__(self, name: str, trained: Trained, source: Source, batch: int = 64) -> None:
        """Raises UserError if the method computes no embeddings."""
        require(trained, "identify")
        self.name, self.trained, self.source, self.batch = name, trained, source, batch
        self.rerank = default_rerank(trained)
        space = space_of(trained.method)
        self.attributes: Mapping[str, Sequence[str]] = space.classes if "embed" in trained.method.abilities else {}
        self._embedded: Embedded | None = None
        self._progress, self._tried = SearchState(0, 1), -1  # the version of the source that was embedded, or could not be
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def state(self) -> SearchState:
        """How far the images are embedded; starts a thread for those of rows that are new."""
        with self._lock:
            is_working = self._thread is not None and self._thread.is_alive()
            if self._tried != self.source.version and not is_working:
                self._progress, self._tried = SearchState(0, 1), self.source.version
                self._thread = threading.Thread(target=self._embed, daemon=True)
                self._thread.start()
            return SearchState(1, 1) if self._embedded is not None else self._progress

    def wait(self) -> SearchState:
        """`state` after the thread has ended, for programs and tests."""
        self.state()
        if self._thread is not None:
            self._thread.join()
        return self.state()

    def _embed(self) -> None:
        try:
            source_rows, dataset, space = open_rows_of(self.source, self.trained)
            trained = self.trained
            gallery = Gallery(dataset, trained.tokenizer, trained.preprocessing, trained.device, batch=self.batch, space=space)
            total = len(gallery)
            self._progress = SearchState(0, total)
            images = image_embeddings(trained, gallery, True, lambda done: self._report(done, total))
            self._embedded = Embedded(source_rows.rows, gallery, images)
        except Exception as error:  # the page says it
            log.error("the images of %s are not embedded: %s", self.source.title, first_line(error))
            sentence = str(error) if isinstance(error, UserError) else f"the images cannot be embedded ({first_line(error)})"
            self._progress = SearchState(0, 1, sentence)

    def _report(self, done: int, total: int) -> None:
        self._progress = SearchState(min(done, total - 1), total)

    def search(self, query: SearchQuery, count: int) -> list[PageResult]:
        """See SearchMethod."""
        embedded = self._embedded
        if embedded is None:
            raise UserError("the images are not embedded yet")
        if query.image is not None:
            by_image = search_by_image(self.trained, embedded.gallery, query.image, count, images=embedded.images)
            return [_page_result(embedded, by_image)]
        require(self.trained, "embed")
        requested, sentences = requested_attributes(self.trained, query.attributes), list(query.sentences)
        if requested is not None and (not scores_attributes(self.trained) or len(embedded.gallery) > PROMPTED):
            prompts = requested.sentence()
            requested, sentences = None, [f"{text}, {prompts}" for text in sentences] or [prompts]
        if requested is not None and not sentences:
            by_attributes = search_attributes(self.trained, embedded.gallery, requested, count, self.rerank, CANDIDATES)
            return [_page_result(embedded, by_attributes)]
        results = search_sentences(
            self.trained,
            embedded.gallery,
            sentences,
            count,
            self.rerank,
            CANDIDATES,
            attributes=requested,
            images=embedded.images,
        )
        return [self._with_evidence(embedded, result) if requested is None else _page_result(embedded, result) for result in results]

    def _with_evidence(self, embedded: Embedded, result: SearchResult) -> PageResult:
        """The hits with the words of the sentence, which alone gives their scores."""
        hits = torch.searchsorted(embedded.gallery.rows, torch.tensor([hit.row for hit in result.hits]))
        words, lower = word_evidence(self.trained, embedded.gallery, embedded.images, result.query, hits, self.rerank)
        return _page_result(embedded, result, words, lower.tolist())


def _page_result(
    embedded: Embedded, result: SearchResult, words: Sequence[str] = (), lower: Sequence[Sequence[float]] | None = None
) -> PageResult:
    """A result with the rows of the source."""
    hits = tuple(
        SearchHit(int(embedded.rows[hit.row]), hit.score, tuple(lower[place]) if lower is not None else ())
        for place, hit in enumerate(result.hits)
    )
    return PageResult(result.query, hits, tuple(words), result.by_attributes.sentence() if result.by_attributes else "")

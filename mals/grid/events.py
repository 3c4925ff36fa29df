"""The log of what happened to a run: lines of JSON, for people and pages; no result depends on it.

local folder    events.jsonl, to which every command appends
object store    events/TIME-HOST-PROCESS-000.jsonl, one file a command, since nothing can be appended there: it is put again every 30 s
                while there is news, and followed by -001 when it is large
"""

import json
import logging
import os
import threading
from datetime import UTC, datetime
from typing import Any, TextIO

from mals.grid.store import HOST, Store

log = logging.getLogger(__name__)

EVENTS = "events.jsonl"
FOLDER = "events"
PUT_EVERY = 30.0  # seconds
LARGEST = 1 << 20  # bytes of a file on an object store, after which another one is begun
ERRORS = "backslashreplace"  # names of files may hold what is no character; JSON reads the escape back
TAIL = 2 << 20  # bytes that `last_events` reads


class EventLog:
    """The events of one command. What cannot be written is told once as a warning, and the work goes on."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._file: TextIO | None = None
        self._name = f"{FOLDER}/{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{HOST}-{os.getpid()}"
        self._number, self._text, self._news = 0, "", False
        self._warned = False
        self._lock = threading.Lock()  # of number, text and news
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        if self.store.folder is None:
            self._thread = threading.Thread(target=self._put_now_and_then, name="events", daemon=True)
            self._thread.start()
            return
        try:
            self._file = (self.store.folder / EVENTS).open("a", encoding="utf-8", errors=ERRORS)
        except OSError as error:  # a full disk is an error of the work, not of its log
            log.warning("%s is not written: %s", EVENTS, error)

    def add(self, kind: str, **values: Any) -> None:
        """Append one event."""
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="seconds"), "event": kind, **values}, ensure_ascii=False) + "\n"
        if self.store.folder is None:
            with self._lock:
                self._text, self._news = self._text + line, True
        elif self._file is not None:
            try:
                self._file.write(line)
                self._file.flush()
            except OSError:
                self._file = None

    def close(self, lost: bool = False) -> None:
        """The command ends; `lost`: because the store does not answer, so nothing more is put there."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            if not lost:
                self._put()
        elif self._file is not None:
            try:
                self._file.close()
            except OSError:
                self._file = None

    def _put_now_and_then(self) -> None:
        while not self._ended.wait(PUT_EVERY):
            self._put()

    def _put(self) -> None:
        """Put the file as it is now, if there is news."""
        with self._lock:
            text, news, number = self._text, self._news, self._number
            self._news = False
        try:
            if news:
                self.store.commit(f"{self._name}-{number:03d}.jsonl", text.encode(errors=ERRORS))
        except Exception as error:  # of whatever kind: the work does not depend on its log
            if not self._warned:
                log.warning("%s/ is not written: %s", FOLDER, error)
            self._news = self._warned = True
            return
        if len(text) > LARGEST:
            with self._lock:
                self._text, self._number = self._text[len(text) :], number + 1


def last_events(store: Store) -> list[dict[str, Any]]:
    """The last events of a run, the oldest first; lines that are torn are left out."""
    events = [event for line in _tail(store).splitlines() if (event := _event(line)) is not None]
    return events if store.folder is not None else sorted(events, key=lambda event: str(event["time"]))


def _tail(store: Store) -> bytes:
    if store.folder is None:
        sizes, names = store.list(FOLDER), []
        for name in reversed(sizes):  # the command that began last comes last
            names.append(name)
            if sum(sizes[name] for name in names) > TAIL:
                break
        files = store.read_all(names)
        return b"\n".join(files[name] for name in reversed(names) if name in files)
    try:
        with (store.folder / EVENTS).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
            return file.read()
    except OSError:
        return b""


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "time" in event else None

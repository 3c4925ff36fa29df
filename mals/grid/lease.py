"""A lock on an object store: an object `locks/NAME.json` that its owner keeps writing while it works.

It is made by a put that fails where there is one. Whoever comes second watches it: an owner that renews it is at work; one that does
not for 90 s is dead, and a process of this machine that is gone is so at once. So clocks may differ by a minute. Two owners are possible,
where one was cut off for longer than that; no result depends on it, since every object appears whole and two make the same.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mals.grid.remote import StoreFailed
from mals.grid.store import HOST, Store
from mals.processes import is_alive

log = logging.getLogger(__name__)

FOLDER = "locks"
RENEWED_EVERY = 20.0  # seconds
TERM = 90.0  # seconds without renewal after which the owner counts as dead
POLL = 1.0  # seconds between two looks at another's lease
_renewed: set[str] = set()  # the nonces of the leases that this process renews


@dataclass(frozen=True)
class Owner:
    """What a lease says of the process that has it."""

    host: str
    pid: int
    nonce: str  # of the process and this lease
    until: float  # seconds since 1970, by the clock of its machine

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Taken(Exception):
    """Another process, which is at work, has the lease `name`."""

    def __init__(self, name: str, owner: Owner) -> None:
        super().__init__(name, owner)
        self.name, self.owner = name, owner


@contextmanager
def lease(store: Store, name: str, clashes: Callable[[str], bool] = lambda other: False, wait: bool = False) -> Iterator[None]:
    """Have the lease `name`, against all whose names `clashes` says; raises Taken where another has it, unless `wait`.

    Of two that clash, have different names and start in the same moment, each may be refused because of the other.
    """
    nonce = os.urandom(8).hex()
    _take(store, name, nonce, wait)
    _renewed.add(nonce)
    ended = threading.Event()
    renewal = threading.Thread(target=_renew, args=(store, name, nonce, ended), name="lease", daemon=True)
    renewal.start()
    reached = True
    try:
        for other in [other for other in _names(store) if other != name and clashes(other)]:
            owner = read(store, other)
            if owner is not None and (alive := _owner_at_work(store, other, owner)) is not None:
                raise Taken(other, alive)
        yield
    except StoreFailed:
        reached = False  # the lease ends by itself
        raise
    finally:
        ended.set()
        renewal.join()
        _renewed.discard(nonce)
        if reached:
            _release(store, name, nonce)


def _file(name: str) -> str:
    return f"{FOLDER}/{name}.json"


def _names(store: Store) -> list[str]:
    return [file.removeprefix(f"{FOLDER}/").removesuffix(".json") for file in store.list(FOLDER) if file.endswith(".json")]


def _take(store: Store, name: str, nonce: str, wait: bool) -> None:
    """Make the lease; raises Taken."""
    while (owner := read(store, name)) is None or owner.nonce != nonce:  # read first: some servers answer a put by making the bucket
        if owner is None:
            if store.create(_file(name), _content(nonce)):
                return  # else another was faster, or the answer to an earlier attempt was lost
        elif (alive := _owner_at_work(store, name, owner)) is not None and not wait:
            raise Taken(name, alive)


def _owner_at_work(store: Store, name: str, owner: Owner) -> Owner | None:
    """Who has the lease and writes it; None where it is given back, or where its owner is dead: then it is removed."""
    since, watched = time.monotonic(), owner
    if not _is_dead(owner):
        log.info("waiting to see whether %s, which has worked on %s, still does", owner, store.url)
    while not _is_dead(owner) and time.monotonic() - since < TERM:
        time.sleep(POLL)
        latest = read(store, name)
        if latest is None:
            return None
        if latest != watched:
            return latest
    store.remove(_file(name))
    return None


def _is_dead(owner: Owner) -> bool:
    """Whether that can be known without watching."""
    # a number that is ours may be that of an earlier process, as each start of a container has the same
    here = owner.nonce in _renewed if owner.pid == os.getpid() else is_alive(owner.pid)
    return (owner.host == HOST and not here) or time.time() > owner.until + TERM


def _renew(store: Store, name: str, nonce: str, ended: threading.Event) -> None:
    """Write the lease until `ended`, or until another has taken it, whatever comes between: the thread ends for no error of the store."""
    warned = False
    while not ended.wait(RENEWED_EVERY):
        try:
            owner = read(store, name)
            if owner is not None and owner.nonce != nonce:
                log.warning(
                    "%s is worked on by %s too, since this command was cut off for a while; the results are equal", store.url, owner
                )
                return
            store.commit(_file(name), _content(nonce))
            warned = False
        except Exception as error:
            if not warned:
                log.warning("%s is not renewed: %s; after %.0f s another command may begin, with equal results", _file(name), error, TERM)
            warned = True


def _release(store: Store, name: str, nonce: str) -> None:
    try:
        owner = read(store, name)
        if owner is not None and owner.nonce == nonce:
            store.remove(_file(name))
    except Exception as error:  # the work is done, or has an error of its own
        log.warning("%s is left: %s", _file(name), error)


def read(store: Store, name: str) -> Owner | None:
    """Who has the lease; None where it is free."""
    try:
        return Owner(**json.loads(store.read(_file(name))))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        return Owner("a file that is no lease", 0, "", 0.0)


def _content(nonce: str) -> bytes:
    return json.dumps({"host": HOST, "pid": os.getpid(), "nonce": nonce, "until": time.time() + TERM}).encode()

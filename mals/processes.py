"""Processes that must not outlive the one that started them, and whether one is alive."""

import multiprocessing
import os
import threading
import time

POLL_SECONDS = 0.5
WATCHER = "end-with-parent"  # the thread's name


def end_with_parent(parent: int | None = None) -> None:
    """Start a thread that ends this process (exit code 1) when its parent has ended, for any reason; a second call does nothing.

    The parent is the process that started this one through multiprocessing, a fork server in between included. Of other processes it is the
    process with the id `parent`, by default the one that the system names: pass it where the parent may end before this call.
    """
    if not any(thread.name == WATCHER for thread in threading.enumerate()):
        threading.Thread(target=_watch, args=(os.getppid() if parent is None else parent,), daemon=True, name=WATCHER).start()


def _watch(parent: int) -> None:
    starter = multiprocessing.parent_process()
    if starter is not None:
        starter.join()
    else:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
    os._exit(1)


def is_alive(pid: int) -> bool:
    """Whether this machine has a process with this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

"""The lock of an object store. That of a real server, and of a real process that is killed, is in test_object_store.py."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from mals.errors import UserError
from mals.grid import lease as leases
from mals.grid.lease import Taken, lease, read
from mals.grid.lock import coordinator, one_at_a_time
from mals.grid.remote import StoreFailed
from mals.grid.store import HOST, Store
from tests.mals.grid.objects import FAULTS

URL = "s3://bucket/run"


@pytest.fixture(autouse=True)
def quick(objects, monkeypatch):
    monkeypatch.setattr(leases, "RENEWED_EVERY", 0.05)
    monkeypatch.setattr(leases, "TERM", 2.0)
    monkeypatch.setattr(leases, "POLL", 0.02)


@pytest.fixture
def store():
    return Store(URL)


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def left_by(store, name="whole", host="elsewhere", pid=1, until=0.0):
    """The lease of a process that ended without giving it back."""
    store.commit(f"locks/{name}.json", json.dumps({"host": host, "pid": pid, "nonce": "n", "until": time.time() + until}).encode())


def test_a_second_coordinator_is_turned_away_once_the_first_has_renewed(store):
    with (
        coordinator(store),
        pytest.raises(UserError, match=f"worked on by another mals command; .*it is process {os.getpid()} on {HOST}"),
        coordinator(store),
    ):
        pass
    assert read(store, "whole") is None
    with coordinator(store):
        pass


def test_parts_of_one_division_work_at_once_and_of_two_divisions_not(store):
    with coordinator(store, (0, 2)):
        with coordinator(store, (1, 2)):
            pass
        for part in ((0, 2), (1, 3), None):
            with pytest.raises(UserError, match="--shards 0/2"), coordinator(store, part):
                pass
        assert store.list("locks").keys() == {"locks/0-of-2.json"}, "who is turned away leaves nothing"
    assert store.list("locks") == {}


def test_the_lease_of_a_dead_process_of_this_machine_is_taken_at_once(store, monkeypatch):
    monkeypatch.setattr(leases, "TERM", 1e6)
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    left_by(store, host=HOST, pid=dead.pid, until=1e6)
    left_by(store, "0-of-2", host=HOST, pid=dead.pid, until=1e6)
    with coordinator(store):
        assert store.list("locks").keys() == {"locks/whole.json"}


def test_a_lease_that_this_process_left_behind_is_taken_at_once(store, objects, monkeypatch):
    monkeypatch.setattr(leases, "POLL", 1e6)

    def down(kind, path):
        raise PermissionError("Access Denied")

    with pytest.raises(StoreFailed), coordinator(store):
        objects.fault = down
        store.read("mals.yaml")
    objects.fault = lambda kind, path: None
    assert read(store, "whole").pid == os.getpid()
    with coordinator(store):
        pass


def test_a_lease_that_nobody_renews_is_taken_when_its_term_is_over_whatever_its_clock_says(store):
    left_by(store, until=1e6)
    began = time.monotonic()
    with coordinator(store):
        owner = read(store, "whole")
    assert time.monotonic() - began >= leases.TERM
    assert owner is not None and (owner.host, owner.pid) == (HOST, os.getpid())


def test_a_lease_that_is_long_over_and_a_file_that_is_none_are_taken_at_once(store, monkeypatch):
    monkeypatch.setattr(leases, "POLL", 1e6)
    left_by(store, until=-1e4)
    with coordinator(store):
        pass
    store.commit("locks/whole.json", b"{")
    with coordinator(store):
        pass


def test_of_many_that_start_at_once_one_gets_the_lease(store):
    working, refused, end = [], [], threading.Event()

    def start(number):
        try:
            with lease(store, "whole"):
                working.append(number)
                end.wait(20)
        except Taken:
            refused.append(number)
            if len(refused) == 7:
                end.set()

    threads = [threading.Thread(target=start, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(working), len(refused)) == (1, 7)


def test_what_one_does_at_a_time_waits_for_the_other(store):
    order, begun = [], threading.Event()

    def first():
        with one_at_a_time(store, "crop.summary"):
            begun.set()
            time.sleep(0.3)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    begun.wait(10)
    with one_at_a_time(store, "crop.summary"):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_an_attempt_whose_answer_was_lost_is_still_the_owner(store, objects):
    lost = ["run/locks/whole.json"]

    def cut(kind, path):
        if kind == "PUT" and path in lost:
            lost.remove(path)
            objects.buckets["bucket"][path] = sent[0]
            raise ConnectionResetError

    sent = []
    original = store.create

    def create(name, data):
        sent.append(data)
        return original(name, data)

    store.create = create
    objects.fault = cut
    with lease(store, "whole"):
        assert lost == []
    assert store.list("locks") == {}


def test_an_owner_that_another_replaced_says_so_and_leaves_the_lease_of_the_other(store, caplog):
    with lease(store, "whole"):
        left_by(store, until=100)
        wait_for(lambda: caplog.records)
    assert "is worked on by process 1 on elsewhere too" in caplog.text
    assert read(store, "whole").host == "elsewhere"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_lease_is_renewed_again_after_any_error_of_the_store(store, objects, caplog, fault):
    def fail(kind, path):
        raise FAULTS[fault]

    with lease(store, "whole"):
        objects.fault = fail
        wait_for(lambda: caplog.records)
        time.sleep(0.2)
        objects.fault = lambda kind, path: None
        until = read(store, "whole").until
        wait_for(lambda: read(store, "whole").until > until)
    assert len(caplog.records) == 1 and "locks/whole.json is not renewed" in caplog.text
    assert store.list("locks") == {}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_lease_that_cannot_be_given_back_changes_no_outcome_of_the_work(store, objects, caplog, fault):
    def fail(kind, path):
        if kind == "DELETE":
            raise FAULTS[fault]

    with pytest.raises(ZeroDivisionError), lease(store, "whole"):
        objects.fault = fail
        raise ZeroDivisionError
    assert "locks/whole.json is left" in caplog.text


def test_a_store_that_is_gone_keeps_no_thread_and_its_own_error(store, objects):
    def down(kind, path):
        raise PermissionError("Access Denied")

    with pytest.raises(StoreFailed), lease(store, "whole"):
        objects.fault = down
        store.read("a")
    assert not [thread for thread in threading.enumerate() if thread.name == "lease"]

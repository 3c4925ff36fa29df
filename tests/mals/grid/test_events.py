"""The events of a command on an object store, where nothing can be appended."""

import threading
import time

import pytest

from mals.grid import events
from mals.grid.events import EventLog, last_events
from mals.grid.store import Store
from tests.mals.grid.objects import FAULTS

URL = "s3://bucket/run"


@pytest.fixture(autouse=True)
def quick(objects, monkeypatch):
    monkeypatch.setattr(events, "PUT_EVERY", 0.02)


def names(objects):
    return [name for name in objects.buckets["bucket"] if name.startswith("run/events/")]


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_others_see_the_events_of_an_object_store_while_the_command_works(objects):
    work = EventLog(Store(URL))
    work.open()
    work.add("begin", stage="crop")
    wait_for(lambda: [event["event"] for event in last_events(Store(URL))] == ["begin"])
    work.add("shard", shard=0)
    wait_for(lambda: [event["event"] for event in last_events(Store(URL))] == ["begin", "shard"])
    work.close()
    assert len(names(objects)) == 1


def test_nothing_is_put_while_there_is_no_news_and_all_of_it_in_the_end(objects):
    work = EventLog(Store(URL))
    work.open()
    work.close()
    assert objects.requests.kinds == []
    again = EventLog(Store(URL))
    again.open()
    again.add("end", stage="crop")
    again.close()
    assert [event["event"] for event in last_events(Store(URL))] == ["end"]


def test_a_large_file_is_followed_by_another_and_the_last_events_are_read_from_the_end(objects, monkeypatch):
    monkeypatch.setattr(events, "LARGEST", 300)
    monkeypatch.setattr(events, "TAIL", 500)
    work = EventLog(Store(URL))
    work.open()
    for shard in range(30):
        work.add("shard", shard=shard)
        wait_for(lambda: not work._news)
    work.close()
    assert len(names(objects)) > 3
    assert all(len(objects.buckets["bucket"][name]) < 600 for name in names(objects))
    shards = [event["shard"] for event in last_events(Store(URL))]
    assert shards == list(range(30 - len(shards), 30)) and 5 <= len(shards) < 30


def test_the_events_of_several_commands_are_read_in_their_order_in_time(objects):
    line = '{{"time": "2026-01-01T00:00:{:02d}+00:00", "event": "{}"}}\n'
    store = Store(URL)
    store.commit("events/20260101T000000-one-1-000.jsonl", (line.format(1, "a") + line.format(3, "c") + '{"torn').encode())
    store.commit("events/20260101T000002-two-1-000.jsonl", (line.format(2, "b") + line.format(4, "d")).encode())
    assert [event["event"] for event in last_events(store)] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_store_that_takes_no_events_is_told_once_and_the_work_goes_on(objects, caplog, fault):
    def fail(kind, path):
        if kind == "PUT":
            raise FAULTS[fault]

    objects.fault = fail
    work = EventLog(Store(URL))
    work.open()
    for shard in range(3):
        work.add("shard", shard=shard)
        time.sleep(0.05)
    work.close()
    assert len(caplog.records) == 1 and "events/ is not written" in caplog.text
    assert not [thread for thread in threading.enumerate() if thread.name == "events"]


@pytest.mark.parametrize("place", ["s3", "folder"])
def test_events_of_files_whose_names_are_no_text_are_written(objects, tmp_path, place):
    store = Store(URL if place == "s3" else str(tmp_path))
    work = EventLog(store)
    work.open()
    work.add("failed", errors={"cannot read \udce9.jpg": 1})
    work.close()
    assert [event["errors"] for event in last_events(store)] == [{"cannot read \udce9.jpg": 1}]

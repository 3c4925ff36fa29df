"""Publishing: what is off never leaves, what broke off goes on, and what arrives is what was packed."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mals.dataset import publish as publishing
from mals.dataset.pack import pack
from mals.dataset.publish import publish
from mals.errors import UserError
from mals.grid.run import Run, save_settings
from tests.small import cells
from tests.small.hub import Hub, hub


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = cells.small_run(tmp_path_factory.mktemp("publish") / "run", 60)
    pack(run)
    return run


@pytest.fixture
def copied(packed: Run, tmp_path: Path) -> Run:
    assert packed.store.folder is not None
    return Run.open(shutil.copytree(packed.store.folder, tmp_path / "run"))


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def dataset(run: Run) -> Path:
    assert run.store.folder is not None
    return run.store.folder / "dataset"


def test_a_folder_gets_what_was_packed_and_a_second_time_nothing(packed: Run, tmp_path: Path) -> None:
    report = publish(packed, str(tmp_path / "out"))
    assert files(tmp_path / "out") == files(dataset(packed)) and report.sent == len(report.files)
    assert report.files[-1].path == "SHA256SUMS" and report.bytes == sum(len(data) for data in files(dataset(packed)).values())
    assert publish(packed, str(tmp_path / "out")).sent == 0


def test_a_url_gets_what_was_packed(packed: Run) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    publish(packed, "memory://published/set")
    published = {name.removeprefix("/published/set/"): memory.cat(name) for name in memory.find("/published/set")}
    assert published == files(dataset(packed))
    assert publish(packed, "memory://published/set").sent == 0
    memory.rm("/published", recursive=True)


def test_a_dry_run_lists_files_and_sizes_and_sends_nothing(packed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse_connection(*arguments: object) -> None:
        raise AssertionError("a dry run connected to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse_connection)
    for place in (str(tmp_path / "out"), "hf://datasets/owner/name"):
        report = publish(packed, place, dry_run=True)
        assert {file.path: file.bytes for file in report.files} == {name: len(data) for name, data in files(dataset(packed)).items()}
        assert report.sent == 0 and report.dry_run
    assert not (tmp_path / "out").exists()


def test_a_flipped_byte_is_not_published(copied: Run, tmp_path: Path) -> None:
    path = next((dataset(copied) / "data").iterdir())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    for dry_run in (True, False):
        with pytest.raises(UserError, match="has changed since it was made"):
            publish(copied, str(tmp_path / "out"), dry_run=dry_run)
    assert not (tmp_path / "out").exists()


def test_a_pack_that_is_older_than_its_cells_is_not_published(copied: Run, tmp_path: Path) -> None:
    save_settings(copied.store, {**copied.user_settings, "pack": {**copied.user_settings["pack"], "contact": "someone"}})
    with pytest.raises(UserError, match="the pack is older than the run's cells, settings or verdicts"):
        publish(Run.open(tmp_path / "run"), str(tmp_path / "out"))


def test_sums_that_were_changed_by_hand_are_noticed(copied: Run, tmp_path: Path) -> None:
    receipt = json.loads(copied.store.read("pack.json"))
    sums = dataset(copied) / "SHA256SUMS"
    sums.write_bytes(sums.read_bytes()[::-1])
    import hashlib

    for file in receipt["files"]:
        if file["path"].endswith("SUMS"):
            file["sha256"] = hashlib.sha256(sums.read_bytes()).hexdigest()
    copied.store.commit("pack.json", json.dumps(receipt).encode())
    with pytest.raises(UserError, match="does not list the files of the pack"):
        publish(copied, str(tmp_path / "out"))


def test_problems_of_verify_stop_it_too(packed: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"crop/00001.parquet is missing \(and 1 more\)"):
        publish(packed, str(tmp_path / "out"), verify_problems=["crop/00001.parquet is missing", "another"])


def test_an_unpacked_run_is_not_published(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the run is not packed"):
        publish(cells.small_run(tmp_path / "run", 8), str(tmp_path / "out"))


def test_a_copy_that_broke_off_goes_on(packed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy, seen = publishing._copy, []

    def stopping(*arguments) -> int:
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return copy(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(publishing, "_copy", stopping)
        publish(packed, str(tmp_path / "out"))
    assert not (tmp_path / "out/SHA256SUMS").exists()
    report = publish(packed, str(tmp_path / "out"))
    assert report.sent == len(report.files) - 2 and files(tmp_path / "out") == files(dataset(packed))


def test_files_of_an_earlier_publication_go_and_foreign_ones_stay(copied: Run, tmp_path: Path) -> None:
    publish(copied, str(tmp_path / "out"))
    (tmp_path / "out/LICENSE").write_text("mine")
    save_settings(copied.store, {**copied.user_settings, "pack": {**copied.user_settings["pack"], "rows_per_file": 20}})
    run = Run.open(tmp_path / "run")
    pack(run)
    publish(run, str(tmp_path / "out"))
    assert files(tmp_path / "out") == {**files(dataset(run)), "LICENSE": b"mine"}


@pytest.fixture
def local_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine, to which huggingface_hub talks over HTTP."""
    from huggingface_hub import constants

    with hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", "hf_none")
        yield server


def uploaded(server: Hub) -> dict[str, bytes]:
    return {name: data for name, data in server.repos["owner/name"].items() if name != ".gitattributes"}


def test_the_hub_gets_what_was_packed(packed: Run, local_hub: Hub) -> None:
    report = publish(packed, "hf://datasets/owner/name")
    assert uploaded(local_hub) == files(dataset(packed)) and report.sent == len(report.files)


def test_files_of_an_earlier_pack_go_from_the_hub(copied: Run, local_hub: Hub, tmp_path: Path) -> None:
    publish(copied, "hf://datasets/owner/name")
    save_settings(copied.store, {**copied.user_settings, "pack": {**copied.user_settings["pack"], "rows_per_file": 20}})
    run = Run.open(tmp_path / "run")
    pack(run)
    publish(run, "hf://datasets/owner/name")
    assert uploaded(local_hub) == files(dataset(run))


def test_an_upload_that_broke_off_goes_on(packed: Run, local_hub: Hub) -> None:
    local_hub.break_after = 0
    with pytest.raises(UserError, match="could not be uploaded"):
        publish(packed, "hf://datasets/owner/name")
    local_hub.break_after = None
    publish(packed, "hf://datasets/owner/name")
    assert uploaded(local_hub) == files(dataset(packed))


def test_a_hub_that_lost_a_file_is_not_taken_for_published(packed: Run, local_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_hub, "loses", "croissant.json")
    with pytest.raises(UserError, match=r"the hub does not hold what was sent to owner/name: croissant.json"):
        publish(packed, "hf://datasets/owner/name")


def test_a_token_that_may_not_write_is_refused(packed: Run, local_hub: Hub) -> None:
    local_hub.forbidden = True
    with pytest.raises(UserError, match="does not let you write to owner/name; log in with `hf auth login`"):
        publish(packed, "hf://datasets/owner/name")


def test_an_unreachable_hub_is_one_sentence(packed: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_none")
    with pytest.raises(
        UserError, match=r"owner/name could not be uploaded \(\w+: .*\); give the same command again: it continues where it stopped"
    ):
        publish(packed, "hf://datasets/owner/name")


@pytest.mark.parametrize("to", ["hf://datasets/name", "hf://datasets/a/b/c", "hf://models/a/b", "hf://datasets//b"])
def test_an_address_that_is_no_data_set_is_refused(packed: Run, to: str) -> None:
    with pytest.raises(UserError, match="is not of the form hf://datasets/OWNER/NAME"):
        publish(packed, to)


def test_places_that_cannot_be_published_to_are_refused(packed: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        publish(packed, str(tmp_path / "file"))
    with pytest.raises(UserError, match="is inside the run"):
        publish(packed, f"{packed.store.url}/out")
    with pytest.raises(UserError, match=r"cannot be used|not installed"):
        publish(packed, "nonsense://x/y")

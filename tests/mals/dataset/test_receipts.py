"""Receipts: their JSON comes back as the same record, and an unreadable one counts as missing."""

from pathlib import Path

import pytest

from mals.dataset.receipts import FileReceipt, FileRecord, PackReceipt, checksums, record_of, record_of_file
from mals.grid.store import Store

FILE = FileReceipt(
    path="data/a.parquet",
    bytes=3,
    sha256="0" * 64,
    rows=2,
    config_name="default",
    split="train",
    memory_bytes=9,
    fingerprint="f",
    counts={"words": 4},
)


def test_a_file_receipt_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    FILE.save(store, "receipts/a.json")
    assert FileReceipt.load(store, "receipts/a.json") == FILE


def test_a_pack_receipt_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    store, text = Store(str(tmp_path)), record_of("dataset/README.md", b"card")
    packed = FileRecord(path="dataset/data/test-00000-of-00001.parquet", bytes=3, sha256="0" * 64, rows=2)
    receipt = PackReceipt(
        version=1,
        fingerprint="f",
        planned=3,
        kept=2,
        refused=1,
        failed=0,
        splits={"test": 2},
        origins={"original": 2},
        without_head=1,
        bytes=7,
        files=(packed, text),
    )
    receipt.save(store)
    assert PackReceipt.load(store) == receipt and receipt.split_files() == {"test": [packed]}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"path": "a", "other": 1}'])
def test_an_unreadable_receipt_counts_as_missing(text: str, tmp_path: Path) -> None:
    for name in ("a.json", "pack.json"):
        (tmp_path / name).write_text(text)
    store = Store(str(tmp_path))
    assert FileReceipt.load(store, "a.json") is None and PackReceipt.load(store) is None
    assert FileReceipt.load(store, "missing.json") is None


def test_a_receipt_holds_while_the_file_has_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    record = record_of_file(tmp_path / "a", "a")
    assert record == record_of("a", b"abc")
    receipt = FileReceipt(**record.to_json(), rows=1, config_name="default", split="train", memory_bytes=1, fingerprint="f")
    assert receipt.holds(Store(str(tmp_path)))
    (tmp_path / "a").write_bytes(b"abd")
    assert not receipt.holds(Store(str(tmp_path)))


def test_checksums_are_sorted_and_name_files_from_their_folder() -> None:
    files = [record_of("dataset/b", b"2"), record_of("dataset/SHA256SUMS", b"x"), record_of("dataset/a", b"1")]
    assert [line.split("  ")[1] for line in checksums(files, "dataset/").decode().splitlines()] == ["a", "b"]

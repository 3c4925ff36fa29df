"""Packing: what is in dataset/, that others can load it, and that it has the same bytes after interruptions too."""

import hashlib
import io
import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mals.dataset.layout import check_ids, lay_out
from mals.dataset.pack import check, pack
from mals.dataset.receipts import PackReceipt
from mals.dataset.source import attribute_values, packed_columns, planned_columns
from mals.dataset.statistics import gather
from mals.errors import UserError
from mals.grid.cells import Damaged
from mals.grid.run import Run, save_settings
from mals.grid.store import Store
from mals.grid.verify import verify
from mals.origin import SOURCE_TYPES
from tests.small import cells

ROWS = 100  # 78 kept, 20 refused, 2 failed


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A packed run that no test changes."""
    run = cells.small_run(tmp_path_factory.mktemp("pack") / "run", ROWS)
    pack(run)
    return run


@pytest.fixture
def copied(packed: Run, tmp_path: Path) -> Run:
    """A copy of it to spoil."""
    return Run.open(shutil.copytree(folder_of(packed), tmp_path / "run"))


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))


def folder_of(run: Run) -> Path:
    assert run.store.folder is not None
    return run.store.folder


def dataset(run: Run) -> Path:
    return folder_of(run) / "dataset"


def files(folder: Path) -> dict[str, bytes]:
    """Every file under a folder with its bytes."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def table(run: Run, pattern: str = "data/*.parquet") -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted(dataset(run).glob(pattern))])


def resettled(run: Run, **pack_settings: object) -> Run:
    """The same run with other pack settings."""
    save_settings(run.store, {**run.user_settings, "pack": {**run.user_settings["pack"], **pack_settings}})
    return Run.open(folder_of(run))


def load(folder: Path, cache: Path, name: str | None = None):
    import datasets

    return datasets.load_dataset(str(folder), name, cache_dir=str(cache))


def test_every_planned_id_is_kept_or_rejected_once(packed: Run) -> None:
    kept, rejected = table(packed)["id"].to_pylist(), table(packed, "rejected/*.parquet")["id"].to_pylist()
    assert (len(kept), len(rejected)) == (78, 22)
    assert sorted(kept + rejected) == [f"row-{at:06d}" for at in range(ROWS)]


def test_files_and_row_groups_have_the_rows_that_the_settings_say(packed: Run) -> None:
    metadata = {path.name: pq.ParquetFile(path).metadata for path in (dataset(packed) / "data").iterdir()}
    assert {name: data.num_rows for name, data in sorted(metadata.items())} == {
        "train-00000-of-00003.parquet": 32,
        "train-00001-of-00003.parquet": 32,
        "train-00002-of-00003.parquet": 14,
    }
    first = metadata["train-00000-of-00003.parquet"]
    assert [first.row_group(at).num_rows for at in range(first.num_row_groups)] == [8, 8, 8, 8]


def test_images_are_neither_compressed_nor_put_into_a_dictionary(packed: Run) -> None:
    group = pq.ParquetFile(dataset(packed) / "data/train-00000-of-00003.parquet").metadata.row_group(0)
    columns = {group.column(at).path_in_schema: group.column(at) for at in range(group.num_columns)}
    assert columns["image.bytes"].compression == "UNCOMPRESSED" and "PLAIN" in columns["image.bytes"].encodings
    assert not columns["image.bytes"].has_dictionary_page
    assert columns["caption"].compression == "SNAPPY" and columns["caption"].has_offset_index


def test_every_file_has_the_schema_that_datasets_itself_would_write(packed: Run) -> None:
    from datasets import Features

    for config, pattern in (("default", "data/*.parquet"), ("rejected", "rejected/*.parquet")):
        columns = packed_columns(packed)[config]
        described = json.loads(columns.schema.metadata[b"huggingface"])["info"]["features"]
        theirs = Features.from_dict(described)
        assert theirs.arrow_schema.equals(columns.schema)
        assert json.loads(theirs.arrow_schema.metadata[b"huggingface"])["info"]["features"] == described
        assert Features.from_arrow_schema(columns.schema) == theirs
        assert theirs._to_yaml_list() == columns.yaml()
        for path in dataset(packed).glob(pattern):
            schema = pq.read_schema(path)
            assert schema.equals(columns.schema) and schema.metadata[b"huggingface"] == columns.schema.metadata[b"huggingface"]


def test_load_dataset_gives_images_and_classes(packed: Run, tmp_path: Path) -> None:
    rows = load(dataset(packed), tmp_path)["train"]
    assert len(rows) == 78
    row = rows[5]
    assert isinstance(row["image"], Image.Image) and row["image"].size == (row["width"], row["height"])
    name, values = next(iter(attribute_values(packed).items()))
    assert rows.features["attributes"][name].names == values
    at = cells.number(row["id"])
    expected = [None if value < 0 else value for value in cells.attribute_values(at)]
    assert list(row["attributes"].values()) == expected
    sources = {None: "unknown", 0: "explicit", 1: "implicit"}
    assert list(row["attribute_source"].values()) == [sources[value] for value in expected]


def test_load_dataset_gives_the_rejected_rows_with_their_reasons(packed: Run, tmp_path: Path) -> None:
    rows = load(dataset(packed), tmp_path, "rejected")["train"]
    assert Counter(rows["reject_reason"]) == {"small_file": 10, "no_person": 10, None: 2}
    assert Counter(rows["error_stage"]) == {"generate": 2, None: 20}
    by_id = {row["id"]: row for row in rows}
    assert by_id["row-000003"]["reject_all"] == ["small_file", "grey"] and by_id["row-000003"]["reject_stage"] == "filter"
    assert by_id["row-000016"]["ref_bytes"] == 116, "what was measured before a refusal is kept"
    assert by_id["row-000008"]["keypoints"] is None and "image" not in rows.features


def test_a_pack_in_which_nothing_was_refused_loads_and_has_no_rejected_config(tmp_path: Path) -> None:
    import datasets

    run = cells.small_run(tmp_path / "run", rows=3)  # no row of these three is refused or fails
    pack(run)
    assert len(load(dataset(run), tmp_path)["train"]) == 3
    assert datasets.get_dataset_config_names(str(dataset(run))) == ["default"]


def test_a_pack_whose_rejects_have_no_reason_of_some_kind_loads(tmp_path: Path) -> None:
    run = cells.small_run(tmp_path / "run", rows=8)  # rows 3 and 6 are refused, none fails: all errors are null
    pack(run)
    rows = load(dataset(run), tmp_path, "rejected")["train"]
    assert rows["error"][:] == [None, None] and rows["reject_reason"][:] == ["small_file", "no_person"]


def test_a_run_that_kept_nothing_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "number", lambda row_id: 3)  # every row is refused
    with pytest.raises(UserError, match=r"none of the 5 rows of .* was kept \(filter: small_file 5\)"):
        pack(cells.small_run(tmp_path / "run", rows=5))


def test_what_the_plan_wanted_travels_with_the_row(packed: Run) -> None:
    rows = {row["id"]: row for row in table(packed).to_pylist()}
    twelfth, first = rows["row-000012"], rows["row-000001"]
    assert list(twelfth["wanted"].values()) == [None if value < 0 else value for value in cells.attribute_values(12)]
    assert set(first["wanted"].values()) == {None}
    assert (first["person"], first["camera"], first["seed"]) == ("person 0", "c1", (1 << 62) + 1)
    assert first["source_caption"] == "a man in a red shirt, number 1" and first["caption"] == "a man in a red shirt, number 1, “näh”"
    assert [caption["source"] for caption in first["captions"]] == ["small/blip", "small/vlm", "prompt"]
    assert first["captions"][2]["text"] == first["prompt"]
    assert first["phash"] == (1 << 63) + 1 and first["synthetic"] is True
    assert first["generator"]["model"] == "small/generator" and first["generator"]["width"] == 48 and first["width"] == 25


def test_the_hash_of_a_row_is_that_of_its_image(packed: Run) -> None:
    for row in table(packed).slice(0, 9).to_pylist():
        assert row["image"]["path"] == f"{row['id']}.jpg"
        assert hashlib.sha256(row["image"]["bytes"]).hexdigest() == row["image_sha256"]


def test_no_path_of_this_machine_is_in_the_data_set(packed: Run) -> None:
    rejected = table(packed, "rejected/*.parquet").to_pylist()
    errors = [row["error"] for row in rejected if row["error"]]
    assert errors[0] == "OSError: cannot open row-000008.png"
    assert {row["init_image"] for row in table(packed).to_pylist()} >= {"0.jpg", None}
    for name, data in files(dataset(packed)).items():
        assert b"/home/somebody" not in data and str(folder_of(packed)).encode() not in data, name


def test_sha256sum_agrees(packed: Run) -> None:
    check_output = subprocess.run(["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=dataset(packed), capture_output=True, text=True)
    assert check_output.returncode == 0 and check_output.stdout.count(": OK") == len(files(dataset(packed))) - 1
    names = [line.split("  ")[1] for line in (dataset(packed) / "SHA256SUMS").read_text().splitlines()]
    assert names == sorted(names)


def test_a_second_pack_has_nothing_to_do(copied: Run) -> None:
    def times() -> dict[Path, int]:  # some versions of filelock touch the files of locks
        return {path: path.stat().st_mtime_ns for path in folder_of(copied).rglob("*") if path.is_file() and path.suffix != ".lock"}

    before = times()
    assert pack(copied).new is False
    assert times() == before


def test_a_pack_made_anew_has_the_same_bytes(packed: Run, copied: Run) -> None:
    shutil.rmtree(dataset(copied))
    assert pack(copied, again=True).new is True
    assert files(dataset(copied)) == files(dataset(packed))


def test_a_run_made_elsewhere_with_other_attempts_packs_to_the_same_bytes(packed: Run, tmp_path: Path) -> None:
    run = cells.small_run(tmp_path / "elsewhere" / "run", ROWS)
    for name in run.grid.stages:
        receipt = json.loads(run.store.read(run.grid.receipt_name(name, 2)))
        receipt |= {"attempt": 2, "seconds": 99.0, "started": "2001-01-01", "batch": {"size": 16, "smallest": 4, "out_of_memory": 2}}
        run.store.commit(run.grid.receipt_name(name, 2), json.dumps(receipt).encode())
    save_settings(run.store, {**run.user_settings, "run": {**run.user_settings["run"], "workers": 3}})
    pack(Run.open(folder_of(run)))
    assert files(dataset(run)) == files(dataset(packed))


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the pack may see it as an error."""


@contextmanager
def killed_at(moment: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Stop at the given change of a file (before it for even moments, after it for odd ones); what was changed."""
    changes: list[str] = []
    writer, remove = Store.writer, Store.remove

    def step(name: str, after: bool) -> None:
        changes.append(name)
        if len(changes) - 1 == moment:
            raise Killed(name)

    @contextmanager
    def stopping_writer(store: Store, name: str) -> Iterator[Path]:
        step(name, after=False)
        with writer(store, name) as path:
            yield path
        step(name, after=True)

    def stopping_remove(store: Store, name: str) -> None:
        step(name, after=False)
        remove(store, name)
        step(name, after=True)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "writer", stopping_writer)
        patch.setattr(Store, "remove", stopping_remove)
        yield changes


@pytest.mark.slow
def test_a_pack_that_is_killed_anywhere_and_repeated_has_the_same_bytes(
    packed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "bare"
    clean = Run.open(shutil.copytree(folder_of(cells.small_run(bare, 24, rows_per_file=16, rows_per_group=16)), tmp_path / "clean"))
    pack(clean)
    expected = files(dataset(clean))
    moment, finished = 0, False
    while not finished:
        run = Run.open(shutil.copytree(bare, tmp_path / "run"))
        with killed_at(moment, monkeypatch):
            try:
                pack(run)
                finished = True
            except Killed:
                assert PackReceipt.load(run.store) is None or files(dataset(run)) == expected, "a pack with a receipt is whole"
        pack(Run.open(folder_of(run)))
        assert files(dataset(run)) == expected, f"killed at {moment}"
        shutil.rmtree(folder_of(run))
        moment += 1
    assert moment > 20


def test_files_that_are_whole_are_not_written_again_after_a_kill(copied: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder_of(copied) / "pack.json").unlink()
    truncated = dataset(copied) / "data/train-00001-of-00003.parquet"
    whole = truncated.read_bytes()
    truncated.write_bytes(whole[:999])
    before = {path.name: path.stat().st_mtime_ns for path in (dataset(copied) / "data").iterdir()}
    pack(copied)
    after = {path.name: path.stat().st_mtime_ns for path in (dataset(copied) / "data").iterdir()}
    assert [name for name in sorted(after) if after[name] != before[name]] == ["train-00001-of-00003.parquet"]
    assert truncated.read_bytes() == whole


def test_a_truncated_file_is_found_and_mended_by_the_next_pack(copied: Run, packed: Run) -> None:
    path = dataset(copied) / "data/train-00000-of-00003.parquet"
    path.write_bytes(path.read_bytes()[:1000])
    assert check(copied) == [f"dataset/data/{path.name} has 1,000 bytes, not {(dataset(packed) / 'data' / path.name).stat().st_size:,}"]
    pack(copied)
    assert check(copied, deep=True) == [] and files(dataset(copied)) == files(dataset(packed))


def test_a_flipped_byte_is_found_by_the_deep_check(copied: Run) -> None:
    path = dataset(copied) / "rejected/train-00000-of-00001.parquet"
    data = bytearray(path.read_bytes())
    data[2000] ^= 1
    path.write_bytes(data)
    assert check(copied) == []
    assert check(copied, deep=True) == ["dataset/rejected/train-00000-of-00001.parquet has changed since it was made"]


def test_verify_with_repair_and_another_pack_mend_a_flipped_byte(copied: Run, packed: Run) -> None:
    path = dataset(copied) / "data/train-00001-of-00003.parquet"
    data = bytearray(path.read_bytes())
    data[3000] ^= 1
    path.write_bytes(data)
    assert [problem.text for problem in verify(copied, repair=True)] == [f"dataset/data/{path.name} has changed since it was made"]
    assert pack(copied).new is True
    assert verify(copied) == [] and files(dataset(copied)) == files(dataset(packed))


def test_two_packs_of_one_run_do_not_meet(copied: Run) -> None:
    from mals.grid.lock import coordinator

    with coordinator(copied.store), pytest.raises(UserError, match="is being worked on by another mals command"):
        pack(copied)


def test_files_of_an_earlier_pack_go(copied: Run) -> None:
    run = resettled(copied, rows_per_file=50)
    assert check(run) == ["the pack is older than the run's cells, settings or verdicts"]
    pack(run)
    assert sorted(path.name for path in (dataset(run) / "data").iterdir()) == [f"train-0000{at}-of-00002.parquet" for at in (0, 1)]
    assert len(table(run)) == 78


def test_changing_only_the_card_leaves_the_parquet_files_alone(copied: Run) -> None:
    before = {path: path.stat().st_mtime_ns for path in dataset(copied).rglob("*.parquet")}
    run = resettled(copied, contact="someone at example dot org")
    assert pack(run).new is True
    assert {path: path.stat().st_mtime_ns for path in dataset(copied).rglob("*.parquet")} == before
    assert "someone at example dot org" in (dataset(run) / "README.md").read_text()


def test_an_unfinished_run_is_not_packed(copied: Run) -> None:
    copied.store.remove(copied.grid.receipt_name("caption", 3))
    with pytest.raises(UserError, match="1 of 7 shards of the stage caption are not done"):
        pack(copied)


def test_a_cell_with_other_ids_stops_the_pack(copied: Run) -> None:
    name = copied.grid.cell_name("crop", 1)
    with copied.store.writer(copied.grid.cell_name("crop", 0)) as path:
        shutil.copy(folder_of(copied) / name, path)
    receipt = json.loads(copied.store.read(copied.grid.receipt_name("crop", 0)))
    size = copied.store.size(copied.grid.cell_name("crop", 0))
    copied.store.commit(copied.grid.receipt_name("crop", 0), json.dumps({**receipt, "size": size}).encode())
    with pytest.raises(Damaged, match="other ids than the plan"):
        pack(copied, again=True)


def test_a_row_that_is_missing_from_the_packed_files_is_noticed(copied: Run) -> None:
    statistics = gather(copied.grid, list(attribute_values(copied)), planned_columns(copied.grid), False)
    layout = lay_out(statistics, copied.config)
    check_ids(copied, layout)
    path = dataset(copied) / "data/train-00002-of-00003.parquet"
    rows = pq.read_table(path)
    pq.write_table(rows.slice(1), path)
    with pytest.raises(Damaged, match=f"the row {rows['id'][0]} of the plan"):
        check_ids(copied, layout)
    pq.write_table(pa.concat_tables([rows, rows.slice(13)]), path)
    with pytest.raises(Damaged, match="more than once"):
        check_ids(copied, layout)


def test_splits_have_their_exact_shares_and_the_order_of_the_plan(copied: Run) -> None:
    run = resettled(copied, split={"train": 0.8, "val": 0.15, "test": 0.05})
    assert pack(run).receipt.splits == {"train": 62, "val": 12, "test": 4}
    ids = {split: table(run, f"data/{split}-*.parquet")["id"].to_pylist() for split in ("train", "val", "test")}
    assert sorted(row for split_ids in ids.values() for row in split_ids) == table_ids(copied) and all(
        split_ids == sorted(split_ids) for split_ids in ids.values()
    )


def table_ids(run: Run) -> list[str]:
    return sorted(row for stage in [run.grid.table(shard, []) for shard in range(run.grid.shards)] for row in kept_ids(stage))


def kept_ids(rows: pa.Table) -> list[str]:
    return [row["id"] for row in rows.to_pylist() if not row["refused_by"] and not row["failed_in"]]


def test_splits_by_person_never_divide_a_person(copied: Run) -> None:
    run = resettled(copied, split={"train": 0.5, "test": 0.5}, split_by="person")
    pack(run)
    persons = {split: set(table(run, f"data/{split}-*.parquet")["person"].to_pylist()) - {None} for split in ("train", "test")}
    assert persons["train"] and persons["test"] and not persons["train"] & persons["test"]


def test_a_split_with_a_share_of_nothing_has_no_file_and_the_set_still_loads(copied: Run, tmp_path: Path) -> None:
    run = resettled(copied, split={"train": 1.0, "val": 0.0})
    assert pack(run).receipt.splits == {"train": 78}
    assert list(load(dataset(run), tmp_path)) == ["train"]


def test_a_split_that_cannot_be_a_file_name_is_refused(copied: Run) -> None:
    with pytest.raises(UserError, match="no name for a split"):
        pack(resettled(copied, split={"a/b": 1.0}))


def test_the_small_stages_have_the_columns_of_the_real_ones(packed: Run) -> None:
    from mals.grid.cells import Grid
    from mals.settings import check as checked

    real = Grid(packed.store, checked({"preset": "tiny"}), packed.grid.plan)
    for name, stage in real.stages.items():
        small = packed.grid.stages[name].adds
        assert {field.name: field.type for field in stage.adds} == {field.name: field.type for field in small}, name


def test_a_run_behind_a_url_packs_to_the_same_bytes(packed: Run) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(str(folder_of(packed)), "/packs/", recursive=True)
    place = "/packs/" + folder_of(packed).name if memory.exists("/packs/" + folder_of(packed).name) else "/packs"
    memory.rm(f"{place}/dataset", recursive=True)
    memory.rm(f"{place}/pack", recursive=True)
    memory.rm(f"{place}/pack.json")
    run = Run.open(f"memory:/{place}")
    pack(run)
    packed_files = {name.removeprefix(f"{place}/dataset/"): memory.cat(name) for name in memory.find(f"{place}/dataset")}
    assert packed_files == files(dataset(packed))
    memory.rm(place, recursive=True)


def test_each_packed_image_carries_the_mark_of_what_made_it(packed: Run) -> None:
    for row in table(packed).to_pylist():
        origin = "generated" if cells.number(row["id"]) % 4 else "image_to_image"
        assert (row["origin"], row["synthetic"]) == (origin, True)
        with Image.open(io.BytesIO(row["image"]["bytes"])) as image:
            assert f"{SOURCE_TYPES[origin]}'" in str(image.getxmp())

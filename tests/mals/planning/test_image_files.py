"""Which files of a folder are images: those whose names say so, and those without a suffix that begin as one."""

from pathlib import Path

import fsspec
import pytest

from mals.errors import UserError
from mals.planning.create import create
from tests.mals.planning.test_ingest import names, plan, rows

BEGINNINGS = {"jpeg": b"\xff\xd8\xff\xe0", "deep/png": b"\x89PNG\r\n", "webp": b"RIFF\0\0\0\0WEBPVP8 ", "heic": b"\0\0\0\x18ftypheic"}


def test_files_without_a_suffix_are_images_by_their_first_bytes(tmp_path: Path) -> None:
    others = {"README": b"no image", "Makefile": b"", "notes/BM": b"BM is how a bitmap begins", "image.thumb": BEGINNINGS["jpeg"]}
    files = {**BEGINNINGS, **others, "jpeg.txt": b"a man"}
    for name, data in files.items():
        (tmp_path / "hashed" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "hashed" / name).write_bytes(data)
    fsspec.filesystem("memory").put(str(tmp_path / "hashed"), "/hashed", recursive=True)
    for at, source in enumerate((tmp_path / "hashed", tmp_path / "hashed" / "**" / "*", "memory://hashed", "memory://hashed/**")):
        receipt = create(tmp_path / f"run{at}", ingest=source)
        planned = rows(tmp_path / f"run{at}")
        assert sorted(names(planned)) == sorted(BEGINNINGS), source
        assert {row["source_name"] for row in planned if row["caption"] == "a man"} == {"jpeg"}
        assert receipt.left_out["without suffix"] == 3 and receipt.left_out[".thumb"] == 1
    assert names(plan(tmp_path, tmp_path / "hashed" / "jpeg")) == ["jpeg"]
    with pytest.raises(UserError, match=r"README is no image, \.tar or \.parquet"):
        plan(tmp_path, tmp_path / "hashed" / "README")

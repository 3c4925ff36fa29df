"""Files and folders that appear whole or not at all."""

import pytest

from mals.files import replacing, replacing_folder, write_file


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_holds_bytes_text_or_what_a_function_writes(tmp_path):
    write_file(tmp_path / "a", b"\xff")
    write_file(tmp_path / "b", "é\n")
    write_file(tmp_path / "c", lambda path: path.write_text("written"))
    assert [(tmp_path / name).read_bytes() for name in names(tmp_path)] == [b"\xff", "é\n".encode(), b"written"]


def test_a_failure_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path):
    write_file(tmp_path / "a", "old")
    with pytest.raises(RuntimeError), replacing(tmp_path / "a") as path:
        path.write_text("half")
        raise RuntimeError
    assert (tmp_path / "a").read_text() == "old" and names(tmp_path) == ["a"]


def test_a_folder_is_replaced_with_all_its_files(tmp_path):
    for texts in ({"one": "1", "two": "2"}, {"three": "3"}):
        with replacing_folder(tmp_path / "folder") as folder:
            for name, text in texts.items():
                (folder / name).write_text(text)
        assert names(tmp_path / "folder") == sorted(texts) and names(tmp_path) == ["folder"]
    with pytest.raises(RuntimeError), replacing_folder(tmp_path / "folder") as folder:
        raise RuntimeError
    assert names(tmp_path / "folder") == ["three"] and names(tmp_path) == ["folder"]

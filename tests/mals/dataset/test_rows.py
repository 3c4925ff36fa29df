"""Packed rows."""

from mals.dataset.rows import without_folders


def test_messages_lose_their_folders_and_nothing_else() -> None:
    assert without_folders("cannot open '/a/b/c.png': No such file") == "cannot open 'c.png': No such file"
    assert without_folders("see https://example.org/a/b and a/b/c, 3/4") == "see https://example.org/a/b and a/b/c, 3/4"

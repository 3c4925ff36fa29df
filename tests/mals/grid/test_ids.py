"""Ids that are all different, and ids that repeat."""

from mals.grid.ids import IdHashes


def test_ids_that_repeat_in_another_block_are_noticed():
    hashes = IdHashes()
    assert hashes.distinct() and len(hashes) == 0
    hashes.add([f"{row:08d}" for row in range(1000)])
    assert hashes.distinct() and len(hashes) == 1000
    hashes.add(["new", "00000007"])
    assert not hashes.distinct() and len(hashes) == 1002

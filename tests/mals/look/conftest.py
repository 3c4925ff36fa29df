"""The small set and the trained method of the tests of pretrain, for the pages that search by one."""

from tests.pretrain.conftest import data, out

__all__ = ["data", "out"]

"""Freed memory stays, in a process of its own: what it sets cannot be taken back."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from pretrain import heap

if sys.argv[1] == "kept":
    assert heap.keep()
for _ in range(3):
    torch.ones(1 << 24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(1 << 24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_a_block_that_was_freed_is_there_for_the_next_of_its_size():
    faults = {how: int(subprocess.check_output([sys.executable, "-c", FAULTS, how])) for how in ("kept", "given back")}
    assert faults["kept"] < faults["given back"] / 3

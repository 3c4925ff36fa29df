"""Memory that a training on a CPU frees stays with it, for the next step.

The C library gives large freed blocks back to the system, which has to clear each page of them anew at the next step: up to half of
a step's time on a virtual machine whose host takes freed pages back as well.
"""

import ctypes
import platform

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # of mallopt in glibc's malloc.h


def keep() -> bool:
    """Have large blocks come from the heap, and the heap never shrink; False where the C library is another than glibc."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(MMAP_MAX, 0) and mallopt(TRIM_THRESHOLD, -1))

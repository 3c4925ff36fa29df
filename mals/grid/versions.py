"""Versions of the libraries that results come from, as receipts and runs record them."""

import platform
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = ("torch", "diffusers", "transformers", "torchao", "controlnet-aux", "opencv-python-headless", "pyarrow")  # distributions


def installed_versions() -> dict[str, str]:
    """Distribution -> version, of mals and its libraries; "not installed" where one is missing."""
    return {name: _version(name) or "not installed" for name in ("mals", *LIBRARIES)}


def environment() -> dict[str, str]:
    """What results can depend on beside the settings: Python, CPU, the libraries, and the GPU where torch is loaded.

    All libraries that are installed, since which of them a process has loaded depends on what it did before.
    """
    libraries = {name: number for name in LIBRARIES if (number := _version(name))}
    cuda = getattr(sys.modules.get("torch"), "cuda", None)  # another thread may be importing it
    gpu = {"gpu": cuda.get_device_name()} if cuda is not None and cuda.is_available() else {}
    return {"python": platform.python_version(), "machine": platform.machine(), "cpu": _cpu(), **libraries, **gpu}


@cache
def _cpu() -> str:
    """The model of the CPU, as Linux names it; elsewhere what Python knows."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        if names := [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]:
            return names[0]
    return platform.processor() or platform.machine()


@cache
def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None

"""Versions of the libraries that results come from, as receipts and runs record them."""

import platform
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = {  # distribution -> the module that it installs
    "torch": "torch",
    "diffusers": "diffusers",
    "transformers": "transformers",
    "controlnet-aux": "controlnet_aux",
    "opencv-python-headless": "cv2",
    "pyarrow": "pyarrow",
}


def installed_versions() -> dict[str, str]:
    """Distribution -> version, of mals and its libraries; "not installed" where one is missing."""
    return {name: _version(name) or "not installed" for name in ("mals", *LIBRARIES)}


def environment() -> dict[str, str]:
    """What results of this process depend on beside the settings: Python, CPU, the libraries that are loaded, and the GPU."""
    loaded = {name: number for name, module in LIBRARIES.items() if module in sys.modules and (number := _version(name))}
    torch = sys.modules.get("torch")
    gpu = {"gpu": torch.cuda.get_device_name()} if torch is not None and torch.cuda.is_available() else {}
    return {"python": platform.python_version(), "machine": platform.machine(), "cpu": _cpu(), **loaded, **gpu}


@cache
def _cpu() -> str:
    """The model of the CPU, as Linux names it; elsewhere what Python knows."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        if names := [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]:
            return names[0]
    return platform.processor() or platform.machine()


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None

"""The reference of the Python API: what `mals` and `pretrain` export, by mkdocstrings."""

import importlib
from collections.abc import Iterator

PACKAGES = ("mals", "pretrain")


def page() -> Iterator[str]:
    """A section for each package, an entry for each name in its `__all__`, where it is defined."""
    yield "# Python API\n\nWhat `import mals` and `import pretrain` offer; everything else may move.\n"
    for package in PACKAGES:
        module = importlib.import_module(package)
        yield f"\n## {package}\n\n{module.__doc__ or ''}\n"
        for name in getattr(module, "__all__", ()):
            exported = getattr(module, name)
            if callable(exported):
                yield f"\n::: {exported.__module__}.{exported.__qualname__}\n    options:\n      heading_level: 3\n"

"""The reference of the Python API: what `mals` exports, how a trained method is used, and the contracts of parts of one's own."""

import mals

METHODS = ("pretrain.load", "pretrain.api.LoadedMethod")
CONTRACTS = ("mals.grid.stage.Stage", "mals.grid.stage.output_batch", "mals.grid.stage.row_seed", "pretrain.method.Method")


def page() -> str:
    """Markdown with an entry for each object, which mkdocstrings fills in."""
    exported = [getattr(mals, name) for name in mals.__all__ if callable(getattr(mals, name))]
    return "".join(
        [
            "# Python API\n\nWhat `import mals` and `import pretrain` offer, and contracts. Everything else may move.\n",
            "\n## mals\n",
            *(entry(f"{value.__module__}.{value.__qualname__}") for value in exported),
            "\n## pretrain\n",
            *(entry(path) for path in METHODS),
            "\n## Parts of your own\n",
            *(entry(path) for path in CONTRACTS),
        ]
    )


def entry(path: str) -> str:
    """The directive for one object."""
    return f"\n::: {path}\n    options:\n      heading_level: 3\n"

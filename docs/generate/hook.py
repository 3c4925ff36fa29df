"""What mkdocs adds to the pages of docs/: the generated references and the images that ship with mals."""

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from docs.generate import api, commands, modules, sets, settings  # noqa: E402

PAGES = {
    "reference/settings.md": settings.page,
    "reference/commands.md": commands.page,
    "reference/api.md": api.page,
    "reference/modules.md": modules.page,
    "sets/index.md": sets.page,
}
IMAGES = ("drawn.jpg", "generated.jpg")


def on_files(files: Files, *, config: Any) -> Files:
    """Called by mkdocs with the files of docs/."""
    for name, page in PAGES.items():
        files.append(File.generated(config, name, content="".join(page())))
    for name in IMAGES:
        files.append(File.generated(config, f"images/{name}", abs_src_path=str(ROOT / "mals" / "world" / name)))
    return files

"""Checks of the places that a long command writes to, before it begins."""

import os
from pathlib import Path


def check_file(file: Path | None, option: str) -> None:
    """Raise UserError where the file cannot be written."""
    from mals.errors import UserError

    if file is None:
        return
    if file.is_dir():
        raise UserError(f"{option} {file}: that is a folder, not a file")
    if not file.parent.is_dir():
        raise UserError(f"{option} {file}: there is no folder {file.parent}")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise UserError(f"{option} {file}: you may not write there")


def check_folder(folder: Path, option: str) -> None:
    """Raise UserError where the folder cannot be made."""
    from mals.errors import UserError

    existing = next(path for path in (folder, *folder.parents) if path.exists() or path == path.parent)
    if existing.is_file():
        raise UserError(f"{option} {folder}: {'that' if existing == folder else existing} is a file, not a folder")

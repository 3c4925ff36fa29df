"""Where the results of a long command go, looked at before it begins."""

import os
from pathlib import Path


def check_file(file: Path | None, option: str) -> None:
    """UserError where a file cannot be written at this place."""
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
    """UserError where there cannot be a folder at this place."""
    from mals.errors import UserError

    there = next(one for one in (folder, *folder.parents) if one.exists() or one == one.parent)
    if there.is_file():
        raise UserError(f"{option} {folder}: {'that' if there == folder else there} is a file, not a folder")

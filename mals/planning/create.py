"""A new run: its settings and its plan."""

from pathlib import Path
from typing import Any

from mals import settings
from mals.config import Config
from mals.errors import UserError
from mals.grid.lock import coordinator
from mals.grid.run import given_settings, save_settings
from mals.grid.store import Store
from mals.planning.table import write_plan

STARTER = Path(__file__).parent / "starter"


def create(
    url: str,
    *,
    captions: Path | None = None,
    count: int | None = None,
    images: Path | None = None,
    preset: str | None = None,
    file: Path | None = None,
    sets: list[str] | None = None,
) -> dict[str, Any]:
    """Plan the run at `url`, and return the plan's receipt; a run that has this very plan is left as it is.

    Raises UserError for bad input, and where the run holds another plan.
    """
    store = Store(url)
    given = given_settings(store) or {}
    if file is not None:
        given = settings.merge(given, read_settings(file))
    if preset is not None:
        given = {"preset": preset, **{key: value for key, value in given.items() if key != "preset"}}
    given = settings.assign(given, sets or [])
    given.setdefault("preset", "tiny")
    config = settings.check(given)
    with coordinator(store):
        store.sweep()
        receipt = write_plan(store, config, captions, count, images)
        save_settings(store, given)
    return receipt


def init(url: str, preset: str = "tiny", count: int = 1200) -> dict[str, Any]:
    """Plan a run of `count` rows at `url` from the captions and the attribute distribution that ship with mals; see `create`."""
    return create(url, captions=STARTER / "starter.txt", count=count, preset=preset, file=STARTER / "starter.yaml")


def settings_of(url: str) -> Config:
    """The settings of the run at `url`, planned or not."""
    store = Store(url)
    given = given_settings(store)
    if given is None:
        raise UserError(f"{url} is not a run; make one with `mals plan {url} --captions FILE`")
    return settings.check(given, f"{url}/mals.yaml")


def read_settings(file: Path) -> dict[str, Any]:
    """The tree of a settings file; UserError where it cannot be read."""
    try:
        return settings.parse(file.read_text(encoding="utf-8"), str(file))
    except FileNotFoundError:
        raise UserError(f"there is no settings file {file}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read as settings: {error}") from None

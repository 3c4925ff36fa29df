"""A new run: its settings and its plan."""

from pathlib import Path

from mals import settings
from mals.grid.cells import build_stages, check_needs
from mals.grid.lock import coordinator
from mals.grid.plan import PlanReceipt
from mals.grid.run import save_settings, user_settings
from mals.grid.store import Store
from mals.planning.caption_files import AS_IT_IS, CaptionsForm
from mals.planning.table import PLAN, CaptionsSource, write_plan

STARTER = Path(__file__).parent / "starter"


def create(
    url: str | Path,
    *,
    captions: Path | None = None,
    count: int | None = None,
    images: Path | None = None,
    form: CaptionsForm = AS_IT_IS,
    preset: str | None = None,
    file: Path | None = None,
    assignments: list[str] | None = None,
) -> PlanReceipt:
    """Plan the run at `url`, and return the receipt of the plan; a run that has this very plan is left as it is.

    captions: a captions file; without one, the settings need plan.attributes. count: rows, for which the captions repeat with new seeds.
    images: the folder of the images that the captions file names, for image-to-image; that of the file itself where it is not named. form:
    the file's encoding, and the names of its columns, where they differ from ours. preset, file (YAML) and assignments
    ("a.b=c") are settings, the later above the earlier. Raises UserError for bad input, and where the run holds another plan.
    """
    store = Store(str(url))
    tree = user_settings(store) or {}
    if file is not None:
        tree = settings.merge(tree, settings.read_file(file))
    if preset is not None:
        tree = {"preset": preset, **{key: value for key, value in tree.items() if key != "preset"}}  # first in mals.yaml
    tree = settings.assign(tree, assignments or [])
    tree.setdefault("preset", "tiny")
    config = settings.check(tree)
    if config.stages:
        check_needs(build_stages(config), PLAN.names)
    with coordinator(store):
        store.sweep()
        receipt = write_plan(store, config, CaptionsSource(captions, count, images, form))
        save_settings(store, tree)
    return receipt


def init(url: str | Path, preset: str = "tiny", count: int = 1200) -> PlanReceipt:
    """`mals init`: plan a run of `count` rows at `url` from the starter captions and attribute distribution of mals; see `create`."""
    return create(url, captions=STARTER / "starter.txt", count=count, preset=preset, file=STARTER / "starter.yaml")

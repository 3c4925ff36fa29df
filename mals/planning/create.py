"""A new run: its settings and its plan."""

from pathlib import Path
from typing import Any

from mals import settings
from mals.errors import UserError
from mals.grid.cells import build_stages, check_needs
from mals.grid.lock import coordinator
from mals.grid.plan import IngestRequest, PlanReceipt
from mals.grid.run import save_settings, user_settings
from mals.grid.store import Store
from mals.planning.caption_files import AS_IT_IS, CaptionsForm
from mals.planning.image_source import is_url
from mals.planning.ingest import INGEST_PLAN, plan_images
from mals.planning.table import CaptionsSource, plan_schema, write_plan

STARTER = Path(__file__).parent / "starter"


def create(
    url: str | Path,
    *,
    captions: str | Path | None = None,
    count: int | None = None,
    images: str | Path | None = None,
    form: CaptionsForm = AS_IT_IS,
    preset: str | None = None,
    file: str | Path | None = None,
    assignments: list[str] | None = None,
    ingest: str | Path | None = None,
    person_from: str | None = None,
    origin: str | None = None,
    limit: int | None = None,
    shuffle: int | None = None,
) -> PlanReceipt:
    """Plan the run at `url`, and return the receipt of the plan; a run that has this very plan is left as it is.

    captions: a captions file; without one, the settings need plan.attributes. count: rows, for which the captions repeat with new seeds.
    images: the folder of the images that the captions file names, for image-to-image; that of the file itself where it is not named. form:
    the file's encoding, and the names of its columns, where they differ from ours. preset, file (YAML) and assignments
    ("a.b=c") are settings, the later above the earlier. ingest: images that exist, in place of captions: a folder, a pattern, Parquet
    files, WebDataset tars, or a packed set; person_from: "folder", or the column with the identities; origin: what made all of them, if
    they do not say it; limit: rows, at most; shuffle: the seed of their order. Raises UserError for bad input, and where the run holds
    another plan.
    """
    request = None
    if ingest is not None:
        if captions or images or count is not None:
            raise UserError("--ingest takes images as they are, and no --captions, --count or --images; --limit takes a part of them")
        request = _request(str(ingest), form, person_from=person_from, origin=origin, limit=limit, shuffle=shuffle)
    elif any(option is not None for option in (person_from, origin, limit, shuffle)):
        raise UserError("--person-from, --origin, --limit and --shuffle are for images that exist; give them with --ingest")
    store = Store(str(url))
    tree = user_settings(store) or {}
    if file is not None:
        tree = settings.merge(tree, settings.read_file(Path(file)))
    if preset is not None:
        tree = {"preset": preset, **{key: value for key, value in tree.items() if key != "preset"}}  # first in mals.yaml
    tree = settings.assign(tree, assignments or [])
    tree.setdefault("preset", "tiny")
    if request:
        tree["source"] = "ingest"
    config = settings.check(tree)
    if config.stages:
        check_needs(build_stages(config), (INGEST_PLAN if request else plan_schema(config.plan)).names)
    with coordinator(store):
        store.sweep()
        if request:
            receipt = plan_images(store, config, request)
        elif config.source == "ingest":
            raise UserError("the settings say source: ingest; give the images with --ingest, or set source=generate")
        else:
            receipt = write_plan(store, config, CaptionsSource(_path(captions), count, _path(images), form))
        save_settings(store, tree)
    return receipt


def _request(source: str, form: CaptionsForm, **options: Any) -> IngestRequest:
    """The images that --ingest names, by an absolute path, so that the same command from another folder is another request."""
    if form.encoding or form.id_column:
        raise UserError("--encoding and --id-column are for captions files; --ingest takes --image-column and --caption-column")
    source = source.removeprefix("file://")
    source = source if is_url(source) else str(Path(source).expanduser().absolute())
    return IngestRequest(source=source, image_column=form.image_column, caption_column=form.caption_column, **options)


def _path(name: str | Path | None) -> Path | None:
    return None if name is None else Path(name)


def init(url: str | Path, preset: str = "tiny", count: int = 1200) -> PlanReceipt:
    """`mals init`: plan a run of `count` rows at `url` from the starter captions and attribute distribution of mals; see `create`."""
    return create(url, captions=STARTER / "starter.txt", count=count, preset=preset, file=STARTER / "starter.yaml")

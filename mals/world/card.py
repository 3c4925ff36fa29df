"""The README.md and croissant.json of a benchmark from the world: every number in them follows from the world or was counted on the way."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mals.attributes import load_space
from mals.dataset import croissant as described
from mals.dataset.card import front, percent, splits_of, template
from mals.dataset.features import Columns
from mals.world.camera import CAMERAS

if TYPE_CHECKING:
    from mals.world.make import World

LICENSE = "apache-2.0"  # as the program that draws it
TAGS = ["synthetic", "person-retrieval", "person-re-identification", "attribute-recognition", "procedural", "mals", "croissant"]


@dataclass(frozen=True)
class Facts:
    """What both are made from."""

    world: "World"
    columns: Columns
    files: list[dict[str, Any]]  # receipts of the Parquet files

    @property
    def name(self) -> str:
        return f"World {self.world.seed}: {self.world.persons:,} drawn pedestrians"

    def total(self, count: str) -> int:
        return sum(file["counts"][count] for file in self.files)

    def attributes(self) -> list[dict[str, Any]]:
        """One line an attribute: its values and their shares in percent."""
        rows = []
        for name, values in load_space("market1501").classes.items():
            first = sum(file["counts"]["first"][name] for file in self.files)
            shares = [percent(first, self.world.rows), percent(self.world.rows - first, self.world.rows)]
            rows.append({"name": name, "values": values, "shares": shares})
        return rows


def render(facts: Facts) -> str:
    """The card's whole text."""
    world = facts.world
    splits = [split | {"persons": world.split[split["name"]]} for split in splits_of(facts.files, "default")]
    return template("world.md").render(
        front=front(facts.name, LICENSE, "en", world.rows, {"default": facts.columns}, facts.files, TAGS),
        name=facts.name,
        license=LICENSE,
        world=world,
        splits=splits,
        cameras=min(world.views, CAMERAS),
        all_cameras=CAMERAS,
        captions=2 * world.rows,
        words=facts.total("words") / (2 * world.rows),
        walking=facts.total("walking"),
        attributes=facts.attributes(),
    )


def croissant(facts: Facts) -> str:
    """croissant.json."""
    world = facts.world
    metadata = {
        "name": facts.name,
        "description": f"{world.rows:,} drawn pictures of {world.persons:,} invented persons, with captions, 27 attributes and keypoints.",
        "license": [LICENSE],
        "keywords": TAGS,
        "in_language": ["en"],
        "data_collection": f"{world.rows:,} pictures were drawn by a program from the seed {world.seed}; no camera took any.",
        "data_collection_type": ["Software Collection"],
        "data_annotation_protocol": ["Captions, attributes, keypoints and boxes are known to the program that draws; nothing is guessed."],
        "annotations_per_item": "two captions, one set of attributes, keypoints and a box",
        "machine_annotation_tools": ["mals.world"],
        "data_biases": ["Shares of attributes are those that the program draws with; the card's attribute table tells them."],
        "data_limitations": ["Drawn people look like no photograph; a score here says little of scores on photographs."],
        "data_use_cases": ["Tests and comparisons of text-based person search and attribute recognition where no photographs are at hand."],
        "data_social_impact": "Nobody in it exists. It must not be used to identify or to search for real people.",
        "personal_sensitive_information": ["None: the persons are drawn from random numbers."],
        "data_release_maintenance_plan": "The same command makes the same bytes; another version of the program is another data set.",
    }
    return described.text(metadata, {"default": facts.columns}, facts.files)

"""README.md and croissant.json of a data set drawn from the world; every number follows from the settings or was counted in the rows."""

from dataclasses import dataclass
from typing import Any

from mals.attributes import load_space
from mals.dataset.card import front_matter, load_template, percent, split_sizes
from mals.dataset.croissant import croissant_json
from mals.dataset.features import Columns
from mals.dataset.receipts import FileReceipt
from mals.world.camera import CAMERAS
from mals.world.rows import CAPTIONS, SPACE
from mals.world.settings import WorldSettings

LICENSE = "apache-2.0"  # as the program that draws the images
TAGS = ["synthetic", "person-retrieval", "person-re-identification", "attribute-recognition", "procedural", "mals", "croissant"]


@dataclass(frozen=True)
class WorldCardFacts:
    """What README.md and croissant.json are written from."""

    world: WorldSettings
    columns: Columns
    files: list[FileReceipt]

    @property
    def name(self) -> str:
        return f"World {self.world.seed}: {self.world.persons:,} drawn pedestrians"

    def total(self, count: str) -> int:
        """The sum of one count over all files."""
        return sum(file.counts[count] for file in self.files)

    def attributes(self) -> list[dict[str, Any]]:
        """Name, values and shares of the values in percent, of each attribute."""
        rows = []
        for name, values in load_space(SPACE).classes.items():
            first = sum(file.counts["first"][name] for file in self.files)
            shares = [percent(first, self.world.rows), percent(self.world.rows - first, self.world.rows)]
            rows.append({"name": name, "values": values, "shares": shares})
        return rows


def render(facts: WorldCardFacts) -> str:
    """The text of README.md."""
    world = facts.world
    persons = world.persons_per_split()
    splits = [{**split, "persons": persons[split["name"]]} for split in split_sizes(facts.files, "default")]
    return load_template("world.md").render(
        front=front_matter(
            name=facts.name,
            license=LICENSE,
            language="en",
            rows=world.rows,
            columns={"default": facts.columns},
            files=facts.files,
            tags=TAGS,
        ),
        name=facts.name,
        license=LICENSE,
        world=world,
        splits=splits,
        cameras=min(world.views + world.queries, CAMERAS),
        all_cameras=CAMERAS,
        captions=CAPTIONS * world.rows,
        words=facts.total("words") / (CAPTIONS * world.rows),
        walking=facts.total("walking"),
        attributes=facts.attributes(),
    )


def croissant(facts: WorldCardFacts) -> str:
    """The text of croissant.json."""
    world = facts.world
    metadata = {
        "name": facts.name,
        "description": f"{world.rows:,} drawn images of {world.persons:,} invented persons, with captions, 27 attributes and keypoints.",
        "license": [LICENSE],
        "keywords": TAGS,
        "in_language": ["en"],
        "data_collection": f"{world.rows:,} images were drawn by a program from the seed {world.seed}; no camera took any of them.",
        "data_collection_type": ["Software Collection"],
        "data_annotation_protocol": ["Captions, attributes, keypoints and boxes are known to the program that draws; none is an estimate."],
        "annotations_per_item": "two captions, one set of attributes, keypoints and a box",
        "machine_annotation_tools": ["mals.world"],
        "data_biases": ["Shares of attributes are those that the program draws with; they are in the attribute table of README.md."],
        "data_limitations": ["Drawn people do not look like photographs; a score here says little about scores on photographs."],
        "data_use_cases": ["Tests and comparisons of text-based person search and attribute recognition without photographs."],
        "data_social_impact": "The persons do not exist. The data set must not be used to identify or to search for real people.",
        "personal_sensitive_information": ["None: the persons are drawn from random numbers."],
        "data_release_maintenance_plan": "The same command makes the same bytes; another version of the program makes another data set.",
    }
    return croissant_json(metadata, {"default": facts.columns}, facts.files, has_synthetic_data=True)

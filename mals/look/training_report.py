"""The pages of a training as files: its curves, and the best and worst queries of its method."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mals.look.app import static_file
from mals.look.pages import Pages
from mals.look.report import FOLDER, INDEX, STATIC, FileLinks, write_images
from mals.look.training import Training
from mals.look.views import training_page


@dataclass(frozen=True)
class QueryHit:
    """An image that a query found."""

    image: int  # its number in the gallery
    name: str
    score: float
    right: bool  # it shows the person of the query


@dataclass(frozen=True)
class QueryCase:
    """A caption as a query."""

    caption: str
    rank: int  # of the first right image, from 1
    first: QueryHit  # that image
    hits: tuple[QueryHit, ...]  # the best ones


@dataclass(frozen=True)
class QueryCases:
    """The queries of a split that a method answers best and worst."""

    best: list[QueryCase]
    worst: list[QueryCase]
    data: str  # the data sets and the split
    queries: int  # that have a right image
    images: int
    first: int  # queries whose first image is right


class TrainingLinks(FileLinks):
    """The names of the files of a training's report."""

    def __init__(self) -> None:
        super().__init__({})

    def page(self, name: str, **parameters: object) -> str:
        return "index.html" if name == "training" else f"{name}.html"


def write(training: Training, cases: QueryCases | None, image: Callable[[int], bytes | None], others: Sequence[Training] = ()) -> str:
    """Write the pages into the folder `report` of a training, with the curves of `others` over its own; the URL of the first one.

    `image` gives the encoded image with a number of the gallery that `cases` are of.
    """
    store, links = training.store, TrainingLinks()
    screens = [("training", "Training"), *([("queries", "Queries")] if cases else [])]
    pages = Pages(links, training.title, screens)
    files = {"index.html": pages.render("training.html", screen="training", **training_page([training, *others]))}
    if cases is not None:
        files["queries.html"] = pages.render("queries.html", screen="queries", cases=cases)
    for name, html in files.items():
        store.commit(f"{FOLDER}/{name}", html.encode())
    for name in STATIC:
        store.commit(f"{FOLDER}/{name}", static_file(name))
    write_images(store, links.shown, image)
    return f"{store.url.rstrip('/')}/{INDEX}"

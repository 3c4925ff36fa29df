"""The images of each identity, and how well they agree: the numbers of the stage `identity`, and labels against those of most images."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mals.errors import UserError
from mals.look.query import Where, select
from mals.look.source import KEPT, STATE, Source
from mals.stages.persons import Persons, agreements

PAGE = 24  # persons of one page
STRIP = 8  # images of each person there
MOST = 240  # images of the page of one person
NUMBERS = ("identity_agreement", "identity_similarity")  # of the stage identity
ORDERS = {"images": "most images first", "agreement": "least agreement first", "plan": "order of the plan"}


@dataclass(frozen=True)
class Person:
    """One identity."""

    name: str
    row: int  # its first image, whose number is in the address of its page
    images: int
    kept: int
    numbers: dict[str, float | None]  # the least of each number of the stage identity, of those that the source has
    rows: tuple[int, ...]  # its first images


@dataclass(frozen=True)
class PersonList:
    """One page of identities."""

    persons: list[Person]
    total: int


@dataclass(frozen=True)
class LabelAgreement:
    """One attribute over the images of a person."""

    attribute: str
    value: str  # that most images have; empty for a tie
    counts: dict[str, int]  # value -> images; unknown is not among them
    others: list[int]  # rows with another known value


def numbers_of(source: Source) -> list[str]:
    """The numbers of the stage identity that a source has."""
    return [name for name in NUMBERS if name in source.columns]


def listed(source: Source, order: str, number: int) -> PersonList:
    """The page of identities with this number, from 0; UserError for an order that there is not."""
    if order not in ORDERS:
        raise UserError(f"there is no order {order!r}; there are {', '.join(ORDERS)}")

    def ask() -> PersonList:
        measures = numbers_of(source)
        least = "".join(f", min({name})" for name in measures)
        by = {"images": "images DESC", "agreement": ", ".join(f"min({name})" for name in measures) or "images DESC", "plan": "first"}[order]
        columns = ["person", STATE, *measures]
        sql = f"""SELECT person, min(row) AS first, count(*) AS images, count(*) FILTER ({STATE} = '{KEPT}'){least}, count(*) OVER ()
            FROM rows WHERE person IS NOT NULL GROUP BY person ORDER BY {by}, first LIMIT {PAGE:d} OFFSET {number * PAGE:d}"""
        lines = select(source, sql, columns=columns)
        strips = _strips(source, [line[0] for line in lines])
        persons = [
            Person(name, first, images, kept, dict(zip(measures, more, strict=True)), strips[name])
            for name, first, images, kept, *more, _ in lines
        ]
        return PersonList(persons, lines[0][-1] if lines else 0)

    return source.cached(("persons", order, number), ask)


def _strips(source: Source, names: list[str]) -> dict[str, tuple[int, ...]]:
    """Person -> its first rows."""
    sql = f"SELECT person, list(row ORDER BY row)[:{STRIP}] FROM rows WHERE person IN (SELECT unnest(?::VARCHAR[])) GROUP BY person"
    return {name: tuple(rows) for name, rows in select(source, sql, Where(values=[names]), ["person"])}


def person_of(source: Source, row: int) -> tuple[str, list[int]]:
    """The person of a row, and all its rows; UserError where the row has none."""
    (line,) = source.take([row], ["person"])
    if line["person"] is None:
        raise UserError(f"the row {row} has no person")
    rows = select(source, "SELECT row FROM rows WHERE person = ? ORDER BY row", Where(values=[line["person"]]), ["person"])
    return line["person"], [number for (number,) in rows]


def label_agreement(source: Source, rows: list[int]) -> tuple[list[LabelAgreement], dict[int, float | None]]:
    """Each attribute over the rows of a person, and for each row its share of labels that equal those of most rows."""
    width = len(source.attributes)
    lines = [line["attributes"] or [-1] * width for line in source.take(rows, ["attributes"])]
    labels = np.array(lines, np.int8).reshape(len(rows), width)
    persons = Persons(width)
    persons.add(["person"] * len(rows), labels)
    consensus = persons.consensus()[0] if len(rows) else np.full(width, -1, np.int8)
    shares = agreements(labels, np.broadcast_to(consensus, labels.shape))
    result = []
    for place, (name, values) in enumerate(source.attributes.items()):
        counts = {value: int((labels[:, place] == number).sum()) for number, value in enumerate(values)}
        common: Any = consensus[place]
        others = [row for row, label in zip(rows, labels[:, place], strict=True) if common >= 0 and label >= 0 and label != common]
        if any(counts.values()):
            result.append(LabelAgreement(name, values[common] if common >= 0 else "", counts, others))
    return result, dict(zip(rows, shares, strict=True))

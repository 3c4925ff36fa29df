"""What each screen shows, as values for its template; the pages of the server and of the report are made from the same."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import pyarrow as pa

from mals.dataset.card import attribute_shares
from mals.errors import UserError
from mals.grid.receipt import PACK_RECEIPT
from mals.look import balance as balances
from mals.look import captions, curves, duplicates, persons, thresholds
from mals.look.query import PAGE, Filters, numbers, page, select
from mals.look.receipts import activity
from mals.look.rules import Threshold
from mals.look.run_source import RunSource
from mals.look.search import COUNTS, SearchMethod, SearchQuery, SearchResult
from mals.look.set_source import SetSource
from mals.look.source import KEPT, REASON, STAGE, STATE, STATES, Source
from mals.look.training import Training, names_of

Values = dict[str, Any]
VERDICTS = {None: "", True: "keep", False: "reject"}
FIRST = 24  # images on the overview
CAPTION_ROWS = 12  # rows of one page of captions
EVIDENCE = 4  # words that are shown with a hit
CODES = ("attributes", "wanted", "attribute_source", "captions")  # columns of an image page that have a table of their own


@dataclass(frozen=True)
class Cell:
    """An image of a grid."""

    row: int
    id: str
    caption: str
    state: str
    reason: str
    number: str  # what the rows are sorted by; empty where they are not
    verdict: str = ""  # of a person: "keep", "reject"; empty where there is none
    at: int | None = None  # its place among all rows that fit the filters


def screens(source: Source) -> list[tuple[str, str]]:
    """The screens of a source: the name in the address, and the title."""
    titles = {
        "overview": "Overview",
        "thresholds": "Thresholds",
        "images": "Images",
        "captions": "Captions",
        "balance": "Balance",
        "persons": "Persons",
        "duplicates": "Near-duplicates",
    }
    absent = set()
    if source.kind != "run":
        absent.add("thresholds")
    if not source.attributes or "attributes" not in source.columns:
        absent.add("balance")
    if "caption" not in source.columns:
        absent.add("captions")
    if "person" not in source.columns:
        absent.add("persons")
    if not duplicates.has_duplicates(source):
        absent.add("duplicates")
    return [(name, title) for name, title in titles.items() if name not in absent]


def cells(source: Source, rows: list[int], number: str = "", first: int | None = None) -> list[Cell]:
    """The images of rows, in their order; `first` is the place of the first one."""
    names = [name for name in dict.fromkeys(("id", "caption", STATE, REASON, number)) if name in source.columns]
    lines, verdicts = source.take(rows, names), source.verdicts()
    return [
        Cell(
            row,
            str(line["id"]),
            line.get("caption") or "",
            line[STATE],
            line[REASON] or "",
            digits(line.get(number)) if number else "",
            VERDICTS[verdicts.get(str(line["id"]))],
            None if first is None else first + place,
        )
        for place, (row, line) in enumerate(zip(rows, lines, strict=True))
    ]


def digits(value: Any) -> str:
    """A number for a reader, with four significant digits."""
    if isinstance(value, bool) or value is None:
        return "–" if value is None else str(value).lower()
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if isinstance(value, float) else str(value)


def overview(source: Source) -> Values:
    """The funnel of a run, or the size of a set, and its first images."""
    return {"first": cells(source, source.first_kept(FIRST)), **live(source)}


def live(source: Source) -> Values:
    """The part of the overview that changes while a run goes on."""
    if isinstance(source, RunSource):
        lines = source.receipts.lines(source.fingerprints)
        return {
            "planned": source.rows,
            "preset": source.run.config.preset,
            "stages": lines,
            "kept": lines[-1].kept,
            "complete": all(line.done == line.shards for line in lines),
            "packed": source.run.store.size(PACK_RECEIPT) is not None,
            "activity": activity(source.run.store),
            "verdicts": Counter(VERDICTS[keep] for keep in source.verdicts().values()),
            "unreadable": dict(source.unreadable),
            "nodes": source.receipts.nodes(),
        }
    values: Values = {"planned": source.rows, "columns": source.columns, "unreadable": dict(source.unreadable)}
    return values | ({"splits": source.splits()} if isinstance(source, SetSource) else {})


def threshold_page(source: Source, name: str, least: float | None, greatest: float | None, changed: bool) -> Values:
    """All thresholds, and what other limits of one would do; `changed`: limits were given, in place of those of the settings."""
    if not isinstance(source, RunSource):
        raise UserError("only a run has thresholds")
    lines = thresholds.lines(source)
    if not lines:
        return {"lines": [], "line": None}
    line = next((line for line in lines if line.name == name), None)
    if line is None and name:
        raise UserError(f"there is no threshold {name!r} in this run")
    line = line or max(lines, key=lambda line: line.refused)
    threshold = line.threshold
    if not changed:
        least, greatest = line.least, line.greatest
    least, greatest = least if threshold.least else None, greatest if threshold.greatest else None
    effect = thresholds.effect(source, threshold, least, greatest)
    near = {side: _nearest(source, getattr(effect, f"{side}_nearest"), threshold) for side in ("kept", "refused")}
    return {
        "lines": lines,
        "line": line,
        "least": least,
        "greatest": greatest,
        "histogram": thresholds.histogram(source, threshold),
        "effect": effect,
        "nearest": near,
        "overlap": thresholds.overlap(source),
        "command": thresholds.command(source.title, threshold, least, greatest, (line.least, line.greatest)),
    }


def _nearest(source: RunSource, rows: list[tuple[int, float]], threshold: Threshold) -> list[Cell]:
    values = dict(rows)
    return [Cell(**{**asdict(cell), "number": digits(float(values[cell.row]))}) for cell in cells(source, [*values])]


def image_page(source: Source, filters: Filters, number: int) -> Values:
    """One page of the images that fit the filters."""
    result = page(source, filters, number)
    if result.total and not result.rows:  # a page that there is no more: the last one
        number = (result.total - 1) // PAGE
        result = page(source, filters, number)
    return {
        "filters": filters,
        "query": query_of(filters),
        "cells": cells(source, result.rows, filters.number, number * PAGE),
        "total": result.total,
        "page": number,
        "pages": max(1, -(-result.total // PAGE)),
        "first": number * PAGE + 1,
        "numbers": numbers(source),
        "states": STATES,
        "reasons": reasons(source),
        "stages": list(source.grid.stages) if isinstance(source, RunSource) else [],
        "attributes": source.attributes if "attributes" in source.columns else {},
        "has": source.columns,
    }


def reasons(source: Source) -> list[tuple[str, int]]:
    """Every reason for which rows were refused, with the rows, the commonest first."""
    if source.kind != "run":
        return []
    return source.cached(
        "reasons", lambda: select(source, "SELECT reason, count(DISTINCT row) FROM refusals GROUP BY 1 ORDER BY 2 DESC, 1")
    )


def query_of(filters: Filters) -> dict[str, Any]:
    """The filters that are set, as parameters of an address."""
    values = {field.name: getattr(filters, field.name) for field in fields(filters) if getattr(filters, field.name) != field.default}
    return {("attribute" if name == "attributes" else name): int(value) if value is True else value for name, value in values.items()}


def one_image(source: Source, row: int, filters: Filters, at: int | None) -> Values:
    """Everything that is known about a row; its neighbours are those among the rows that fit the filters."""
    (values,) = source.take([row], list(source.columns))
    limits = {}
    if isinstance(source, RunSource):
        for line in thresholds.THRESHOLDS:
            if len(line.columns) == 1 and line.stage in source.grid.stages:
                limits[line.columns[0]] = (line, *line.limits(source.run.config))
    plain = {name: value for name, value in values.items() if name not in (*CODES, STATE, STAGE, REASON, "id", "caption")}
    return {
        "row": row,
        "id": str(values["id"]),
        "state": values[STATE],
        "stage": values[STAGE],
        "reason": values[REASON],
        "refusals": source.reasons_of(row),
        "texts": captions.texts(values),
        "labels": _labels(source, values),
        "measures": [(name, digits(value), limits.get(name)) for name, value in plain.items() if isinstance(value, int | float)],
        "others": [(name, value) for name, value in plain.items() if value is not None and not isinstance(value, int | float)],
        "query": query_of(filters),
        "at": at,
        "person": values.get("person") or "",
        "verdict": VERDICTS[source.verdicts().get(str(values["id"]))],
        **_neighbours(source, filters, at),
    }


def _neighbours(source: Source, filters: Filters, at: int | None) -> Values:
    """The rows before and after place `at` of those that fit the filters."""
    if at is None:
        return {"before": None, "after": None}
    around = {place: page(source, filters, place, 1).rows for place in (at - 1, at + 1) if place >= 0}
    return {name: next(iter(around.get(place, [])), None) for name, place in (("before", at - 1), ("after", at + 1))}


def _labels(source: Source, values: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Attribute, the requested value, the label, and how that is known; attributes of which nothing is known are left out."""
    lines = []
    for number, (name, names) in enumerate(source.attributes.items()):
        label, requested = (_label(values.get(column), number, names) for column in ("attributes", "wanted"))
        known = values.get("attribute_source")
        if label or requested:
            lines.append((name.replace("_", " "), requested, label, (known[number] or "") if known else ""))
    return lines


def _label(labels: list[int] | None, number: int, names: list[str]) -> str:
    return names[labels[number]] if labels and labels[number] is not None and labels[number] >= 0 else ""


def caption_page(source: Source, number: int) -> Values:
    """The captioners, and rows with all their captions."""
    result = page(source, Filters(state=KEPT), number, CAPTION_ROWS)
    lines = source.take(result.rows, captions.columns(source))
    rows = [(row, str(line["id"]), captions.texts(line)) for row, line in zip(result.rows, lines, strict=True)]
    return {
        "captioners": captions.captioners(source) if result.total else [],
        "rows": rows,
        "sample": captions.SAMPLE,
        "page": number,
        "pages": max(1, -(-result.total // CAPTION_ROWS)),
    }


def balance_page(source: Source) -> Values:
    """Shares of all attribute values, and pairs that come together more or less often than by chance."""
    result = balances.balance(source)
    often, rarely = balances.pairs(result, source.attributes)
    shares = list(zip(attribute_shares(result.attributes, source.attributes), result.attributes, strict=True))
    return {"rows": result.rows, "shares": shares, "requested": result.requested, "often": often, "rarely": rarely}


def persons_page(source: Source, order: str, number: int) -> Values:
    """One page of the identities, with their first images."""
    result = persons.listed(source, order, number)
    of = {cell.row: cell for cell in cells(source, [row for person in result.persons for row in person.rows])}
    return {
        "persons": [(person, [of[row] for row in person.rows]) for person in result.persons],
        "total": result.total,
        "numbers": persons.numbers_of(source),
        "orders": persons.ORDERS if persons.numbers_of(source) else {"images": persons.ORDERS["images"], "plan": persons.ORDERS["plan"]},
        "order": order,
        "page": number,
        "pages": max(1, -(-result.total // persons.PAGE)),
    }


def person_page(source: Source, row: int) -> Values:
    """All images of the person of a row, with the numbers of their agreement."""
    name, rows = persons.person_of(source, row)
    shown = rows[: persons.MOST]
    names = [name for name in (*persons.NUMBERS, "agree_score", "camera") if name in source.columns]
    values = dict(zip(shown, source.take(shown, names), strict=True))
    labels, shares = persons.label_agreement(source, shown) if "attributes" in source.columns and source.attributes else ([], {})
    images = cells(source, shown)
    lines = [
        (cell, [*([("labels in common", shares[cell.row])] if shares else []), *((name, values[cell.row][name]) for name in names)])
        for cell in images
    ]
    return {
        "name": name,
        "rows": len(rows),
        "kept": sum(cell.state == KEPT for cell in images),
        "lines": [(cell, [(name, digits(value)) for name, value in numbers if value is not None]) for cell, numbers in lines],
        "labels": labels,
    }


def duplicates_page(source: Source, number: int) -> Values:
    """One page of near-duplicates, pair by pair."""
    if not isinstance(source, RunSource) or not duplicates.has_duplicates(source):
        raise UserError("only a run with a section dedup has near-duplicates")
    result = duplicates.listed(source, number)
    rows = dict.fromkeys(row for pair in result.pairs for row in (pair.row, pair.kept) if row is not None)
    of = dict(zip(rows, cells(source, list(rows)), strict=True))
    settings = source.run.config.dedup
    return {
        "pairs": [(pair, of[pair.row], None if pair.kept is None else of[pair.kept]) for pair in result.pairs],
        "total": result.total,
        "clusters": result.clusters,
        "limits": None if settings is None else (settings.distance, settings.similarity),
        "page": number,
        "pages": max(1, -(-result.total // duplicates.PAGE)),
    }


def search_page(source: Source, methods: Sequence[SearchMethod], query: SearchQuery, count: int) -> Values:
    """What each method finds for a query: its results, or the sentence that says why it has none."""
    columns = []
    for method in methods:
        state = method.state()
        column: Values = {"name": method.name, "state": state, "results": [], "problem": state.problem}
        if state.ready and not query.empty:
            try:
                column["results"] = [_search_result(source, result) for result in method.search(query, count)]
            except UserError as error:
                column["problem"] = str(error)
        columns.append(column)
    attributes: dict[str, list[str]] = {}
    for method in methods:
        attributes |= {name: list(values) for name, values in method.attributes.items()}
    return {
        "columns": columns,
        "ready": all(column["state"].ready or column["problem"] for column in columns),
        "query": query,
        "count_of_hits": count,
        "counts": COUNTS,
        "attributes": attributes,
    }


def _search_result(source: Source, result: SearchResult) -> Values:
    """A result with the images of its hits, and the words with how they change the scores, the strongest first for each hit."""
    hits = []
    for cell, hit in zip(cells(source, [hit.row for hit in result.hits]), result.hits, strict=True):
        strongest = sorted(zip(result.words, hit.words, strict=True), key=lambda pair: -abs(pair[1]))[:EVIDENCE] if hit.words else []
        hits.append((Cell(**{**asdict(cell), "number": f"{hit.score:.4f}"}), strongest))
    means = [result.mean(place) for place in range(len(result.words))] if result.hits else []
    greatest = max(map(abs, means), default=0) or 1
    words = [(word, mean, round(3 * mean / greatest)) for word, mean in zip(result.words, means, strict=False)]
    return {"title": result.title, "hits": hits, "words": words, "note": result.note}


def training_page(trainings: Sequence[Training]) -> Values:
    """Where each training stands, and the curves of all over each other."""
    for training in trainings:
        training.refresh()
    scores = dict.fromkeys(name for training in trainings for line in training.evaluations for name in line if name not in curves.NO_SCORES)
    lines = [
        _training_line(training, name)
        for training, name in zip(trainings, names_of([training.title for training in trainings]), strict=True)
    ]
    return {"trainings": lines, "charts": curves.charts(trainings), "scores": list(scores)}


def _training_line(training: Training, name: str) -> Values:
    best: dict[str, tuple[float, int]] = {}
    for line in training.evaluations:
        for score, value in line.items():
            if score not in curves.NO_SCORES and (score not in best or value > best[score][0]):
                best[score] = (value, line["step"])
    last = training.metrics[-1] if training.metrics else {}
    settings = training.settings
    steps = settings.get("steps") if isinstance(settings.get("steps"), int) else None
    method = str(settings.get("method", ""))
    return {
        "name": name,
        "state": training.state,
        "method": method,
        "step": last.get("step", 0),
        "steps": steps,
        "last": last,
        "best": best,
    }


def column_kinds(source: Source) -> list[tuple[str, str]]:
    """Column -> its type, for people."""
    return [(name, _kind(kind)) for name, kind in source.columns.items()]


def _kind(kind: pa.DataType) -> str:
    return "list" if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) else "struct" if pa.types.is_struct(kind) else str(kind)

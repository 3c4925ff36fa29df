"""Templates to HTML: the same ones for the server, whose addresses have parameters, and for the report, whose pages are files."""

import shlex
from typing import Any, Protocol
from urllib.parse import urlencode

import jinja2

from mals.look.views import digits

FACTORS = ((90, 1, "s"), (5400, 60, "min"), (172_800, 3600, "h"))  # seconds up to which a unit is used


class Links(Protocol):
    """The addresses of pages and files."""

    live: bool  # there is a server that answers forms

    def page(self, name: str, **parameters: Any) -> str: ...

    def image(self, row: int, **parameters: Any) -> str: ...

    def person(self, row: int) -> str: ...

    def thumbnail(self, row: int) -> str: ...

    def whole(self, row: int) -> str: ...

    def file(self, name: str) -> str: ...


class ServerLinks:
    """The addresses of the server."""

    live = True

    def page(self, name: str, **parameters: Any) -> str:
        return _address("/" if name == "overview" else f"/{name}", parameters)

    def image(self, row: int, **parameters: Any) -> str:
        return _address(f"/image/{row}", parameters)

    def person(self, row: int) -> str:
        return f"/person/{row}"

    def thumbnail(self, row: int) -> str:
        return f"/thumbnail/{row}.jpg"

    def whole(self, row: int) -> str:
        return f"/whole/{row}.jpg"

    def file(self, name: str) -> str:
        return f"/static/{name}"


def _address(path: str, parameters: dict[str, Any]) -> str:
    query = {name: value for name, value in parameters.items() if value not in (None, "", ())}
    return f"{path}?{urlencode(query, doseq=True)}" if query else path


class Pages:
    """Renders pages with one title and one list of screens."""

    def __init__(self, links: Links, title: str, screens: list[tuple[str, str]], judged: bool = False) -> None:
        """`judged`: people can give verdicts about the rows."""
        self.title = title
        loader = jinja2.PackageLoader("mals.look")
        self.environment = jinja2.Environment(
            loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self.environment.globals |= {"links": links, "title": title, "screens": screens, "judged": judged}
        self.environment.filters |= {"count": count, "share": share, "digits": digits, "span": span, "words": words, "shell": shlex.quote}

    def render(self, template: str, **values: Any) -> str:
        """The HTML of a page, or of a part of one."""
        return self.environment.get_template(template).render(**values)


def count(number: int) -> str:
    """A whole number with separators."""
    return f"{number:,}"


def share(part: float, whole: float) -> str:
    """A share in percent: more digits near the ends."""
    if not whole:
        return "–"
    value = 100 * part / whole
    return f"{value:.2f} %" if 0 < value < 1 or 99 < value < 100 else f"{value:.1f} %" if value not in (0, 100) else f"{value:.0f} %"


def span(seconds: float) -> str:
    """A time in the unit that is easiest to read."""
    limit = next(((factor, unit) for most, factor, unit in FACTORS if seconds < most), (86_400, "days"))
    value = seconds / limit[0]
    return f"{value:.0f} {limit[1]}" if limit[1] in ("s", "min") else f"{value:.1f} {limit[1]}"


def words(name: str) -> str:
    """A name of the code as words."""
    return name.replace("_", " ")

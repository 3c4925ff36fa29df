"""The code in README.md and docs/."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OUTPUT = re.compile(r'\n```text title="output(?P<one>, with the numbers of one machine)?"\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"[0-9a-f]{16,}|\d+(\.\d+)?(e-\d+)?")
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """The blocks of one language with the number of their first line."""
    text = page.read_text(encoding="utf-8")
    return [(text[: match.start(2)].count("\n") + 1, match[2]) for match in FENCE.finditer(text) if match[1] == language]


@dataclass(frozen=True)
class Output:
    """What a page says that its code prints."""

    text: str
    of_one_machine: bool  # its numbers and hashes are

    def is_that_of(self, printed: str) -> bool:
        """Whether code that printed this printed what the page says."""
        return NUMBER.sub("0", printed) == NUMBER.sub("0", self.text) if self.of_one_machine else printed == self.text


def python(page: Path) -> Iterator[tuple[int, str, Output | None]]:
    """The Python blocks: first line, code, and what the page says it prints, in a block ```text title="output" right after it."""
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        if match[1] == "python":
            output = OUTPUT.match(text, match.end() + 1)
            yield text[: match.start(2)].count("\n") + 1, match[2], Output(output["text"], bool(output["one"])) if output else None


def commands(page: Path) -> Iterator[tuple[int, list[str]]]:
    """The words of every `mals ...` in the page's shell blocks, by line."""
    for first, text in blocks(page, "sh"):
        joined = re.sub(r"\\\n\s*", lambda match: " " * len(match[0]), text)  # a command over several lines
        for number, line in enumerate(joined.split("\n")):
            for part in re.split(r"&&|\|\|?|;", line.split(" #")[0]) if "'" not in line and '"' not in line else [line.split(" #")[0]]:
                words = shlex.split(part)
                if "mals" in words:
                    yield first + number, words[words.index("mals") + 1 :]
                elif "cli.main" in words:  # under torchrun
                    yield first + number, words[words.index("cli.main") + 1 :]

"""README.md: short, and with what a stranger looks for."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTIONS = ("Install", "The demo", "Your own set", "A trained method", "Hardware and time", "Privacy and misuse", "Licence", "Citation")


def test_it_is_short():
    assert len(README.splitlines()) <= 150


def test_it_has_what_a_stranger_looks_for():
    headings = re.findall(r"^## (.+)$", README, re.MULTILINE)
    assert [section for section in SECTIONS if section not in headings] == []


def test_its_links_into_the_repository_are_files():
    links = re.findall(r"\]\((?!https?://)([^)#]+)", README)
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_the_generated_reference_has_every_command():
    from docs.generate import commands

    page = "".join(commands.page())
    assert [name for name in commands.application().commands if f"## mals {name}\n" not in page] == []

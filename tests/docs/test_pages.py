"""The pages of docs/: what they name is there, and the site builds."""

import re
import subprocess
import sys

import pytest

from tests.docs.blocks import PAGES, ROOT

TESTS = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
SITE = ROOT / "mkdocs.yml"


def test_every_guarantee_has_a_test_of_its_name():
    guarantees = re.findall(r"^- `(test_\w+)`", (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(guarantees) >= 30
    assert [name for name in guarantees if f"def {name}(" not in TESTS] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_tests_benchmarks_and_files_that_a_page_names_are_there(page):
    if page.name == "log.md":
        return
    text = page.read_text(encoding="utf-8")
    assert [name for name in re.findall(r"`(test_\w+)`", text) if f"def {name}(" not in TESTS] == []
    assert [name for name in re.findall(r"python -m benchmarks\.(\w+)", text) if not (ROOT / "benchmarks" / f"{name}.py").is_file()] == []
    files = re.findall(r"`((?:mals|pretrain|cli|tests|benchmarks|docs|examples|data_cards)/[\w/.-]+)`", text)
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_the_site_builds_without_a_warning(tmp_path):
    words = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "--config-file",
        str(SITE),
        "--site-dir",
        str(tmp_path / "site"),
    ]
    built = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stderr


def test_a_broken_link_and_a_missing_page_fail_the_build(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("[gone](gone.md)\n")
    validation = re.search(r"^validation:\n(?:  .*\n)+", SITE.read_text(encoding="utf-8"), re.MULTILINE)
    assert validation
    (tmp_path / "mkdocs.yml").write_text(f"site_name: x\n{validation[0]}nav: [index.md, missing.md]\n")
    built = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert built.returncode != 0
    assert "gone.md" in built.stderr
    assert "missing.md" in built.stderr


def test_a_setting_without_meaning_fails_the_reference():
    from pydantic import BaseModel

    from docs.generate import settings

    class Undocumented(BaseModel):
        value: int = 1

    with pytest.raises(settings.NoMeaning, match=r"Undocumented\.value has no meaning"):
        list(settings.tables(Undocumented))

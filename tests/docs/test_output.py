"""What the Python of a page prints is what the page shows: a block ```python and after it a block ```text title="output"."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, ROOT

BLOCK = re.compile(r'^```python\n(.*?)^```$(?:\n\n```text title="output"\n(.*?)^```$)?', re.MULTILINE | re.DOTALL)


def pages() -> list[str]:
    return [str(page.relative_to(ROOT)) for page in PAGES if '```text title="output"' in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", pages())
def test_the_output_of_a_page_is_what_its_python_prints(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "page"}
    for match in BLOCK.finditer((ROOT / page).read_text(encoding="utf-8")):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(match[1], page, "exec"), namespace)
        assert match[2] is None or printed.getvalue() == match[2]

"""The code that README.md and docs/ show works: Python runs, shell commands exist with their options."""

import contextlib
import io
import re
import shutil
from pathlib import Path

import pytest
import typer

from tests.docs.blocks import PAGES, ROOT, blocks, commands, python
from tests.docs.folders import folders


def names(language: str) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in PAGES if blocks(page, language)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders(tmp_path_factory.mktemp("prepared"))


@pytest.mark.parametrize("page", names("python"))
def test_the_python_of_a_page_runs_in_its_order_and_prints_what_the_page_shows(page, prepared, tmp_path, monkeypatch):
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    namespace: dict[str, object] = {"__name__": "page"}
    for line, text, output in python(ROOT / page):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * (line - 1) + text, str(ROOT / page), "exec"), namespace)
        assert output is None or output.is_that_of(printed.getvalue()), f"{page}:{line} prints\n{printed.getvalue()}"


def test_the_method_of_its_page_trains_and_embeds(prepared, tmp_path, monkeypatch):
    from pretrain import load
    from pretrain.settings import check
    from pretrain.train import train

    ((_, text),) = blocks(ROOT / "docs" / "method.md", "python")
    (tmp_path / "my_method.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    sizes = {"batch": 8, "steps": 2, "dtype": "fp32", "data": {"height": 32, "width": 32, "workers": 0}, "two_towers": {"width": 8}}
    config = check({"preset": "own", "method": "my_method:TwoTowers", **sizes})
    train(config, [str(prepared / "my-set" / "dataset")], tmp_path / "out", "cpu")
    assert load(tmp_path / "out").embed_image(str(prepared / "a.jpg")).shape == (1, 8)


@pytest.mark.parametrize("page", names("sh"))
def test_the_commands_of_a_page_exist_with_their_options(page):
    from cli import main

    if not main.app.registered_commands:
        main.register()
    command = typer.main.get_command(main.app)
    for line, words in commands(ROOT / page):
        inner, rest = command, list(words)
        while hasattr(inner, "commands") and rest and not rest[0].startswith("-"):
            assert rest[0] in inner.commands, f"{page}:{line}: there is no command mals {' '.join(words)}"
            inner = inner.commands[rest.pop(0)]
        if not hasattr(inner, "commands"):
            options = {name: parameter for parameter in inner.params for name in (*parameter.opts, *parameter.secondary_opts)}
            unknown = [word for word in rest if re.match(r"--?[a-z]", word) and word.split("=")[0] not in {*options, "--help"}]
            assert not unknown, f"{page}:{line}: mals {' '.join(words)} has no {', '.join(unknown)}"

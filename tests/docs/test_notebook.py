"""The notebook of examples/ runs from the first cell to the last, and is committed without outputs."""

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import environment
from tests.docs.blocks import ROOT
from tests.pretrain.packs import packed
from tests.pretrain.releases import released

NOTEBOOK = ROOT / "examples" / "demo.ipynb"


def test_it_is_committed_without_outputs():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert [cell.id for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []


@pytest.mark.slow
def test_it_runs_on_small_data_in_the_demos_folders(tmp_path, monkeypatch):
    data = packed(tmp_path / "demo-run", 60)
    released(tmp_path / "demo-run" / "pretrain", data)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    for loss in ("itc", "itm", "mlm", "iac", "iam", "mam"):
        assert f"\n{loss}: " in f"\n{printed}"

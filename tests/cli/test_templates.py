"""`mals templates` as people call it."""

import json
import subprocess
import sys
from pathlib import Path


def mals(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "cli.main", *words], cwd=folder, capture_output=True, text=True, timeout=300)


def test_templates_of_captions_are_written_and_counted(tmp_path: Path) -> None:
    captions = ["A man wears a red coat and jeans.", "A woman wears a blue coat and jeans.", "a dog"]
    (tmp_path / "captions.txt").write_text("\n".join(captions))
    result = mals("templates", "--from", "captions.txt", "--to", "templates.txt", "--json", folder=tmp_path)
    assert json.loads(result.stdout) == {"captions": 3, "usable": 2, "distinct": 1, "clusters": 0, "templates": 1}
    assert (tmp_path / "templates.txt").read_text() == "{person} wears {upper} and {lower}.\n"
    refused = mals("templates", "--from", "none.txt", "--to", "templates.txt", folder=tmp_path)
    assert refused.returncode == 2 and refused.stderr == "there is no captions file none.txt\n"

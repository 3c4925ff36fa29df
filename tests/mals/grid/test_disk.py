"""A full disk, on a small tmpfs in a mount namespace of the test's own."""

import subprocess
import sys

import pytest

from tests.conftest import environment

SCRIPT = """
set -u
mount -t tmpfs -o size=$1 none {disk}
cp -r {planned}/. {disk}
{mals} run {disk} --quiet 2> {out}/message; echo $? > {out}/code
ls -A {disk} | grep -c tmp > {out}/left
mount -o remount,size=200m {disk}
{mals} run {disk} --quiet 2> {out}/told_after; echo $? > {out}/code_after
cp -r {disk}/dataset {out}/dataset
"""


@pytest.mark.slow
@pytest.mark.parametrize("size", ["200k", "420k", "700k"])
def test_a_full_disk_stops_with_a_sentence_and_resumes_after(planned, tmp_path, size):
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let users mount a tmpfs")
    calm, folder = planned("calm"), planned("planned")
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").mkdir()
    command = f"{sys.executable} -m cli.main"
    assert subprocess.run([*command.split(), "run", str(calm), "--quiet"], env=environment(), capture_output=True).returncode == 0
    script = SCRIPT.format(disk=tmp_path / "disk", planned=folder, out=tmp_path / "out", mals=command).replace("$1", size)
    subprocess.run(["unshare", "-rm", "bash", "-c", script], env=environment(), check=True, timeout=300)
    out = tmp_path / "out"
    message = (out / "message").read_text().strip()
    assert (out / "code").read_text().strip() == "2", message
    assert message.count("\n") == 0
    assert "no space is left" in message
    assert (out / "code_after").read_text().strip() == "0", (out / "told_after").read_text()
    resumed = {p.name: p.read_bytes() for p in (out / "dataset").rglob("*") if p.is_file()}
    assert resumed == {p.name: p.read_bytes() for p in (calm / "dataset").rglob("*") if p.is_file()}

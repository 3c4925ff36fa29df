"""A process ends with the one that started it."""

import subprocess
import sys

import psutil

from tests.conftest import environment

CHILD = """
import os, time
from mals.processes import end_with_parent
end_with_parent(int(os.environ["PARENT"]))
print("up", flush=True)
time.sleep(60)
"""
PARENT = f"""
import os, subprocess, sys
environment = os.environ | {{"PARENT": str(os.getpid())}}
process = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdout=subprocess.PIPE, env=environment)
process.stdout.readline()
print(process.pid, flush=True)
"""


def test_a_process_whose_parent_has_ended_ends():
    pid = int(subprocess.run([sys.executable, "-c", PARENT], env=environment(), capture_output=True, check=True, timeout=60).stdout)
    if psutil.pid_exists(pid):
        _, alive = psutil.wait_procs([psutil.Process(pid)], timeout=10)
        assert not alive

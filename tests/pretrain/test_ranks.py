"""Training on several processes equals training on one: torchrun starts processes on this machine, which communicate over gloo."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pretrain import ranks
from tests.conftest import ROOT, environment

PROGRAMS = Path(__file__).parents[1] / "ranks"
LAUNCH = "import sys; from pretrain.ranks import launch; sys.exit(launch(int(sys.argv[1]), sys.argv[2:]))"
TIMEOUT = 150


def run(processes: int, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A program of tests/ranks under torchrun, or alone for one process."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)] if processes > 1 else []
    words = [sys.executable, *torchrun, str(PROGRAMS / program), *arguments]
    result = subprocess.run(words, cwd=ROOT, env=environment(GLOO_SOCKET_IFNAME="lo"), capture_output=True, text=True, timeout=TIMEOUT)
    assert result.returncode == 0, result.stderr[-3000:]
    return result


@pytest.mark.parametrize("processes", [1, 2, pytest.param(4, marks=pytest.mark.slow)])
def test_losses_and_gradients_do_not_depend_on_the_number_of_processes(processes):
    words = json.loads(run(processes, "gradient.py").stdout)
    assert words["world"] == processes
    assert words["cut"] < 0.99


@pytest.mark.parametrize("processes", [1, 2, pytest.param(4, marks=pytest.mark.slow)])
def test_the_losses_of_aptm_and_their_gradients_do_not_depend_on_the_number_of_processes(processes):
    words = json.loads(run(processes, "aptm.py").stdout)
    assert words["world"] == processes and set(words["losses"]) == {"itc", "itm", "mlm", "iac", "iam", "mam", "itm_partner", "all"}
    assert all(loss > 0.1 for loss in words["losses"].values())


@pytest.mark.parametrize("processes", [1, 2])
def test_gather_stacks_the_rows_of_all_ranks_and_returns_the_sum_of_their_gradients(processes):
    lines = run(processes, "collect.py").stdout.splitlines()
    assert sorted(lines) == [f"rank {rank} of {processes}" for rank in range(processes)]


def test_one_process_needs_no_group():
    row, layer = torch.ones(2, 3, requires_grad=True), torch.nn.Linear(3, 3)
    assert not ranks.launched() and ranks.start("cpu") == torch.device("cpu") and not torch.distributed.is_initialized()
    assert (ranks.rank(), ranks.world_size(), ranks.is_main()) == (0, 1, True)
    assert ranks.gather(row) is row and ranks.wrap(layer) is layer
    assert ranks.gather_detached(row).equal(row) and ranks.mean_over_ranks(row).equal(row)
    ranks.barrier()
    ranks.stop()


@pytest.mark.parametrize("code", [0, 3])
def test_launch_runs_the_command_on_every_rank_and_returns_its_exit_code(code):
    words = [sys.executable, "-c", LAUNCH, "2", str(PROGRAMS / "end.py"), str(code)]
    result = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=TIMEOUT)
    assert (result.returncode, result.stderr) == (code, "")
    assert sorted(result.stdout.splitlines()) == [f"rank 0 {code}", f"rank 1 {code}"]


def test_launch_takes_a_module():
    words = [sys.executable, "-c", LAUNCH, "2", "-m", "tests.ranks.end", "0"]
    result = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=TIMEOUT)
    assert sorted(result.stdout.splitlines()) == ["rank 0 0", "rank 1 0"], result.stderr[-3000:]


def test_ending_the_launcher_ends_every_rank():
    words = [sys.executable, "-c", LAUNCH, "2", str(PROGRAMS / "end.py"), "wait"]
    with subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout is not None and launcher.stderr is not None
        lines = {launcher.stdout.readline() for _ in range(2)}
        launcher.send_signal(signal.SIGTERM)
        assert launcher.stdout.read() == ""  # ends when no rank holds the pipe any more
        assert launcher.stderr.read() == "" and launcher.wait(TIMEOUT) == 128 + signal.SIGTERM
    assert lines == {"rank 0 wait\n", "rank 1 wait\n"}


def test_a_killed_rank_is_reported():
    words = [sys.executable, "-c", LAUNCH, "2", str(PROGRAMS / "end.py"), "kill"]
    result = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=TIMEOUT)
    assert (result.returncode, result.stderr) == (128 + signal.SIGKILL, "process 1 was ended by SIGKILL\n")


def test_no_process_to_launch_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        ranks.launch(0, ["x.py"])


def test_batch_normalisation_does_not_depend_on_the_number_of_processes():
    alone, *others = (json.loads(run(processes, "batch_norm.py").stdout) for processes in (1, 2, 3))
    for together in others:
        for name, values in alone.items():
            torch.testing.assert_close(torch.tensor(together[name]), torch.tensor(values), rtol=1e-4, atol=1e-5, msg=name)

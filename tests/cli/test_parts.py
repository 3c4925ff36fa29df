"""The part of a run that a command of a job array works on: --shards i/n and --shards auto."""

import pytest

from cli.parts import parse_part
from mals.errors import UserError


def slurm(**numbers: int) -> dict[str, str]:
    return {f"SLURM_ARRAY_TASK_{name}": str(number) for name, number in numbers.items()}


def test_a_part_is_a_number_of_a_count():
    assert parse_part("3/16", {}) == (3, 16)
    assert parse_part(None, slurm(ID=3, COUNT=4)) is None, "an array alone asks for no part"


@pytest.mark.parametrize(
    ("variables", "part"),
    [
        (slurm(ID=3, COUNT=16), (3, 16)),
        (slurm(ID=1, COUNT=16, MIN=1, MAX=16, STEP=1), (0, 16)),
        (slurm(ID=16, COUNT=16, MIN=1, MAX=16, STEP=1), (15, 16)),
        (slurm(ID=30, COUNT=4, MIN=0, MAX=30, STEP=10), (3, 4)),
        ({"JOB_COMPLETION_INDEX": "0", "JOB_COMPLETIONS": "8"}, (0, 8)),
        ({"JOB_COMPLETION_INDEX": "7", "JOB_COMPLETIONS": "8"}, (7, 8)),
    ],
)
def test_auto_is_what_the_array_says(variables, part):
    assert parse_part("auto", variables) == part


def test_the_tasks_of_an_array_are_all_parts_once():
    for first, step in ((0, 1), (1, 1), (5, 3)):
        numbers = range(first, first + 6 * step, step)
        parts = [parse_part("auto", slurm(ID=number, COUNT=6, MIN=first, MAX=numbers[-1], STEP=step)) for number in numbers]
        assert parts == [(part, 6) for part in range(6)]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "neither is set here, so give --shards i/n"),
        (slurm(ID=3), "a number in SLURM_ARRAY_TASK_COUNT, which is not set"),
        ({"JOB_COMPLETION_INDEX": "3"}, "a number in JOB_COMPLETIONS, which is not set"),
        ({"JOB_COMPLETION_INDEX": "3", "JOB_COMPLETIONS": "many"}, "which is 'many'"),
        ({"JOB_COMPLETION_INDEX": "3", "JOB_COMPLETIONS": "3"}, "set it to the completions of the Job"),
        (slurm(ID=7, COUNT=3, MIN=1, MAX=7, STEP=1), "submit it with --array=0-2"),  # of --array=1,5,7
    ],
)
def test_what_an_array_does_not_say_is_refused(variables, message):
    with pytest.raises(UserError, match=message):
        parse_part("auto", variables)


def test_the_parts_of_an_array_make_the_run(mals, planned):
    folder = planned()
    for task in (1, 2):
        array = slurm(ID=task, COUNT=2, MIN=1, MAX=2, STEP=1)
        ended = mals("run", folder, "--shards", "auto", env=array)
        assert ended.returncode == 0 and f"part {task - 1}/2 of" in ended.stdout, ended.stderr
    assert "nothing to do" in mals("label", folder).stdout

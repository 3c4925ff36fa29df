"""The part of a run that one command of a job array works on."""

import os
from collections.abc import Mapping

from mals.errors import UserError

SLURM = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT")
KUBERNETES = ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS")  # Kubernetes sets the first, the Job has to set the second to its `completions`


def parse_part(text: str | None, variables: Mapping[str, str] = os.environ) -> tuple[int, int] | None:
    """ "0/4" as (0, 4), "auto" as what a job array says in its environment `variables`; raises UserError for any other text."""
    if text is None:
        return None
    if text == "auto":
        return _part_of_array(variables)
    i, slash, n = text.partition("/")
    if not (slash and i.isdigit() and n.isdigit() and int(i) < int(n)):
        raise UserError(f"--shards takes i/n with i from 0 to n - 1, such as 0/4, or auto, not {text!r}")
    return int(i), int(n)


def _part_of_array(variables: Mapping[str, str]) -> tuple[int, int]:
    """The part of this task of a SLURM array, or of this pod of an indexed Job."""
    if SLURM[0] in variables:
        number, count = _numbers(SLURM, variables)
        first, step = (int(variables.get(f"SLURM_ARRAY_TASK_{name}", default)) for name, default in (("MIN", "0"), ("STEP", "1")))
        part, rest = divmod(number - first, max(step, 1))
        if rest or not 0 <= part < count:
            raise UserError(
                f"the {count} tasks of the SLURM array are not numbered in equal steps, so --shards auto cannot say which part "
                f"task {number} is; submit it with --array=0-{count - 1}, or give --shards i/n"
            )
        return part, count
    if KUBERNETES[0] in variables:
        part, count = _numbers(KUBERNETES, variables)
        if part >= count:
            raise UserError(f"{KUBERNETES[0]} is {part}, but {KUBERNETES[1]} is {count}; set it to the completions of the Job")
        return part, count
    raise UserError(
        f"--shards auto reads {SLURM[0]} and {SLURM[1]} of a SLURM array, or {KUBERNETES[0]} of an indexed Job and {KUBERNETES[1]}; "
        "neither is set here, so give --shards i/n"
    )


def _numbers(names: tuple[str, str], variables: Mapping[str, str]) -> tuple[int, int]:
    values = [variables.get(name, "") for name in names]
    for name, value in zip(names, values, strict=True):
        if not value.isdigit():
            raise UserError(f"--shards auto needs a number in {name}, which is {f'{value!r}' if value else 'not set'}; set it, or give i/n")
    return int(values[0]), int(values[1])

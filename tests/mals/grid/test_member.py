"""An actor without its cluster: what it answers on a node that is fit for a run, and on one that is not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mals.errors import UserError
from mals.grid.executor import Job
from mals.grid.member import Errand, Member
from mals.grid.receipt import Receipt
from mals.grid.run import Run
from mals.grid.versions import installed_versions

Planned = Callable[..., Path]


def errand(run: Run) -> Errand:
    run.store.commit("locks/nonce", b"")
    versions = {name: stage.version for name, stage in run.grid.stages.items()}
    where = {"url": run.store.url, "user_settings": run.user_settings, "folder": str(Path.cwd()), "nonce": "locks/nonce"}
    return Errand(**where, fingerprints=run.grid.fingerprints, params=run.grid.params, stage_versions=versions, hides_gpus=False)


def test_a_node_that_makes_the_same_cells_is_admitted_and_makes_them(planned: Planned) -> None:
    run = Run.open(planned())
    member = Member(errand(run))
    admission = member.ready()
    assert admission.problem == "" and admission.node and admission.versions == installed_versions()
    receipt = member.work(Job("generate", 0, {}))
    assert isinstance(receipt, Receipt) and receipt == run.grid.receipt("generate", 0)


def test_a_node_that_does_not_see_the_run_says_so(planned: Planned) -> None:
    problem = Member(replace(errand(Run.open(planned())), nonce="locks/other")).ready().problem
    assert "is not visible from node" in problem and "mount the folder there at the same path" in problem


def test_a_node_that_would_make_other_cells_says_what_differs(planned: Planned) -> None:
    run = Run.open(planned())
    params = run.grid.params | {"caption": {**run.grid.params["caption"], "beams": 5}}
    fitting = errand(run)
    other = replace(fitting, params=params, fingerprints=run.grid.fingerprints | {"caption": "another"})
    assert "would make other cells of caption than this machine (beams: 5 -> 1)" in Member(other).ready().problem
    older = replace(other, params=run.grid.params, stage_versions=fitting.stage_versions | {"caption": 7})
    assert "(version 7 -> 1)" in Member(older).ready().problem


def test_a_node_without_a_model_says_which(planned: Planned) -> None:
    fitting = errand(Run.open(planned()))
    member = Member(replace(fitting, user_settings={**fitting.user_settings, "safety": {"model": "no/such-model"}}))
    assert "cannot work on the run: the model no/such-model" in member.ready().problem


@pytest.mark.parametrize("setting", ["stages.generate=tests.fakes:mistaken"])
def test_a_mistake_of_the_user_is_data(planned: Planned, setting: str) -> None:
    member = Member(errand(Run.open(planned("run", setting))))
    assert member.ready().problem == ""
    error = member.work(Job("generate", 0, {}))
    assert type(error) is UserError and str(error) == "the brush needs 80 GB"

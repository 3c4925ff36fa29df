"""The job files that docs/large-runs.md shows: the sbatch file runs, and the indexed Job has the fields of the Kubernetes API."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, environment
from tests.docs.blocks import blocks

PAGE = ROOT / "docs" / "large-runs.md"
JOB = {  # the fields of a Job of batch/v1 that the file may use, by the reference of the Kubernetes API
    "": {"apiVersion", "kind", "metadata", "spec"},
    "metadata": {"name", "labels", "annotations", "namespace"},
    "spec": {
        "activeDeadlineSeconds",
        "backoffLimit",
        "backoffLimitPerIndex",
        "completionMode",
        "completions",
        "maxFailedIndexes",
        "parallelism",
        "podFailurePolicy",
        "template",
        "ttlSecondsAfterFinished",
    },
    "spec.podFailurePolicy": {"rules"},
    "spec.podFailurePolicy.rules": {"action", "onExitCodes", "onPodConditions"},
    "spec.podFailurePolicy.rules.onPodConditions": {"status", "type"},
    "spec.podFailurePolicy.rules.onExitCodes": {"containerName", "operator", "values"},
    "spec.template": {"metadata", "spec"},
    "spec.template.spec": {"containers", "nodeSelector", "restartPolicy", "terminationGracePeriodSeconds", "tolerations", "volumes"},
    "spec.template.spec.containers": {"args", "command", "env", "image", "name", "resources", "volumeMounts"},
    "spec.template.spec.containers.env": {"name", "value", "valueFrom"},
    "spec.template.spec.containers.resources": {"limits", "requests"},
    "spec.template.spec.containers.resources.limits": {"cpu", "memory", "nvidia.com/gpu"},
    "spec.template.spec.containers.volumeMounts": {"mountPath", "name", "readOnly", "subPath"},
    "spec.template.spec.volumes": {"name", "persistentVolumeClaim"},
    "spec.template.spec.volumes.persistentVolumeClaim": {"claimName", "readOnly"},
}


def sbatch() -> str:
    ((_, text),) = blocks(PAGE, "bash")
    return text


def job() -> dict[str, Any]:
    ((_, text),) = blocks(PAGE, "yaml")
    return yaml.safe_load(text)


def test_shellcheck_has_no_complaint_about_the_sbatch_file(tmp_path: Path) -> None:
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    (tmp_path / "mals.sbatch").write_text(sbatch())
    checked = subprocess.run([shellcheck, "--norc", tmp_path / "mals.sbatch"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def submitted(folder: Path, run: Path, task: int) -> "subprocess.Popen[bytes]":
    """Task `task` of an array of two, as SLURM would start it; `scontrol` writes its words to a file."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    for name, text in {"mals": f'exec {sys.executable} -m cli.main "$@"', "scontrol": f'echo "$@" >> {folder}/scontrol.txt'}.items():
        (programs / name).write_text(f"#!/bin/bash\n{text}\n")
        (programs / name).chmod(0o755)
    (folder / "mals.sbatch").write_text(sbatch())
    array = {"ARRAY_TASK_ID": task, "ARRAY_TASK_COUNT": 2, "ARRAY_TASK_MIN": 0, "ARRAY_TASK_STEP": 1, "ARRAY_JOB_ID": 7}
    variables = {f"SLURM_{name}": str(value) for name, value in array.items()}
    env = environment(**variables) | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    with (folder / "mals.log").open("a") as log:
        return subprocess.Popen(["bash", folder / "mals.sbatch", run], env=env, stdout=log, stderr=log)


def test_the_sbatch_file_makes_its_parts_and_goes_back_to_the_queue_when_it_is_stopped(planned, tmp_path: Path) -> None:
    run = planned("run", "stages.caption=tests.fakes:slow_captioner")
    task = submitted(tmp_path, run, 0)
    while not any((run / "caption").glob("*.json")):
        assert task.poll() is None
        time.sleep(0.02)
    task.send_signal(signal.SIGTERM)
    assert task.wait(300) == 128 + signal.SIGTERM
    assert (tmp_path / "scontrol.txt").read_text() == "requeue 7_0\n"
    assert [submitted(tmp_path, run, number).wait(600) for number in (0, 1)] == [0, 0], (tmp_path / "mals.log").read_text()
    assert len(list((run / "label").glob("*.parquet"))) == 5
    assert (tmp_path / "scontrol.txt").read_text() == "requeue 7_0\n", "a task that ends is not put back"


def fields(tree: Any, path: str = "") -> None:
    """Fail where a field of the Job is none of the API."""
    if isinstance(tree, list):
        for part in tree:
            fields(part, path)
    elif isinstance(tree, dict):
        assert set(tree) <= JOB[path], f"{path or 'the Job'} has no {sorted(set(tree) - JOB[path])}"
        for name, part in tree.items():
            fields(part, f"{path}.{name}".lstrip(".") if "/" not in name else "")


def test_the_job_has_the_fields_of_the_kubernetes_api() -> None:
    fields(job())


def test_the_job_gives_every_part_to_one_pod_and_tries_the_right_ones_again() -> None:
    spec = job()["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert (job()["apiVersion"], job()["kind"], spec["completionMode"]) == ("batch/v1", "Job", "Indexed")
    assert {"name": "JOB_COMPLETIONS", "value": str(spec["completions"])} in container["env"]
    assert container["command"][-2:] == ["--shards", "auto"]
    assert pod["restartPolicy"] == "Never", "podFailurePolicy needs it"
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    for rule in spec["podFailurePolicy"]["rules"]:
        assert rule["action"] in ("Ignore", "FailJob") and len(rule) == 2
        assert rule.get("onExitCodes", {"containerName": container["name"]})["containerName"] == container["name"]

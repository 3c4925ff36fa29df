"""What a user can get wrong: one sentence, exit code 2, and nothing lost."""

import hashlib
import json

import pytest

ROWS = '{"caption": "a man"}\n'


def refused(result, *words):
    """The one line on stderr of a command that was refused."""
    assert result.returncode == 2, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    for word in words:
        assert word in lines[0]
    return lines[0]


def fingerprint(folder):
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file() and "locks" not in p.parts}


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("empty.txt", b"", ["empty.txt", "empty"]),
        ("blank.txt", b"\n \n\n", ["blank.txt"]),
        ("binary.txt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)), ["binary.txt"]),
        ("no_column.csv", b"text,id\na man,1\n", ["no_column.csv", "caption", "text"]),
        ("no_column.jsonl", b'{"captoin": "a man"}\n', ["caption", "captoin"]),
        ("twice.csv", b"caption,id\na man,x\na woman,x\n", ["x", "twice"]),
        ("slash.csv", b"caption,id\na man,a/b\n", ["a/b"]),
        ("dot.csv", b"caption,id\na man,sd1.5\n", ["sd1.5"]),
        ("broken.jsonl", b'{"caption": "a man"}\n{"caption": \n', ["broken.jsonl", "2"]),
        ("unknown.json", b'[{"foo": 1}]', ["foo"]),
        ("captions.docx", b"a man", [".docx"]),
        ("seed.csv", b"caption,seed\na man,many\n", ["seed", "many"]),
        ("truncated.parquet", b"PAR1\0\0", ["truncated.parquet"]),
    ],
)
def test_a_bad_captions_file_is_refused_in_one_sentence(mals, tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    refused(mals("plan", "run", "--captions", name), *words)
    assert not (tmp_path / "run/plan/plan.json").exists()


def test_no_such_captions_file_is_refused(mals):
    refused(mals("plan", "run", "--captions", "none.txt"), "none.txt")


def test_a_typo_in_a_setting_names_the_nearest_key_and_loses_nothing(mals, planned):
    folder = planned()
    before = fingerprint(folder)
    refused(mals("run", folder, "--set", "caption.collapes=false"), "caption.collapse")
    (folder / "mals.yaml").write_text((folder / "mals.yaml").read_text() + "sede: 1\n")
    refused(mals("run", folder), "sede", "seed")
    assert {k: v for k, v in fingerprint(folder).items() if "mals.yaml" not in k} == {
        k: v for k, v in before.items() if "mals.yaml" not in k
    }


def test_an_unknown_preset_is_refused(mals, captions):
    refused(mals("plan", "run", "--captions", captions, "--preset", "huge"), "huge", "tiny")


def test_a_model_that_is_neither_cached_nor_reachable_is_named_with_three_ways_on(mals, planned, tmp_path):
    folder = planned("run", "caption.captioners.0.model=nobody/no-such-captioner", "stages={}")
    before = fingerprint(folder)
    line = refused(mals("run", folder, env={"HF_HOME": str(tmp_path / "hub")}), "nobody/no-such-captioner", str(tmp_path / "hub"))
    assert "mals models" in line
    assert "--set" in line
    assert "embedded" in line or "--preset tiny" in line
    assert fingerprint(folder) == before


def test_a_folder_that_is_not_a_model_is_told(mals, planned, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(mals("run", planned("run", f"crop.model={tmp_path / 'empty'}", "stages={}")), "empty")


def test_a_run_of_another_plan_is_refused_and_left_as_it_was(mals, planned, tmp_path):
    folder = planned()
    assert mals("generate", folder, "-q").returncode == 0
    before = fingerprint(folder)
    (tmp_path / "other.txt").write_text("another caption\n")
    refused(mals("plan", folder, "--captions", "other.txt"), "another plan")
    assert fingerprint(folder) == before
    again = mals("plan", folder, "--captions", "captions.txt")
    assert again.returncode == 0, again.stderr


def test_a_url_without_its_fsspec_package_is_refused(mals, captions):
    refused(mals("plan", "gdrive://bucket/run", "--captions", captions), "gdrive")


@pytest.mark.parametrize("command", ["run", "status", "verify", "pack", "generate"])
def test_a_folder_that_is_no_run_is_refused(mals, command):
    refused(mals(command, "nowhere"), "nowhere", "is not a run")


@pytest.mark.parametrize("part", ["2/2", "1", "a/b", "-1/2", "0/0"])
def test_a_part_of_another_form_is_refused(mals, planned, part):
    refused(mals("run", planned(), f"--shards={part}"), "--shards", part)


def test_a_failed_run_exits_with_one_and_status_shows_the_top_error(mals, planned):
    folder = planned("run", "stages.generate=tests.fakes:mostly_failing")
    result = mals("run", folder, "-q")
    assert result.returncode == 1
    assert "ValueError: the brush is dry" in result.stderr
    assert "Traceback" not in result.stderr
    shown = mals("status", folder)
    assert (shown.returncode, "errors: ValueError: the brush is dry" in shown.stdout) == (0, True)


def test_status_answers_as_json(mals, planned):
    status = json.loads(mals("status", planned(), "--json").stdout)
    assert [stage["stage"] for stage in status["stages"]] == ["generate", "safety", "filter", "crop", "caption", "label"]
    assert status["planned"] == 40


def test_help_names_every_command_and_loads_no_heavy_library(mals):
    result = mals("--help", env={"PYTHONPROFILEIMPORTTIME": "1"})
    for command in [
        "plan",
        "generate",
        "safety",
        "filter",
        "crop",
        "quality",
        "caption",
        "label",
        "run",
        "status",
        "verify",
        "models",
        "replay",
        "pack",
        "publish",
        "export",
        "explain",
    ]:
        assert f" {command} " in result.stdout
    imported = {line.rsplit("|", 1)[-1].strip() for line in result.stderr.splitlines() if line.startswith("import time:")}
    assert "typer" in imported
    assert imported.isdisjoint({"torch", "pandas", "pyarrow", "numpy", "transformers", "diffusers", "pydantic"})


@pytest.mark.parametrize("words", [("filter", "--preview"), ("label", "--stats")])
@pytest.mark.parametrize("option", [("--shards", "0/2"), ("--rerun", "filter"), ("--retry-errors",)])
def test_what_only_looks_at_shards_refuses_the_options_that_make_some(mals, planned, words, option):
    refused(mals(words[0], planned(), words[1], *option), words[1], option[0])

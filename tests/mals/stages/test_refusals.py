"""One wrong setting at a time of the stages that make captions, persons and rows better: one sentence before any work, and nothing lost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mals.errors import ModelMissing, UserError
from mals.grid.run import Run, run_stages
from mals.grid.status import status
from mals.planning.create import create
from mals.stages.pose_images import pose_files
from tests.conftest import Mals

Planned = Callable[..., Path]
BLIP: dict[str, Any] = {"model": "embedded", "beams": 1}
STAND_IN = {"backend": "template"}
FAST = ["stages.generate=tests.fakes:painter", "stages.crop=tests.fakes:cropper", "shard_rows=8", "run.workers=1"]


def shaped(kind: str = "template", **instruction: Any) -> str:
    """The captioners of a run: a BLIP, and the stand-in with one instruction."""
    return f"caption.captioners={json.dumps([BLIP, STAND_IN | {'instructions': [{'kind': kind, **instruction}]}])}"


def captioners(*captioners: dict[str, Any]) -> str:
    return f"caption.captioners={json.dumps(captioners)}"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder, with files of templates and examples that cannot be used."""
    monkeypatch.chdir(tmp_path)
    for name, data in {
        "captions.txt": b"".join(b"a person number %d in a coat\n" % number for number in range(16)),
        "umbrella.txt": b"{person} with {umbrella}\n",
        "empty.txt": b"",
        "latin.txt": "{person} wears {clothes} in a café\n".encode("latin-1"),
        "binary.txt": b"\0\1\2" * 50,
    }.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder").mkdir()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (
            shaped(templates="umbrella.txt"),
            "umbrella.txt: the template '{person} with {umbrella}' has a field {umbrella}; there are",
        ),
        (shaped(templates="empty.txt"), "empty.txt holds no template; write one a line, such as: {person} wears"),
        (shaped(templates="latin.txt"), "latin.txt, line 1 is not UTF-8 text"),
        (shaped(templates="binary.txt"), "binary.txt is a binary file, not text"),
        (shaped(templates="folder"), "the templates folder are a folder, not a file with a template in each line"),
        (shaped(templates="none.txt"), "there is no file of templates none.txt here"),
        (shaped("style", examples="none.txt"), "there is no file of style examples none.txt here"),
        (shaped("style", examples="empty.txt"), "empty.txt is empty"),
        (shaped("style", examples="folder"), "folder"),
        (shaped("style"), "an instruction of the kind style needs examples, a file of captions"),
        (shaped("questions"), "captioner 1 of the backend template sees no image, so it answers no questions"),
        (shaped(count=0), "count = 0: input should be greater than or equal to 1"),
        (shaped("poem"), "kind = 'poem': input should be 'static', 'template', 'style' or 'questions'"),
        (shaped(text="as you like"), "the text of an instruction of the kind template has no {template}"),
        (captioners({"backend": "vlm", "model": "any"}), "has the backend vlm and nothing to answer; set its prompt to a question"),
        (captioners({**BLIP, "instructions": ["template"]}), "is a BLIP, which follows no instruction of the kind template"),
        (captioners({**BLIP, "prompt": "a", "instructions": ["static"]}), "has a prompt and instructions"),
        (captioners({**BLIP, "max_tokens": 4}), "min_tokens = 5 of a captioner is over its max_tokens = 4"),
        (captioners(STAND_IN), "starts from the caption of captioner 0, which is no earlier one"),
        (captioners(BLIP, {"backend": "rewrite"}), "a captioner of the backend rewrite needs a model"),
        (captioners(), "list should have at least 1 item"),
        ("caption.rules={min_words: 9, max_words: 4}", "caption.rules.min_words = 9 is over caption.rules.max_words = 4"),
        ("keep={by: sharpness, share: 0}", "keep.share = 0: input should be greater than 0"),
        ("keep={by: sharpness, share: 2}", "keep.share = 2: input should be less than or equal to 1"),
        ("dedup.distance=13", "dedup.distance = 13: input should be less than or equal to 12"),
        ("dedup.best=beauty", "dedup.best = 'beauty' is no number of a stage before"),
        ("dedup.against=folder/test", "dedup.against = 'folder/test': input should be a valid list"),
        ("dedup.against=[folder/test]", "dedup.against: there is no packed set in folder"),
        ("agree.scorer=folder", "the folder folder is not a model: it has no weights"),
        ("identity.scorer=folder", "the folder folder is not a model: it has no weights"),
        ("dedup.scorer=folder", "the folder folder is not a model: it has no weights"),
        ("dedup.scorer=nobody/none", "--set dedup.scorer=DIR"),
        ("quality.watermark={model: folder}", "folder"),
        ("plan.views=0", "plan.views = 0: input should be greater than or equal to 1"),
        ("plan={views: 2, vary: [], view_seed: person}", "the images of a person would all be the same"),
        ("plan={views: 2, vary: [hat]}", "plan.vary.0 = 'hat': input should be 'view', 'pose', 'light', 'place' or 'camera'"),
        ("plan={views: 2, change_clothes: true}", "set plan.views over 1, and plan.attributes"),
        ("generate.view_strength=0.5", "generate.view_strength makes a person's further images from its first one; set plan.views over 1"),
        ("generate.control={model: folder}", "the setting generate.control.poses is needed"),
    ],
)
def test_a_wrong_setting_is_one_sentence_before_any_work(setting: str, words: str, files: None, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refusal:
        create("run", captions="captions.txt", assignments=[*FAST, setting])
        run_stages(Run.open("run"), quiet=True)
    sentence = str(refusal.value)
    assert words in sentence and "\n" not in sentence
    assert not (tmp_path / "run/generate").exists()


def test_a_run_is_looked_at_without_the_files_that_its_settings_name(files: None, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("{person} in {clothes}\n")
    create("run", captions="captions.txt", assignments=[*FAST, shaped(templates="mine.txt")])
    assert status(Run.open("run")).note == ""
    (tmp_path / "mine.txt").unlink()
    assert "there is no file of templates mine.txt here" in status(Run.open("run")).note
    with pytest.raises(ModelMissing, match=r"generate\.control\.poses = none\.jsonl is neither"):
        pose_files("none.jsonl")
    with pytest.raises(UserError, match=r"there is no file of templates mine\.txt here, in .*; `mals templates --to mine\.txt` writes one"):
        run_stages(Run.open("run"), quiet=True)


def test_identity_without_persons_ends_with_a_sentence_and_keeps_the_cells(planned: Planned, mals: Mals) -> None:
    folder = planned("run", "identity.min_agreement=0.9")
    result = mals("run", folder, "-q")
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert "the stage identity compares the images of a person, and no row has one" in result.stderr
    assert len(list((folder / "label").glob("*.parquet"))) == 5
    assert mals("run", folder, "-q", "--set", "identity=none").returncode == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--from", "empty.txt"], "no caption of empty.txt has a template"),
        (["--from", "folder"], "folder"),
        (["--from", "binary.txt"], "no caption of binary.txt has a template"),
        (["--from", "captions.txt", "--to", "nowhere/templates.txt"], "there is no folder nowhere"),
        (["--to", "folder"], "folder is a folder; name the file that is to be written"),
    ],
)
def test_what_cannot_become_templates_is_one_sentence(words: list[str], sentence: str, files: None, tmp_path: Path) -> None:
    from mals.stages.captioning.mining import write_templates

    options = dict(zip(words[::2], words[1::2], strict=True))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError) as refusal:
        write_templates(options.get("--from"), Path(options.get("--to", "templates.txt")))
    assert sentence in str(refusal.value) and sorted(tmp_path.iterdir()) == before

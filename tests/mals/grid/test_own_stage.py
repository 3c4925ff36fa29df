"""Stages of one's own: what is no stage is refused before any work, in one sentence that says what is missing."""

from pathlib import Path

import pytest

from mals import settings
from mals.errors import UserError
from mals.grid.cells import build_stages, check_needs
from mals.grid.own_stage import own_stage, stage_params
from mals.planning.create import create
from mals.planning.table import PLAN
from tests.cli.test_bad_input import refused
from tests.conftest import Mals

GOOD = """
import pyarrow as pa
from mals.grid.stage import Resources, output_batch

class Own:
    name, version, needs, batch, resources = "generate", 1, ("seed",), 8, Resources()
    adds = pa.schema([("image", pa.binary()), ("width", pa.int32()), ("height", pa.int32())])

    def params(self):
        return {}

    def setup(self):
        pass

    def __call__(self, batch):
        return output_batch(self.adds, {name: [None] * len(batch) for name in self.adds.names})

"""
BAD = {  # code of a module -> the words of its refusal
    "raise RuntimeError('no\\nluck')": "its module raised RuntimeError: no luck",
    "import sys; sys.exit(3)": "its module raised SystemExit: 3",
    "def stage(:": "its module raised SyntaxError",
    "import nowhere_at_all": "cannot be imported: No module named 'nowhere_at_all'",
    "other = 1": "cannot be imported: module",
    "stage = {}": "is an object of dict, not a function",
    "def stage(): pass": "does not make a stage of the settings (TypeError",
    "def stage(config): raise ValueError('broken')": "does not make a stage of the settings (ValueError: broken)",
    "def stage(config): raise SystemExit(1)": "does not make a stage of the settings (SystemExit",
    "def stage(config): pass": "it returned nothing",
    "def stage(config): return 3": "an object of int has no name, version, needs, adds, batch, resources, params, setup",
    GOOD + "def stage(config): return Own": "it returned the class Own, not an object of it",
    GOOD + "def stage(config): x = Own(); x.name = 'crop'; return x": "its name is 'crop', not 'generate'",
    GOOD + "def stage(config): x = Own(); x.adds = ['image']; return x": "its adds is \"['image']\", not a pyarrow.Schema",
    GOOD + "def stage(config): x = Own(); x.needs = 'seed'; return x": "its needs is 'seed', not a tuple of column names",
    GOOD + "def stage(config): x = Own(); x.batch = 0; return x": "its batch is '0', not a number of rows above 0",
    GOOD + "def stage(config): x = Own(); x.resources = None; return x": "its resources is 'None', not mals.grid.stage.Resources",
    GOOD + "Own.summarise = len\ndef stage(config): return Own()": "has no summary_needs",
    GOOD + "Own.summary_needs = 'seed'; Own.summarise = len\ndef stage(config): return Own()": "its summary_needs is 'seed', not a tuple",
    GOOD + "del Own.__call__\ndef stage(config): return Own()": "cannot be called with rows",
    GOOD + "Own.adds = Own.adds.append(pa.field('id', pa.string()))\ndef stage(config): return Own()": "the column id, which every cell",
    GOOD + "Own.adds = Own.adds.append(pa.field('image', pa.string()))\ndef stage(config): return Own()": "the column image, which stands",
}
CONFIG = settings.check({"preset": "tiny"})


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty module of its own name in a folder on the path."""
    import sys

    monkeypatch.syspath_prepend(tmp_path)
    name = f"own_{tmp_path.name}"
    sys.modules.pop(name, None)
    return tmp_path / f"{name}.py"


@pytest.mark.parametrize(("code", "words"), BAD.items())
def test_what_is_no_stage_is_refused_with_what_it_lacks(code: str, words: str, module: Path) -> None:
    module.write_text(code)
    with pytest.raises(UserError) as error:
        own_stage("generate", f"{module.stem}:stage", CONFIG)
    assert words in str(error.value) and f"stages.generate = '{module.stem}:stage'" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("target", ["os:system", "builtins:print", "pathlib:Path", "os:environ", "json:loads", "os:", ":x", ".x:y", "os"])
def test_anything_that_can_be_imported_and_is_no_stage_is_refused(target: str) -> None:
    with pytest.raises(UserError, match=r"stages\.generate"):
        own_stage("generate", target, CONFIG)


def test_a_stage_is_taken_and_its_parameters_must_be_json(module: Path) -> None:
    module.write_text(GOOD + "def stage(config): return Own()")
    stage = own_stage("generate", f"{module.stem}:stage", CONFIG)
    assert stage.name == "generate" and stage_params("generate", stage) == {}
    for wrong in ({"a": {1, 2}}, None, {"a": float("nan")}, [1]):
        stage.params = lambda wrong=wrong: wrong  # type: ignore[method-assign]
        with pytest.raises(UserError, match="the params of the stage generate are no JSON values"):
            stage_params("generate", stage)


def test_a_stage_without_a_column_that_a_later_one_needs_is_refused(module: Path) -> None:
    module.write_text(GOOD + "Own.adds = Own.adds.remove(0)\ndef stage(config): return Own()")
    config = settings.check({"preset": "tiny", "stages": {"generate": f"{module.stem}:stage"}})
    with pytest.raises(UserError, match="the stage safety needs the column image, which neither the plan nor a stage before it has"):
        check_needs(build_stages(config), PLAN.names)


def test_what_is_no_stage_is_refused_by_plan_and_by_run(mals: Mals, captions: Path, tmp_path: Path) -> None:
    line = refused(mals("plan", "run", "--captions", captions, "--set", "stages.generate=os:system"), "stages.generate = 'os:system'")
    assert not (tmp_path / "run/plan").exists() and "TypeError" in line
    create(tmp_path / "run", captions=captions)
    refused(mals("run", "run", "--set", "stages.generate=os:system"), "stages.generate = 'os:system'")
    assert "os:system" not in (tmp_path / "run/mals.yaml").read_text()

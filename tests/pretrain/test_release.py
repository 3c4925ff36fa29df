"""Releases: what is in one, that others load it, that it appears whole, and what is refused."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard

from mals import attributes
from mals.errors import UserError
from pretrain import checkpoint, provenance
from pretrain.release import release
from pretrain.trained_method import read
from tests.conftest import Mals
from tests.pretrain.releases import released
from tests.pretrain.trainings import same_weights
from tests.small.hub import Hub, hub

FILES = {"model.safetensors", "config.yaml", "tokenizer.json", "metrics.json", "origins.json", "README.md", "SHA256SUMS"}
RESULT = {
    "data": ["/somewhere/secret/cuhk"],
    "split": "test",
    "retrieval": {"R1": 0.5, "R5": 0.75, "R10": 1.0, "mAP": 0.4321, "mINP": 0.2, "protocol": "by text"}
    | {"captions": 6156, "images": 3074, "identities": 1000, "unmatched": 0},
    "attributes": {"mA": 0.625, "f1": 0.5, "accuracy": 0.5, "precision": 0.5, "recall": 0.5, "images": 3074, "protocol": "by prompts"}
    | {"space": "market1501", "per_attribute": {}},
    "unreadable": 0,
}


TINY_VISION = {"embed": 48, "heads": [3, 6, 12], "window": 5, "start": "embedded"}  # the sizes of the embedded Swin


@pytest.fixture(scope="module")
def finished(trainable: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return released(tmp_path_factory.mktemp("release") / "out", trainable)


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """A finished training that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "out"))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_release_holds_what_others_need_and_loads_to_the_same_weights(finished: Path, tmp_path: Path) -> None:
    report = release(str(finished), str(tmp_path / "free/aptm"))
    folder = tmp_path / "free/aptm"
    assert names(folder) == FILES and names(tmp_path / "free") == {"aptm"} and report.files[-1].path == "SHA256SUMS"
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, _, name = line.partition("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert same_weights(folder / "model.safetensors", finished / "model.safetensors")
    one, two = read(str(folder)), read(str(finished))
    assert one.config == two.config and one.origins == two.origins and one.origins is not None


def test_the_card_has_data_licences_sizes_scores_and_how_to_use_it(out: Path, trainable: Path, tmp_path: Path) -> None:
    (out / "result.json").write_text(json.dumps(RESULT))
    (out / "metrics.json").write_text(json.dumps({"step": 1200, "loss": 2.5, "selected": {"step": 800}, "selected_on": "val"}))
    release(str(out), str(tmp_path / "my-aptm"))
    card = ModelCard.load(tmp_path / "my-aptm/README.md")
    front = card.data.to_dict()
    assert (front["library_name"], front["license"], front["license_name"]) == ("mals", "other", "see-data-licences")
    assert front["pipeline_tag"] == "feature-extraction" and "aptm" in front["tags"]
    scores = {(one.dataset_name, one.metric_type): one.metric_value for one in card.data.eval_results or []}
    assert scores["cuhk", "R1"] == 50 and scores["cuhk", "mAP"] == 43.21 and scores["cuhk", "mA"] == 62.5
    assert "| cuhk | test | 6,156 | 3,074 | 50.00 | 75.00 | 100.00 | 43.21 | 20.00 | 62.50 |" in card.text and "by text" in card.text
    assert "after step 1,200 with a loss of 2.500; the weights are those after step 800, selected on val." in card.text
    name = provenance.about(trainable)["name"]
    assert f"| {name} | " in card.text and "| see-licence-chain | yes |" in card.text
    method = read(str(out)).method
    assert f"| all | {sum(one.numel() for one in method.parameters()):,} |" in card.text
    assert 'pretrain.load("my-aptm")' in card.text and "{{" not in card.text and "\n\n\n" not in card.text
    texts = "".join((tmp_path / "my-aptm" / name).read_text() for name in ("config.yaml", "result.json", "origins.json"))
    assert "/somewhere/secret" not in texts and str(tmp_path) not in texts


def test_a_licence_that_all_data_share_is_that_of_the_release_and_can_be_overridden(out: Path, tmp_path: Path) -> None:
    noted = json.loads((out / "origins.json").read_text())
    noted["data"][0]["licence"] = "apache-2.0"
    (out / "origins.json").write_text(json.dumps(noted))
    for license, expected in ((None, "apache-2.0"), ("mit", "mit")):
        release(str(out), str(tmp_path / "to"), license=license)
        assert ModelCard.load(tmp_path / "to/README.md").data.license == expected


def test_the_training_data_of_the_initial_weights_are_on_the_card(out: Path, tmp_path: Path) -> None:
    noted = json.loads((out / "origins.json").read_text())
    before = {"v": 1, "data": [noted["data"][0] | {"name": "MALS", "rows": 1_510_330}], "before": None}
    (out / "origins.json").write_text(json.dumps(noted | {"before": before}))
    release(str(out), str(tmp_path / "to"))
    text = (tmp_path / "to/README.md").read_text()
    assert text.index("Before that (initial weights):") < text.index("| MALS | 1,510,330 |")
    (out / "origins.json").unlink()
    release(str(out), str(tmp_path / "to"))
    assert "It was not recorded." in (tmp_path / "to/README.md").read_text()


def test_the_card_says_that_the_vision_encoder_was_initialised_with_the_embedded_swin(trainable: Path, tmp_path: Path) -> None:
    out = released(tmp_path / "out", trainable, data={"height": 80, "width": 80}, aptm={"vision": TINY_VISION})
    release(str(out), str(tmp_path / "to"))
    text = (tmp_path / "to/README.md").read_text()
    assert "The vision encoder was initialised with the weights that ship with mals, trained on drawn images of people." in text
    assert "It was trained on synthetic images alone, on no photograph." in text


def test_an_unfinished_training_is_refused_and_its_last_checkpoint_released_on_demand(out: Path, tmp_path: Path) -> None:
    method = read(str(out)).method
    optimizer = torch.optim.AdamW(method.parameters())
    checkpoint.save(out, 7, checkpoint.state(method, optimizer), yaml.safe_load((out / "config.yaml").read_text()))
    with torch.no_grad():
        method.temp.fill_(0.5)
    for name in ("model.safetensors", "config.yaml", "metrics.json"):
        (out / name).unlink()
    with pytest.raises(UserError, match=r"is not finished: it has no model.safetensors, config.yaml, metrics.json; .* --checkpoint latest"):
        release(str(out), str(tmp_path / "to"))
    (out / "result.json").write_text(json.dumps(RESULT))  # measured of other weights
    release(str(out), str(tmp_path / "to"), latest=True)
    assert names(tmp_path / "to") == FILES
    text = (tmp_path / "to/README.md").read_text()
    assert "ended after step 7; **it was not finished**" in text and read(str(tmp_path / "to")).method.temp < 0.5


def test_a_wrong_folder_is_refused_with_what_it_should_hold_and_what_it_holds(tmp_path: Path, trainable: Path) -> None:
    with pytest.raises(UserError, match=r"holds no training: looked for model.safetensors.* and checkpoints/, and saw README.md, .*data/"):
        release(str(trainable), str(tmp_path / "to"))
    with pytest.raises(UserError, match="it is not a folder"):
        release(str(tmp_path / "nowhere"), str(tmp_path / "to"))
    with pytest.raises(UserError, match=r"holds no trained method: looked for config.yaml.*and saw README.md"):
        read(str(trainable))


def test_a_folder_that_holds_something_else_is_not_touched(out: Path, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to/thesis.tex").write_text("mine")
    with pytest.raises(UserError, match=r"holds something else already \(thesis.tex\)"):
        release(str(out), str(tmp_path / "to"))
    with pytest.raises(UserError, match="holds something else already"):
        release(str(out), str(out))
    with pytest.raises(UserError, match="holds the training itself"):
        release(str(out), str(tmp_path))
    with pytest.raises(UserError, match="is a file"):
        release(str(out), str(tmp_path / "to/thesis.tex"))
    assert names(tmp_path / "to") == {"thesis.tex"}


def test_a_release_that_fails_leaves_the_earlier_one_as_it_was(out: Path, tmp_path: Path) -> None:
    release(str(out), str(tmp_path / "to"), name="first")
    before = {path.name: path.read_bytes() for path in (tmp_path / "to").iterdir()}
    weights = (out / "model.safetensors").read_bytes()
    (out / "model.safetensors").write_bytes(weights[:-100])
    with pytest.raises(UserError, match="not a complete safetensors file"):
        release(str(out), str(tmp_path / "to"), name="second")
    assert {path.name: path.read_bytes() for path in (tmp_path / "to").iterdir()} == before and names(tmp_path) == {"out", "to"}
    (out / "model.safetensors").write_bytes(weights)
    release(str(out), str(tmp_path / "to"), name="second")
    assert "# second" in (tmp_path / "to/README.md").read_text() and names(tmp_path) == {"out", "to"}


def test_an_attribute_space_of_ones_own_comes_along(out: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_bytes((attributes.FOLDER / "market1501.yaml").read_bytes())
    config = yaml.safe_load((out / "config.yaml").read_text())
    config["aptm"]["space"] = str(own)
    (out / "config.yaml").write_text(yaml.safe_dump(config))
    release(str(out), str(tmp_path / "to"))
    own.unlink()
    release(str(tmp_path / "to"), str(tmp_path / "again"))
    assert read(str(tmp_path / "again")).config.aptm.space == str(tmp_path / "again/space.yaml")


def test_the_command_lists_in_a_dry_run_and_refuses_in_one_sentence(out: Path, tmp_path: Path, mals: Mals) -> None:
    (tmp_path / "scores.json").write_text(json.dumps(RESULT))
    result = mals("release", out, "--to", "hf://owner/name", "--dry-run", "--result", "scores.json")
    assert result.returncode == 0, result.stderr
    assert {line.split()[1] for line in result.stdout.splitlines()} == FILES and "would be at hf://owner/name" in result.stderr
    (tmp_path / "scores.json").write_text("{}")
    result = mals("release", out, "--to", "to", "--result", "scores.json")
    assert result.returncode == 2 and result.stderr == "scores.json holds no result of mals evaluate, zeroshot or finetune\n"
    assert not (tmp_path / "to").exists()


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub on this machine, to which huggingface_hub talks over HTTP, and a cache of its own."""
    from huggingface_hub import constants

    with hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_TOKEN", "hf_none")
        yield server


def test_what_was_released_to_the_hub_is_loaded_from_it_and_then_from_the_cache(out: Path, there: Hub, tmp_path: Path, monkeypatch) -> None:
    from huggingface_hub import constants

    with pytest.raises(UserError, match="cannot be fetched"):
        read("hf://owner/name")
    report = release(str(out), "hf://owner/name")
    assert {file.path for file in report.files} == FILES == set(there.repos["owner/name"]) - {".gitattributes"}
    assert read("hf://owner/name").tokenizer.size == read(str(out)).tokenizer.size
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert read("hf://owner/name").origins is not None
    for wrong in ("hf://owner", "hf://datasets/owner/name"):
        with pytest.raises(UserError, match="is not of the form hf://OWNER/NAME"):
            release(str(out), wrong)
        with pytest.raises(UserError, match="is not of the form hf://OWNER/NAME"):
            read(wrong)


def test_a_url_gets_a_release(out: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    release(str(out), "memory://models/aptm")
    assert {name.rsplit("/", 1)[1] for name in memory.find("/models/aptm")} == FILES
    memory.rm("/models", recursive=True)

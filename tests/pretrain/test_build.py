"""What a training starts from, and what of it learns faster."""

import re
import shutil
from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch import Tensor

from cli.pretrain import training_settings
from mals.errors import UserError
from pretrain.build import prepare
from pretrain.methods.aptm import published_weights
from pretrain.methods.aptm.method import Aptm
from pretrain.schedule import make_optimizer
from tests.pretrain.trainings import SETS, here

RATES = ["optimizer.lr=1e-3", "aptm.new_rate=3"]


def built(data: Path, out: Path, *sets: str) -> tuple[Aptm, set[str]]:
    """A method, and the parameters whose peak rate is new_rate times the others'."""
    config = training_settings("tiny", None, [*SETS, *RATES, *sets])
    method = prepare(config, [str(data)], out).method
    peaks = {
        id(one): group["peak"]
        for group in make_optimizer(config.optimizer, method, method.rules, 10, 10).param_groups
        for one in group["params"]
    }
    times = {name: round(peaks[id(one)] / 1e-3, 6) for name, one in method.named_parameters()}
    assert set(times.values()) <= {1, 3}
    return method, {name for name, factor in times.items() if factor == 3}


def bert(method: Aptm, head: bool) -> dict[str, Tensor]:
    """The weights of the text encoder as those of a BERT without cross-attention."""
    state = published_weights.to_theirs({f"bert.{name}": value for name, value in method.bert.state_dict().items()})
    named = {name.removeprefix("text_encoder."): value.contiguous().clone() for name, value in state.items()}
    return {name: value for name, value in named.items() if "crossattention" not in name and (head or not name.startswith("cls."))}


def test_only_what_the_text_encoders_checkpoint_lacks_learns_faster(trainable: Path, tmp_path: Path) -> None:
    method, faster = built(trainable, tmp_path)
    assert not faster
    save_file(bert(method, head=True), tmp_path / "bert.safetensors")
    save_file(bert(method, head=False), tmp_path / "bare.safetensors")
    (tmp_path / "whole").mkdir()
    save_file({name: value.contiguous().clone() for name, value in method.state_dict().items()}, tmp_path / "whole/model.safetensors")
    shutil.copy(tmp_path / "tokenizer.json", tmp_path / "whole")
    cross = {name for name, _ in method.named_parameters() if re.match(r"bert\.layers\.[23]\.cross", name)}
    assert len(cross) == 20
    assert built(trainable, tmp_path, f"aptm.text.start={tmp_path}/bert.safetensors")[1] == cross
    head = {name for name, _ in method.named_parameters() if name.startswith("bert.head")}
    assert head and built(trainable, tmp_path, f"aptm.text.start={tmp_path}/bare.safetensors")[1] == cross | head
    both = [f"aptm.text.start={tmp_path}/bert.safetensors", f"start={tmp_path}/whole"]
    assert not built(trainable, tmp_path, both[1])[1] and not built(trainable, tmp_path, *both)[1]


def test_a_training_that_starts_from_another_takes_its_vocabulary(trainable: Path, tmp_path: Path) -> None:
    before = here(trainable, tmp_path / "before", "steps=2", "save_every=2", "data.vocabulary=60") and tmp_path / "before"
    for number, start in enumerate((before / "model.safetensors", before, before / "checkpoints/00000002")):
        out = tmp_path / f"after{number}"
        here(trainable, out, "steps=1", f"start={start}", "data.vocabulary=300")
        assert (out / "tokenizer.json").read_bytes() == (before / "tokenizer.json").read_bytes()


def test_a_new_vocabulary_for_old_weights_is_refused(trainable: Path, tmp_path: Path) -> None:
    here(trainable, tmp_path / "before", "steps=1")
    lonely = tmp_path / "lonely/weights.safetensors"
    lonely.parent.mkdir()
    lonely.write_bytes((tmp_path / "before/model.safetensors").read_bytes())
    with pytest.raises(UserError, match=r"^data\.tokenizer=train would assign new token ids, incompatible with the weights of \S+;"):
        here(trainable, tmp_path / "after", f"start={lonely}")

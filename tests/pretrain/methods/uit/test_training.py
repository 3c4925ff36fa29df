"""UIT's trainings: tags are worked out once and kept, and the captions of a batch are changed by them."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from mals.errors import UserError
from pretrain import build, ranks
from pretrain.build import CAPTION_FACTS, Prepared, prepare
from pretrain.data.loader import Loader
from pretrain.methods.uit import method
from pretrain.methods.uit.method import Uit
from pretrain.methods.uit.restoration import THEIR_NAMES
from pretrain.methods.uit.words import TagMasking, WordFilter
from pretrain.trained_method import read
from tests.pretrain.methods.small import SMALLER, Small, drawn

UIT = Small("uit")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("uit") / "world")


def prepared(world: Path, out: Path, *sets: str, begun: bool = False) -> Prepared:
    out.mkdir(exist_ok=True)
    return prepare(UIT.config(*sets), [str(world)], out, begun)


def refused(source: str, setting: str) -> Any:
    raise UserError(f"no tagger {source}")


def test_tags_are_kept_and_another_machine_needs_no_tagger(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepared(world, tmp_path / "out")
    kept = (tmp_path / "out" / CAPTION_FACTS).read_bytes()
    monkeypatch.setattr(method, "find_tagger", refused)
    again = prepared(world, tmp_path / "out", begun=True)
    assert isinstance(first.method.needs.reword, WordFilter) and again.method.needs.reword == first.method.needs.reword
    masks = first.method.needs.masking, again.method.needs.masking
    assert all(isinstance(rule, TagMasking) for rule in masks) and (masks[0].shares == masks[1].shares).all()  # type: ignore[union-attr]
    assert (tmp_path / "out" / CAPTION_FACTS).read_bytes() == kept
    with pytest.raises(UserError, match="no tagger own"):  # a new training works them out again
        prepared(world, tmp_path / "out")


def test_damaged_tags_are_one_sentence(world: Path, tmp_path: Path) -> None:
    prepared(world, tmp_path / "out")
    for content, message in {
        "{": f"{CAPTION_FACTS} is damaged; remove it and the checkpoints beside it",
        '{"words": 1}': "tags of the captions",
    }.items():
        (tmp_path / "out" / CAPTION_FACTS).write_text(content)
        with pytest.raises(UserError, match=message):
            prepared(world, tmp_path / "out", begun=True)


def test_a_training_that_changes_no_caption_needs_no_tags(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method, "find_tagger", refused)
    plain = prepared(world, tmp_path / "out", "uit.filter=0", "uit.mask_naming=0", "uit.mask_others=0").method
    assert plain.needs.reword is None and plain.needs.masking is None and not (tmp_path / "out" / CAPTION_FACTS).exists()


def test_each_change_of_captions_can_be_left_out(world: Path, tmp_path: Path) -> None:
    whole = prepared(world, tmp_path / "whole", "uit.filter=0").method
    assert whole.needs.reword is None and whole.needs.masking is not None
    clear = prepared(world, tmp_path / "clear", "uit.mask_naming=0", "uit.mask_others=0").method
    assert clear.needs.reword is not None and clear.needs.masking is None


def test_captions_without_content_are_counted_and_stay(caplog: pytest.LogCaptureFixture, world: Path, tmp_path: Path) -> None:
    caplog.set_level(logging.INFO)
    tokenizer = prepared(world, tmp_path / "out").tokenizer
    facts = Uit.caption_facts(UIT.config(), tokenizer, ["walking and running", "of the", "a man in a coat", "of the"])
    assert facts["empty"] == 2
    assert "the labeller's lexicon; 2 captions have no pronoun, noun or adjective and stay whole" in caplog.text


def test_a_batch_has_filtered_and_masked_captions_of_groups_of_persons(world: Path, tmp_path: Path) -> None:
    ready = prepared(world, tmp_path / "out", "uit.filter=1")
    assert isinstance(ready.method, Uit) and isinstance(ready.method.needs.reword, WordFilter)
    tags = ready.method.needs.reword.tags
    loader = Loader(ready.pairs, ready.tokenizer, ready.method.needs, batch=8, seed=3, stop=1, transform=ready.transform, exchange=False)
    (batch,) = loader
    expected = ready.tokenizer.encode([tags.keep(ready.pairs.caption(row)) for row in batch.rows.tolist()])
    assert batch.text.ids.equal(expected.ids)
    assert batch.masked is not None and not batch.masked.ids.equal(batch.text.ids)
    assert len(batch.persons.unique()) >= 4 and batch.text.ids.shape[1] < ready.tokenizer.max_tokens


def test_captions_are_as_wide_as_the_longest_can_be_where_padding_is_looked_at() -> None:
    for sets, wide in {("uit.attend_padding=true",): True, ("uit.attend_padding=false",): False}.items():
        assert Uit.data_needs(UIT.config(*sets)).full_width == wide
    assert not Uit.data_needs(UIT.config("uit.attend_padding=true", "uit.loss_weights.tir=0")).full_width
    with pytest.raises(UserError, match=r"uit.group is \[3, 2\]"):
        Uit.data_needs(UIT.config("uit.group=[3, 2]"))


def test_a_checkpoint_of_the_authors_is_evaluated_without_its_restoration(world: Path, tmp_path: Path) -> None:
    """Names are as in the authors' file, with modules that have no use; sizes and tokenizer are those of a tiny training."""
    ready = prepared(world, tmp_path / "out")
    back = {f"restoration.{ours}": theirs for theirs, ours in THEIR_NAMES.items()}
    state = {}
    for name, value in ready.method.state_dict().items():
        start = next((ours for ours in back if name == ours or name.startswith(f"{ours}.")), None)
        state[name if start is None else back[start] + name.removeprefix(start)] = value
    state |= {
        "norm_3.weight": torch.ones(32),
        "cross_attn_Image.in_proj_bias": torch.zeros(96),
        "decoder_pos_embed": torch.zeros(1, 33, 32),
    }
    torch.save({"model": state, "epoch": 60, "iteration": 1}, tmp_path / "best.pth")
    trained = read(str(tmp_path / "best.pth"), sets(tmp_path), "tiny-uit")
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        assert trained.method.embed_image(images).equal(ready.method.eval().embed_image(images))
    assert not any(name.startswith(("restoration", "classifier")) for name in trained.method.state_dict())


def sets(folder: Path) -> list[str]:
    """What a file of weights alone does not say."""
    return [*SMALLER["uit"], f"data.tokenizer={folder / 'out/tokenizer.json'}"]


def test_facts_are_read_by_every_process(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is not the main one works out nothing."""
    ready = prepared(world, tmp_path / "out")
    monkeypatch.setattr(ranks, "is_main", lambda: False)
    monkeypatch.setattr(method, "find_tagger", refused)
    facts = build.caption_facts_of(UIT.config(), ready.tokenizer, ready.pairs, tmp_path / "out")
    assert facts["source"] == "the labeller's lexicon"

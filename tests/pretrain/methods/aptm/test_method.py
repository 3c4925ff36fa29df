"""APTM's losses: those of the authors' code, and what they should do besides."""

import json
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from mals.errors import UserError
from mals.settings import merge
from pretrain import losses
from pretrain import settings as training_settings
from pretrain.config import Training
from pretrain.method import Batch, Text
from pretrain.methods.aptm import published_weights
from pretrain.methods.aptm.config import Vision
from pretrain.methods.aptm.method import Aptm
from pretrain.methods.aptm.sampling import draw, own_slice
from pretrain.towers import attention, micro_batches
from pretrain.towers.bert import Embeddings, Layer, WordHead
from pretrain.train import COMPILED, compile_blocks
from tests.pretrain.towers.towers import GOLDEN, WEIGHTS, golden, near

ONCE = (nn.Linear, Layer, Embeddings, WordHead)
ONES = dict.fromkeys(("itc", "itm", "mlm", "iac", "iam", "mam"), 1.0)


def settings(**overrides: Any) -> Training:
    return training_settings.check({"preset": "tiny", **overrides})


def reference(**method: Any) -> tuple[Aptm, dict[str, Tensor]]:
    """The golden model as our method, evaluating, with its inputs."""
    c = json.loads((GOLDEN / "config.json").read_text())
    vectors = golden()[1]
    config = settings(
        data={"height": c["h"], "width": c["w"]},
        aptm={
            "vision": {"embed": c["embed_dim"], "depths": c["depths"], "heads": c["heads"], "window": c["window"]},
            "text": {name: c[name] for name in ("hidden", "layers", "fusion", "inter")} | {"heads": c["bheads"], "positions": c["max_pos"]},
            "proj": c["proj"],
            "loss_weights": ONES,
            "prompts_per_image": False,
            **method,
        },
    )
    prompts = Text(vectors["in.attr_ids"], vectors["in.attr_mask"].bool())
    masked = Text(vectors["in.attr_ids_masked"], prompts.mask)
    targets = slots(prompts.ids.shape, vectors["in.attr_masked_pos"], vectors["in.attr_masked_ids"])
    method_ = Aptm(config, c["vocab"], prompts, lambda step: (masked, targets)).eval()
    published_weights.load_state(method_, published_weights.read_aptm(WEIGHTS), WEIGHTS)
    return method_, vectors


def slots(shape: torch.Size, places: Tensor, words: Tensor) -> Tensor:
    """Targets [R, L] from the authors' slots: places [R, M] and words [R, M], -100 where a slot is empty."""
    targets = torch.full(shape, -100)
    for row, (at, word) in enumerate(zip(places.tolist(), words.tolist(), strict=True)):
        for place, target in zip(at, word, strict=True):
            if target != -100:
                targets[row, place] = target
    return targets


def batch_of(vectors: dict[str, Tensor], unique: bool = False) -> Batch:
    text = Text(vectors["in.text_ids"], vectors["in.text_mask"].bool())
    rows = torch.arange(len(text.ids))
    return Batch(
        rows=rows,
        persons=rows if unique else vectors["in.idx"],
        images=vectors["in.image"],
        text=text,
        masked=Text(vectors["in.text_ids_masked"], text.mask),
        targets=slots(text.ids.shape, vectors["in.masked_pos"], vectors["in.masked_ids"]),
        labels=vectors["in.label"],
    )


@pytest.mark.golden
@pytest.mark.parametrize(("smoothing", "gpu"), [(0.0, False), (0.4, False), (0.4, True)])
def test_the_six_losses_are_those_of_the_authors_code(smoothing: float, gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `gpu`, as tensors are laid out on a GPU."""
    monkeypatch.setattr(attention, "on_gpu", lambda device: gpu)
    method, vectors = reference(smoothing=smoothing)
    monkeypatch.setattr(
        "pretrain.methods.aptm.captions.draw", lambda scores, same, draws: scores.softmax(1).add(1e-5).masked_fill(same, 0).argmax(1)
    )
    monkeypatch.setattr(method, "draw_prompts", lambda rows, step: vectors["in.iam_prompts"][None].expand(rows, -1))
    first = [[row for row, true in enumerate(column) if true == 1][:1] for column in losses.prompt_labels(vectors["in.label"]).T.tolist()]
    shown = [(prompt, rows[0]) for prompt, rows in enumerate(first) if rows]
    monkeypatch.setattr(method, "draw_images", lambda true, rows, step: tuple(torch.tensor(column) for column in zip(*shown, strict=True)))
    with torch.no_grad():
        loss_of = method(batch_of(vectors), 0)
        unique = method(batch_of(vectors, unique=True), 0)
    ending = f"_smooth{smoothing:g}" if smoothing else ""
    expected = {
        "itc": "itc_idx",
        "itm": "itm_hardest",
        "mlm": "mlm",
        "iac": f"iac{ending}",
        "iam": f"iam{ending}",
        "mam": "mam_first_match",
    }
    for name, theirs in expected.items():
        near(loss_of[name], vectors[f"out.loss_{theirs}"])
    near(unique["itc"], vectors["out.loss_itc_unique"])


def small(seed: int = 0, **overrides: Any) -> tuple[Aptm, Batch]:
    """A small method and a random batch of eight rows, all that any loss wants."""
    sizes = {"vision": {"embed": 16, "heads": [1, 2, 4], "window": 4}, "text": {"hidden": 32, "inter": 64}}
    config = settings(**merge({"data": {"height": 64, "width": 32}, "aptm": sizes}, overrides))
    torch.manual_seed(seed)
    ids = torch.randint(5, 90, (54, 7))
    prompts = Text(ids, torch.ones_like(ids).bool())
    targets = torch.full_like(ids, -100)
    targets[:, 2] = ids[:, 2]
    method = Aptm(config, 100, prompts, lambda step: (Text(ids.index_fill(1, torch.tensor([2]), 4), prompts.mask), targets))
    captions = torch.randint(5, 90, (8, 12))
    words = torch.full_like(captions, -100)
    words[:, 3:5] = captions[:, 3:5]
    batch = Batch(
        rows=torch.arange(8),
        persons=torch.arange(8) // 2,
        images=torch.randn(8, 3, 64, 32),
        text=Text(captions, torch.ones_like(captions).bool()),
        masked=Text(captions.index_fill(1, torch.tensor([3, 4]), 4), torch.ones_like(captions).bool()),
        targets=words,
        labels=torch.randint(-1, 2, (8, 27)),
    )
    return method, batch


@pytest.mark.parametrize("parts", [None, 3])
def test_losses_and_gradients_laid_out_as_on_a_gpu_are_those_of_a_cpu(parts: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for gpu in (False, True):
        monkeypatch.setattr(attention, "on_gpu", lambda device, gpu=gpu: gpu)
        method, batch = small(aptm=CALM)
        micro_batches.use(method, "aptm", parts)
        loss_of = method.train()(batch, 2)
        torch.stack(list(loss_of.values())).sum().backward()
        results.append([*loss_of.values(), *(one.grad for one in method.parameters() if one.grad is not None)])
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(second, first, rtol=1e-4, atol=1e-5)


def test_each_of_the_six_losses_falls_on_a_batch_repeated_fifty_times() -> None:
    method, batch = small()
    optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3)
    seen = []
    for _ in range(50):
        loss_of = method(batch, 0)
        optimizer.zero_grad()
        torch.stack(list(loss_of.values())).sum().backward()
        optimizer.step()
        seen.append({name: float(loss.detach()) for name, loss in loss_of.items()})
    assert set(seen[0]) == set(ONES)
    for name in ONES:
        assert sum(one[name] for one in seen[-5:]) / 5 < seen[0][name], name


def test_every_layer_is_computed_once_a_step() -> None:
    method, batch = small(aptm={"loss_weights": ONES | {"itc_eda": 1.0, "itm_eda": 1.0}})
    towers = {"swin": method.swin, "bert": method.bert}
    parts = {f"{name}.{at}": part for name, tower in towers.items() for at, part in tower.named_modules() if isinstance(part, ONCE)}
    calls = dict.fromkeys(parts, 0)
    for name, part in parts.items():
        part.register_forward_hook(lambda *_, name=name: calls.update({name: calls[name] + 1}))
    loss_of = method(replace(batch, second_text=batch.text), 0)
    assert len(loss_of) == 8 and len(calls) > 60 and set(calls.values()) == {1}


@pytest.mark.parametrize("labels", [torch.full((8, 27), -1), torch.full((8, 27), -1).index_fill(0, torch.tensor([0]), 1)])
def test_unknown_attributes_and_a_whole_unknown_batch_give_no_nan(labels: Tensor) -> None:
    method, batch = small()
    loss_of = method(Batch(**{**vars(batch), "labels": labels}), 3)
    torch.stack(list(loss_of.values())).sum().backward()
    assert all(torch.isfinite(loss) for loss in loss_of.values())
    assert all(torch.isfinite(one.grad).all() for one in method.parameters() if one.grad is not None)


def test_a_batch_of_one_person_gives_no_negatives_and_no_nan() -> None:
    method, batch = small()
    assert torch.isfinite(method(Batch(**{**vars(batch), "persons": torch.zeros(8, dtype=torch.int64)}), 0)["itm"])


@pytest.mark.parametrize("name", list(ONES))
def test_a_loss_of_weight_0_is_not_computed_and_the_others_stay(name: str) -> None:
    method, batch = small(aptm={"loss_weights": {**ONES, name: 0.0}})
    assert set(method.eval()(batch, 0)) == set(ONES) - {name}


def test_a_weight_that_is_missing_or_misspelt_is_refused() -> None:
    weights = dict(ONES)
    with pytest.raises(UserError, match=r"there is no setting aptm\.loss_weights\.mml; did you mean aptm\.loss_weights\.mlm\?"):
        settings(aptm={"loss_weights": {**weights, "mml": 1.0}})
    config = settings(aptm={"loss_weights": weights}).model_dump()
    del config["aptm"]["loss_weights"]["mlm"]
    with pytest.raises(ValueError, match="mlm"):
        training_settings.TRAINING.type_of(config).model_validate(config)


def test_negatives_are_of_other_persons_and_the_same_for_the_same_step() -> None:
    method, batch = small(aptm={"loss_weights": ONES})
    image, text = (normalize(torch.randn(8, 5), dim=1) for _ in range(2))
    one, again, other = (method.hard_negatives({"caption": text}, image, batch.persons, step)["caption"] for step in (5, 5, 6))
    for mine, same, new in zip((one.images, one.texts), (again.images, again.texts), (other.images, other.texts), strict=True):
        assert (batch.persons[mine] != batch.persons).all() and torch.equal(mine, same) and not torch.equal(mine, new)
    assert not torch.equal(one.images, one.texts) and not one.none.any()


def test_negatives_are_drawn_in_proportion_to_their_likeness() -> None:
    scores = torch.tensor([[2.0, 1.0, 0.0, 5.0]]).expand(20_000, 4)
    same = torch.tensor([[False, False, False, True]]).expand(20_000, 4)
    chance = torch.rand(20_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    frequencies = draw(scores, same, chance).bincount(minlength=4) / 20_000
    likely = scores[0].softmax(0)[:3]
    torch.testing.assert_close(frequencies, torch.cat([likely / likely.sum(), torch.zeros(1)]), atol=0.01, rtol=0)
    edges = draw(scores[:2], same[:2], torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64))
    assert edges.tolist() == [0, 2]  # never the masked one, whatever the number


def test_the_first_and_the_last_that_may_be_drawn_are_no_one_of_the_same_person() -> None:
    same = torch.tensor([[True, False, True], [False, True, True], [True, True, True]])
    for value in (0.0, 0.5, 1 - 2**-53):
        drawn = draw(torch.zeros(3, 3), same, torch.full((3,), value, dtype=torch.float64))
        assert drawn[:2].tolist() == [1, 0] and 0 <= drawn[2] < 3


def test_prompts_are_drawn_a_picture_unless_published() -> None:
    method, _ = small(aptm={"loss_weights": ONES, "prompts": 5})
    numbers = method.draw_prompts(8, 1)
    rows = [tuple(row) for row in numbers.tolist()]
    assert numbers.shape == (8, 5) and len(set(rows)) > 1 and all(len(set(row)) == 5 for row in rows)
    method, _ = small(aptm={"loss_weights": ONES, "prompts_per_image": False})
    assert len({tuple(row) for row in method.draw_prompts(8, 1).tolist()}) == 1


DROPS = {"text": {"dropout": 0.2}, "vision": {"drop_path": 0.3}}
CALM = {"text": {"dropout": 0.0}, "vision": {"drop_path": 0.0}}


def steps(method: Aptm, batch: Batch, count: int) -> list[dict[str, float]]:
    """The losses of some steps, each seeded as the loop does it."""
    optimizer, history = torch.optim.SGD(method.parameters(), lr=0.1), []
    for step in range(count):
        torch.manual_seed(step)
        loss_of = method(batch, step)
        optimizer.zero_grad()
        torch.stack(list(loss_of.values())).sum().backward()
        optimizer.step()
        history.append({name: float(loss.detach()) for name, loss in loss_of.items()})
    return history


def test_checkpointing_changes_neither_losses_nor_gradients() -> None:
    plain, batch = small(aptm=DROPS)
    spared, _ = small(aptm=DROPS, checkpointing=True)
    assert spared.swin.checkpointing and spared.bert.checkpointing and not plain.swin.checkpointing and not plain.bert.checkpointing
    for one, other in zip(steps(plain, batch, 3), steps(spared, batch, 3), strict=True):
        assert other == pytest.approx(one, rel=1e-5)
    for one, other in zip(plain.parameters(), spared.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_compiled_blocks_give_the_same_losses_under_the_same_names() -> None:
    """What torch makes of them, short of the C++ or Triton that it would write, which takes it a minute."""
    plain, batch = small(aptm=CALM)
    compiled, _ = small(aptm=CALM)
    names = set(compiled.state_dict())
    compile_blocks(compiled, "aot_eager")
    for one, other in zip(steps(plain, batch, 2), steps(compiled, batch, 2), strict=True):
        assert other == pytest.approx(one, abs=1e-3)
    assert set(compiled.state_dict()) == names and all(block._compiled_call_impl for block in compiled.bert.layers)


def test_compiling_takes_no_argument_that_an_older_torch_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    def older(model: Any = None, *, fullgraph: bool = False, dynamic: bool | None = None, backend: str = "inductor") -> Any:
        return model

    monkeypatch.setattr(torch, "compile", older)
    with torch._dynamo.config.patch(recompile_limit=8):  # not by monkeypatch, which ends with no limit at all
        compile_blocks(small()[0], "eager")
        assert torch._dynamo.config.recompile_limit == COMPILED  # as old as the limit itself


def test_a_swin_of_the_papers_size_that_starts_from_nothing_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    pairs: Any = SimpleNamespace(labels=None)
    for vision, warnings in ({}, 1), ({"embed": 64}, 0), ({"start": "embedded"}, 0):
        caplog.clear()
        method, _ = small()
        method.own = method.own.model_copy(update={"vision": Vision.model_validate(vision)})
        with suppress(UserError):  # the embedded one has other sizes
            method.load_initial_weights(settings(), pairs)
        assert caplog.text.count("the vision encoder starts from random weights, and the paper's from ImageNet-22k") == warnings


def test_the_published_gather_of_one_process_is_the_features_themselves() -> None:
    own = torch.randn(4, 3, requires_grad=True)
    assert own_slice(own) is own


def test_balanced_values_count_half_each_however_rare_one_is() -> None:
    method, _ = reference(balanced=True)
    attributes = len(method.get_buffer("value_weights"))
    labels = torch.randint(-1, 2, (50, attributes), generator=torch.Generator().manual_seed(0))
    labels[:, 0] = torch.tensor([1] * 10 + [0] * 39 + [-1])
    labels[:, 1] = torch.tensor([0] * 49 + [1])  # one in fifty counts ten times, not fifty
    assert method._label_weights(labels) is not None and bool((method._label_weights(labels) == 1).all())
    method.balance(labels)
    weighed = method._label_weights(labels)
    assert weighed is not None
    for value in (0, 1):
        assert float(weighed[:, 0][labels[:, 0] == value].sum()) == pytest.approx(49 / 2)
    assert float(weighed[49, 1]) == 10
    prompt_numbers = torch.tensor([[0, 1, 2, 3]]).expand(50, -1)  # "it is 0" and "it is 1" of two attributes: each answer tells the value
    answers = losses.prompt_labels(labels).gather(1, prompt_numbers)
    answer_weights = method._label_weights(answers, prompt_numbers)
    known = labels[:, :2].repeat_interleave(2, 1) >= 0
    assert answer_weights is not None and answer_weights[known].equal(weighed[:, :2].repeat_interleave(2, 1)[known])
    assert reference(balanced=False)[0]._label_weights(labels) is None


def test_it_can_do_what_its_losses_taught_it() -> None:
    """By a matching head that no caption has trained nothing is ordered."""
    nothing = dict.fromkeys((*ONES, "sentences"), 0.0)
    for taught, able in {
        "itc": {"embed", "recognise"},
        "itm": {"recognise"},
        "iac": {"embed", "recognise"},
        "sentences": {"embed", "recognise"},
        "iam": {"recognise"},
        "mlm": set(),
    }.items():
        assert small(aptm={"loss_weights": {**nothing, taught: 1.0}})[0].abilities == able
    assert small(aptm={"loss_weights": {**nothing, "itc": 1.0, "itm": 1.0}})[0].abilities == {"embed", "match", "recognise"}
    attributes = {**nothing, "iac": 1.0, "iam": 1.0}
    for weights, score, published in (
        (attributes, "matching logit + cosine / temperature", "matching logit"),
        ({**nothing, "iac": 1.0}, "cosine", "cosine"),
    ):
        method = small(aptm={"loss_weights": weights})[0]
        assert (method.score_name(), method.score_name(published=True)) == (score, published)
    assert small(aptm={"loss_weights": ONES, "classifier": True})[0].abilities == {"classify"}


def test_at_full_size_it_has_214_million_parameters() -> None:
    prompts = Text(torch.zeros(54, 9, dtype=torch.int64), torch.ones(54, 9).bool())
    for preset in ("aptm", "aptm-paper"):
        with torch.device("meta"):
            method = Aptm(settings(preset=preset), 30522, prompts, lambda step: (prompts, prompts.ids))
        assert sum(one.numel() for one in method.parameters()) == 214_456_629

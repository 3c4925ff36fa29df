"""Masks by the scores of tokens: the papers' probabilities, kept by the row's number, the same on any number of ranks and after a kill."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import cosine_similarity

from mals.errors import UserError
from pretrain import checkpoint
from pretrain import train as training
from pretrain.build import prepare
from pretrain.clip_method import ClipMethod
from pretrain.data.batch import Batch
from pretrain.data.random_numbers import uniform
from pretrain.data.tokenizers import WordPiece
from pretrain.data.tokenizers.masking import TokenMasking
from pretrain.data.tokenizers.vocabulary import train_vocabulary
from pretrain.noise_masking import START, Gate, NoiseMasking, TokenScores, gate, nam_scores, nam_shares
from pretrain.release import release
from tests.pretrain.methods.processes import compare_losses, end_early, measured, on_ranks
from tests.pretrain.methods.small import CPU, STEPS, Small, drawn, measure, part
from tests.pretrain.trainings import lines, same_weights

CAPTIONS = ["a man in a red coat with a black bag", "a woman", "a boy with a bag in his left hand", "a boy with a bag in his right hand"]
VARIANTS = ["irra+nam", "irra+gadms", "uit+nam", "rde+gadms"]


def close(actual: Tensor, expected: list[float], tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=actual.dtype), rtol=0, atol=tolerance)


def test_nam_masks_by_the_doubt_in_a_token_less_the_mean_doubt_of_its_caption() -> None:
    scores = torch.tensor([[0.1, 0.9, 0.5, 0.2, 0.7, 0.3]], dtype=torch.float64)
    is_word = torch.tensor([[False, True, True, True, True, False]])  # start and end have scores, and do not count
    close(nam_shares(scores, is_word, 0.15)[0, 1:5], [0.0, 0.225, 0.525, 0.025])
    close(nam_shares(torch.full((1, 3), START, dtype=torch.float64), torch.ones(1, 3, dtype=torch.bool), 0.15)[0], [0.15] * 3, 1e-12)


def test_the_two_maskings_of_gadms_have_the_published_probabilities() -> None:
    scores, own = torch.tensor([0.0, 0.1, 0.5, 1.0, START], dtype=torch.float64), NoiseMasking()
    close(gate(scores, own.informative), [0.0358, 0.15, 0.2999, 0.3, 0.3], 1e-4)
    close(gate(1 - scores, own.noise), [0.1762, 0.1, 6.7e-5, 0.0, 0.0], 1e-4)
    close(gate(torch.tensor([0.3, 3.0]), Gate(highest=0.5, middle=0.3, steepness=5)), [0.25, 0.5], 1e-4)


@pytest.fixture(scope="module")
def tokenizer() -> WordPiece:
    return WordPiece.of(train_vocabulary(CAPTIONS * 4, 200), 24, end=True)


def batch_of(tokenizer: WordPiece, rows: list[int], captions: list[str], rule: str = "nam", epoch: int = 0) -> Batch:
    draws, count = {"nam": 2, "gadms": 4}[rule], tokenizer.max_tokens
    random = torch.from_numpy(uniform((3, epoch), rows, draws * count)).unflatten(1, (draws, count))
    numbers = torch.tensor(rows)
    return Batch(numbers, numbers, torch.zeros(len(rows), 3, 1, 1), tokenizer.encode(captions), token_draws=random)


def test_a_first_epoch_masks_as_the_method_without_scores_does(tokenizer: WordPiece) -> None:
    batch = batch_of(tokenizer, list(range(40)), CAPTIONS * 10)
    masked = TokenScores(NoiseMasking(rule="nam"), 40, tokenizer).mask(batch, predicts=True)
    text, targets = TokenMasking(0.15).mask(batch.text, uniform((3, 0), range(40), 2 * tokenizer.max_tokens), tokenizer)
    assert masked.masked is not None and masked.targets is not None and masked.text is batch.text
    assert masked.masked.ids.equal(text.ids) and masked.targets.equal(targets)


def test_tokens_are_masked_as_often_as_their_scores_say(tokenizer: WordPiece) -> None:
    rows = list(range(4000))
    batch = batch_of(tokenizer, rows, CAPTIONS[:1] * len(rows))
    table = TokenScores(NoiseMasking(rule="nam"), len(rows), tokenizer)
    width = batch.text.ids.shape[1]
    scores = torch.linspace(0.9, 0.3, width).expand(len(rows), -1)
    table.keep(batch, scores)
    masked = table.mask(batch, predicts=True)
    is_word = ~table.special[batch.text.ids]
    expected = nam_shares(scores.double(), is_word, 0.15)[0] * is_word[0]
    assert masked.targets is not None and expected[1] == 0 and float(expected[2]) < 0.02 < 0.3 < float(expected.max())
    shares = (masked.targets != -100).double().mean(0)
    torch.testing.assert_close(shares[2:], expected[2:], rtol=0, atol=0.025)
    torch.testing.assert_close(shares[1], (1 - expected).prod(), rtol=0, atol=0.025)  # the first word, where no other was drawn


def test_gadms_hides_noise_from_one_loss_and_informative_words_for_the_other(tokenizer: WordPiece) -> None:
    rows = list(range(2000))
    batch = batch_of(tokenizer, rows, CAPTIONS[:1] * len(rows), "gadms")
    scores = torch.zeros(batch.text.ids.shape)
    scores[:, 1:5], scores[0, 9] = 0.5, 1.0  # the highest of the batch is 1, the lowest 0
    for first_word in (False, True):
        table = TokenScores(NoiseMasking(rule="gadms", first_word=first_word), len(rows), tokenizer)
        table.keep(batch, scores)
        masked = table.mask(batch, predicts=True)
        assert masked.masked is not None and masked.targets is not None
        shares = [(changed != batch.text.ids).double().mean(0) for changed in (masked.text.ids, masked.masked.ids)]
        predicted = (masked.targets != -100).double().mean(0)
        close(predicted[2:8], [0.2999, 0.2999, 0.2999, 0.0358, 0.0358, 0.0358], 0.03)
        close(shares[0][2:8], [0.0, 0.0, 0.0, 0.9 * 0.1762, 0.9 * 0.1762, 0.9 * 0.1762], 0.03)
        assert (float(shares[0][1]) > 0.1) == first_word
    assert table.mask(batch, predicts=False).masked is None


def test_scores_are_kept_by_row_and_caption(tokenizer: WordPiece) -> None:
    table = TokenScores(NoiseMasking(rule="nam"), 5, tokenizer)
    batch = batch_of(tokenizer, [3, 0, 3, 1], [CAPTIONS[0], CAPTIONS[1], CAPTIONS[0], CAPTIONS[2]])
    scores = torch.rand(batch.text.ids.shape, generator=torch.Generator().manual_seed(1)) * batch.text.mask
    table.keep(batch, scores)
    again = batch_of(tokenizer, [0, 1, 3, 4], [CAPTIONS[1], CAPTIONS[3], CAPTIONS[1], CAPTIONS[0]])
    read = table.read(again)
    for row, before in ((0, 1), (1, 3)):  # row 1 is mirrored: left and right have changed places
        close(read[row], scores[before].half().tolist()[: read.shape[1]], 1e-9)
    close(read[2:].flatten(), [START] * read[2:].numel(), 1e-12)  # another caption of row 3, and a row that was not seen
    known = table.read(batch)
    close(known[2], scores[0].half().tolist(), 1e-9)  # a row twice in a batch has the scores of its first place
    wider = replace(again, text=tokenizer.encode([CAPTIONS[1], *CAPTIONS[:3]], tokenizer.max_tokens))
    assert table.key(wider.text)[0] == table.key(again.text)[0]


def test_scores_of_several_captions_of_a_row_are_kept(tokenizer: WordPiece) -> None:
    table = TokenScores(NoiseMasking(rule="nam", captions=2), 3, tokenizer)
    batches = [batch_of(tokenizer, [1, 2], [caption, caption]) for caption in CAPTIONS[:3]]
    for number, batch in enumerate(batches):
        table.keep(batch, torch.full(batch.text.ids.shape, 0.25 * (number + 1)))
    known = [float(table.read(batch)[0, 1]) for batch in batches]
    assert known[2] == 0.75 and sorted(known[:2]) in ([0.25, START], [0.5, START])  # the third one took the place of one before
    table.keep(batches[2], torch.full(batches[2].text.ids.shape, 0.125))
    assert [float(table.read(batch)[1, 1]) for batch in batches] == [*known[:2], 0.125]


def test_a_token_s_score_is_its_highest_cosine_with_a_patch() -> None:
    torch.manual_seed(2)
    text, image = torch.randn(2, 4, 6), torch.randn(2, 9, 6)
    scores = nam_scores(text, image)
    for row in range(2):
        for token in range(4):
            best = max(float(cosine_similarity(text[row, token], image[row, patch], dim=0)) for patch in range(1, 9))
            assert scores[row, token].item() == pytest.approx(best, abs=1e-6)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("noise") / "world")


def step_of(name: str, world: Path, out: Path, number: int = 0, *sets: str) -> tuple[ClipMethod, Batch]:
    config = Small(name).config(*sets)
    out.mkdir(parents=True, exist_ok=True)
    prepared = prepare(config, [str(world)], out)
    batch = next(iter(training._loader(config, prepared, out, CPU, number)))
    assert isinstance(prepared.method, ClipMethod)
    return prepared.method.train(), batch


def test_a_step_scores_the_captions_without_masks_by_the_first_blocks(world: Path, tmp_path: Path) -> None:
    method, batch = step_of("irra+nam", world, tmp_path)
    method(batch, 0)
    clip = method.base_model
    with torch.no_grad():
        x = clip.token_embedding(batch.text.ids) + clip.positional_embedding[: batch.text.ids.shape[1]]
        x, _ = clip.transformer.resblocks[0](x, clip.causal[: x.shape[1], : x.shape[1]])
        text = clip.ln_final(x) @ clip.text_projection
        seen: list[Tensor] = []
        handle = clip.visual.transformer.resblocks[0].register_forward_hook(lambda *call: seen.append(call[2][0]))
        clip.encode_image(batch.images)
        handle.remove()
        scores = nam_scores(text, clip.visual.ln_post(seen[0]) @ clip.visual.proj)
    assert method.token_scores is not None
    torch.testing.assert_close(method.token_scores.read(batch).float(), scores * batch.text.mask, rtol=0, atol=1e-3)
    before = method.token_scores.scores.clone()
    method.eval()(batch, 0)
    assert method.token_scores.scores.equal(before)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_trainable_parameter_has_a_gradient_in_bfloat16(name: str, world: Path, tmp_path: Path) -> None:
    method, batch = step_of(name, world, tmp_path)
    with torch.autocast("cpu", torch.bfloat16):
        losses = method(batch, 0)
    torch.stack(list(losses.values())).sum().backward()
    assert all(parameter.grad is not None for parameter in method.parameters() if parameter.requires_grad)
    assert method.token_scores is not None and method.token_scores.keys[batch.rows].all() and method.token_scores.scores.isfinite().all()


@pytest.mark.parametrize("name", VARIANTS)
def test_scores_belong_to_the_training_and_not_to_its_release(name: str, world: Path, tmp_path: Path) -> None:
    Small(name).train(world, tmp_path / "out", "steps=2")
    names = {key for key in load_file(tmp_path / "out/checkpoints/00000002" / checkpoint.MODEL) if key.startswith("token_scores.")}
    assert names == {"token_scores.scores", "token_scores.keys"}
    release(str(tmp_path / "out"), str(tmp_path / "released"))
    released = load_file(tmp_path / "released" / checkpoint.MODEL)
    assert not {key for key in released if key.startswith("token_scores.")}
    start = f"start={tmp_path / 'out/checkpoints/00000002'}"
    assert Small(name).train(world, tmp_path / "on", start, "start_heads=true", "steps=1")["step"] == 1


def test_masks_follow_the_scores_from_the_second_epoch_on(world: Path, tmp_path: Path) -> None:
    plain = ["irra.noise_masking.rule=none"]
    Small("irra+nam").train(world, tmp_path / "nam", "steps=4")
    Small("irra+nam").train(world, tmp_path / "plain", *plain, "steps=4")
    pairs = list(zip(lines(tmp_path / "nam"), lines(tmp_path / "plain"), strict=True))
    assert [one["loss"] == other["loss"] for one, other in pairs] == [True, True, False, False]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_losses_and_scores_are_those_of_one_process(processes: int, world: Path, tmp_path: Path) -> None:
    on_ranks(processes, world, tmp_path / "many", VARIANTS)
    for name in VARIANTS:
        many, one = measured(tmp_path / "many", name), measure(name, world, tmp_path / "alone" / name)
        for step in STEPS:
            compare_losses(many, one, step)
            scores = part(one, step, "buffers")["token_scores.scores"]
            assert scores.any()
            torch.testing.assert_close(many[f"{step}/buffers/token_scores.scores"], scores, rtol=2e-3, atol=2e-3)


@pytest.mark.slow
def test_a_training_that_is_killed_in_the_second_epoch_ends_with_the_same_bits(world: Path, tmp_path: Path) -> None:
    end_early(world, tmp_path / "killed", VARIANTS)
    for name in VARIANTS:
        Small(name).train(world, tmp_path / "calm" / name)
        Small(name).train(world, tmp_path / "killed" / name)
        last = Path("checkpoints/00000006") / checkpoint.MODEL
        assert same_weights(tmp_path / "calm" / name / last, tmp_path / "killed" / name / last), name


def test_settings_that_leave_nothing_to_score_are_refused_in_a_sentence(world: Path, tmp_path: Path) -> None:
    refusals = {
        "irra+nam": [
            "irra.noise_masking.skipped=2",
            r"irra\.noise_masking\.skipped = 2 leaves out all 2 blocks of irra\.vision: give a smaller",
        ],
        "irra+gadms": [
            "irra.noise_masking.plain=2",
            r"irra\.noise_masking\.plain = 2 leaves out all 2 blocks of irra\.text: give a smaller",
        ],
    }
    for name, (setting, message) in refusals.items():
        with pytest.raises(UserError, match=message):
            step_of(name, world, tmp_path, 0, setting)
    with pytest.raises(UserError, match=r"no loss would see the masks of irra\.noise_masking"):
        Small("irra+nam").config("irra.clean_captions=true", "irra.loss_weights.mlm=0")
    with pytest.raises(UserError, match=r"gadms, whose first masking is of the captions of sdm and id; leave one of them out"):
        Small("irra+gadms").config("irra.clean_captions=true")
    for name in ("aptm", "dpti", "lgur", "ssan"):
        with pytest.raises(
            UserError, match=rf"there is no setting {name}\.noise_masking; of the methods, irra, rde, uit have one of this name"
        ):
            Small(name).config(f"{name}.noise_masking.rule=nam")

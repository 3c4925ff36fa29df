"""The text encoder and the cross encoder: equal to the published ones, independent of padding and of how often an image is projected."""

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize
from torch.utils.flop_counter import FlopCounterMode

from mals.errors import UserError
from pretrain.towers.bert import Bert, Texts, _heads_of_images
from tests.pretrain.towers.towers import count, full, golden, near


def tiny(**extra) -> Bert:
    torch.manual_seed(0)
    bert = Bert(vocab=50, hidden=16, layers=4, fusion=2, heads=2, inter=32, positions=12, image_width=24, **extra).eval()
    for name, parameter in bert.named_parameters():  # biases are not 0 and states differ
        if not name.endswith("norm.weight"):
            torch.nn.init.normal_(parameter, std=0.3)
    return bert


def captions(lengths=(7, 4, 9)) -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return torch.randint(1, 50, mask.shape, generator=torch.Generator().manual_seed(1)) * mask, mask


@pytest.mark.golden
@pytest.mark.parametrize("length", [20, None])
def test_states_and_features_equal_the_published_ones(length):
    towers, vectors = golden()
    ids, mask = vectors["in.text_ids"], vectors["in.text_mask"]
    length = length or int(mask.sum(1).max())  # trimmed to the longest caption: the same
    with torch.no_grad():
        states = towers.bert.text(ids[:, :length], mask[:, :length].bool())
        features = normalize(towers.text_proj(states[:, 0]), dim=-1)
    real = mask[:, :length].bool()
    near(states[real], vectors["out.text_embeds"][:, :length][real])
    near(features, vectors["out.text_feat"])


@pytest.mark.golden
def test_prompt_features_equal_the_published_ones():
    towers, vectors = golden()
    with torch.no_grad():
        states = towers.bert.text(vectors["in.attr_ids"], vectors["in.attr_mask"])
        near(normalize(towers.text_proj(states[:, 0]), dim=-1), vectors["out.attr_feat"])


@pytest.mark.golden
@pytest.mark.parametrize(("of", "logits"), [("text", "itm_logits"), ("attr", "attr_itm_logits")])
def test_logits_of_all_images_and_texts_equal_the_published_ones(of, logits):
    towers, vectors = golden()
    mask = vectors[f"in.{of}_mask"].bool()
    images, texts = 6, len(mask)
    with torch.no_grad():
        states = towers.bert.text(vectors[f"in.{of}_ids"], mask)
        shared = towers.bert.project(towers.swin(vectors["in.image"]).tokens)
        fused = towers.bert.fuse(states.repeat(images, 1, 1), mask.repeat(images, 1), shared, torch.arange(images).repeat_interleave(texts))
        near(towers.itm_head(fused[:, 0]).view(images, texts, 2), vectors[f"out.{logits}"])


@pytest.mark.golden
def test_masked_words_equal_the_published_ones():
    towers, vectors = golden()
    at, targets = vectors["in.masked_pos"], vectors["in.masked_ids"]
    rows, slots = (targets >= 0).nonzero(as_tuple=True)
    with torch.no_grad():
        states = towers.bert.text(vectors["in.text_ids_masked"], vectors["in.text_mask"])
        fused = towers.bert.fuse(states, vectors["in.text_mask"], towers.bert.project(towers.swin(vectors["in.image"]).tokens))
        logits = towers.bert.words(fused[rows, at[rows, slots]])
    near(cross_entropy(logits, targets[rows, slots]), vectors["out.loss_mlm"])


def test_full_size():
    bert = full().bert
    assert count(bert.embeddings) == 23_837_184
    assert count(bert.embeddings, *bert.layers[:6]) == 66_364_416
    assert count(*bert.cross_layers) == count(*bert.layers[6:]) == 59_069_952
    assert count(bert.head) == 622_650


def test_padding_changes_nothing():
    bert, (ids, mask) = tiny(), captions()
    image = bert.project(torch.randn(3, 5, 24))
    plain = bert.fuse(bert.text(ids, mask), mask, image)
    other = torch.where(mask, ids, 33)
    longer = torch.cat([other, torch.full((3, 3), 44)], 1)
    long_mask = torch.cat([mask, torch.zeros(3, 3, dtype=torch.bool)], 1)
    padded = bert.fuse(bert.text(longer, long_mask), long_mask, image)[:, : mask.shape[1]]
    torch.testing.assert_close(padded[mask], plain[mask], atol=1e-5, rtol=1e-5)


def test_a_text_has_the_same_states_alone_and_in_a_batch():
    bert, (ids, mask) = tiny(), captions()
    together = bert.text(ids, mask)
    for row, length in enumerate(mask.sum(1).tolist()):
        alone = bert.text(ids[row : row + 1, :length], mask[row : row + 1, :length])
        torch.testing.assert_close(together[row, :length], alone[0], atol=1e-5, rtol=1e-5)


def test_projecting_an_image_once_or_for_every_row_gives_the_same_states_and_gradients():
    ids, mask = captions()
    which = torch.tensor([1, 1, 0])
    results = []
    for once in (True, False):
        bert, tokens = tiny(), torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(2), requires_grad=True)
        shared = bert.project(tokens) if once else bert.project(tokens[which])
        fused = bert.fuse(bert.text(ids, mask), mask, shared, which if once else None)
        fused[mask].sin().sum().backward()
        results.append([fused, tokens.grad, *(p.grad for p in bert.layers.parameters())])
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("selects", [False, True])
@pytest.mark.parametrize("rows", [None, 1])
def test_texts_of_an_image_use_its_keys_without_copies_and_get_the_states_and_gradients_of_copies(selects, rows):
    (ids, mask), results = captions((7, 4, 9, 2, 5, 6)), []
    selected = mask.cumsum(1) == 2 if selects else None
    for per_image in (3, 1):
        bert, tokens = tiny(dropout=0.0), torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(2), requires_grad=True)
        bert.train().micro_batch = rows
        keys = bert.project(tokens)
        images = None if per_image > 1 else torch.arange(2).repeat_interleave(3)
        (states,) = bert.fuse_groups([Texts(bert.text(ids, mask), mask, selected, images, per_image=per_image)], keys)
        (states if selects else states[mask]).sin().sum().backward()
        results.append([states, tokens.grad, *(p.grad for p in bert.layers.parameters())])
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)
    texts = Texts(ids, mask, per_image=3)
    shared = _heads_of_images(keys[0], texts)
    assert len(shared[0]) == 2 and all(mine.data_ptr() == of.data_ptr() for mine, of in zip(shared, keys[0], strict=True))
    assert texts.paired().images.tolist() == [0, 0, 0, 1, 1, 1] and texts.paired().per_image == 1


@pytest.mark.parametrize("padding", [False, True])
def test_selected_states_and_their_gradients_are_the_same_as_among_all(padding):
    ids, mask = captions()
    selected = torch.zeros_like(mask)
    selected[0, 0] = selected[0, 3] = selected[2, 8] = True
    selected[1, 6] = padding
    results = []
    for alone in (True, False):
        bert, tokens = tiny(), torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(2), requires_grad=True)
        states = bert.text(ids, mask, selected if alone else None)
        fused = bert.fuse(states, mask, bert.project(tokens), torch.tensor([1, 1, 0]), selected if alone else None)
        states_selected = fused if alone else fused[selected]
        states_selected.sin().sum().backward()
        results.append([states[mask | selected], states_selected, tokens.grad, *(p.grad for p in bert.parameters() if p.grad is not None)])
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)


def test_groups_of_several_widths_have_the_states_and_gradients_of_each_group_alone():
    ids, mask = captions()
    groups = [(ids, mask, torch.tensor([1, 1, 0])), (ids[:2, :7], mask[:2, :7], torch.tensor([0, 1])), (ids[:0], mask[:0], torch.arange(0))]
    results = []
    for together in (True, False):
        bert, tokens = tiny(), torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(2), requires_grad=True)
        keys = bert.project(tokens)
        if together:
            states_of_groups = bert.text_groups([Texts(ids, mask, mask) for ids, mask, _ in groups])
            pairs = zip(states_of_groups, groups, strict=True)
            fused = bert.fuse_groups([Texts(states, mask, mask.cumsum(1) == 2, images) for states, (_, mask, images) in pairs], keys)
        else:
            states_of_groups = [bert.text(ids, mask, mask) for ids, mask, _ in groups]
            pairs = zip(states_of_groups, groups, strict=True)
            fused = [bert.fuse(states, mask, keys, images, mask.cumsum(1) == 2) for states, (_, mask, images) in pairs]
        torch.cat(fused).sin().sum().backward()
        results.append([*states_of_groups, *fused, tokens.grad, *(p.grad for p in bert.parameters() if p.grad is not None)])
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)


def test_no_text_gives_no_state():
    bert, (ids, mask) = tiny(), captions()
    states = bert.text(ids[:0], mask[:0], mask[:0])
    assert bert.fuse(states, mask[:0], bert.project(torch.randn(3, 5, 24)), torch.arange(0), mask[:0]).shape == (0, 16)
    assert bert.fuse(bert.text(ids, mask), mask, bert.project(torch.randn(3, 5, 24)), None, mask & False).shape == (0, 16)


def test_an_image_changes_only_its_own_rows():
    bert, (ids, mask) = tiny(), captions()
    tokens = torch.randn(2, 5, 24)
    states, which = bert.text(ids, mask), torch.tensor([0, 1, 0])
    before = bert.fuse(states, mask, bert.project(tokens), which)
    tokens[1] += 1
    after = bert.fuse(states, mask, bert.project(tokens), which)
    changed = (before - after).abs().amax((1, 2)) > 1e-3
    assert changed.tolist() == [False, True, False]


def test_the_decoder_is_the_embedding():
    bert = tiny()
    assert not any("decoder" in name for name in bert.state_dict())
    bert.words(torch.randn(4, 16)).square().sum().backward()
    assert (bert.embeddings.words.weight.grad.abs().sum(1) > 0).all()


def test_a_padded_vocabulary_gives_the_same_scores_and_gradients_and_the_parameters_keep_their_shapes():
    results = []
    for multiple in (1, 64):
        bert, states = tiny(), torch.randn(4, 16, generator=torch.Generator().manual_seed(3), requires_grad=True)
        with FlopCounterMode(display=False) as counter:
            scores = bert.head.score(states, bert.embeddings.words.weight, multiple)
        assert scores.shape == (4, 50) and counter.get_total_flops() == 2 * 4 * 16 * (50 if multiple == 1 else 64)
        cross_entropy(scores, torch.tensor([0, 7, 49, 49])).backward()
        results.append([scores, states.grad, bert.embeddings.words.weight.grad, bert.head.bias.grad])
        assert bert.state_dict()["embeddings.words.weight"].shape == (50, 16) and bert.state_dict()["head.bias"].shape == (50,)
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second)


def test_every_parameter_learns():
    bert, (ids, mask) = tiny(), captions()
    fused = bert.fuse(bert.text(ids, mask), mask, bert.project(torch.randn(3, 5, 24)))
    bert.words(fused[mask]).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in bert.parameters())


def test_dropout_is_in_training_only():
    bert, (ids, mask) = tiny(dropout=0.1), captions()
    assert torch.equal(bert.text(ids, mask), bert.text(ids, mask))
    bert.train()
    assert not torch.equal(bert.text(ids, mask), bert.text(ids, mask))


@pytest.mark.parametrize(("hidden", "std"), [(768, 0.02), (192, 0.04)])
def test_initial_weights_keep_the_scale_of_the_outputs_at_any_width(hidden, std):
    bert = Bert(vocab=200, hidden=hidden, layers=2, fusion=1, heads=2, inter=128, image_width=64)
    assert bert.embeddings.words.weight[0].abs().sum() == 0
    assert bert.layers[1].cross.key.weight.std().item() == pytest.approx(std, rel=0.1) and bert.layers[1].cross.key.bias.abs().sum() == 0


def test_a_text_longer_than_the_positions_is_refused():
    with pytest.raises(UserError, match="13 tokens is longer than the 12 positions"):
        tiny().text(torch.ones(1, 13, dtype=torch.long), torch.ones(1, 13))


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(UserError, match="16 does not divide into 3 heads"):
        Bert(hidden=16, heads=3)

"""The Bi-LSTM: each text as if it were alone, the mean of both directions, zero after its end, packed or not."""

import torch

from pretrain.towers.bilstm import BiLstm

LENGTHS = [9, 3, 1, 0, 7]


def texts():
    torch.manual_seed(0)
    return BiLstm(6, 4), torch.randn(5, 9, 6), torch.arange(9) < torch.tensor(LENGTHS)[:, None]


def test_a_text_is_read_in_both_directions_whatever_its_padding():
    module, states, mask = texts()
    result = module(states, mask)
    for row, length in enumerate(LENGTHS):
        assert not result[row, length:].any()
        if length:
            both = module.lstm(states[row, :length])[0]
            torch.testing.assert_close(result[row, :length], (both[:, :4] + both[:, 4:]) / 2)
    assert result[0].any() and not torch.equal(result[0, :3], module(states[:, :3], mask[:, :3])[0])


def test_packed_texts_as_on_a_gpu_give_the_same_states_and_gradients():
    module, states, mask = texts()
    lengths, results = mask.sum(1).clamp(min=1), []
    for read in (module._packed, module._flipped):
        module.zero_grad()
        result = read(states, lengths) * mask[..., None]
        result.sin().sum().backward()
        results.append([result, *(parameter.grad for parameter in module.parameters())])
    for packed, flipped in zip(*results, strict=True):
        torch.testing.assert_close(flipped, packed, atol=1e-5, rtol=1e-5)

"""Position tables: bilinear along rows and columns, the global token untouched."""

import torch

from pretrain.towers.positions import resize_positions


def test_positions_are_resized_along_rows_and_columns() -> None:
    rows = torch.arange(4.0)[:, None].expand(4, 4)
    table = torch.cat([torch.full((1, 2), 9.0), torch.stack([rows, rows.T], 2).flatten(0, 1)])
    resized = resize_positions(table, (4, 4), (8, 2))
    assert resized.shape == (17, 2) and torch.equal(resized[0], table[0])
    down, across = resized[1:].view(8, 2, 2).unbind(2)
    torch.testing.assert_close(down[:, 0], torch.tensor([0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]))
    torch.testing.assert_close(across[0], torch.tensor([0.5, 2.5]))
    assert resize_positions(table, (4, 4), (4, 4)) is table

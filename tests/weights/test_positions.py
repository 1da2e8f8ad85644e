"""Position tables on other grids."""

import pytest
import torch
import torch.nn.functional as F

from denseclip.weights import resize_positions


@pytest.mark.parametrize('prefix', [0, 1, 3])
@pytest.mark.parametrize('mode', ['bilinear', 'bicubic'])
def test_interpolation_keeps_special_rows(prefix, mode):
    table = torch.randn(prefix + 16, 5)
    out = resize_positions(table, (3, 7), prefix=prefix, mode=mode)
    grid = table[prefix:].T.reshape(1, 5, 4, 4)
    expected = F.interpolate(grid, size=(3, 7), mode=mode, align_corners=False)
    assert torch.equal(out[:prefix], table[:prefix])
    assert torch.allclose(out[prefix:], expected.flatten(2)[0].T)


def test_same_grid_is_untouched():
    table = torch.randn(17, 4)
    assert resize_positions(table, (4, 4)) is table


def test_crop_takes_the_top_left():
    table = torch.arange(17.0).unsqueeze(1)
    assert resize_positions(table, (2, 3), mode='crop').flatten().tolist() == [0, 1, 2, 3, 5, 6, 7]
    with pytest.raises(ValueError, match='5x2 feature map is larger than the 4x4 grid'):
        resize_positions(table, (5, 2), mode='crop')


def test_antialias_changes_shrinking_only():
    table = torch.randn(1 + 64, 2)
    assert not torch.allclose(resize_positions(table, (3, 3)), resize_positions(table, (3, 3), antialias=True))
    assert torch.allclose(
        resize_positions(table, (16, 16)), resize_positions(table, (16, 16), antialias=True), atol=1e-6
    )


def test_unknown_mode():
    with pytest.raises(ValueError, match="unknown position mode 'nearest'"):
        resize_positions(torch.zeros(5, 1), (2, 2), mode='nearest')


def test_gradient_reaches_the_table():
    table = torch.randn(10, 2, requires_grad=True)
    resize_positions(table, (5, 4)).sum().backward()
    assert table.grad is not None and table.grad.abs().min() > 0


@pytest.mark.parametrize(
    ('mode', 'antialias'),
    [('bilinear', False), ('bilinear', True), ('bicubic', False), ('bicubic', True), ('bicubic+0.1', False)],
)
@pytest.mark.parametrize('source', [(4, 4), (7, 7), (3, 5)])
def test_matrices_of_graphs_are_the_same(mode, antialias, source, monkeypatch):
    """Graphs resize by products; a grid that fits already is as it was, with an offset, too."""
    table = torch.randn(1 + source[0] * source[1], 6)
    for grid in [(4, 4), (7, 7), (3, 5), (3, 9), (17, 23), (1, 1), (2, 40)]:
        wanted = resize_positions(table, grid, mode=mode, antialias=antialias, source=source)
        with monkeypatch.context() as patch:
            patch.setattr('denseclip.weights.positions.exporting', lambda: True)
            found = resize_positions(table, grid, mode=mode, antialias=antialias, source=source)
        torch.testing.assert_close(found, wanted, rtol=0, atol=3e-5)

"""Keys turned towards queries."""

import pytest
import torch

from denseclip.clip.alignment import Alignment, aligned_sides, polar_factor
from denseclip.clip.attention import attend


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_exact_turn_is_orthogonal_and_five_steps_are_not_yet():
    matrix = draw(3, 6, 6)
    exact, long, short = (polar_factor(matrix, steps) for steps in (None, 60, 5))
    identity = torch.eye(6)
    torch.testing.assert_close(exact @ exact.transpose(1, 2), identity.expand(3, 6, 6), atol=1e-4, rtol=0)
    assert (long - exact).abs().max() < (short - exact).abs().max()
    assert torch.linalg.matrix_norm(short, 2).max() <= 1.01  # it turns and shrinks, and stretches nothing


def test_keys_that_are_turned_queries_are_turned_back():
    turn = torch.linalg.qr(draw(4, 4))[0]
    q = draw(1, 2, 9, 4, seed=1)
    left, right = aligned_sides(q, q @ turn, Alignment(kk=0.0, iterations=None))
    torch.testing.assert_close(left @ right.transpose(-1, -2), q @ q.transpose(-1, -2), atol=1e-4, rtol=1e-4)


def test_special_tokens_do_not_move_the_centres():
    q, k = draw(1, 1, 6, 4), draw(1, 1, 6, 4, seed=2)
    moved = torch.cat([50 * q[:, :, :1], q[:, :, 1:]], dim=2)
    same = [aligned_sides(x, k, Alignment(special=1))[1][:, :, 1:, 4:] for x in (q, moved)]
    torch.testing.assert_close(*same)
    assert not torch.allclose(*(aligned_sides(x, k, Alignment(special=0))[1][:, :, 1:, 4:] for x in (q, moved)))


def test_autocast_leaves_the_turn_alone():
    q, k = draw(1, 2, 9, 4), draw(1, 2, 9, 4, seed=1)
    for steps in (5, None):
        wanted = aligned_sides(q, k, Alignment(iterations=steps))
        with torch.autocast('cpu', dtype=torch.bfloat16):
            torch.testing.assert_close(aligned_sides(q, k, Alignment(iterations=steps)), wanted, atol=0, rtol=0)


@pytest.mark.parametrize('kind', ['aligned', 'aligned+qq'])
def test_it_is_one_softmax_among_others(kind):
    q, k, v = (draw(1, 2, 5, 4, seed=s) for s in range(3))
    left, right = aligned_sides(q, k)
    wanted = (left @ right.transpose(-1, -2) / 2).softmax(-1) @ v
    wanted = wanted + (attend(q, k, v, 'qq') if kind != 'aligned' else 0)
    torch.testing.assert_close(attend(q, k, v, kind), wanted, atol=1e-5, rtol=1e-5)

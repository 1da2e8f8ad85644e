"""Scores spread along edges, against the linear system written out."""

import numpy as np
import pytest
import torch

from denseclip.models.functional.propagation import propagate
from denseclip.models.segmentors.post_processing import PostProcessing


def written_out(image, scores, text, coupling, scale):
    """The system of the paper, edge by edge, solved whole."""
    classes, height, width = scores.shape
    weights = np.exp(scores * scale)
    p = weights / weights.sum(0)
    unit = text / np.linalg.norm(text, axis=1, keepdims=True)
    similarity = np.exp(unit @ unit.T / 0.5)
    similarity = similarity / similarity.sum(1, keepdims=True) + 10 * np.eye(classes)
    similarity /= similarity.sum(1, keepdims=True) + 1e-6
    if coupling == 'diagonal':
        similarity = np.diag(np.diag(similarity))

    def agree(a, b):
        return float(np.clip(p[(slice(None), *a)] @ similarity @ p[(slice(None), *b)], 0, 1))

    gray = np.tensordot([0.299, 0.587, 0.114], image, 1)
    system, wanted = np.zeros((height * width,) * 2), np.zeros((height * width, classes))
    for y in range(height):
        for x in range(width):
            sure = max(p[:, y, x].max(), 0.05) ** 2 * (1 + agree((y, x), (y, x)))
            system[y * width + x, y * width + x] += sure
            wanted[y * width + x] = sure * scores[:, y, x]
    for axis, (dy, dx) in enumerate(((1, 0), (0, 1))):
        mean = np.abs(np.diff(gray, axis=axis)).mean()
        for y in range(height - dy):
            for x in range(width - dx):
                a, b = (y, x), (y + dy, x + dx)
                edge = np.exp(-5 * abs(gray[b] - gray[a]) / (mean + 1e-6)) * (1 + agree(b, a))
                i, j, edge = y * width + x, (y + dy) * width + x + dx, min(edge, 1.0)
                system[[i, j], [i, j]] += edge
                system[[i, j], [j, i]] -= edge
    return np.linalg.solve(system, wanted).T.reshape(scores.shape)


@pytest.mark.parametrize('coupling', ['diagonal', 'full'])
def test_it_solves_the_papers_system(coupling):
    rng = np.random.default_rng(0)
    image, scores, text = rng.normal(size=(3, 5, 6)), rng.normal(size=(4, 5, 6)), rng.normal(size=(4, 3))
    wanted = written_out(image, scores, text, coupling, 2.0)
    as_tensors = [torch.tensor(t, dtype=torch.float32) for t in (image[None], scores[None], text)]
    found = propagate(*as_tensors, coupling=coupling, scale=2.0, iterations=80)[0].numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_even_scores_stay_and_strong_edges_hold():
    image = torch.zeros(1, 3, 8, 8)
    image[..., 4:] = 1
    scores = torch.zeros(1, 2, 8, 8)
    scores[:, 0, :, :4] = scores[:, 1, :, 4:] = 0.3
    scores[:, :, 2, 1] = scores[:, :, 2, 6]  # a lonely mistake on the left side
    assert propagate(image, scores)[0].argmax(0).float().diff(dim=1).count_nonzero() == 8
    even = torch.full((1, 3, 7, 9), 0.2)
    torch.testing.assert_close(propagate(torch.rand(1, 3, 7, 9), even), even)
    assert propagate(torch.rand(1, 3, 1, 1), even[..., :1, :1]).shape == (1, 3, 1, 1)


def test_refusals():
    scores = torch.zeros(1, 3, 4, 4)
    with pytest.raises(ValueError, match='2 texts, 3 planes'):
        propagate(scores, scores, torch.zeros(2, 5))
    with pytest.raises(ValueError, match='diagonal, full'):
        PostProcessing(propagation={'coupling': 'text'})
    with pytest.raises(ValueError, match="output='cosines'"):
        PostProcessing(propagation={}).check(probabilities=True)

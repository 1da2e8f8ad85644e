"""Scores spread along edges, against the linear system written out."""

import numpy as np
import pytest
import torch
from mmseg.structures import SegDataSample
from tiny_open_vocab import tiny_open_vocab

from denseclip.core.placement import Placement
from denseclip.models.functional.propagation import Propagation, propagate
from denseclip.models.segmentors.post_processing import PostProcessing
from denseclip.models.segmentors.score_maps import ScoreMaps


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
    found = propagate(*as_tensors, Propagation(coupling=coupling, scale=2.0, iterations=80))[0].numpy()
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


def test_what_is_left_of_a_side_stays_where_it_is():
    scores = torch.zeros(1, 2, 8, 47)
    scores[..., 36:] = 1.0  # three cells of 12, and 11 pixels
    found = propagate(scores[:, :1].expand(1, 3, 8, 47), scores, how=Propagation(grid=4, rest='cell'))
    assert (found[..., 46] > 0.9).all() and (found[..., :30] < 0.1).all()
    unseen = propagate(scores[:, :1].expand(1, 3, 8, 47), scores, how=Propagation(grid=4))
    assert (unseen == 0).all()  # as PEARL's code does
    whole = torch.rand(1, 3, 8, 48), torch.rand(1, 2, 8, 48)
    torch.testing.assert_close(*(propagate(*whole, how=Propagation(grid=4, rest=r)) for r in ('cell', 'stretched')))


def test_autocast_leaves_it_alone():
    image, scores, text = torch.rand(1, 3, 6, 8), torch.rand(1, 4, 6, 8), torch.randn(4, 5)
    for how in (Propagation(), Propagation(coupling='full')):
        wanted = propagate(image, scores, text, how)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            torch.testing.assert_close(propagate(image, scores, text, how), wanted, atol=0, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize('rest', ['stretched', 'cell'])
def test_labels_come_from_the_small_grid_and_are_those_of_all_planes(rest, monkeypatch):
    settings = dict(grid=12, rest=rest, scale=40.0)
    model = tiny_open_vocab('pearl', post={'propagation': settings}, test_cfg={'mode': 'whole'})
    images = torch.randn(1, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    meta = dict(img_shape=(60, 77), ori_shape=(131, 150), flip=True, flip_direction='horizontal')
    placement = Placement.of(meta, (64, 80), (64, 80))
    planes, picture = (placement.apply(t[0]) for t in (model.head_logits(images), images))
    text = model.class_embeddings()
    full = propagate(picture[None], planes[None], text.embeddings, Propagation(**settings))[0]
    wanted = text.class_index[full.argmax(0)] if len(full) > len(text) else full.argmax(0)
    made, large = [], ScoreMaps.full
    monkeypatch.setattr(ScoreMaps, 'full', lambda maps, place: made.append(maps.maps[0].shape) or large(maps, place))
    monkeypatch.setattr('denseclip.models.segmentors.score_maps._NUMBERS_AT_ONCE', 2 * 131 * 150)
    ((labels, _, _),) = model._results(images, [SegDataSample(metainfo=meta)], False)
    assert (labels != wanted).float().mean() < 1e-3 and len(wanted.unique()) > 1
    assert max(shape[0] for shape in made) == 2 and sum(shape[0] for shape in made) == len(planes)


def test_refusals():
    scores = torch.zeros(1, 3, 4, 4)
    with pytest.raises(ValueError, match='2 texts, 3 planes'):
        propagate(scores, scores, torch.zeros(2, 5))
    with pytest.raises(ValueError, match='diagonal, full'):
        PostProcessing(propagation={'coupling': 'text'})
    with pytest.raises(ValueError, match='stretched, cell'):
        PostProcessing(propagation={'rest': 'cut'})
    with pytest.raises(ValueError, match="output='cosines'"):
        PostProcessing(propagation={}).check(probabilities=True)

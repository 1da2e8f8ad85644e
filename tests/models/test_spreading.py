"""Scores that travel over a graph of all windows' patches."""

import numpy as np
import pytest
import torch
from tiny_open_vocab import TINY_DINO, tiny_open_vocab

from denseclip.clip.preprocess import PreprocessSpec
from denseclip.core.placement import Placement
from denseclip.export.capabilities import capability
from denseclip.models.builder import with_own_settings
from denseclip.models.functional import label_propagation
from denseclip.models.functional.label_propagation import patch_graph, spread_over_patches, spread_over_pixels
from denseclip.models.providers import DINOAffinity
from denseclip.models.providers.base import AffinityProvider
from denseclip.models.segmentors.score_maps import ScoreMaps
from denseclip.models.segmentors.spreading import LabelPropagation
from denseclip.structures.word_scores import ScoreRequest

PLAIN = PreprocessSpec(mean=(0.0,) * 3, std=(1.0,) * 3)


def test_the_graph_is_the_papers_and_the_solution_its_closed_form():
    rng = np.random.default_rng(0)
    features, places, scores = rng.normal(size=(9, 4)), rng.integers(0, 50, (9, 2)), rng.normal(size=(9, 3))
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosines = unit @ unit.T
    joins = np.zeros((9, 9))
    for i in range(9):
        for j in np.argsort(-cosines[i])[:4]:
            if i != j:
                joins[i, j] = max(cosines[i, j], 0) ** 2 * np.exp(-0.02 * np.linalg.norm(places[i] - places[j]))
    joins = joins + joins.T
    root = 1 / np.sqrt(joins.sum(1))
    wanted = np.linalg.solve(np.eye(9) - 0.9 * root[:, None] * joins * root, scores)
    graph = patch_graph(*(torch.tensor(t, dtype=torch.float32) for t in (features, places)), 4, 2.0, 0.02)
    found = spread_over_patches(graph, torch.tensor(scores, dtype=torch.float32), 0.9, iterations=40)
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-4)


def test_autocast_leaves_both_graphs_alone():
    draw = torch.Generator().manual_seed(0)
    features, places, scores = (torch.rand(40, n, generator=draw) for n in (8, 2, 3))
    picture, planes = torch.rand(3, 6, 7, generator=draw), torch.rand(2, 6, 7, generator=draw)

    def run():
        graph = patch_graph(features, places, 5)
        return graph.to_dense(), spread_over_patches(graph, scores), spread_over_pixels(picture, planes, tau=0.5)

    wanted = run()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        torch.testing.assert_close(run(), wanted, atol=0, rtol=0)


def test_pixels_of_one_colour_share_their_scores():
    picture = torch.zeros(3, 6, 8)
    picture[:, :, 4:] = 1
    scores = torch.zeros(2, 6, 8)
    scores[0, 2, 1] = scores[1, 3, 6] = 1.0
    found = spread_over_pixels(picture, scores, reach=2)
    assert (found[0, :, :4] > found[1, :, :4]).all() and (found[1, :, 4:] > found[0, :, 4:]).all()
    assert spread_over_pixels(picture[:, :1, :1], scores[:, :1, :1]).shape == (2, 1, 1)  # a pixel without neighbours


class Constant(AffinityProvider):
    """The same features everywhere, on a grid of its own."""

    def features(self, images, spec):
        return torch.ones(len(images), 2, 4, 4)


def test_windows_of_another_grid_and_padding():
    maps = ScoreMaps([torch.rand(3, 2, 2) for _ in range(2)], [(0, 16, 0, 16), (0, 16, 8, 24)])
    placement = Placement(padded=(16, 24), valid=(0, 15, 0, 20), out=(15, 20))
    picture = torch.rand(3, 16, 24)
    spread = LabelPropagation(neighbours=8, window_batch=1)(maps, picture, Constant(), PLAIN, placement)
    assert [m.shape for m in spread.maps] == [(3, 4, 4)] * 2
    full = LabelPropagation(neighbours=8, pixels={'reach': 1})(maps, picture, Constant(), PLAIN, placement)
    assert full.boxes is None and full.maps[0].shape == (3, 16, 24)
    torch.testing.assert_close(full.maps[0][:, 15:], spread.full(placement)[:, 15:])  # padding keeps its scores


def test_no_graph_is_made_of_it():
    assert 'graph of all windows' in capability(tiny_open_vocab('lposs')).reason


@torch.no_grad()
def test_the_preset_moves_scores_and_can_be_left_out():
    model = tiny_open_vocab('lposs', spread={'neighbours': 6})
    assert model.affinity.feature == 'value' and model.affinity.dino.embed_dim == 24
    images = torch.randn(1, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    plain = tiny_open_vocab('maskclip', output='cosines', merge='max')
    torch.testing.assert_close(model.head_logits(images), plain.head_logits(images))  # labels alone differ
    assert model.predict(images)[0].pred_sem_seg.data.shape == (1, 64, 80)


@torch.no_grad()
@pytest.mark.parametrize('pixels', [None, {'reach': 1}], ids=['patches', 'pixels'])
@pytest.mark.parametrize('mode', ['whole', 'slide'])
def test_words_are_scored_where_grids_differ_and_windows_become_one(pixels, mode):
    sides = dict(mode=mode, crop_size=(64, 64), stride=(32, 32))
    model = tiny_open_vocab('lposs', spread={'neighbours': 6, 'pixels': pixels}, test_cfg=sides)
    model.score_request = ScoreRequest(pixel_scores=True)
    images = torch.randn(1, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    found = model.predict(images)[0]
    plain = tiny_open_vocab('maskclip', output='cosines', merge='max', test_cfg=sides)
    plain.score_request = model.score_request
    torch.testing.assert_close(found.word_scores.scores, plain.predict(images)[0].word_scores.scores)
    assert found.pixel_scores.data.shape == (5, 64, 80)


def test_what_is_given_replaces_single_settings():
    usual = {'type': 'DINOAffinity', 'feature': 'value', 'dino': {'model_name': 'a', 'depth': 2}}
    found = with_own_settings(usual, {'dino': {'depth': 3}})
    assert found == {**usual, 'dino': {'model_name': 'a', 'depth': 3}}
    assert with_own_settings(usual, {'type': 'Other'}) == {'type': 'Other'} and with_own_settings(None, None) is None


def test_refusals():
    with pytest.raises(ValueError, match='alpha'):
        LabelPropagation(alpha=1.0)
    with pytest.raises(ValueError, match='need each other'):
        tiny_open_vocab('maskclip', spread={})
    with pytest.raises(ValueError, match='choose from tokens'):
        DINOAffinity(TINY_DINO, feature='keys')
    with pytest.raises(NotImplementedError, match='no features'):
        AffinityProvider().features(torch.zeros(1, 3, 8, 8), PLAIN)


def test_a_sparse_graph_spreads_as_a_plain_matrix_does(monkeypatch):
    torch.manual_seed(0)
    features, places, scores = torch.randn(60, 8), 40 * torch.rand(60, 2), torch.randn(60, 3)
    plain = patch_graph(features, places, neighbours=9)
    monkeypatch.setattr(label_propagation, '_MOST_DENSE', 10)
    sparse = patch_graph(features, places, neighbours=9)
    assert sparse.is_sparse and not plain.is_sparse
    torch.testing.assert_close(sparse.to_dense(), plain)
    torch.testing.assert_close(spread_over_patches(sparse, scores), spread_over_patches(plain, scores))

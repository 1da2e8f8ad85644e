"""Checks of what judges pictures by pictures: SubspaceAD's subspace and MuSc's mutual scores."""

from __future__ import annotations

import torch

from denseclip.models.functional.mutual_scores import interval_mean, neighbourhoods, peer_distances
from denseclip.models.functional.subspace import PatchMoments

from .fixtures import Fixture
from .registry import consumes


@consumes('references', 'subspace')
def check_subspace(fixture: Fixture) -> None:
    config = fixture.config
    parts = [PatchMoments.of(part) for part in fixture.input('good')]
    moments = parts[0]
    for part in parts[1:]:
        moments = moments + part
    subspace = moments.subspace(config['variance'])
    assert subspace.directions.shape[1] == config['k']
    fixture.expect('eigenvalues', subspace.variances)
    squared = subspace.residual(fixture.input('test').double()).square()
    fixture.expect('reconstruction', squared)
    fixture.expect('mtop1p', squared.topk(max(1, int(len(squared) / 100))).values.mean())


@consumes('references', 'mutual')
def check_mutual(fixture: Fixture) -> None:
    features, share = fixture.input('features'), fixture.config['share']
    for side in sorted(int(match.group(1)) for match in fixture.outputs(r'scores_(\d+)')):
        places = neighbourhoods(features, side)
        fixture.expect(f'neighbourhoods_{side}', places)
        patches = places.flatten(2).transpose(1, 2)
        scores = [
            interval_mean(peer_distances(own, [other for j, other in enumerate(patches) if j != i]), share)
            for i, own in enumerate(patches)
        ]
        fixture.expect(f'scores_{side}', torch.stack(scores).double())

"""Checks of the baselines: WinCLIP's windows and APRIL-GAN's losses."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from denseclip.models.functional.anomaly_losses import probability_dice_loss, probability_focal_loss
from denseclip.models.functional.anomaly_scores import abnormal_probability
from denseclip.models.functional.anomaly_windows import (
    harmonic_mean,
    harmonic_over_windows,
    visual_association,
    window_patches,
)

from .anovl_common import with_tolerances
from .fixtures import Fixture
from .registry import consumes


@consumes('anovl', 'baselines_winclip_aprilgan')
def check_baselines(fixture: Fixture) -> None:
    with_tolerances(fixture)
    config = fixture.config
    grid, temperature = tuple(config['grid']), config['temperature']
    states = F.normalize(fixture.input('text'), dim=-1)
    image = abnormal_probability(fixture.input('image_embeddings'), states, temperature)
    fixture.expect('image_scores', image)
    maps = [image[:, None, None].expand(-1, *grid)]
    for side in sorted(int(m.group(1)) for m in fixture.outputs(r'masks_(\d+)')):
        fixture.expect(f'masks_{side}', window_patches(grid, side).int())
        scores = abnormal_probability(fixture.input(f'window_embeddings_{side}'), states, temperature)
        fixture.expect(f'window_scores_{side}', scores)
        maps.append(harmonic_over_windows(scores, grid, side))
        fixture.expect(f'harmonic_{side}', maps[-1])
    fixture.expect('zero_shot_map', harmonic_mean(maps))
    fixture.expect('visual_association', visual_association(fixture.input('patch'), fixture.input('reference')))
    probabilities, labels = fixture.input('april_prob').requires_grad_(), fixture.input('april_gt').long()
    focal_config, dice_config = config['focal'], config['dice']
    assert focal_config['alpha'] is None
    focal = probability_focal_loss(probabilities, labels, focal_config['gamma'], focal_config['smooth'])
    dice = probability_dice_loss(probabilities[:, 1], labels, dice_config['smooth'])
    torch.add(focal, dice).backward()
    fixture.expect('april_focal', focal)
    fixture.expect('april_dice', dice)
    fixture.expect('april_grad_prob', probabilities.grad)

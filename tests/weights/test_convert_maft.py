"""Checkpoints of FC-CLIP and MAFT+, there and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_fcclip import tiny_fcclip

from denseclip.engine.checkpoints import load_weights, read_training_file
from denseclip.weights import WeightMismatchError
from denseclip.weights.convert import convert
from denseclip.weights.convert.maft import is_panoptic


def model(kind: str, **settings: Any) -> Any:
    transfer = settings.pop('variant', None)
    return tiny_fcclip(kind, **({'transfer': dict(num_heads=4, variant=transfer)} if transfer else {}), **settings)


@pytest.mark.parametrize(
    ('kind', 'variant', 'classes'),
    [('FCCLIP', None, 133), ('MAFTPlus', 'semantic', 171), ('MAFTPlus', 'panoptic', 133)],
)
def test_there_and_back(kind: str, variant: str | None, classes: int, tmp_path: Path) -> None:
    settings = dict(variant=variant) if variant else {}
    first, second = model(kind, **settings), model(kind, seed=1, **settings)
    theirs = convert(first.state_dict(), 'maft', inverse=True, num_classes=classes)
    assert 'backbone.clip_model.visual.trunk.stem.0.weight' in theirs and 'backbone.clip_model.logit_scale' in theirs
    assert theirs['criterion.empty_weight'].shape == (classes + 1,)
    theirs |= {'pixel_mean': torch.zeros(3, 1, 1)}
    torch.save({'model': theirs, 'iteration': 3}, tmp_path / 'file.pth')
    state = read_training_file(str(tmp_path / 'file.pth'))['state_dict']
    images = torch.randn(1, 3, 64, 64)
    load_weights(second, {**state, **{k: v for k, v in second.state_dict().items() if k.startswith('teacher.')}},
                 source='file.pth', strict=True)  # fmt: skip
    with torch.no_grad():
        assert torch.equal(first._forward(images).class_probs, second._forward(images).class_probs)


def test_a_panoptic_file_does_not_fit_a_semantic_model() -> None:
    theirs = convert(model('MAFTPlus', variant='panoptic').state_dict(), 'maft', inverse=True, num_classes=133)
    assert is_panoptic(theirs)
    semantic = model('MAFTPlus', variant='semantic')
    with pytest.raises(WeightMismatchError, match='update_norm'):
        load_weights(semantic, convert(theirs, 'maft', teacher=True), source='maftp_l_pano.pth', strict=True)


def test_a_file_that_does_not_tell_its_variant_must_be_told() -> None:
    theirs = convert(model('MAFTPlus', variant='semantic').state_dict(), 'maft', inverse=True)
    with pytest.raises(WeightMismatchError, match='panoptic=True or False'):
        convert(theirs, 'maft')
    assert 'transfer.norm.weight' in convert(theirs, 'maft', panoptic=False)


ADAPTER_NAMES = {
    *(f'fuse.{t}' for t in ('weight', 'bias')),
    *(f'{part}.{t}' for part in ('norm', 'final') for t in ('weight', 'bias')),
    *(f'mask_downscaling.{i}.{t}' for i in (0, 1, 3, 4, 6) for t in ('weight', 'bias')),
    *(
        f'cnext{i}.{p}.{t}'
        for i in (1, 2, 3)
        for p in ('dwconv', 'norm', 'pwconv1', 'pwconv2')
        for t in ('weight', 'bias')
    ),
    *(f'cnext{i}.gamma' for i in (1, 2, 3)),
}
"""Names of the authors' MASKAdapterHead."""


@pytest.mark.parametrize('kind', ['FCCLIP', 'MAFTPlus'])
def test_mask_adapters_go_there_and_back(kind: str, tmp_path: Path) -> None:
    settings = dict(variant='semantic', ensemble=True) if kind == 'MAFTPlus' else {}
    settings['adapter'] = dict(channels=8, mask_channels=8, num_maps=2)
    first, second = model(kind, **settings), model(kind, seed=1, **settings)
    theirs = convert(first.state_dict(), 'maft', inverse=True)
    assert {k.removeprefix('mask_adapter.') for k in theirs if k.startswith('mask_adapter.')} == ADAPTER_NAMES
    torch.save({'model': theirs, 'iteration': 3}, tmp_path / 'file.pth')
    state = read_training_file(str(tmp_path / 'file.pth'))['state_dict']
    assert state.keys() == first.state_dict().keys()
    load_weights(second, state, source='file.pth', strict=True)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(first._forward(images).class_probs, second._forward(images).class_probs)


def test_the_teacher_is_kept_if_asked_for() -> None:
    theirs = convert(model('MAFTPlus', variant='semantic').state_dict(), 'maft', inverse=True, num_classes=171)
    assert any(k.startswith('backbone_t.clip_model.visual.') for k in theirs)
    kept = [k for k in convert(theirs, 'maft', teacher=True) if k.startswith('teacher.')]
    assert kept and not [k for k in convert(theirs, 'maft') if k.startswith('teacher.')]


@pytest.mark.parametrize(
    'name', ['backbone.clip_model.foo', 'sem_seg_head.bar', 'cdt.baz', 'mask_adapter.cnext4.gamma', 'clip_adapter.text']
)
def test_strange_names_are_refused(name: str) -> None:
    with pytest.raises(WeightMismatchError, match=name):
        convert({name: torch.zeros(1), 'criterion.empty_weight': torch.ones(3)}, 'maft')
